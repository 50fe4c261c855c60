//! A Redis of Debian's, and nodes that share it.

use crate::{Setup, eventually};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use toml::{Table, Value};

/// A running Redis that keeps what it is told over a restart. Dropping it kills it.
pub struct Redis {
    folder: TempDir,
    child: Child,
    address: Ipv4Addr,
    port: u16,
}

impl Default for Redis {
    fn default() -> Self {
        Self::start()
    }
}

impl Redis {
    /// Starts one on an address of its own.
    ///
    /// # Panics
    ///
    /// There is no `redis-server`, or it does not answer.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let address = crate::setup::own_address();
        let port = 6379;
        let child = spawn(&folder, address, port);
        let redis = Self { folder, child, address, port };
        redis.answers();
        redis
    }

    fn answers(&self) {
        eventually("Redis answers", || TcpStream::connect((self.address, self.port)).ok().map(drop));
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.address, self.port))
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Starts it again after [`kill`](Self::kill).
    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder, self.address, self.port);
        self.answers();
    }

    /// A command of `redis-cli`, and what it prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let (host, port) = (self.address.to_string(), self.port.to_string());
        let output = Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(arguments).output();
        String::from_utf8_lossy(&output.expect("redis-cli is installed").stdout).trim().to_owned()
    }
}

fn spawn(folder: &TempDir, address: Ipv4Addr, port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", &address.to_string(), "--save", "", "--appendonly", "yes"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server can be run: install redis-server")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Setup {
    /// As the node `name` of a cluster that shares this Redis.
    #[must_use]
    pub fn sharing(self, redis: &Redis, name: &str) -> Self {
        self.sharing_at(redis.address(), name)
    }

    /// The same, with a Redis that is reached there.
    #[must_use]
    pub fn sharing_at(self, address: SocketAddr, name: &str) -> Self {
        let mut section = Table::new();
        section.insert("addresses".into(), Value::from(vec![address.to_string()]));
        self.set("cluster.store", "redis")
            .set("cluster.key_file", "cluster-key")
            .set("cluster.node_id", name)
            .set("cluster.redis", section)
            .secret("cluster-key", "the key that all nodes of a test's cluster have")
    }
}
