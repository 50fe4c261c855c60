//! `orthrus quickstart`: everything in one process and one folder, on loopback, with a made-up user. The user is signed in
//! once over real UDP, with a real code; then it serves until Ctrl-C.

use super::dialogue::{Nas, Reply};
use super::serve::Signals;
use crate::backends::hashing::hash_password;
use crate::clock::{self, OsEntropy};
use crate::config;
use crate::running::start;
use crate::telemetry::log;
use anyhow::{Context, bail};
use clap::Args;
use cluster::Journal;
use gateway_core::entropy::{Entropy, draw};
use gateway_core::factor::base32;
use gateway_core::factor::tokens::Tokens;
use gateway_core::identity::Rules;
use gateway_core::radius::Attributes;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where to try it.
#[derive(Debug, Args)]
pub(super) struct Quickstart {
    /// The loopback address and port to serve on; if the port is taken, a free one is used
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1812")]
    listen: SocketAddr,
    /// Keep the configuration, users and state in this folder, which must not exist; a temporary one is removed at the end
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

const USER: &str = "alice";

/// What was made up.
struct Demo {
    dir: PathBuf,
    secret: String,
    password: String,
    token: String,
    address: SocketAddr,
}

pub(super) fn run(options: &Quickstart) -> anyhow::Result<()> {
    if !options.listen.ip().is_loopback() {
        bail!(
            "{}: quickstart serves on loopback only; for anything else write a configuration and use `serve`",
            options.listen
        );
    }
    let temporary = match options.dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("orthrus-quickstart-").tempdir()?),
    };
    let dir = match (&options.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().join("quickstart"),
        (None, None) => bail!("no folder"),
    };
    let demo = Demo::make(dir, free(options.listen)?)?;
    let (loaded, watched) = config::load_watched(&demo.config());
    let loaded = loaded?;
    let _log = log::start(&loaded.config.telemetry, None)?;
    let mut out = io::stdout();
    actix_rt::System::new().block_on(async {
        let signals = Signals::listen()?;
        let running = start(loaded.config, (Some(demo.config()), watched), None).await?;
        demo.introduce(options.listen, &mut out)?;
        let address = running.addresses.first().copied().context("nothing is listened on")?;
        let (secret, password, token) = (demo.secret.clone(), demo.password.clone(), demo.tokens());
        let shown =
            actix_rt::task::spawn_blocking(move || sign_in(address, &secret, &password, &token, &mut io::stdout()));
        shown.await.context("the sign-in")??;
        demo.invite(running.admin_address, &mut out)?;
        signals.obey(running.control()).await;
        writeln!(out, "\nStopping.")?;
        running.stop().await;
        Ok(())
    })
}

/// `wanted`, or a free port of the same address.
fn free(wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    let socket = UdpSocket::bind(wanted).or_else(|_| UdpSocket::bind((wanted.ip(), 0)));
    Ok(socket.with_context(|| format!("{wanted}: no port of this address can be had"))?.local_addr()?)
}

fn letters(count: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut octets = vec![0; count];
    OsEntropy::new().fill(&mut octets);
    octets.iter().filter_map(|octet| ALPHABET.get(usize::from(octet % 32))).map(|octet| char::from(*octet)).collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| path.display().to_string())
}

impl Demo {
    fn make(dir: PathBuf, address: SocketAddr) -> anyhow::Result<Self> {
        fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
        let token = base32::encode(&draw::<20>(&mut OsEntropy::new())).to_string();
        let demo = Self { secret: letters(24), password: letters(12), token, address, dir };
        // The folder is new, so nothing can have been used before this second.
        let now = Timestamp::from_secs(clock::now().as_secs());
        Journal::begin(&demo.dir.join("state"), &Rules::default().fingerprint(), now)?;
        let hash = hash_password(&Secret::new(demo.password.clone().into_bytes()))?;
        write(&demo.dir.join("secret"), &format!("{}\n", demo.secret))?;
        write(
            &demo.dir.join("users.toml"),
            &format!("[[users]]\nname = \"{USER}\"\ngroups = [\"staff\"]\npassword = \"{hash}\"\n"),
        )?;
        write(&demo.dir.join("tokens.toml"), &demo.tokens_file(now))?;
        write(&demo.config(), &demo.configuration())?;
        Ok(demo)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("orthrus.toml")
    }

    fn tokens_file(&self, now: Timestamp) -> String {
        let (token, enrolled) = (&self.token, now.as_secs());
        format!("[[tokens]]\nuser = \"{USER}\"\nkind = \"totp\"\nsecret = \"{token}\"\nenrolled = {enrolled}\n")
    }

    fn tokens(&self) -> String {
        self.tokens_file(clock::now())
    }

    fn configuration(&self) -> String {
        let address = self.address;
        format!(
            r#"state_dir = "state"

[listen]
authentication = ["{address}"]

[[clients]]
name = "loopback"
addresses = ["127.0.0.0/8", "::1"]
secret_file = "secret"

[[first_factor]]
name = "local"
kind = "file"
users_file = "users.toml"

[[second_factor]]
name = "codes"
kind = "oath"
tokens_file = "tokens.toml"

[[policies]]
name = "staff"
groups = ["staff"]
second_factor = "required"
reply = {{ Class = "staff", "Filter-Id" = "vpn-full", "Session-Timeout" = "28800" }}

[admin]
listen = "127.0.0.1:0"

[telemetry]
log_level = "info"
"#
        )
    }

    fn introduce(&self, wanted: SocketAddr, out: &mut dyn Write) -> io::Result<()> {
        let Self { dir, secret, password, token, address } = self;
        if address != &wanted {
            writeln!(out, "{wanted} is taken, so this is on another port.")?;
        }
        writeln!(out, "Serving RADIUS on {address}. Everything is in {}", dir.display())?;
        writeln!(out, "  shared secret  {secret}")?;
        writeln!(out, "  user           {USER}")?;
        writeln!(out, "  password       {password}")?;
        writeln!(out, "  token          otpauth://totp/Orthrus:{USER}?secret={token}&issuer=Orthrus")?;
        writeln!(out, "\nSigning {USER} in as a VPN server would:\n")
    }

    fn invite(&self, admin: Option<SocketAddr>, out: &mut dyn Write) -> io::Result<()> {
        let Self { dir, secret, password, token, address } = self;
        let dir = dir.display();
        writeln!(out, "\nNow you. With orthrus itself, which asks for the password and the code:")?;
        writeln!(out, "  orthrus signin --server {address} --secret-file {dir}/secret --user {USER}")?;
        writeln!(out, "With radclient (Debian: freeradius-utils), first the password:")?;
        writeln!(
            out,
            "  echo 'User-Name={USER},User-Password={password},Message-Authenticator=0x00' | radclient -x {address} auth '{secret}'"
        )?;
        writeln!(out, "then the code, with the State that came back:")?;
        writeln!(out, "  CODE=$(oathtool --totp --base32 {token})")?;
        writeln!(
            out,
            "  echo \"User-Name={USER},User-Password=$CODE,State=0x...,Message-Authenticator=0x00\" | radclient -x {address} auth '{secret}'"
        )?;
        writeln!(out, "A code serves once: if it was just used, wait for the next (at most 30 s).")?;
        if let Some(admin) = admin {
            writeln!(out, "Health and metrics: http://{admin}/readyz http://{admin}/metrics")?;
        }
        writeln!(out, "Ctrl-C ends it.\n")
    }
}

/// The made-up user's sign-in, told packet by packet.
fn sign_in(address: SocketAddr, secret: &str, password: &str, tokens: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let secret = Secret::new(secret.as_bytes().to_vec());
    let mut nas = Nas::new(address, secret, Duration::from_secs(5), 3, true)?;
    let more = Attributes::new();
    let password = Secret::new(password.as_bytes().to_vec());
    let first = nas.ask(USER, &password, None, &more, out)?;
    let Reply::Challenge { state, question } = first else { bail!("the password was not answered with a challenge") };
    let tokens = Tokens::parse(tokens, &Rules::default()).map_err(|faults| anyhow::anyhow!(faults.join("\n")))?;
    let token = tokens.of(USER).first().context("the token")?;
    let code = token.code(clock::now().as_secs() / 30).context("the token gives no code")?;
    let code = format!("{code:06}");
    writeln!(out, "\n   \"{question}\" {code}\n")?;
    match nas.ask(USER, &Secret::new(code.into_bytes()), Some(&state), &more, out)? {
        Reply::Accept => Ok(()),
        Reply::Reject | Reply::Challenge { .. } | Reply::Nothing => {
            bail!("the code was not accepted: see the log above")
        }
    }
}
