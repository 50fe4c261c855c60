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

/// The packet of each user who changes `password` to `new`, to be sent by whoever asked for it.
///
/// # Panics
///
/// The libraries are not installed.
pub fn changes(users: &[String], password: &str, new: &str) -> Vec<Vec<u8>> {
    let request =
        serde_json::json!({ "protocol": "mschapv2", "users": users, "password": password, "new_password": new });
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let Value::Array(packets) = ask(nobody, &request).told() else { panic!("no list") };
    let octet =
        |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("hexadecimal");
    let octets = |packet: &Value| packet.as_str().expect("text").as_bytes().chunks(2).map(octet).collect();
    packets.iter().map(octets).collect()
}
