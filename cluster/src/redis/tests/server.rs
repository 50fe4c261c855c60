//! Redis servers that a test starts, and that end with it.

use super::super::settings::{Mode, Settings, WhenLost};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A program that ends with the test.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One Redis.
pub(super) struct Server {
    process: Option<Running>,
    pub(super) port: u16,
    pub(super) dir: tempfile::TempDir,
    options: Vec<String>,
}

pub(super) fn free_port() -> u16 {
    // Below those that connections take by themselves, or one of them may have it when the server wants it.
    loop {
        let port = 10_000 + u16::try_from(rand::random::<u32>() % 15_000).unwrap();
        // A Redis Cluster takes the port ten thousand above as well.
        let both = [port, port + 10_000].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if both.iter().all(Result::is_ok) {
            return port;
        }
    }
}

pub(super) fn start(program: &str, dir: &Path, arguments: &[String]) -> Running {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: install redis-server and redis-sentinel"));
    Running(child)
}

pub(super) fn answers(port: u16) {
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(25));
    }
    panic!("no server on port {port}");
}

impl Server {
    pub(super) fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { process: None, port: free_port(), dir, options };
        server.again();
        server
    }

    /// Starts it again on its port, with what is in its folder.
    pub(super) fn again(&mut self) {
        self.process = None;
        let mut arguments: Vec<String> =
            ["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""].map(str::to_owned).into();
        arguments.extend(self.options.iter().cloned());
        self.process = Some(start("redis-server", self.dir.path(), &arguments));
        answers(self.port);
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub(super) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub(super) fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }

    pub(super) fn settings(&self) -> Settings {
        settings(Mode::Standalone, &[self.port])
    }
}

pub(super) fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub(super) fn settings(mode: Mode, ports: &[u16]) -> Settings {
    Settings {
        mode,
        addresses: ports.iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect(),
        username: None,
        password: None,
        tls: None,
        timeout: Duration::from_millis(500),
        dead_after: Duration::from_secs(2),
        connections: 2,
        prefix: "orthrus".to_owned(),
        limit: 1_000_000,
        wrong_codes_window: super::WINDOW,
        share_packets: false,
        newest_records: crate::sealed::NEWEST,
        when_lost: WhenLost::Refuse,
    }
}
