//! A program of others in a namespace of its own, whose output is kept.

use crate::eventually;
use crate::namespace::Namespace;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// It runs until it is dropped; where the test fails, what it printed is shown.
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts it, with its output in this file.
    ///
    /// # Panics
    ///
    /// The file cannot be made, or there is no `ip`.
    pub fn start(namespace: &Namespace, program: &str, arguments: &[&str], output: PathBuf) -> Self {
        let log = File::create(&output).expect("the folder can be written");
        let mut command = namespace.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        Self { child: command.spawn().expect("tests/run installs iproute2"), output }
    }

    /// Waits until it has printed this.
    pub fn awaits(&self, text: &str) {
        eventually(&format!("it prints {text:?}"), || self.output().contains(text).then_some(()));
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // `ip netns exec` has become the program itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.output.display(), self.output());
        }
    }
}
