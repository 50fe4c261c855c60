//! A collector of traces: rotel, an OpenTelemetry collector that shares no code with us, and behind it a program that prints what
//! it passes on.

use crate::{eventually, pyrad, workspace};
use serde_json::Value;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running collector.
pub struct Collector {
    folder: TempDir,
    children: Vec<Child>,
    address: SocketAddr,
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// It does not start: `tests/run` installs what it needs.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let script = workspace().join("tests/interop/otlp_receiver.py");
        let receiver = spawn(&pyrad::python(), &[script.to_str().expect("a path of text")], folder.path(), "spans");
        let mut collector = Self { folder, children: vec![receiver], address: free_address() };
        let port = eventually("the receiver listens", || collector.lines().first()?["port"].as_u64());
        let behind = format!("http://127.0.0.1:{port}");
        let (http, grpc) = (collector.address.to_string(), free_address().to_string());
        let come_in = ["--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc];
        let go_out = ["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", &behind];
        let arguments = [["start"].as_slice(), &come_in, &go_out].concat();
        let rotel = spawn(&rotel(), &arguments, collector.folder.path(), "rotel");
        collector.children.push(rotel);
        eventually("rotel listens", || TcpStream::connect(collector.address).ok());
        collector
    }

    /// What `telemetry.otlp_endpoint` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans that were received so far.
    pub fn spans(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["span"].is_string()).collect()
    }

    /// Whether any export holds these octets.
    pub fn has_seen(&self, octets: &[u8]) -> bool {
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let lines = self.lines();
        let mut bodies = lines.iter().filter_map(|line| line["raw"].as_str());
        // At an even place: hexadecimal has two digits for an octet.
        bodies.any(|body| body.match_indices(&hex).any(|(at, _)| at.is_multiple_of(2)))
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("spans")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).expect("the script prints JSON")).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for name in ["rotel", "rotel-errors", "spans", "spans-errors"] {
                let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
                eprintln!("--- {name} of the collector:\n{text}");
            }
        }
    }
}

fn spawn(program: &Path, arguments: &[&str], folder: &Path, output: &str) -> Child {
    let file = |name: &str| File::create(folder.join(name)).expect("the folder is ours");
    let (output, errors) = (file(output), file(&format!("{output}-errors")));
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
    child.unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", program.display()))
}

/// The program lies among the Python modules that brought it.
fn rotel() -> std::path::PathBuf {
    let code = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'), end='')";
    let output = Command::new(pyrad::python()).args(["-c", code]).output().expect("tests/run makes this Python");
    assert!(output.status.success(), "tests/run installs rotel: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a path of text").into()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    listener.local_addr().expect("it is bound")
}
