//! A NAS that hides its retransmissions: after a while it gives a packet up and sends the same request as a new one, from
//! another port and under another identifier, as some VPN servers do. It listens for answers to its newest packet alone.

use crate::{Client, Reply, Request};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One sign-in's worth of packets.
pub struct Restless {
    server: SocketAddr,
    secret: String,
    /// How long it stays with one packet.
    pub change_after: Duration,
    /// How long it tries in all.
    pub give_up_after: Duration,
    packets: u64,
}

impl Restless {
    /// One that changes after `change_after` and gives up after two minutes.
    pub fn new(server: SocketAddr, secret: &str, change_after: Duration) -> Self {
        let give_up_after = Duration::from_secs(120);
        Self { server, secret: secret.to_owned(), change_after, give_up_after, packets: 0 }
    }

    /// How many packets it has made.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Asks until one of its packets is answered while it is the newest.
    ///
    /// # Panics
    ///
    /// None is.
    pub fn ask(&mut self, request: &Request) -> Reply {
        let end = Instant::now() + self.give_up_after;
        while Instant::now() < end {
            let mut port = Client::new(self.server, &self.secret).impatient().patience(self.change_after);
            let sent = port.encode(request);
            self.packets += 1;
            if let Some(reply) = port.try_ask(&sent) {
                port.listen_out();
                return reply;
            }
        }
        panic!("{} did not answer {} packets", self.server, self.packets)
    }
}
