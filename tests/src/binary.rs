//! Finds the `orthrus` under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program under test: `ORTHRUS_BIN`, or what cargo builds from this workspace now, so that no test ever runs against
/// yesterday's gateway. It is built in the profile of the tests.
///
/// # Panics
///
/// It does not build.
pub fn orthrus() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("ORTHRUS_BIN") {
        Some(program) => program.into(),
        None => build(&[]),
    })
}

/// A build that stands for the release before: `ORTHRUS_PREVIOUS_BIN`, or what cargo builds, in a folder of its own.
///
/// # Panics
///
/// It does not build.
pub fn previous() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("ORTHRUS_PREVIOUS_BIN") {
        Some(program) => program.into(),
        None => build(&["--features", "previous-records", "--target-dir", "target/previous"]),
    })
}

fn build(more: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "gateway", "--bin", "orthrus", "--message-format", "json"]);
    command.args(more);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(crate::workspace()).output().expect("cargo can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "orthrus does not build; run `cargo build --package gateway`\n{errors}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "orthrus")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program that it built")
}
