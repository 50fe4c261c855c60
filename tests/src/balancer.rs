//! nginx's stream module as the UDP balancer before several nodes, as an operator of a cluster runs it.

use crate::eventually;
use crate::namespace::Namespace;
use crate::setup::{free_udp_port, own_address};
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running nginx that sends each datagram to the next node. Dropping it kills it.
///
/// It keeps two connections for each datagram until `proxy_timeout`, so that the usual 1,024 are soon used up.
///
/// All is on loopback: what the nodes see as the NAS's address is 127.0.0.1 without `transparent`, and each datagram comes
/// from a port of its own, as with `proxy_bind $remote_addr transparent`.
pub struct Balancer {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Balancer {
    /// Starts one before these nodes, and waits until it listens.
    ///
    /// # Panics
    ///
    /// nginx is not installed, or does not take the configuration.
    pub fn start(nodes: &[SocketAddr]) -> Self {
        let ip = own_address();
        Self::run(Command::new("nginx"), SocketAddr::from((ip, free_udp_port(ip))), nodes, "")
    }

    /// Starts one in a namespace of its own, whose packets to the nodes have the NAS's address as their source.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn transparent(namespace: &Namespace, address: SocketAddr, nodes: &[SocketAddr]) -> Self {
        Self::run(namespace.command("nginx"), address, nodes, "user root; ")
    }

    fn run(mut command: Command, address: SocketAddr, nodes: &[SocketAddr], user: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let servers: String = nodes.iter().map(|node| format!("server {node};")).collect();
        let place = folder.path().display();
        let bind = if user.is_empty() { "" } else { "proxy_bind $remote_addr transparent; " };
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n{user}\
             daemon off; master_process off; pid {place}/pid; error_log {place}/log info;\n\
             worker_rlimit_nofile 65536; events {{ worker_connections 32768; }}\n\
             stream {{ upstream nodes {{ {servers} }}\n\
             server {{ listen {address} udp; {bind}proxy_pass nodes; proxy_requests 1; proxy_timeout 120s; }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("the folder is ours");
        let child = command
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.path().join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}; tests/run installs it (Debian: nginx-light)"));
        let mut balancer = Self { folder, child, address };
        eventually("nginx is there", || {
            if let Some(status) = balancer.child.try_wait().expect("it is our child") {
                panic!("nginx ended with {status}:\n{}", balancer.log());
            }
            balancer.log().contains("start worker").then_some(()).or_else(|| {
                // Without a master it says nothing when it is there.
                std::fs::read_to_string(balancer.folder.path().join("pid")).is_ok_and(|id| !id.is_empty()).then_some(())
            })
        });
        balancer
    }

    /// Where NASes send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
