//! FreeRADIUS' `radclient`, as an operator runs it.

use crate::SECRET;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// What `radclient -x` printed.
pub struct Printed {
    /// Whether it got the reply that it takes for a success: any but a reject.
    pub success: bool,
    /// Everything that it printed.
    pub text: String,
}

/// Runs it: `command` is `auth` or `status`, `attributes` are its input.
///
/// # Panics
///
/// It is not installed.
pub fn radclient(server: SocketAddr, command: &str, secret: &str, attributes: &[&str]) -> Printed {
    let server = server.to_string();
    let mut child = Command::new("radclient")
        .args(["-x", "-r", "1", "-t", "3", &server, command, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("radclient: {error}; tests/run installs it (Debian: freeradius-utils)"));
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(attributes.join("\n").as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned()).concat();
    Printed { success: output.status.success(), text }
}

/// [`radclient`] for a signed Access-Request of the usual NAS.
pub fn sign_in(server: SocketAddr, attributes: &[&str]) -> Printed {
    let signed: Vec<&str> = attributes.iter().copied().chain(["Message-Authenticator = 0x00"]).collect();
    radclient(server, "auth", SECRET, &signed)
}

impl Printed {
    /// The reply that was received, as it prints it: `Access-Accept`.
    pub fn reply(&self) -> Option<&str> {
        let line = self.text.lines().find_map(|line| line.strip_prefix("Received "))?;
        line.split(' ').next()
    }

    /// The value of an attribute of the reply.
    pub fn value(&self, name: &str) -> Option<&str> {
        let (_, reply) = self.text.split_once("Received ")?;
        reply.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "))
    }
}
