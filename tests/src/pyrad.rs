//! pyrad, a RADIUS client that shares no line of code with us or with FreeRADIUS.

use crate::workspace;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Sends one request by way of `tests/interop/pyrad_client.py` and returns what it saw:
/// `{"code": 2, "verified": true, "attributes": {"Class": ["..."]}}`. `request` is JSON: attribute names and values.
///
/// # Panics
///
/// pyrad is not installed, or no reply came.
pub fn ask(server: SocketAddr, secret: &str, request: &Value) -> Value {
    let script = workspace().join("tests/interop/pyrad_client.py");
    let output = Command::new(python())
        .arg(script)
        .args([server.ip().to_string(), server.port().to_string(), secret.to_owned(), request.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/run makes it", python().display()));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pyrad failed (tests/run installs it):\n{error}");
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// The Python that `tests/run` made, in the target folder.
pub fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("interop-venv/bin/python")
}
