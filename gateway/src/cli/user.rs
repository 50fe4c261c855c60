//! `orthrus user …`: who may sign in, in the users file, and with which tokens, in the tokens file. A running gateway takes
//! up the change by itself.

use crate::backends::hashing::hash_password;
use crate::edit::{document, edit, read};
use crate::passwords::{edit_users, is_about, put, put_nt_hash};
use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use cluster::Journal;
use gateway_core::factor::base32;
use gateway_core::factor::oath::{Algorithm, Kind, Token};
use gateway_core::factor::tokens::Tokens;
use gateway_core::factor::users::{Allowed, User, Users};
use gateway_core::identity::Rules;
use gateway_core::policy::written;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};
use zeroize::Zeroizing;

/// The longest password that a RADIUS packet can carry, in octets (RFC 2865 §5.2).
const LONGEST_PASSWORD: usize = 128;

/// Manage users with passwords or tokens of the gateway's own
#[derive(Debug, Args)]
pub struct UserArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: UserCommand,
    /// The users file, where it is not the one of the configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub users_file: Option<PathBuf>,
    /// The tokens file, where it is not the one of the configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
}

/// What to do about users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user with a password
    Add {
        /// The name, in any spelling that sign-ins use
        name: String,
        /// Groups that policies ask for, separated by commas
        #[arg(long, value_delimiter = ',')]
        groups: Vec<String>,
        /// How it is set.
        #[command(flatten)]
        password: NewPassword,
    },
    /// Set a user's password
    Passwd {
        /// The user
        name: String,
        /// How it is set.
        #[command(flatten)]
        password: NewPassword,
    },
    /// Remove a user and all tokens of the user
    Remove {
        /// The user
        name: String,
    },
    /// List users and tokens, without secrets
    List {
        /// Print JSON for scripts
        #[arg(long)]
        json: bool,
    },
    /// Enrol a token and show it as a QR code for an authenticator app
    Totp(Enrol),
}

/// How a password is set.
#[derive(Clone, Copy, Debug, Args)]
pub struct NewPassword {
    /// Read the password from standard input instead of asking twice
    #[arg(long)]
    password_stdin: bool,
    /// Keep the NT hash too, for MS-CHAPv2. It is as good as the password for whoever reads the file, and the first factor must
    /// allow it (allow_nt_hashes)
    #[arg(long)]
    nt_hash: bool,
    /// Let the password expire at once, so that the user must set another one by MS-CHAPv2 (change_passwords)
    #[arg(long, requires = "nt_hash")]
    must_change: bool,
}

impl NewPassword {
    /// Writes it into an entry, instead of every form in which there was one. An NT hash that was there is made anew.
    fn write(self, entry: &mut Table, password: &Secret) -> anyhow::Result<()> {
        entry.remove("password_plain");
        put(entry, "password", hash_password(password)?.into());
        if self.nt_hash || entry.contains_key("nt_hash") {
            put_nt_hash(entry, password)?;
        }
        entry.remove("password_expires");
        if self.must_change {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970; set it")?;
            let now =
                written(Timestamp::from_secs(now.as_secs())).context("the clock is past the year 9999; set it")?;
            put(entry, "password_expires", now.into());
        }
        Ok(())
    }
}

/// Which token to enrol.
#[derive(Debug, Args)]
pub struct Enrol {
    /// The user, who need not be in the users file
    name: String,
    /// Enrol a counter-based token (RFC 4226) instead of a time-based one (RFC 6238)
    #[arg(long, conflicts_with = "period")]
    hotp: bool,
    /// The hash: sha1, sha256 or sha512. Many apps silently take sha1 whatever is asked
    #[arg(long, default_value = "sha1", value_parser = algorithm)]
    algorithm: Algorithm,
    /// Digits of a code, 6 to 8
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(6..=8))]
    digits: u32,
    /// Seconds of a time step, 15 to 300
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(15..=300))]
    period: u32,
    /// Tells the user's tokens apart, such as "phone"
    #[arg(long, default_value = "")]
    label: String,
    /// Remove the tokens that the user has
    #[arg(long)]
    replace: bool,
    /// Print the URI only
    #[arg(long)]
    no_qr: bool,
}

/// Where users and tokens are.
#[derive(Clone, Debug)]
pub struct UserFiles {
    /// The users file.
    pub users: PathBuf,
    /// The tokens file.
    pub tokens: PathBuf,
    /// How names are read; the gateway's own rules.
    pub rules: Rules,
    /// Who an authenticator app says the codes are for.
    pub issuer: String,
    /// Where the gateway remembers used codes, if known.
    pub state_dir: Option<PathBuf>,
}

/// Carries out a command; `out` is the terminal or a pipe.
///
/// # Errors
/// With user, file and remedy; then nothing was changed, if the error does not say otherwise.
pub fn run(command: UserCommand, files: &UserFiles, out: &mut dyn Write) -> anyhow::Result<()> {
    run_asking(command, files, out, &mut ask)
}

/// Where a password comes from: standard input or the terminal.
type Ask<'a> = dyn FnMut(bool) -> anyhow::Result<Secret> + 'a;

fn run_asking(command: UserCommand, files: &UserFiles, out: &mut dyn Write, ask: &mut Ask<'_>) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { name, groups, password } => add(files, &name, &groups, password, ask, out),
        UserCommand::Passwd { name, password } => passwd(files, &name, password, ask, out),
        UserCommand::Remove { name } => remove(files, &name, out),
        UserCommand::List { json } => list(files, json, out),
        UserCommand::Totp(enrol) => totp(files, &enrol, out),
    }
}

fn add(
    files: &UserFiles,
    name: &str,
    groups: &[String],
    how: NewPassword,
    ask: &mut Ask<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let user = files.canonical(name)?;
    let known = || anyhow!("{user} is in {} already; use `orthrus user passwd {user}`", files.users.display());
    // Said before anybody types a password, and decided under the lock.
    if files.has_user(&user)? {
        return Err(known());
    }
    let password = checked(ask(how.password_stdin)?)?;
    files.edit_users(|document| {
        let users = entries(document, "users")?;
        if users.iter().any(|entry| is_about(entry, &files.rules, &user)) {
            return Err(known());
        }
        let mut entry = Table::new();
        entry.insert("name", value(&user));
        how.write(&mut entry, &password)?;
        if !groups.is_empty() {
            entry.insert("groups", value(groups.iter().map(|group| group.trim()).collect::<toml_edit::Array>()));
        }
        users.push(entry);
        Ok(())
    })?;
    writeln!(out, "Added {user} to {}.", files.users.display())?;
    Ok(())
}

fn passwd(
    files: &UserFiles,
    name: &str,
    how: NewPassword,
    ask: &mut Ask<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let user = files.canonical(name)?;
    let unknown = || anyhow!("{user} is not in {}; use `orthrus user add {user}`", files.users.display());
    if !files.has_user(&user)? {
        return Err(unknown());
    }
    let password = checked(ask(how.password_stdin)?)?;
    files.edit_users(|document| {
        let users = entries(document, "users")?;
        let entry = users.iter_mut().find(|entry| is_about(entry, &files.rules, &user)).ok_or_else(unknown)?;
        how.write(entry, &password)
    })?;
    writeln!(out, "Set the password of {user} in {}.", files.users.display())?;
    Ok(())
}

fn remove(files: &UserFiles, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let user = files.canonical(name)?;
    // The user first: then nobody can sign in, whatever becomes of the rest.
    let users =
        files.edit_users(|document| drop_entries(document, "users", |entry| is_about(entry, &files.rules, &user)))?;
    let tokens = files
        .edit_tokens(|document| drop_entries(document, "tokens", |entry| files.is(entry, "user", &user)))
        .with_context(|| format!("the tokens of {user} are still there; remove again when this is mended"))?;
    if users + tokens == 0 {
        bail!("{user} is neither in {} nor in {}", files.users.display(), files.tokens.display());
    }
    let tokens = if tokens == 1 { "1 token".to_owned() } else { format!("{tokens} tokens") };
    writeln!(out, "Removed {user} with {tokens}.")?;
    Ok(())
}

fn totp(files: &UserFiles, enrol: &Enrol, out: &mut dyn Write) -> anyhow::Result<()> {
    let user = files.canonical(&enrol.name)?;
    let mut octets = Zeroizing::new(vec![0; enrol.algorithm.secret_octets()]);
    getrandom::fill(&mut octets).context("the operating system gives no randomness for a secret")?;
    let enrolled = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970; set it")?.as_secs();
    if let Some(state_dir) = &files.state_dir {
        // A token that is older than the memory of used codes is distrusted: before the gateway's first start the memory
        // begins here.
        Journal::begin(state_dir, &files.rules.fingerprint(), Timestamp::from_secs(enrolled))?;
    }
    let entry = entry(&user, enrol, &octets, i64::try_from(enrolled)?);
    // Read as the gateway will read it, so that what is shown is what it will use.
    let mut alone = DocumentMut::new();
    entries(&mut alone, "tokens")?.push(entry.clone());
    let alone = Zeroizing::new(alone.to_string());
    let tokens = Tokens::parse(&alone, &files.rules).map_err(|faults| anyhow!("{}", faults.join("; ")))?;
    files.edit_tokens(|document| {
        if enrol.replace {
            drop_entries(document, "tokens", |entry| files.is(entry, "user", &user))?;
        }
        entries(document, "tokens")?.push(entry);
        Ok(())
    })?;
    tokens.of(&user).iter().try_for_each(|token| show(&user, token, files, enrol.no_qr, out))
}

fn entry(user: &str, enrol: &Enrol, secret: &[u8], enrolled: i64) -> Table {
    let mut entry = Table::new();
    entry.insert("user", value(user));
    entry.insert("kind", value(if enrol.hotp { "hotp" } else { "totp" }));
    entry.insert("secret", value(base32::encode(secret).as_str()));
    entry.insert("algorithm", value(enrol.algorithm.label().to_lowercase()));
    entry.insert("digits", value(i64::from(enrol.digits)));
    if !enrol.hotp {
        entry.insert("period", value(i64::from(enrol.period)));
    }
    entry.insert("enrolled", value(enrolled));
    if !enrol.label.is_empty() {
        entry.insert("label", value(&enrol.label));
    }
    entry
}

fn show(user: &str, token: &Token, files: &UserFiles, no_qr: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let uri = token.uri(&files.issuer, user);
    writeln!(
        out,
        "Enrolled a token for {user} in {}. Whoever sees this can make the user's codes:\n",
        files.tokens.display()
    )?;
    if !no_qr {
        let code = QrCode::new(uri.expose()).context("the URI is too long for a QR code; use --no-qr")?;
        // Light on dark, as terminals are; phones read either.
        let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        writeln!(out, "{}\n", *Zeroizing::new(drawn))?;
    }
    out.write_all(uri.expose())?;
    writeln!(out)?;
    Ok(())
}

fn list(files: &UserFiles, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let (users, tokens) = (files.read_users()?, files.read_tokens()?);
    let mut names: BTreeSet<&str> = users.iter().map(|user| user.name.as_ref()).collect();
    names.extend(tokens.iter().map(|(user, _)| user));
    if json {
        let all: Vec<_> = names.into_iter().map(|name| as_json(name, &users, tokens.of(name))).collect();
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    for name in names {
        let user = users.find(name);
        let password = user.map_or_else(|| "no password".to_owned(), |user| forms(user).join(", "));
        let disabled = if user.is_some_and(|user| user.disabled) { ", disabled" } else { "" };
        let locked = if user.is_some_and(|user| user.locked) { ", locked" } else { "" };
        let groups = user.map(|user| user.groups.join(",")).filter(|groups| !groups.is_empty());
        let groups = groups.map_or_else(String::new, |groups| format!(", groups {groups}"));
        writeln!(out, "{name}: {password}{disabled}{locked}{groups}")?;
        for token in tokens.of(name) {
            let label = if token.label.is_empty() { String::new() } else { format!(" {:?}", token.label) };
            writeln!(out, "    {}{label}, {} digits, {}", kind(token.kind), token.digits, token.algorithm.label())?;
        }
    }
    Ok(())
}

fn as_json(name: &str, users: &Users, tokens: &[Token]) -> serde_json::Value {
    let user = users.find(name);
    let tokens: Vec<_> = tokens
        .iter()
        .map(|token| {
            serde_json::json!({
                "kind": kind(token.kind),
                "label": token.label,
                "algorithm": token.algorithm.label(),
                "digits": token.digits,
                "enrolled": token.enrolled.as_secs(),
            })
        })
        .collect();
    serde_json::json!({
        "name": name,
        "password": user.map(|user| forms(user).join(", ")),
        "password_expires": user.and_then(|user| user.password_expires).map(written),
        "locked": user.is_some_and(|user| user.locked),
        "groups": user.map_or(&[][..], |user| &user.groups),
        "upn": user.and_then(|user| user.upn.as_deref()),
        "disabled": user.is_some_and(|user| user.disabled),
        "tokens": tokens,
    })
}

/// In which forms the file has the user's password.
fn forms(user: &User) -> Vec<&'static str> {
    let password = user.password.as_ref().map(|_| if user.plain().is_some() { "plain" } else { "hashed" });
    password.into_iter().chain(user.has_nt_hash().then_some("nt hash")).collect()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Totp { .. } => "totp",
        Kind::Hotp { .. } => "hotp",
    }
}

impl UserFiles {
    fn canonical(&self, name: &str) -> anyhow::Result<String> {
        let identity = self.rules.read(name.as_bytes());
        Ok(identity.map_err(|reason| anyhow!("user {name:?}: {} {}", reason.cause(), reason.remedy()))?.canonical)
    }

    /// Whether an entry is about the user of that canonical name.
    fn is(&self, entry: &Table, key: &str, user: &str) -> bool {
        let name = entry.get(key).and_then(Item::as_str);
        name.and_then(|name| self.rules.read(name.as_bytes()).ok()).is_some_and(|identity| identity.canonical == user)
    }

    /// Whether the user has an entry, faulty or not: setting a password is how one is mended.
    fn has_user(&self, user: &str) -> anyhow::Result<bool> {
        let mut document = document(&self.users, &read(&self.users)?)?;
        Ok(entries(&mut document, "users")?.iter().any(|entry| is_about(entry, &self.rules, user)))
    }

    /// Passwords that are not hashed are the gateway's to refuse, not ours.
    fn parse_users(&self, text: &str) -> Result<Users, Vec<String>> {
        Users::parse(text, Allowed::ALL, &self.rules)
    }

    fn read_users(&self) -> anyhow::Result<Users> {
        self.parse_users(&read(&self.users)?).map_err(|faults| faulty(&self.users, &faults))
    }

    fn read_tokens(&self) -> anyhow::Result<Tokens> {
        Tokens::parse(&read(&self.tokens)?, &self.rules).map_err(|faults| faulty(&self.tokens, &faults))
    }

    fn edit_users<T>(&self, change: impl FnOnce(&mut DocumentMut) -> anyhow::Result<T>) -> anyhow::Result<T> {
        edit_users(&self.users, &self.rules, change)
    }

    fn edit_tokens<T>(&self, change: impl FnOnce(&mut DocumentMut) -> anyhow::Result<T>) -> anyhow::Result<T> {
        edit(&self.tokens, |text| Tokens::parse(text, &self.rules).map(drop), change)
    }
}

fn faulty(path: &Path, faults: &[String]) -> anyhow::Error {
    anyhow!("{} has faults; mend them first:\n  {}", path.display(), faults.join("\n  "))
}

/// The `[[key]]` entries of a file, to which one can be added.
fn entries<'a>(document: &'a mut DocumentMut, key: &str) -> anyhow::Result<&'a mut ArrayOfTables> {
    let found = document.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    found.as_array_of_tables_mut().ok_or_else(|| anyhow!("`{key}` is written as a list; write [[{key}]] entries first"))
}

/// Removes entries and says how many; adds nothing where there is none.
fn drop_entries(document: &mut DocumentMut, key: &str, which: impl Fn(&Table) -> bool) -> anyhow::Result<usize> {
    if !document.contains_key(key) {
        return Ok(0);
    }
    let entries = entries(document, key)?;
    let before = entries.len();
    entries.retain(|entry| !which(entry));
    Ok(before - entries.len())
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .find(|algorithm| algorithm.label().eq_ignore_ascii_case(text))
        .ok_or_else(|| "one of sha1, sha256 and sha512 is wanted".to_owned())
}

fn checked(password: Secret) -> anyhow::Result<Secret> {
    match password.expose().len() {
        0 => bail!("the password is empty; nobody could sign in with it"),
        1..=LONGEST_PASSWORD => Ok(password),
        length => bail!("the password has {length} octets; RADIUS carries {LONGEST_PASSWORD} at most (RFC 2865 §5.2)"),
    }
}

fn ask(from_stdin: bool) -> anyhow::Result<Secret> {
    if from_stdin {
        let mut line = Zeroizing::new(String::with_capacity(1024));
        std::io::stdin().read_line(&mut line).context("standard input cannot be read")?;
        return Ok(Secret::new(line.trim_end_matches(['\r', '\n']).as_bytes().to_vec()));
    }
    let prompt = |text| {
        rpassword::prompt_password(text)
            .map(|typed| Secret::new(typed.into_bytes()))
            .context("there is no terminal to ask for the password; use --password-stdin")
    };
    let first = checked(prompt("Password: ")?)?;
    if first != prompt("Again: ")? {
        bail!("the two passwords differ; try again");
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::hashing::HashingPool;
    use clap::{CommandFactory, Parser};
    use gateway_core::factor::mschap::NtHash;
    use gateway_core::factor::oath::check;
    use gateway_core::factor::users::Password;
    use gateway_core::factor::{CodeAnswer, UsedCodes};
    use std::fs;
    use tempfile::TempDir;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        user: UserArgs,
    }

    struct Bench {
        _dir: TempDir,
        files: UserFiles,
    }

    fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let rules = Rules { default_realm: Some("corp.example".into()), ..Rules::default() };
        let (users, tokens) = (dir.path().join("users.toml"), dir.path().join("tokens.toml"));
        Bench { _dir: dir, files: UserFiles { users, tokens, rules, issuer: "Example VPN".into(), state_dir: None } }
    }

    impl Bench {
        /// What is printed, or the error.
        fn run(&self, line: &str) -> Result<String, String> {
            self.with_password(line, "hunter2")
        }

        fn with_password(&self, line: &str, password: &str) -> Result<String, String> {
            let words = ["user"].into_iter().chain(line.split(' '));
            let command = Line::try_parse_from(words).map_err(|error| error.to_string())?.user.command;
            let mut out = Vec::new();
            let mut ask = |_| Ok(Secret::new(password.as_bytes().to_vec()));
            run_asking(command, &self.files, &mut out, &mut ask).map_err(|error| format!("{error:#}"))?;
            Ok(String::from_utf8(out).unwrap())
        }

        fn users(&self) -> String {
            fs::read_to_string(&self.files.users).unwrap()
        }

        fn fits(&self, user: &str, password: &str) -> bool {
            let users = self.files.read_users().unwrap();
            let Some(Password::Hashed(hash)) = &users.find(user).unwrap().password else { return false };
            let pool = HashingPool::new(1, 1).unwrap();
            let password = Secret::new(password.as_bytes().to_vec());
            pool.try_verify(&"vpn".into(), password, hash.clone()).unwrap().blocking_recv().unwrap().unwrap()
        }
    }

    #[test]
    fn an_nt_hash_is_kept_where_it_is_wanted_and_renewed_where_it_is() {
        let bench = bench();
        let hash = |password: &str| NtHash::of(&Secret::new(password.as_bytes().to_vec()));
        let stored = || bench.files.read_users().unwrap().find("alice@corp.example").unwrap().nt_hash();
        bench.with_password("add alice", "first").unwrap();
        assert_eq!(stored(), None);
        bench.with_password("passwd alice --nt-hash --must-change", "second").unwrap();
        assert_eq!(stored(), hash("second"));
        assert!(bench.users().contains("password_expires = \"2"), "{}", bench.users());
        assert!(bench.run("list").unwrap().contains("alice@corp.example: hashed, nt hash"));
        bench.with_password("passwd alice", "third").unwrap();
        assert_eq!(stored(), hash("third"));
        assert!(bench.fits("alice@corp.example", "third") && !bench.users().contains("password_expires"));
        assert!(bench.run("passwd alice --must-change").unwrap_err().contains("--nt-hash"));
    }

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
        let bench = bench();
        for bad in ["--digits 9", "--period 5", "--algorithm md5", "--hotp --period 60"] {
            assert!(bench.run(&format!("totp alice {bad}")).is_err(), "{bad}");
        }
        let line = Line::try_parse_from(["user", "list", "--users-file", "u", "--tokens-file", "t"]).unwrap();
        assert_eq!((line.user.users_file, line.user.tokens_file), (Some("u".into()), Some("t".into())));
    }

    #[test]
    fn users_come_change_and_go() {
        let bench = bench();
        assert!(bench.run("add Alice --groups staff,vpn").unwrap().starts_with("Added alice@corp.example to "));
        assert!(bench.fits("alice@corp.example", "hunter2"));
        let error = bench.run("add alice@CORP.example").unwrap_err();
        assert!(error.contains("alice@corp.example is in") && error.contains("orthrus user passwd"), "{error}");
        bench.with_password("passwd alice", "hunter3").unwrap();
        assert!(bench.fits("alice@corp.example", "hunter3") && !bench.fits("alice@corp.example", "hunter2"));
        let error = bench.run("passwd bob").unwrap_err();
        assert!(error.contains("users.toml") && error.contains("orthrus user add bob@corp.example"), "{error}");
        bench.run("totp alice --no-qr").unwrap();
        assert_eq!(bench.run("remove alice").unwrap(), "Removed alice@corp.example with 1 token.\n");
        assert!(bench.files.read_users().unwrap().is_empty());
        assert!(bench.files.read_tokens().unwrap().of("alice@corp.example").is_empty());
        let error = bench.run("remove alice").unwrap_err();
        assert!(error.contains("alice@corp.example is neither in"), "{error}");
        assert!(bench.run("add al\u{7}ice").unwrap_err().contains("Type the name"));
    }

    #[test]
    fn passwords_that_no_packet_carries_are_refused() {
        let bench = bench();
        assert!(bench.with_password("add alice", "").unwrap_err().contains("empty"));
        assert!(bench.with_password("add alice", &"x".repeat(129)).unwrap_err().contains("129 octets"));
        assert!(!bench.files.users.exists());
        assert!(bench.with_password("add alice", &"x".repeat(128)).is_ok());
    }

    #[test]
    fn hand_made_files_keep_their_comments() {
        let bench = bench();
        let text = "# People of the night shift\n[[users]]\nname = \"Bob\" # the tall one\npassword_plain = \"x\"\n\n\
                    # Asked for by HR\n[[users]]\nname = \"carol\"\npassword_plain = \"y\"\n";
        fs::write(&bench.files.users, text).unwrap();
        bench.run("passwd bob@corp.example").unwrap();
        bench.run("add alice").unwrap();
        bench.run("passwd bob").unwrap();
        let after = bench.users();
        for kept in ["# People of the night shift\n", "name = \"Bob\" # the tall one\n", "# Asked for by HR\n[[users]]"]
        {
            assert!(after.contains(kept), "{after}");
        }
        assert!(!after.contains("\"x\"") && after.contains("\"y\""), "{after}");
        bench.run("remove bob").unwrap();
        assert!(!bench.users().contains("Bob") && bench.users().contains("# Asked for by HR"));
    }

    #[test]
    fn a_hash_that_the_gateway_refuses_is_mended_by_a_new_password() {
        let bench = bench();
        let text = "[[users]]\nname = \"alice\"\npassword = \"$2y$10$old\" # migrated\n\
                    [[users]]\nname = \"bob\"\npassword = \"$2y$10$old\"\n";
        fs::write(&bench.files.users, text).unwrap();
        let error = bench.run("add carol").unwrap_err();
        assert!(error.contains("mend them first") && error.contains("orthrus user passwd alice"), "{error}");
        bench.run("passwd alice").unwrap();
        assert!(bench.users().contains(" # migrated\n"));
        assert!(bench.run("list").unwrap_err().contains("\"bob\""));
        bench.run("passwd bob").unwrap();
        assert!(bench.fits("alice@corp.example", "hunter2") && bench.fits("bob@corp.example", "hunter2"));
    }

    #[test]
    fn files_that_cannot_be_edited_are_named_without_their_secrets() {
        let bench = bench();
        fs::write(&bench.files.users, "users = [{ name = \"alice\", password_plain = \"x\" }]\n").unwrap();
        assert!(bench.run("add bob").unwrap_err().contains("write [[users]] entries first"));
        fs::write(&bench.files.users, "[[users]]\nname = \"alice\"\npassword_plain = \"8675309\n").unwrap();
        let error = bench.run("add bob").unwrap_err();
        assert!(error.contains("users.toml is not TOML; mend line 3") && !error.contains("8675309"), "{error}");
    }

    #[test]
    fn tokens_are_enrolled_as_shown() {
        let bench = bench();
        let shown = bench.run("totp alice --algorithm sha256 --digits 8 --period 60 --label phone").unwrap();
        assert!(shown.contains('█'), "{shown}");
        assert!(shown.contains("\notpauth://totp/Example%20VPN:alice%40corp.example?secret="), "{shown}");
        let tokens = bench.files.read_tokens().unwrap();
        let [token] = tokens.of("alice@corp.example") else { panic!("one token") };
        assert_eq!((token.kind, token.digits, token.label.as_str()), (Kind::Totp { period: 60 }, 8, "phone"));
        assert_eq!((token.algorithm, token.secret.expose().len()), (Algorithm::Sha256, 32));
        assert!(shown.contains(base32::encode(token.secret.expose()).as_str()));
        let now = token.enrolled;
        let code = format!("{:08}", token.code(now.as_secs() / 60).unwrap());
        let answer = check(std::slice::from_ref(token), &code, &UsedCodes::default(), 1, 5, now);
        assert!(matches!(answer, CodeAnswer::Right(Some(_))));

        let shown = bench.run("totp alice --hotp --no-qr").unwrap();
        assert!(!shown.contains('█') && shown.contains("&algorithm=SHA1&digits=6&counter=0"), "{shown}");
        let tokens = |user| bench.files.read_tokens().unwrap().of(user).len();
        assert_eq!(tokens("alice@corp.example"), 2);
        bench.run("totp bob --no-qr").unwrap();
        bench.run("totp alice --no-qr --replace").unwrap();
        assert_eq!((tokens("alice@corp.example"), tokens("bob@corp.example")), (1, 1));
        for label in 2..=8 {
            bench.run(&format!("totp alice --no-qr --label {label}")).unwrap();
        }
        assert!(bench.run("totp alice --no-qr --label 9").unwrap_err().contains("more than 8 tokens"));
    }

    #[test]
    fn lists_show_everybody_and_no_secret() {
        let bench = bench();
        assert_eq!(bench.run("list").unwrap(), "");
        assert_eq!(bench.run("list --json").unwrap(), "[]\n");
        bench.run("add alice --groups staff,vpn").unwrap();
        bench.run("totp alice --no-qr --label phone").unwrap();
        bench.run("totp zoe --hotp --no-qr").unwrap();
        let (text, json) = (bench.run("list").unwrap(), bench.run("list --json").unwrap());
        assert_eq!(
            text,
            "alice@corp.example: hashed, groups staff,vpn\n    totp \"phone\", 6 digits, SHA1\n\
             zoe@corp.example: no password\n    hotp, 6 digits, SHA1\n"
        );
        let listed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(listed[0]["groups"], serde_json::json!(["staff", "vpn"]));
        assert_eq!(listed[0]["tokens"][0]["label"], "phone");
        assert_eq!(
            (&listed[1]["password"], &listed[1]["tokens"][0]["kind"]),
            (&serde_json::Value::Null, &"hotp".into())
        );
        for (_, tokens) in bench.files.read_tokens().unwrap().iter() {
            assert!(!json.contains(base32::encode(tokens[0].secret.expose()).as_str()));
        }
        assert!(!json.contains("argon2") && !text.contains("argon2"));
    }

    #[test]
    fn two_administrators_lose_nothing() {
        let bench = bench();
        std::thread::scope(|scope| {
            for half in ["a", "b"] {
                let bench = &bench;
                scope.spawn(move || {
                    for index in 0..10 {
                        bench.run(&format!("add {half}{index}")).unwrap();
                        bench.run(&format!("totp {half}{index} --no-qr")).unwrap();
                    }
                });
            }
        });
        assert_eq!(bench.files.read_users().unwrap().len(), 20);
        assert_eq!(bench.files.read_tokens().unwrap().iter().count(), 20);
    }
}
