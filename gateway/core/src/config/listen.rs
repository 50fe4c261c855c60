//! `[listen]`: where packets come in.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, sync::Arc};

use super::{Client, networks::socket_address, report::Report, units::Size};

/// Where RADIUS packets come in.
///
/// ```toml
/// [listen]
/// authentication = ["192.0.2.5:1812", "[2001:db8:7::5]:1812"]
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawListen {
    /// UDP addresses that take Access-Requests, as `address:port`. The default is every address of the machine, on the
    /// assigned port 1812 and on 1645, which old VPN servers still use. An address that is missing here looks to the VPN
    /// server like a gateway that is down. Every listed address is a door: firewall the ports so that only your VPN
    /// servers reach them, or name the address of that network alone. Port 0 lets the system choose a port.
    #[schemars(extend("x-type" = "list of socket addresses", "x-reload" = "no"))]
    pub authentication: Vec<String>,
    /// Threads that receive and decide, each with its own sockets; 0 means one per core. Too few leave cores idle while
    /// packets are dropped; more than there are cores only adds switching.
    #[schemars(range(min = 0, max = 256), extend("x-reload" = "no"))]
    pub threads: u64,
    /// What the kernel may hold of packets that no thread has read yet, per socket. Too small, and the burst after a VPN
    /// server's restart is lost in the kernel, where only `/proc/net/udp` counts it; too large, and packets are read after
    /// their sender has given up. Above the system's `net.core.rmem_max` the system's limit holds.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "1GiB", "x-reload" = "no"))]
    pub receive_buffer: Size,
    /// What the kernel may hold of replies that are not yet sent, per socket. Too small, and replies are lost in a burst
    /// and asked for again; the default holds over a thousand of the largest replies. Limited by `net.core.wmem_max`.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "1GiB", "x-reload" = "no"))]
    pub send_buffer: Size,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            authentication: ["0.0.0.0:1812", "[::]:1812", "0.0.0.0:1645", "[::]:1645"].map(str::to_owned).to_vec(),
            threads: 0,
            receive_buffer: Size::mebibytes(4),
            send_buffer: Size::mebibytes(4),
        }
    }
}

/// Where packets come in, checked: at least one address, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// UDP addresses for Access-Requests.
    pub authentication: Vec<SocketAddr>,
    /// Threads; 0 means one per core.
    pub threads: usize,
    /// Octets asked of the kernel for each socket's receive buffer.
    pub receive_buffer: usize,
    /// Octets asked of the kernel for each socket's send buffer.
    pub send_buffer: usize,
}

impl RawListen {
    pub(super) fn check(&self, report: &mut Report) -> Listen {
        let mut authentication: Vec<SocketAddr> = Vec::new();
        for (index, text) in self.authentication.iter().enumerate() {
            let path = format!("listen.authentication[{index}]");
            let Some(address) = socket_address(report, &path, text) else { continue };
            if address.port() != 0 && authentication.contains(&address) {
                report.fault(path, format!("`{text}` is listed twice"), "Remove one of them.");
            }
            authentication.push(address);
        }
        if self.authentication.is_empty() {
            let remedy = "List at least one address, or leave the key out.";
            report.fault("listen.authentication", "the gateway would listen nowhere", remedy);
        }
        Listen {
            authentication,
            threads: report.number("listen.threads", self.threads, 0..=256),
            receive_buffer: buffer(report, "listen.receive_buffer", self.receive_buffer),
            send_buffer: buffer(report, "listen.send_buffer", self.send_buffer),
        }
    }
}

/// Warns of clients from which no packet can come, because nothing listens on their kind of addresses: each socket takes either,
/// `[::]` no IPv4. `path` is the list of addresses.
pub(super) fn warn_of_unheard(report: &mut Report, path: &str, addresses: &[SocketAddr], clients: &[Arc<Client>]) {
    if addresses.is_empty() {
        return;
    }
    let unheard = |net: &IpNet| !addresses.iter().any(|address| address.is_ipv4() == net.addr().is_ipv4());
    let found = clients.iter().find_map(|client| Some((client, client.networks.iter().find(|net| unheard(net))?)));
    if let Some((client, net)) = found {
        let (kind, all) = if net.addr().is_ipv4() { ("IPv4", "0.0.0.0") } else { ("IPv6", "[::]") };
        let problem = format!("nothing listens on {kind}, so that packets of `{}` ({net}) never come in", client.name);
        report.warn(path, problem, format!("Add an {kind} address with its port, or {all} for every one of them."));
    }
}

fn buffer(report: &mut Report, path: &str, size: Size) -> usize {
    report.within(path, &size, Size(64 << 10), Size::mebibytes(1024));
    usize::try_from(size.0).unwrap_or_default()
}
