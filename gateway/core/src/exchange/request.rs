//! One Access-Request, read once at the door into what the exchange works with.

use crate::attempt::record::{Marks, PacketDigest};
use crate::config::{Client, SELF_CLIENT};
use crate::factor::Offer;
use crate::factor::chap::Chap;
use crate::factor::mschap::{self, MsChap2};
use crate::radius::{Attributes, Packet, SharedSecret, attribute, reveal_password};
use crate::reason::Reason;
use crate::time::Timestamp;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;

/// Code, identifier, length and authenticator (RFC 2865 §3).
const HEADER: usize = 20;

/// What the exchange knows of its packet. The packet's octets stay at the edge, which encodes the reply.
#[derive(Debug)]
pub struct Request {
    /// The RADIUS client that sent it.
    pub client: Arc<Client>,
    /// Where it came from.
    pub source: SocketAddr,
    /// Names this packet and no other.
    pub digest: PacketDigest,
    /// User-Name as sent; empty if it is missing.
    pub user_name: Vec<u8>,
    /// The first-factor proof, or the code; `None` if the packet has none that we can read.
    pub offer: Option<Offer>,
    /// State, as sent.
    pub state: Option<Vec<u8>>,
    /// Calling-Station-Id: which device or address the user comes from.
    pub station: Option<Box<[u8]>>,
    /// NAS-Port: which session at the NAS.
    pub port: Option<u32>,
    /// What else tells its session from others of the user: kind, length and value of each; empty where the NAS says nothing.
    pub marks: Box<[u8]>,
    /// Everything that the packet says, where a policy looks at it. It says it of itself: nothing here is proved.
    pub attributes: Option<Attributes>,
    /// How many sessions the user has open, where `max_sessions` asks for it.
    pub sessions: usize,
    /// An operator has locked the user.
    pub locked: bool,
    /// What its Proxy-State takes in the reply, in octets.
    pub proxy_state: usize,
    /// Why it is refused whatever it says: a fault of its attributes, or a proof that nobody here can read.
    pub refusal: Option<Reason>,
    /// A right Message-Authenticator showed that it comes from the client.
    pub signed: bool,
    /// It is the node's own, to see that it works: nobody is asked for a second factor.
    pub synthetic: bool,
    /// When it arrived.
    pub received: Timestamp,
    /// On which thread of this node.
    pub thread: u16,
}

impl Request {
    /// Reads `packet`, which is proved to come from `client` under `secret` as far as the client's rules demand.
    pub fn read(
        packet: &Packet<'_>,
        digest: PacketDigest,
        client: Arc<Client>,
        (secret, signed): (&SharedSecret, bool),
        source: SocketAddr,
        thread: u16,
        received: Timestamp,
    ) -> Self {
        let port = packet.first(attribute::NAS_PORT).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
        let user_name = packet.first(attribute::USER_NAME).map(<[u8]>::to_vec).unwrap_or_default();
        let spoken = mschap::is_spoken(packet);
        let offer = match packet.first(attribute::USER_PASSWORD) {
            Some(hidden) => Some(Offer::Pap(reveal_password(hidden, secret, packet.authenticator()))),
            None if spoken => MsChap2::read(packet, &user_name).map(|proof| Offer::MsChap2(Box::new(proof))),
            None => Chap::read(packet).map(|proof| Offer::Chap(Box::new(proof))),
        };
        // A client that is trusted with the first factor is not thereby trusted with a proof that nobody here has read: its NAS
        // would take the accept for the end of an EAP or ARAP conversation (RFC 3579 §2.1, RFC 2869 §2.2).
        let conversation = [attribute::EAP_MESSAGE, attribute::ARAP_PASSWORD, attribute::CHAP_PASSWORD];
        let unread = spoken || conversation.into_iter().any(|kind| packet.first(kind).is_some());
        let posing = packet.all(attribute::NAS_IDENTIFIER).any(|name| name == SELF_CLIENT.as_bytes());
        let refusal = if posing && *client.name != *SELF_CLIENT {
            Some(Reason::SelfSignInElsewhere)
        } else {
            (unread && offer.is_none()).then_some(Reason::UnsupportedProtocol)
        };
        Self {
            digest,
            client,
            source,
            user_name,
            offer,
            state: packet.first(attribute::STATE).map(<[u8]>::to_vec),
            station: packet.first(attribute::CALLING_STATION_ID).filter(|station| !station.is_empty()).map(Into::into),
            port,
            marks: marks(packet),
            attributes: None,
            sessions: 0,
            locked: false,
            proxy_state: packet.all(attribute::PROXY_STATE).map(|value| value.len() + 2).sum(),
            signed,
            refusal,
            synthetic: false,
            received,
            thread,
        }
    }

    /// Refuses it for a fault of its attributes: nothing that they say counts, nor is it sent to the node that its State names.
    pub fn refuse(&mut self, reason: Option<Reason>) {
        if reason.is_some() {
            (self.refusal, self.offer, self.state) = (reason, None, None);
        }
    }
}

/// What vendors say of a session, under numbers of our own from 200 on: vendor, attribute, and what its text begins with.
const VENDOR_MARKS: [(u8, u32, u8, &[u8]); 5] = [
    // Cisco-AVPair, which names its parts.
    (200, 9, 1, b"audit-session-id="),
    (201, 9, 1, b"ip:source-ip="),
    // Fortinet-Client-IP-Address, Fortinet-Client-IPv6-Address, PaloAlto-Client-Source-IP.
    (202, 12_356, 2, b""),
    (203, 12_356, 4, b""),
    (204, 25_461, 7, b""),
];

/// What tells sessions of one user apart, beside NAS-Port and Calling-Station-Id: kind, length and value of each. Nothing is
/// allocated where there is none.
fn marks(packet: &Packet<'_>) -> Box<[u8]> {
    let mut marks = Vec::new();
    let mut keep = |kind: u8, value: &[u8]| {
        if let Ok(length) = u8::try_from(value.len()) {
            marks.extend([kind, length]);
            marks.extend_from_slice(value);
        }
    };
    let mut vendors = false;
    let mut seen = 0_u8;
    for attribute in packet.attributes() {
        let bit = match attribute.kind {
            attribute::ACCT_SESSION_ID => 1,
            attribute::ACCT_MULTI_SESSION_ID => 2,
            attribute::TUNNEL_CLIENT_ENDPOINT => 4,
            attribute::NAS_PORT_ID => 8,
            attribute::VENDOR_SPECIFIC => {
                vendors = true;
                continue;
            }
            _ => continue,
        };
        // The first of each counts.
        if seen & bit == 0 {
            seen |= bit;
            keep(attribute.kind, attribute.value);
        }
    }
    if vendors {
        for (kind, vendor, of, prefix) in VENDOR_MARKS {
            if let Some(value) = packet.vendor(vendor, of).find(|value| value.starts_with(prefix)) {
                keep(kind, value);
            }
        }
    }
    marks.into_boxed_slice()
}

impl Request {
    /// What the packet says of its session, as digests: equal ones are of equal values.
    pub fn session_marks(&self) -> Marks {
        session_marks(&self.marks)
    }

    /// Keeps what the packet says, for policies that look at it.
    pub fn keep_attributes(&mut self, packet: &Packet<'_>) {
        self.attributes = packet.bytes().get(HEADER..).and_then(Attributes::from_encoded);
    }
}

/// Over client, address and all octets: the same packet has the same digest on every node, whose own addresses differ. The port
/// is not in it, because a balancer may give each datagram one of its own; the Request Authenticator, of 16 random octets, tells
/// packets of one address apart.
pub fn digest(packet: &Packet<'_>, client: &Client, source: SocketAddr) -> PacketDigest {
    let mut hash = Sha256::new();
    match source.ip() {
        std::net::IpAddr::V4(ip) => hash.update(ip.to_ipv6_mapped().octets()),
        std::net::IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    hash.update(client.name.as_bytes());
    hash.update([0]);
    hash.update(packet.bytes());
    let mut out = [0; 16];
    out.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    PacketDigest(out)
}

/// Digests of marks that are written one after another, each as kind, length and value.
pub fn session_marks(mut rest: &[u8]) -> Marks {
    let mut marks = Vec::new();
    while let Some(([kind, length], more)) = rest.split_first_chunk::<2>() {
        let Some((value, more)) = more.split_at_checked(usize::from(*length)) else { break };
        let digest = Sha256::new().chain_update([*kind]).chain_update(value).finalize();
        let mut mark = [0; 8];
        mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        marks.push((*kind, mark));
        rest = more;
    }
    Marks(marks)
}
