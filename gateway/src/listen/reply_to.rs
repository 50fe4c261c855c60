//! Where a reply goes. An exchange does not know what brought its packet: a datagram, a stream, or another node that could
//! not handle it.

use crate::actors::messages::Replied;
use actix::Recipient;
use gateway_core::exchange::duplicates::{End, Key};
use gateway_core::time::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where the one reply of an exchange goes, or the news that there is none.
#[derive(Debug)]
pub enum ReplyTo {
    /// To the listener whose socket brought the datagram: it answers from the address that was asked, and keeps the reply
    /// for duplicates.
    Udp {
        /// The listener, on this thread.
        listener: Recipient<Replied>,
        /// The RADIUS client's name.
        client: Arc<str>,
        /// Where to and from, and under which identifier.
        key: Key,
        /// The entry in the duplicate table.
        serial: u64,
    },
    /// To the connection that brought the packet. There are no retransmissions on a stream, so nothing is kept.
    Stream(mpsc::Sender<Arc<[u8]>>),
    /// To the node that received the packet, which answers under its own address.
    Peer {
        /// The link to it.
        link: mpsc::Sender<(u64, Option<Arc<[u8]>>)>,
        /// What the other node calls the packet.
        token: u64,
    },
}

impl ReplyTo {
    /// Ends the exchange: with a reply, or in silence. `not_before`: the soonest that a reply may be sent. A datagram's listener
    /// keeps it until then; whoever answers for a stream or a peer does so itself.
    pub fn finish(self, end: End, not_before: Option<Timestamp>) {
        let reply = match &end {
            End::Replied(reply) => Some(reply.clone()),
            End::Forgotten | End::Discarded => None,
        };
        match self {
            // Bounded by the permits: one for each request in progress.
            Self::Udp { listener, client, key, serial } => {
                listener.do_send(Replied { key, client, serial, end, not_before });
            }
            // A link that is full or gone has nobody who waits: the NAS or the peer asks again.
            Self::Stream(connection) => {
                if let Some(reply) = reply {
                    let _ = connection.try_send(reply);
                }
            }
            Self::Peer { link, token } => {
                let _ = link.try_send((token, reply));
            }
        }
    }
}
