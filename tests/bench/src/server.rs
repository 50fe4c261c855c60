//! Starting, awaiting and stopping the server under test.

use crate::cli::Servers;
use crate::cpu::pin;
use crate::people::SECRET;
use crate::scenario::{Codes, Scenario};
use crate::{freeradius, orthrus, people};
use anyhow::{Context, Result, bail};
use gateway_core::radius::{Attributes, Code, Packet, SharedSecret, encode_request, verify_reply};
use gateway_core::secret::Secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, read_to_string};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Orthrus,
    Freeradius,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orthrus => "orthrus",
            Self::Freeradius => "freeradius",
        }
    }

    /// What its users type as their code.
    pub(crate) const fn codes(self) -> Codes {
        match self {
            Self::Orthrus => Codes::Hotp,
            Self::Freeradius => Codes::Fixed(people::FIXED_CODE),
        }
    }

    /// Whether every reply must carry Message-Authenticator: FreeRADIUS sends none with PAP before 3.2.5.
    pub(crate) const fn signs_replies(self) -> bool {
        matches!(self, Self::Orthrus)
    }
}

/// What a server is to be set up for.
pub(crate) struct Setup<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) listen: SocketAddr,
    pub(crate) scenario: Scenario,
    pub(crate) users: u32,
    pub(crate) servers: &'a Servers,
}

/// Writes the configuration and returns the command that starts the server in the foreground.
pub(crate) fn prepare(kind: Kind, setup: &Setup<'_>) -> Result<Command> {
    match kind {
        Kind::Orthrus => orthrus::prepare(setup),
        Kind::Freeradius => freeradius::prepare(setup),
    }
}

/// The shared secret, ready for use.
pub(crate) fn secret() -> SharedSecret {
    SharedSecret::new(Secret::new(SECRET.as_bytes().to_vec()))
}

/// A server that runs. It ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts a fresh server, with nothing remembered, and waits until it answers.
    pub(crate) fn start(kind: Kind, scenario: Scenario, users: u32, servers: &Servers) -> Result<Self> {
        Self::start_with(servers, |dir, listen| prepare(kind, &Setup { dir, listen, scenario, users, servers }))
    }

    /// Starts what `prepare` has written a configuration for, and waits until it answers.
    pub(crate) fn start_with(
        servers: &Servers,
        prepare: impl FnOnce(&Path, SocketAddr) -> Result<Command>,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("orthrus-bench-").tempdir()?;
        // Free now; nobody else picks it in the next moments, as the system hands out ports in turn.
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = prepare(dir.path(), address)?;
        let output = dir.path().join("output");
        let file = File::create(&output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // The child inherits the core; a generator without one of its own stays where the server is.
        if let Some(core) = servers.server_core {
            pin(core)?;
        }
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self { child, address, _dir: dir };
        server.await_answer().with_context(|| {
            let text = read_to_string(&output).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(20).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            format!("{} does not answer; its last words:\n{tail}", program.display())
        })?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// Asks by Status-Server (RFC 5997) until there is an answer.
    fn await_answer(&mut self) -> Result<()> {
        let secret = secret();
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let authenticator = [0x42; 16];
        let request = encode_request(Code::STATUS_SERVER, 0, authenticator, &Attributes::new(), &secret, true)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            // Refused while nobody listens yet.
            let answered = socket.send(&request).and_then(|_| socket.recv(&mut buffer));
            if let Ok(length) = answered
                && let Ok(reply) = Packet::parse(buffer.get(..length).unwrap_or_default())
                && verify_reply(&reply, &authenticator, &secret).is_ok()
            {
                return Ok(());
            }
            pause();
        }
        bail!("no answer to Status-Server within 20 s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        if let Ok(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGTERM);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                pause();
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "no arbiter runs in this program")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// The first line of what a program says when asked for its version.
pub(crate) fn version(kind: Kind, servers: &Servers) -> String {
    let (program, flag) = match kind {
        Kind::Orthrus => (orthrus::program(servers).unwrap_or_else(|_| PathBuf::from("orthrus")), "--version"),
        Kind::Freeradius => (servers.freeradius.clone(), "-v"),
    };
    let output = Command::new(program).arg(flag).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
}
