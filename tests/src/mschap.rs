//! A VPN server that speaks CHAP and MS-CHAPv2 by libraries of others: pyrad, py3mschap and impacket.

use crate::pyrad::python;
use crate::{SECRET, workspace};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A sign-in that waits for its reply.
pub struct Asked(Child);

/// Sends one request by way of `tests/interop/mschap_client.py`, which says in `request` who asks how.
///
/// # Panics
///
/// The libraries are not installed.
pub fn ask(server: SocketAddr, request: &Value) -> Asked {
    let child = Command::new(python())
        .arg(workspace().join("tests/interop/mschap_client.py"))
        .args([server.ip().to_string(), server.port().to_string(), SECRET.to_owned(), request.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Asked(child.unwrap_or_else(|error| panic!("{}: {error}; tests/run makes it", python().display())))
}

impl Asked {
    /// What it saw: `{"code": 2, "success": true, "keys": [true, true], …}`.
    ///
    /// # Panics
    ///
    /// No reply came, or one with a wrong authenticator.
    pub fn told(self) -> Value {
        let output = self.0.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the client failed (tests/run installs its libraries):\n{error}");
        serde_json::from_slice(&output.stdout).expect("the script prints JSON")
    }
}
