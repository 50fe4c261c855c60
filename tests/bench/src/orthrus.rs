//! Orthrus, set up for the same sign-ins: users and passwords in a file, one policy for everybody, tokens with counters.

use crate::cli::Servers;
use crate::people::{CLASS, FILTER_ID, GROUP, SECRET, people};
use crate::scenario::Scenario;
use crate::server::Setup;
use anyhow::{Context, Result, ensure};
use gateway_core::factor::base32;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Where the program is.
pub(crate) fn program(servers: &Servers) -> Result<PathBuf> {
    if let Some(path) = &servers.orthrus {
        return Ok(path.clone());
    }
    let me = std::env::current_exe()?;
    let path = me.with_file_name("orthrus");
    ensure!(
        path.exists(),
        "there is no {}; build it with `cargo build --release -p gateway` or name it with --orthrus",
        path.display()
    );
    Ok(path)
}

pub(crate) fn prepare(setup: &Setup<'_>) -> Result<Command> {
    let state = setup.dir.join("state");
    DirBuilder::new().recursive(true).mode(0o700).create(&state)?;
    secret_file(&setup.dir.join("secret"), SECRET)?;
    secret_file(&setup.dir.join("cluster-key"), "a key of a benchmark, which has 32 octets and more")?;
    secret_file(&setup.dir.join("users.toml"), &users(setup)?)?;
    let file = setup.dir.join("orthrus.toml");
    secret_file(&file, &configuration(setup)?)?;
    begin_memory(setup, &file)?;
    secret_file(&setup.dir.join("tokens.toml"), &tokens(setup)?)?;
    let mut command = Command::new(program(setup.servers)?);
    command.args(["serve", "--config"]).arg(&file);
    Ok(command)
}

/// The memory of used codes must be older than the tokens, or the gateway trusts no counter. It begins with the first token
/// that is enrolled.
fn begin_memory(setup: &Setup<'_>, config: &Path) -> Result<()> {
    if setup.scenario != Scenario::Challenge {
        return Ok(());
    }
    let mut enrol = Command::new(program(setup.servers)?);
    enrol.args(["user", "--config"]).arg(config).args(["totp", "nobody", "--no-qr"]).stdout(Stdio::null());
    ensure!(enrol.status()?.success(), "the memory of used codes could not be begun");
    Ok(())
}

/// A file that nobody else can read: the configuration check insists on it.
pub(crate) fn secret_file(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn users(setup: &Setup<'_>) -> Result<String> {
    let mut text = String::new();
    for person in people(setup.users, 0) {
        writeln!(
            text,
            "[[users]]\nname = \"{}\"\npassword_plain = \"{}\"\ngroups = [\"{GROUP}\"]\n",
            person.name, person.password
        )?;
    }
    Ok(text)
}

fn tokens(setup: &Setup<'_>) -> Result<String> {
    let enrolled = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let mut text = String::new();
    for person in people(setup.users, 0) {
        let secret = base32::encode(&person.token());
        writeln!(
            text,
            "[[tokens]]\nuser = \"{}\"\nkind = \"hotp\"\nsecret = \"{}\"\ndigits = 8\ncounter = 0\nenrolled = {enrolled}\n",
            person.name, *secret
        )?;
    }
    Ok(text)
}

/// The section for a shared store, if there is one; its records have a prefix of their own, so that no run finds those of another.
pub(crate) fn cluster(servers: &Servers) -> String {
    let Some(address) = servers.redis else { return String::new() };
    let (share, prefix) = (&servers.share, std::process::id());
    format!(
        "\n[cluster]\nstore = \"redis\"\nnode_id = \"bench\"\nkey_file = \"cluster-key\"\nshare = \"{share}\"\n\n\
         [cluster.redis]\naddresses = [\"{address}\"]\nprefix = \"bench-{prefix}\"\n"
    )
}

fn configuration(setup: &Setup<'_>) -> Result<String> {
    let mut text = String::new();
    let (log, level) = if setup.servers.log { (true, "info") } else { (false, "warn") };
    // repeat_window: users sign in again at once here, and nobody's accept is ever lost on the way.
    write!(
        text,
        r#"state_dir = "state"

[listen]
authentication = ["{authentication}"]
threads = 1

[[clients]]
name = "bench"
addresses = ["{ip}"]
secret_file = "secret"
require_message_authenticator = "yes"

[[first_factor]]
name = "local"
kind = "file"
users_file = "users.toml"
allow_plain_passwords = true

[attempts]
repeat_window = "0s"
reject_delay = "0s"

[admin]
enabled = false

[telemetry]
log_level = "{level}"
sign_in_log = {log}

[[policies]]
name = "everybody"
groups = ["{GROUP}"]
reply = {{ Class = "{CLASS}", Filter-Id = "{FILTER_ID}" }}
"#,
        authentication =
            if setup.scenario == Scenario::Accounting { SocketAddr::new(setup.listen.ip(), 0) } else { setup.listen },
        ip = setup.listen.ip(),
    )?;
    if setup.scenario == Scenario::Challenge {
        text.push_str("second_factor = \"required\"\n\n[[second_factor]]\nname = \"oath\"\nkind = \"oath\"\n");
        text.push_str("tokens_file = \"tokens.toml\"\n");
    } else {
        text.push_str("second_factor = \"off\"\n");
    }
    if setup.scenario == Scenario::Reject {
        // What is measured is a wrong password, not the brake on guesses.
        text.push_str("\n[limits]\n");
        for scope in ["", "_of_user", "_of_station", "_of_source"] {
            writeln!(text, "wrong_passwords{scope} = 0")?;
        }
    }
    text.push_str(&cluster(setup.servers));
    if setup.scenario == Scenario::Accounting {
        write!(text, "\n[accounting]\nlisten = [\"{}\"]\nfolder = \"accounting\"\n", setup.listen)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use gateway_core::factor::{
        tokens::Tokens,
        users::{Allowed, Users},
    };
    use gateway_core::identity::Rules;

    #[test]
    fn the_files_are_what_the_gateway_reads() {
        let arguments = ["bench", "prepare", "orthrus", "--dir", "/nowhere"];
        let crate::cli::Command::Prepare(arguments) = crate::cli::Cli::parse_from(arguments).command else {
            panic!("prepare is prepare");
        };
        let setup = Setup {
            dir: &arguments.dir,
            listen: arguments.listen,
            scenario: Scenario::Challenge,
            users: 20,
            servers: &arguments.servers,
        };
        let rules = Rules::default();
        let users = Users::parse(&users(&setup).unwrap(), Allowed::ALL, &rules).unwrap();
        let tokens = Tokens::parse(&tokens(&setup).unwrap(), &rules).unwrap();
        assert_eq!((users.len(), tokens.iter().count()), (20, 20));
    }
}
