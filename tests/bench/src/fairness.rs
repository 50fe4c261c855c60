//! `bench fairness`: whether the users of one NAS notice that another NAS floods the server: with wrong passwords, with users who do not
//! exist, and with sign-ins that begin and never end. Passwords are hashed, at the cost that `orthrus user` gives them.
//!
//! FreeRADIUS stands beside it with `rlm_pap` and PBKDF2, since it knows no argon2; its iterations are chosen so that a check takes
//! about as long.

use crate::check::Demands;
use crate::cli::Fairness;
use crate::cpu::pin;
use crate::generator::{self, Outcome, Pace, Plan};
use crate::people::{CLASS, FILTER_ID, GROUP, Person, SECRET, people};
use crate::report::write_json;
use crate::scenario::Scenario;
use crate::server::{self, Kind, Server};
use anyhow::{Context, Result, ensure};
use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use gateway_core::radius::{Attributes, Code, attribute, encode_request, hide_password};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The NAS that floods; the other one is the generator's.
const FLOODS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What the flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flood {
    /// Wrong passwords of users who exist, in turn, each from a station of its own.
    Wrong,
    /// Users who do not exist, each another one.
    Unknown,
    /// Right passwords, and nobody answers the challenge. Without hashes, which would be the limit.
    Challenge,
}

/// What one flood did to the others.
#[derive(Clone, Debug, serde::Serialize)]
struct Row {
    server: String,
    flood: Flood,
    /// Packets a second: asked for, and sent.
    rate: u32,
    sent: f64,
    due: u64,
    served: u64,
    /// In microseconds.
    p50_idle: u64,
    p99_idle: u64,
    p50: u64,
    p99: u64,
}

/// True if Orthrus served at least 95 of a hundred under each flood.
pub(crate) fn run(arguments: &Fairness) -> Result<bool> {
    if let Some(core) = arguments.shape.pin {
        pin(core)?;
    }
    let mut rows = Vec::new();
    for kind in &arguments.only {
        for flood in &arguments.floods {
            // A second factor of FreeRADIUS keeps nothing that a flood could fill.
            if *kind == Kind::Freeradius && *flood == Flood::Challenge {
                continue;
            }
            for rate in &arguments.rates {
                rows.push(measure(arguments, *kind, *flood, *rate)?);
            }
        }
    }
    print(&rows);
    if let Some(path) = &arguments.json {
        write_json(path, &rows)?;
    }
    Ok(rows.iter().filter(|row| row.server == Kind::Orthrus.name()).all(|row| row.served * 100 >= row.due * 95))
}

fn measure(arguments: &Fairness, kind: Kind, flood: Flood, rate: u32) -> Result<Row> {
    let server = Server::start_with(&arguments.servers, |dir, listen| match kind {
        Kind::Orthrus => orthrus(arguments, flood, dir, listen),
        Kind::Freeradius => freeradius(arguments, dir, listen),
    })?;
    let idle = others(arguments, kind, &server)?;
    ensure!(idle.sign_ins > 0, "nobody was answered");
    let (ends, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let busy = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| send(server.address, arguments.shape.users, flood, rate, &ends, &sent));
        let busy = others(arguments, kind, &server);
        ends.store(true, Ordering::Relaxed);
        flooding.join().map_err(|_| anyhow::anyhow!("the flood has ended early"))??;
        busy
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let at = |outcome: &Outcome, quantile| outcome.latency.value_at_quantile(quantile) / 1_000;
    Ok(Row {
        server: kind.name().to_owned(),
        flood,
        rate,
        sent: crate::report::count(sent.load(Ordering::Relaxed)) / seconds,
        due: u64::from(arguments.others_rate) * arguments.shape.seconds,
        served: busy.sign_ins,
        p50_idle: at(&idle, 0.5),
        p99_idle: at(&idle, 0.99),
        p50: at(&busy, 0.5),
        p99: at(&busy, 0.99),
    })
}

/// Users of the other NAS, at a fixed rate. Each packet is sent once.
fn others(arguments: &Fairness, kind: Kind, server: &Server) -> Result<Outcome> {
    generator::run(&Plan {
        target: server.address,
        demands: Demands { secret: server::secret(), message_authenticator: kind.signs_replies() },
        scenario: Scenario::Accept,
        codes: kind.codes(),
        pace: Pace::Open(arguments.others_rate),
        users: arguments.shape.users,
        counter: 0,
        ports: usize::from(arguments.shape.ports),
        warm_up: Duration::from_secs(arguments.shape.warm_up),
        measure: Duration::from_secs(arguments.shape.seconds),
        patience: Duration::from_secs(5),
        tries: 1,
        pin: arguments.shape.pin,
        server: Some(server.pid()?),
    })
}

/// Sends and takes no notice of what comes back.
fn send(to: SocketAddr, users: u32, flood: Flood, rate: u32, ends: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let ports = (0..16).map(|_| UdpSocket::bind((FLOODS, 0))).collect::<std::io::Result<Vec<_>>>()?;
    let (secret, pause) = (server::secret(), Duration::from_secs(1) / rate.max(1));
    let mut due = Instant::now();
    for (number, port) in ports.iter().cycle().enumerate() {
        while Instant::now() < due {
            if ends.load(Ordering::Relaxed) {
                return Ok(());
            }
            rest(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(5)));
        }
        due += pause;
        let number = u32::try_from(number)?;
        let person = Person::new(number % users.max(1), 0);
        let (user, password) = match flood {
            Flood::Wrong => (person.name, "not-the-password".to_owned()),
            Flood::Unknown => (format!("nobody{number:08}"), "not-the-password".to_owned()),
            Flood::Challenge => (format!("flood-{}", person.name), person.password),
        };
        let mut authenticator = [0x5a; 16];
        authenticator.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        let mut attributes = Attributes::new();
        attributes.push(attribute::USER_NAME, user.as_bytes())?;
        attributes.push(attribute::USER_PASSWORD, &hide_password(password.as_bytes(), &secret, &authenticator)?)?;
        attributes.push(attribute::CALLING_STATION_ID, format!("station-{number}").as_bytes())?;
        // The ports take turns, and each counts up.
        let identifier = u8::try_from((number >> 4) & 0xff)?;
        let packet = encode_request(Code::ACCESS_REQUEST, identifier, authenticator, &attributes, &secret, true)?;
        // What the kernel does not take is not counted.
        sent.fetch_add(u64::from(port.send_to(&packet, to).is_ok()), Ordering::Relaxed);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "no arbiter runs in this program")]
fn rest(span: Duration) {
    std::thread::sleep(span);
}

fn orthrus(arguments: &Fairness, flood: Flood, dir: &Path, listen: SocketAddr) -> Result<Command> {
    use crate::orthrus::{program, secret_file};
    secret_file(&dir.join("secret"), SECRET)?;
    let mut users = String::new();
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params()?);
    let hashed: Vec<Person> = people(arguments.shape.users, 0).collect();
    for person in &hashed {
        let salt = salt(&person.name);
        let hash = hasher.hash_password_with_salt(person.password.as_bytes(), &salt).map_err(anyhow::Error::msg)?;
        writeln!(users, "[[users]]\nname = \"{}\"\npassword = \"{hash}\"\ngroups = [\"{GROUP}\"]\n", person.name)?;
        if flood == Flood::Challenge {
            writeln!(users, "[[users]]\nname = \"flood-{}\"\npassword_plain = \"{}\"", person.name, person.password)?;
        }
    }
    secret_file(&dir.join("users.toml"), &users)?;
    let tokens = hashed.iter().map(|person| {
        format!(
            "[[tokens]]\nuser = \"flood-{}\"\nkind = \"totp\"\nsecret = \"{}\"\n",
            person.name,
            *gateway_core::factor::base32::encode(&person.token())
        )
    });
    secret_file(&dir.join("tokens.toml"), &tokens.collect::<String>())?;
    let config = dir.join("orthrus.toml");
    secret_file(
        &config,
        &format!(
            r#"state_dir = "state"
[listen]
authentication = ["{listen}"]
threads = 1
[[clients]]
name = "others"
addresses = ["{ip}"]
secret_file = "secret"
[[clients]]
name = "floods"
addresses = ["{FLOODS}"]
secret_file = "secret"
[[first_factor]]
name = "local"
kind = "file"
users_file = "users.toml"
allow_plain_passwords = true
[[second_factor]]
name = "oath"
kind = "oath"
tokens_file = "tokens.toml"
[admin]
enabled = false
[telemetry]
log_level = "error"
sign_in_log = false
[[policies]]
name = "others"
groups = ["{GROUP}"]
second_factor = "off"
reply = {{ Class = "{CLASS}", Filter-Id = "{FILTER_ID}" }}
[[policies]]
name = "floods"
"#,
            ip = listen.ip()
        ),
    )?;
    std::fs::create_dir_all(dir.join("state"))?;
    let mut command = Command::new(program(&arguments.servers)?);
    command.args(["serve", "--config"]).arg(&config);
    Ok(command)
}

/// As `orthrus user` hashes: 19 MiB, two passes, one lane.
fn params() -> Result<Params> {
    Params::new(19_456, 2, 1, None).map_err(anyhow::Error::msg)
}

fn salt(name: &str) -> [u8; 16] {
    let mut salt = [0x73; 16];
    salt.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    salt
}

fn freeradius(arguments: &Fairness, dir: &Path, listen: SocketAddr) -> Result<Command> {
    let iterations = arguments.freeradius_iterations;
    let setup = server::Setup {
        dir,
        listen,
        scenario: Scenario::Accept,
        users: arguments.shape.users,
        servers: &arguments.servers,
    };
    let command = server::prepare(Kind::Freeradius, &setup)?;
    let config = dir.join("radiusd.conf");
    let text = std::fs::read_to_string(&config)?;
    let client = format!(
        "client floods {{\n\tipaddr = {FLOODS}\n\tsecret = {SECRET}\n\trequire_message_authenticator = yes\n}}\nmodules {{"
    );
    std::fs::write(&config, text.replacen("modules {", &client, 1))?;
    let mut users = String::new();
    for person in people(arguments.shape.users, 0) {
        let salt = salt(&person.name);
        let hash = pbkdf2(person.password.as_bytes(), &salt, iterations)?;
        writeln!(
            users,
            "{} PBKDF2-Password := \"HMACSHA1:{}:{}:{}\"\n\tClass := \"{CLASS}\",\n\tFilter-Id := \"{FILTER_ID}\"",
            person.name,
            base64(&iterations.to_be_bytes()),
            base64(&salt),
            base64(&hash)
        )?;
    }
    std::fs::write(dir.join("users"), users).context("the users of FreeRADIUS")?;
    Ok(command)
}

/// One block of PBKDF2 with HMAC-SHA-1 (RFC 8018 §5.2).
fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Result<[u8; 20]> {
    let keyed = Hmac::<Sha1>::new_from_slice(password)?;
    let mut block: [u8; 20] =
        keyed.clone().chain_update(salt).chain_update(1_u32.to_be_bytes()).finalize().into_bytes().into();
    let mut sum = block;
    for _ in 1..iterations {
        block = keyed.clone().chain_update(block).finalize().into_bytes().into();
        sum.iter_mut().zip(block).for_each(|(to, from)| *to ^= from);
    }
    Ok(sum)
}

/// RFC 4648 §4.
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let mut group = [0; 3];
        group.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let word = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let digit = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or_default();
            text.push(if place <= chunk.len() {
                DIGITS.get(digit).map_or('=', |digit| char::from(*digit))
            } else {
                '='
            });
        }
    }
    text
}

fn print(rows: &[Row]) {
    println!(
        "{:10} {:>9} {:>8} {:>8} {:>15} {:>10} {:>10} {:>10} {:>10} {:>6}",
        "server", "flood", "rate", "sent/s", "others served", "p50 idle", "p50", "p99 idle", "p99", "ratio"
    );
    for row in rows {
        let ratio = crate::report::count(row.p99) / crate::report::count(row.p99_idle.max(1));
        println!(
            "{:10} {:>9} {:>8} {:>8.0} {:>7}/{:<7} {:>7} µs {:>7} µs {:>7} µs {:>7} µs {:>6.2}",
            row.server,
            format!("{:?}", row.flood).to_lowercase(),
            row.rate,
            row.sent,
            row.served,
            row.due,
            row.p50_idle,
            row.p50,
            row.p99_idle,
            row.p99,
            ratio
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pbkdf2_is_that_of_rfc_6070() {
        let hex = |octets: [u8; 20]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        assert_eq!(hex(pbkdf2(b"password", b"salt", 1).unwrap()), "0c60c80f961f0e71f3a9b524af6012062fe037a6");
        assert_eq!(hex(pbkdf2(b"password", b"salt", 4096).unwrap()), "4b007901b765489abead49d926f721d065a429c1");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
