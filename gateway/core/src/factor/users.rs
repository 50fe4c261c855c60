//! The users file: who may sign in with a password that this gateway checks itself.
//!
//! ```toml
//! [[users]]
//! name = "alice@corp.example"
//! password = "$argon2id$v=19$m=19456,t=2,p=1$…"
//! groups = ["staff"]
//! attributes = { department = "sales" }
//! logon_hours = ["Mon-Fri 07:00-19:00 Europe/Berlin"]
//!
//! [groups.staff]
//! vlan = "120"
//! ```

use super::Data;
use super::entries::{self, Entry, place};
use super::mschap::NtHash;
use crate::identity::Rules;
use crate::policy::{Hours, RESERVED, instant, is_key};
use crate::reason::Reason;
use crate::secret::{Secret, equal};
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The largest memory of one password hash, in KiB: a slip of the pen must not take the node down.
pub const LARGEST_MEMORY: u32 = 256 * 1024;

/// One person who may sign in.
#[derive(Debug)]
pub struct User {
    /// The canonical name.
    pub name: Box<str>,
    /// What proves it is that person; `None` where there is only the NT hash.
    pub password: Option<Password>,
    /// The same for MS-CHAPv2.
    nt_hash: Option<NtHash>,
    /// The groups, as policies spell them. Users with the same groups share one list.
    pub groups: Arc<[String]>,
    /// What the cloud knows the person as, where it is not what the name gives.
    pub upn: Option<Box<str>>,
    /// The person may not sign in for now.
    pub disabled: bool,
    /// Somebody has tried too much, or was about to.
    pub locked: bool,
    /// From then on the password must be changed first.
    pub password_expires: Option<Timestamp>,
    /// When the person may sign in; empty for always.
    pub logon_hours: Box<[Hours]>,
    /// What the person and the groups have, for the replies of policies.
    pub data: Data,
}

impl User {
    /// Why the person may not sign in now, although the password is right.
    pub fn barred(&self, now: Timestamp) -> Option<Reason> {
        if self.disabled {
            Some(Reason::UserDisabled)
        } else if self.locked {
            Some(Reason::UserLocked)
        } else if !self.logon_hours.is_empty() && !self.logon_hours.iter().any(|hours| hours.contain(now)) {
            Some(Reason::OutsideLogonHours)
        } else {
            self.password_expires.is_some_and(|expires| expires <= now).then_some(Reason::PasswordExpired)
        }
    }

    /// The password itself, if it is kept: all that CHAP can be checked with.
    pub fn plain(&self) -> Option<&Secret> {
        match &self.password {
            Some(Password::Plain(plain)) => Some(plain),
            Some(Password::Hashed(_)) | None => None,
        }
    }

    /// Whether the file has the NT hash itself.
    pub fn has_nt_hash(&self) -> bool {
        self.nt_hash.is_some()
    }

    /// What MS-CHAPv2 can be checked with.
    pub fn nt_hash(&self) -> Option<NtHash> {
        self.nt_hash.clone().or_else(|| NtHash::of(self.plain()?))
    }
}

/// What a password is compared with.
#[derive(Debug)]
pub enum Password {
    /// A PHC string of argon2id. It is no password, but guesses can be tried on it: keep it out of logs too.
    Hashed(Arc<Secret>),
    /// The password itself: for tests and first steps.
    Plain(Secret),
}

/// Compares two passwords without telling by its time how long or how alike they are. One that no packet can carry is equal
/// to none.
pub fn same(stored: &Secret, offered: &Secret) -> bool {
    let (stored, offered) = (stored.expose(), offered.expose());
    let padded = |password: &[u8]| {
        let mut padded = Zeroizing::new([0; LONGEST]);
        padded.iter_mut().zip(password).for_each(|(to, from)| *to = *from);
        padded
    };
    let alike = equal(&*padded(stored), &*padded(offered));
    alike & (stored.len() == offered.len()) & (offered.len() <= LONGEST)
}

/// The longest password that a packet can carry, in octets (RFC 2865 §5.2).
pub const LONGEST: usize = 128;

/// All users of one file, by canonical name.
#[derive(Debug, Default)]
pub struct Users {
    /// Sorted by name.
    list: Box<[User]>,
    /// Where in the list each name stands: one look instead of a dozen comparisons all over memory.
    places: HashMap<Box<str>, usize>,
    nobody: Option<Arc<Secret>>,
    /// Draws for each unknown name the user whose time it takes: another one in each life of the list.
    decoys: RandomState,
    /// What groups have, by their names in lower case.
    groups: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(default, deserialize_with = "entries::secret")]
    password: Option<Secret>,
    #[serde(default, deserialize_with = "entries::secret")]
    password_plain: Option<Secret>,
    #[serde(default, deserialize_with = "entries::secret")]
    nt_hash: Option<Secret>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    locked: bool,
    password_expires: Option<String>,
    #[serde(default)]
    logon_hours: Vec<String>,
    upn: Option<String>,
    #[serde(default)]
    attributes: Table,
}

/// Names and texts.
type Table = BTreeMap<String, String>;

/// Which forms of passwords a users file may hold beside hashes that are made to be slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Passwords as they are.
    pub plain: bool,
    /// NT hashes, which are as good as passwords for whoever steals them.
    pub nt_hashes: bool,
}

impl Allowed {
    /// Every form.
    pub const ALL: Self = Self { plain: true, nt_hashes: true };
}

/// How expensive hashes are: memory times passes, and the parameters.
type Costs = BTreeSet<(u64, String)>;

impl Users {
    /// Reads a users file. Names are read like those in packets, so any spelling will do.
    ///
    /// # Errors
    /// All faults, each with line, user and remedy.
    pub fn parse(text: &str, allowed: Allowed, rules: &Rules) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut groups = BTreeMap::new();
        let mut costs = Costs::new();
        let mut list: Vec<(usize, User)> = Vec::new();
        let mut merged = BTreeMap::new();
        let (entries, tables) =
            entries::read_beside::<Raw, Table>(text, "users", Some("groups"), ("name", "user"), &mut faults);
        let tables = group_tables(tables, &mut faults);
        for Entry { line, value } in entries {
            let at = place(line, "user", &value.name);
            match user(value, allowed, rules, &mut groups, &mut costs) {
                Ok(mut user) => {
                    user.data.group = groups_data(&user.groups, &tables, &mut merged);
                    list.push((line, user));
                }
                Err(fault) => faults.push(format!("{at}: {fault}")),
            }
        }
        list.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        for ((first, _), (second, user)) in
            list.iter().zip(list.iter().skip(1)).filter(|((_, a), (_, b))| a.name == b.name)
        {
            let at = place(*second, "user", &user.name);
            faults.push(format!("{at}: the same person stands in line {first}; remove one of the two"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let nobody = costs.last().map(|(_, cost)| {
            // Sixteen octets of salt and thirty-two of hash: nobody knows a password for these.
            Arc::new(Secret::new(format!("$argon2id${cost}${}${}", "A".repeat(22), "A".repeat(43)).into_bytes()))
        });
        let list: Box<[User]> = list.into_iter().map(|(_, user)| user).collect();
        let places = list.iter().enumerate().map(|(place, user)| (user.name.clone(), place)).collect();
        Ok(Self { list, places, nobody, decoys: RandomState::new(), groups: tables })
    }

    /// The users of an earlier list who may not sign in any more, and why: they are gone, disabled or locked. What is open for them is
    /// to end; hours and expiry only count at the start of a sign-in.
    pub fn shut_out_since(&self, before: &Self) -> Vec<(Box<str>, Reason)> {
        let barred = |user: &User| match user {
            User { disabled: true, .. } => Some(Reason::UserDisabled),
            User { locked: true, .. } => Some(Reason::UserLocked),
            _ => None,
        };
        let earlier = before.list.iter().filter(|user| barred(user).is_none());
        let now = |user: &User| self.find(&user.name).map_or(Some(Reason::UnknownUser), barred);
        earlier.filter_map(|user| Some((user.name.clone(), now(user)?))).collect()
    }

    /// The user of that canonical name.
    pub fn find(&self, canonical: &str) -> Option<&User> {
        self.list.get(*self.places.get(canonical)?)
    }

    /// What somebody in these groups would have by them.
    pub fn data_of_groups(&self, groups: &[String]) -> Option<Arc<BTreeMap<String, String>>> {
        groups_data(&groups.into(), &self.groups, &mut BTreeMap::new())
    }

    /// A hash that no password has, as expensive as the dearest of the file: what is checked where there is no hash, or a cheaper
    /// one, so that time does not tell who exists. `None` if no password in the file is hashed.
    pub fn nobody(&self) -> Option<&Arc<Secret>> {
        self.nobody.as_ref()
    }

    /// Whether a check of this password must be followed by one of [`nobody`](Self::nobody): it costs less.
    pub fn is_cheap(&self, password: Option<&Password>) -> bool {
        let parameters = |hash: &Arc<Secret>| cost(hash).map(|(expense, _)| expense).unwrap_or_default();
        match (password, &self.nobody) {
            (Some(Password::Hashed(hash)), Some(nobody)) => parameters(hash) < parameters(nobody),
            (_, nobody) => nobody.is_some(),
        }
    }

    /// Some user, always the same for the same unknown name: the one whose time an answer about that name takes. Where hashes differ,
    /// so do the times of users, and those who do not exist must not stand out by having all the same.
    pub fn decoy(&self, canonical: &str) -> Option<&User> {
        let drawn = usize::try_from(self.decoys.hash_one(canonical) >> 32).unwrap_or_default();
        self.list.get(drawn.checked_rem(self.list.len())?)
    }

    /// Everybody, sorted by canonical name.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

fn user(
    raw: Raw,
    allowed: Allowed,
    rules: &Rules,
    lists: &mut BTreeMap<Vec<String>, Arc<[String]>>,
    costs: &mut Costs,
) -> Result<User, String> {
    let name = raw.name;
    let identity = rules.read(name.as_bytes()).map_err(|reason| format!("{} {}", reason.cause(), reason.remedy()))?;
    let password = match (raw.password, raw.password_plain) {
        (Some(hash), None) => {
            let cost = cost(&hash)
                .map_err(|fault| format!("`password` {fault}; set it anew with `orthrus user passwd {name}`"))?;
            costs.insert(cost);
            Some(Password::Hashed(Arc::new(hash)))
        }
        (None, Some(plain)) if plain.is_empty() => {
            return Err("`password_plain` is empty; nobody may have that".to_owned());
        }
        (None, Some(plain)) if allowed.plain => Some(Password::Plain(plain)),
        (None, Some(_)) => {
            return Err(format!(
                "`password_plain` is for tests only; hash it with `orthrus user passwd {name}` or set allow_plain_passwords = true"
            ));
        }
        (None, None) if raw.nt_hash.is_some() => None,
        (None, None) => return Err(format!("there is no `password`; set one with `orthrus user passwd {name}`")),
        (Some(_), Some(_)) => return Err("both `password` and `password_plain` are given; remove one".to_owned()),
    };
    let nt_hash = raw.nt_hash.map(|text| nt_hash(&text, allowed)).transpose()?;
    if raw.groups.iter().any(|group| group.trim().is_empty()) {
        return Err("a group has no name; remove it from `groups`".to_owned());
    }
    if raw.upn.as_ref().is_some_and(|upn| !upn.contains('@') || upn.contains(char::is_control)) {
        return Err("`upn` is not of the form user@realm; correct it, or remove it to use the name".to_owned());
    }
    let groups = match lists.get(&raw.groups) {
        Some(shared) => shared.clone(),
        None => lists.entry(raw.groups.clone()).or_insert(raw.groups.into()).clone(),
    };
    let upn = raw.upn.map(String::into_boxed_str);
    check_keys(&raw.attributes).map_err(|fault| format!("`attributes`: {fault}"))?;
    if let Some(key) = raw.attributes.keys().find(|key| RESERVED.contains(&key.as_str())) {
        return Err(format!("`attributes`: `{key}` is known of everybody; give it another name"));
    }
    let own = (!raw.attributes.is_empty()).then(|| Arc::new(raw.attributes));
    let data = Data { user: own, group: None };
    let password_expires = match raw.password_expires {
        Some(text) => Some(instant(&text).ok_or_else(|| {
            format!("`password_expires`: `{text}` is no instant with an offset, such as 2026-01-05T08:00+01:00")
        })?),
        None => None,
    };
    let hours = raw.logon_hours.iter().map(|text| Hours::parse(text));
    let logon_hours = hours
        .collect::<Result<_, _>>()
        .map_err(|fault| format!("`logon_hours`: {fault}; write such as \"Mon-Fri 07:00-19:00 Europe/Berlin\""))?;
    let (disabled, locked) = (raw.disabled, raw.locked);
    let name = identity.canonical.into();
    Ok(User { name, password, nt_hash, groups, upn, disabled, locked, password_expires, logon_hours, data })
}

fn nt_hash(text: &Secret, allowed: Allowed) -> Result<NtHash, String> {
    if !allowed.nt_hashes {
        return Err(
            "`nt_hash` is as good as the password for whoever reads it, and only MS-CHAPv2 needs it; remove it or \
             set allow_nt_hashes = true"
                .to_owned(),
        );
    }
    NtHash::from_hex(text).ok_or_else(|| "`nt_hash` is not of 32 hexadecimal digits".to_owned())
}

/// The tables of `[groups.…]`, by the group's name in lower case, as policies compare groups.
fn group_tables(tables: BTreeMap<String, Entry<Table>>, faults: &mut Vec<String>) -> BTreeMap<String, Table> {
    let mut all = BTreeMap::new();
    for (name, Entry { line, value }) in tables {
        if let Err(fault) = check_keys(&value) {
            faults.push(format!("line {line}, group {name:?}: {fault}"));
        }
        if all.insert(name.to_lowercase(), value).is_some() {
            faults
                .push(format!("line {line}, group {name:?}: the same group stands here twice; remove one of the two"));
        }
    }
    all
}

/// What the groups of a user have together; of two groups with the same datum, the first in the user's list gives it. Users
/// with the same groups share it.
fn groups_data(
    groups: &Arc<[String]>,
    tables: &BTreeMap<String, Table>,
    merged: &mut BTreeMap<Arc<[String]>, Option<Arc<Table>>>,
) -> Option<Arc<Table>> {
    if tables.is_empty() {
        return None;
    }
    let merge = || {
        let mut all = Table::new();
        for (key, text) in groups.iter().filter_map(|group| tables.get(&group.to_lowercase())).flatten() {
            all.entry(key.clone()).or_insert_with(|| text.clone());
        }
        (!all.is_empty()).then(|| Arc::new(all))
    };
    merged.entry(groups.clone()).or_insert_with(merge).clone()
}

fn check_keys(table: &Table) -> Result<(), String> {
    match table.keys().find(|key| !is_key(key)) {
        Some(key) => Err(format!("`{key}` is no name; use 1 to 64 letters, digits, underscores and hyphens")),
        None => Ok(()),
    }
}

/// Version and parameters of a PHC string of argon2id, which is all that decides how long a check takes.
fn cost(hash: &Secret) -> Result<(u64, String), &'static str> {
    const FORM: &str = "is no PHC string of argon2id ($argon2id$v=19$m=…,t=…,p=…$salt$hash)";
    let text = std::str::from_utf8(hash.expose()).map_err(|_| FORM)?;
    let mut fields = text.split('$');
    let (Some(""), Some("argon2id"), Some("v=19"), Some(parameters), Some(salt), Some(output), None) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(FORM);
    };
    let mut values =
        parameters.split(',').zip(["m=", "t=", "p="]).map(|(field, name)| number(field.strip_prefix(name)?));
    let (Some(Some(memory)), Some(Some(passes)), Some(Some(lanes)), 3) =
        (values.next(), values.next(), values.next(), parameters.split(',').count())
    else {
        return Err(FORM);
    };
    // 8 to 48 octets of salt, 16 to 64 of hash.
    if !base64(salt, 11..=64) || !base64(output, 22..=86) {
        return Err(FORM);
    }
    if memory > LARGEST_MEMORY || passes > 64 || lanes > 16 {
        return Err("asks for more than 256 MiB (m=262144), 64 passes or 16 lanes");
    }
    if passes == 0 || lanes == 0 || memory < 8 * lanes {
        return Err("has parameters that argon2id does not allow (t and p from 1, m from 8 times p)");
    }
    Ok((u64::from(memory) * u64::from(passes), format!("v=19${parameters}")))
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|octet| octet.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Base64 without padding, as PHC strings have it.
fn base64(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    let alphabet = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'+' || octet == b'/';
    length.contains(&text.len()) && text.len() % 4 != 1 && text.bytes().all(alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn rules() -> Rules {
        Rules { default_realm: Some("corp.example".into()), ..Rules::default() }
    }

    fn parse(text: &str) -> Result<Users, Vec<String>> {
        Users::parse(text, Allowed::ALL, &rules())
    }

    fn entry(name: &str, rest: &str) -> String {
        format!("[[users]]\nname = {name:?}\n{rest}\n")
    }

    fn fault(text: &str) -> String {
        let faults = parse(text).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.into_iter().next().unwrap()
    }

    #[test]
    fn a_file_is_read() {
        let users = parse(&format!(
            "# People\n{}{}",
            entry("Alice", &format!("password = \"{HASH}\"\ngroups = [\"staff\"]\nupn = \"a.smith@cloud.example\"")),
            entry("bob@other.example", "password_plain = \"hunter2\"\ngroups = [\"staff\"]\ndisabled = true"),
        ))
        .unwrap();
        let alice = users.find("alice@corp.example").unwrap();
        assert!(matches!(&alice.password, Some(Password::Hashed(hash)) if hash.expose() == HASH.as_bytes()));
        assert_eq!(alice.upn.as_deref(), Some("a.smith@cloud.example"));
        let bob = users.find("bob@other.example").unwrap();
        assert!(bob.disabled && Arc::ptr_eq(&bob.groups, &alice.groups));
        assert!(users.find("alice").is_none() && users.find("Alice").is_none());
        assert_eq!(users.len(), 2);
        assert!(parse("").unwrap().is_empty());
        assert!(!format!("{users:?}").contains("hunter2") && !format!("{users:?}").contains("argon2id"));
    }

    #[test]
    fn a_user_may_be_barred_in_four_ways() {
        let barred = |rest: &str, hour: &str| {
            let users = parse(&entry("alice", &format!("password_plain = \"x\"\n{rest}"))).unwrap();
            users.find("alice@corp.example").unwrap().barred(instant(hour).unwrap())
        };
        let monday_morning = "2026-01-05T08:00Z";
        assert_eq!(barred("", monday_morning), None);
        assert_eq!(barred("disabled = true\nlocked = true", monday_morning), Some(Reason::UserDisabled));
        assert_eq!(barred("locked = true", monday_morning), Some(Reason::UserLocked));
        let expires = "password_expires = \"2026-01-05T08:00Z\"";
        assert_eq!(barred(expires, "2026-01-05T07:59Z"), None);
        assert_eq!(barred(expires, monday_morning), Some(Reason::PasswordExpired));
        let hours = "logon_hours = [\"Mon 08:00-18:00 UTC\", \"Sat 10:00-12:00 UTC\"]";
        for (hour, inside) in [(monday_morning, true), ("2026-01-05T18:00Z", false), ("2026-01-10T11:00Z", true)] {
            assert_eq!(barred(hours, hour), (!inside).then_some(Reason::OutsideLogonHours), "{hour}");
        }
        let wrong = |rest: &str| fault(&entry("alice", &format!("password_plain = \"x\"\n{rest}")));
        assert!(wrong("password_expires = \"tomorrow\"").contains("`tomorrow` is no instant with an offset"));
        assert!(wrong("logon_hours = [\"Mon\"]").contains("`logon_hours`: `Mon` is not of the form"));
    }

    #[test]
    fn an_nt_hash_must_be_allowed() {
        let text = entry("alice", "nt_hash = \"44EBBA8D5312B8D611474411F56989AE\"");
        let users = parse(&text).unwrap();
        let alice = users.find("alice@corp.example").unwrap();
        assert_eq!(alice.nt_hash(), NtHash::of(&Secret::new(b"clientPass".to_vec())));
        assert!(alice.password.is_none() && alice.plain().is_none());
        let plain = parse(&entry("bob", "password_plain = \"clientPass\"")).unwrap();
        assert_eq!(plain.find("bob@corp.example").unwrap().nt_hash(), alice.nt_hash());
        assert!(!format!("{users:?}").contains("44"), "{users:?}");
        let faults = Users::parse(&text, Allowed { plain: true, nt_hashes: false }, &rules()).unwrap_err();
        assert!(faults[0].contains("set allow_nt_hashes = true"), "{faults:?}");
        let wrong = fault(&entry("alice", "nt_hash = \"secret\""));
        assert!(wrong.contains("not of 32 hexadecimal digits") && !wrong.contains("secret"), "{wrong}");
    }

    #[test]
    fn users_and_groups_have_data() {
        let text = format!(
            "{}{}{}[groups.Staff]\nvlan = \"120\"\nrole = \"user\"\n[groups.admins]\nrole = \"root\"\n",
            entry(
                "alice",
                "password_plain = \"x\"\ngroups = [\"admins\", \"staff\"]\nattributes = { department = \"it\" }"
            ),
            entry("bob", "password_plain = \"x\"\ngroups = [\"staff\"]"),
            entry("carol", "password_plain = \"x\"\ngroups = [\"guests\"]"),
        );
        let users = parse(&text).unwrap();
        let data = |name: &str| users.find(&format!("{name}@corp.example")).unwrap().data.clone();
        let has = |table: &Option<Arc<Table>>, key: &str| table.as_ref().and_then(|table| table.get(key).cloned());
        let alice = data("alice");
        assert_eq!(has(&alice.user, "department").as_deref(), Some("it"));
        assert_eq!(has(&alice.group, "role").as_deref(), Some("root"), "the first group of the user's list");
        assert_eq!(has(&alice.group, "vlan").as_deref(), Some("120"));
        assert_eq!(has(&data("bob").group, "role").as_deref(), Some("user"));
        assert_eq!(data("carol"), Data::default());

        let wrong = |rest: &str| fault(&format!("{}{rest}", entry("alice", "password_plain = \"x\"")));
        assert!(wrong("attributes = { name = \"x\" }").contains("`name` is known of everybody"));
        assert!(wrong("attributes = { \"a b\" = \"x\" }").contains("`a b` is no name"));
        assert!(wrong("attributes = { vlan = 120 }").contains("line 1, user \"alice\": invalid type"));
        assert!(wrong("[groups.a]\nvlan = 120").starts_with("line 4, \"a\": invalid type"));
        assert!(wrong("[groups.a]\nx = \"1\"\n[groups.A]\nx = \"2\"").contains("stands here twice"));
        assert!(wrong("[group.a]\nx = \"1\"").contains("has no place here"));
    }

    #[test]
    fn all_faults_come_at_once_with_line_and_user() {
        let faults = parse(&format!(
            "{}{}{}{}colour = 1\n",
            entry("alice", ""),
            entry("bob", "pasword = \"x\""),
            entry("", "password_plain = \"x\""),
            entry("carol", "password_plain = \"x\""),
        ))
        .unwrap_err();
        assert_eq!(faults.len(), 4, "{faults:#?}");
        assert!(
            faults.iter().any(|fault| fault.starts_with("line 1, user \"alice\": there is no `password`")),
            "{faults:#?}"
        );
        assert!(faults.iter().any(|fault| fault.contains("user passwd alice")), "{faults:#?}");
        assert!(faults.iter().any(|fault| fault.starts_with("line 4, user \"bob\": unknown field")), "{faults:#?}");
        assert!(
            faults.iter().any(|fault| fault.starts_with("line 7, user \"\": The user name is empty")),
            "{faults:#?}"
        );
        assert!(faults.iter().any(|fault| fault.starts_with("line 10, user \"carol\": unknown field")), "{faults:#?}");
    }

    #[test]
    fn one_person_stands_once() {
        let text = format!(
            "{}{}",
            entry("Alice", "password_plain = \"x\""),
            entry("alice@CORP.example", "password_plain = \"y\"")
        );
        let fault = fault(&text);
        assert!(fault.starts_with("line 4, user \"alice@corp.example\": the same person stands in line 1"), "{fault}");
    }

    #[test]
    fn plain_passwords_are_allowed_or_not() {
        let text = entry("alice", "password_plain = \"hunter2\"");
        let faults = Users::parse(&text, Allowed::default(), &rules()).unwrap_err();
        assert!(faults[0].contains("allow_plain_passwords = true"), "{faults:?}");
        assert!(fault(&entry("alice", "password_plain = \"\"")).contains("empty"));
        assert!(fault(&entry("alice", &format!("password_plain = \"x\"\npassword = \"{HASH}\""))).contains("both"));
    }

    #[test]
    fn faults_repeat_no_secret() {
        for text in [
            entry("alice", "password_plain = 8675309"),
            entry("alice", "password_plain = 8675309.5"),
            entry("alice", "password_plain = 99999999999998675309"),
            entry("alice", "password_plain = [\"8675309\"]"),
            entry("alice", "password_plain = { a = \"8675309\" }"),
            entry("alice", "password_plain = 8675-30-09"),
            entry("alice", "password_plain = \"8675309"),
            entry("alice", "password_plain = 8675309x"),
            entry("alice", "password = \"8675309\""),
            entry("alice", "password = true\npassword_plain = \"8675309\""),
            "8675309 = 1".replace("8675309 ", "alice "),
        ] {
            for fault in parse(&text).unwrap_err() {
                assert!(!fault.contains("8675309"), "{fault}");
            }
        }
    }

    #[test]
    fn other_files_are_not_taken() {
        assert!(fault("users = 3").contains("[[users]]"));
        assert!(fault("[[user]]\nname = \"a\"").starts_with("line 1: \"user\" has no place here"));
        assert!(fault("users = [3]").starts_with("line 1: invalid type"));
        assert!(fault("\n\n[[users").starts_with("line 3: this is not TOML"));
    }

    #[test]
    fn hashes_are_looked_at() {
        for bad in [
            "hunter2",
            "$2y$10$abcdefghijklmnopqrstuv",
            &HASH.replace("argon2id", "argon2i"),
            &HASH.replace("v=19", "v=16"),
            &HASH.replace("m=19456", "m=+9456"),
            &HASH.replace("t=2,", ""),
            &HASH.replace("p=1", "p=1,x=2"),
            &HASH.replace("m=19456", "m=4194304"),
            &HASH.replace("t=2", "t=0"),
            &HASH.replace("m=19456", "m=7"),
            &HASH[..HASH.len() - 30],
            &format!("{HASH}$"),
        ] {
            let fault = fault(&entry("alice", &format!("password = {bad:?}")));
            assert!(fault.contains("user passwd alice"), "{bad}: {fault}");
        }
    }

    #[test]
    fn nobody_costs_the_dearest_hash() {
        let dear = HASH.replace("m=19456", "m=65536");
        let text: String = [HASH, &dear, HASH]
            .into_iter()
            .enumerate()
            .map(|(index, hash)| entry(&format!("user{index}"), &format!("password = \"{hash}\"")))
            .collect();
        let users = parse(&text).unwrap();
        let nobody = String::from_utf8(users.nobody().unwrap().expose().to_vec()).unwrap();
        assert!(nobody.starts_with("$argon2id$v=19$m=65536,t=2,p=1$AAAA"), "{nobody}");
        assert!(cost(users.nobody().unwrap()).is_ok());
        assert!(parse(&entry("alice", "password_plain = \"x\"")).unwrap().nobody().is_none());
    }

    #[test]
    fn passwords_are_compared() {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        assert!(same(&secret("hunter2"), &secret("hunter2")));
        assert!(!same(&secret("hunter2"), &secret("hunter22")));
        assert!(!same(&secret("hunter2"), &secret("")));
    }

    #[test]
    fn twenty_thousand_users_are_found() {
        let text: String = (0..20_000)
            .map(|index| {
                entry(&format!("user{index}"), &format!("password = \"{HASH}\"\ngroups = [\"staff\", \"vpn\"]"))
            })
            .collect();
        let users = parse(&text).unwrap();
        assert_eq!(users.len(), 20_000);
        assert!((0..20_000).all(|index| users.find(&format!("user{index}@corp.example")).is_some()));
        let groups = &users.find("user0@corp.example").unwrap().groups;
        assert!(users.iter().all(|user| Arc::ptr_eq(&user.groups, groups)));
    }
}
