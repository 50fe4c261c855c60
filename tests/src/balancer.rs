//! nginx's stream module as the UDP balancer before several nodes, as an operator of a cluster runs it.

use crate::eventually;
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
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let ip = own_address();
        let address = SocketAddr::from((ip, free_udp_port(ip)));
        let servers: String = nodes.iter().map(|node| format!("server {node};")).collect();
        let place = folder.path().display();
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
             daemon off; master_process off; pid {place}/pid; error_log {place}/log info;\n\
             worker_rlimit_nofile 65536; events {{ worker_connections 32768; }}\n\
             stream {{ upstream nodes {{ {servers} }}\n\
             server {{ listen {address} udp; proxy_pass nodes; proxy_requests 1; proxy_timeout 120s; }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("the folder is ours");
        let child = Command::new("nginx")
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
        eventually("nginx listens", || {
            if let Some(status) = balancer.child.try_wait().expect("it is our child") {
                panic!("nginx ended with {status}:\n{}", balancer.log());
            }
            std::net::UdpSocket::bind(address).is_err().then_some(())
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
