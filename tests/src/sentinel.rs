//! A Redis with two replicas, watched by three Sentinels.

use crate::{Setup, eventually};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use toml::{Table, Value};

const SERVERS: [u16; 3] = [6379, 6380, 6381];
const SENTINELS: [u16; 3] = [26379, 26380, 26381];
const NAME: &str = "orthrus";

/// All of them. Dropping it kills them.
pub struct Sentinels {
    address: Ipv4Addr,
    running: Vec<(u16, Child)>,
    _folders: Vec<TempDir>,
}

impl Sentinels {
    /// Starts them on an address of their own, and waits until they know each other.
    ///
    /// # Panics
    ///
    /// They are not installed, or do not find each other.
    pub fn start() -> Self {
        let address = crate::setup::own_address();
        let mut all = Self { address, running: Vec::new(), _folders: Vec::new() };
        let [first, ..] = SERVERS;
        for port in SERVERS {
            let follow = if port == first { String::new() } else { format!("replicaof {address} {first}\n") };
            all.run(
                "redis-server",
                port,
                &format!("save \"\"\nrepl-diskless-sync-delay 0\nreplica-announce-ip {address}\n{follow}"),
            );
        }
        eventually("two replicas", || {
            (all.cli(first, &["info", "replication"]).matches("state=online").count() == 2).then_some(())
        });
        for port in SENTINELS {
            let watch = format!(
                "sentinel announce-ip {address}\nsentinel monitor {NAME} {address} {first} 2\nsentinel down-after-milliseconds {NAME} 1000\n\
                 sentinel failover-timeout {NAME} 3000\n"
            );
            all.run("redis-sentinel", port, &watch);
        }
        for port in SENTINELS {
            eventually("the Sentinels know each other and the replicas", || {
                let text = all.cli(port, &["sentinel", "master", NAME]);
                let fields: Vec<&str> = text.lines().collect();
                let of = |name| fields.iter().position(|field| *field == name).and_then(|at| fields.get(at + 1));
                (of("num-other-sentinels") == Some(&"2") && of("num-slaves") == Some(&"2")).then_some(())
            });
        }
        all
    }

    fn run(&mut self, program: &str, port: u16, more: &str) {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let config = format!("port {port}\nbind {}\nprotected-mode no\n{more}", self.address);
        std::fs::write(folder.path().join("redis.conf"), config).expect("the folder is ours");
        let mut command = Command::new(program);
        command.arg("redis.conf").current_dir(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.running.push((port, child.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"))));
        self._folders.push(folder);
    }

    fn cli(&self, port: u16, arguments: &[&str]) -> String {
        let (host, port) = (self.address.to_string(), port.to_string());
        let output = Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(arguments).output();
        String::from_utf8_lossy(&output.expect("redis-cli is installed").stdout).trim().to_owned()
    }

    /// The first primary.
    pub fn primary(&self) -> SocketAddr {
        let [first, ..] = SERVERS;
        SocketAddr::from((self.address, first))
    }

    /// Kills the first primary, and waits until another server is one.
    pub fn fail_over(&mut self) {
        let [first, ..] = SERVERS;
        for (_, child) in self.running.iter_mut().filter(|(port, _)| *port == first) {
            child.kill().expect("it is our child");
        }
        eventually("another server is the primary", || {
            let told = self.cli(SENTINELS[0], &["sentinel", "get-master-addr-by-name", NAME]);
            told.lines().nth(1).filter(|port| **port != *first.to_string()).map(drop)
        });
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Setup {
    /// With the store behind these Sentinels.
    #[must_use]
    pub fn behind(self, sentinels: &Sentinels) -> Self {
        let addresses = SENTINELS.map(|port| format!("{}:{port}", sentinels.address));
        let mut section = Table::new();
        section.insert("mode".into(), "sentinel".into());
        section.insert("addresses".into(), Value::from(addresses.to_vec()));
        section.insert("sentinel_master".into(), NAME.into());
        self.set("cluster.redis", section)
    }
}
