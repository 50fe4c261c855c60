//! What an Accounting-Request says (RFC 2866 §4.1), checked: who sent it, which record it is, and when it happened.
//!
//! # Which record it is
//!
//! A NAS repeats a record until it is answered, and with Acct-Delay-Time in it the repeat is another packet (RFC 2866 §5.2). So a
//! record is named by a SHA-256 over RADIUS client, Acct-Session-Id, Acct-Status-Type and the time of the event:
//!
//! - Event-Timestamp (RFC 2869 §5.3), where the NAS sends it: it does not change when the record is repeated.
//! - Otherwise the time of receipt less Acct-Delay-Time. Two packets of one record give times that differ by what they spent
//!   on the way and by a second of rounding, so that the time is cut to [`STEP`]s of eight seconds and a record is the
//!   same as one in the step before or after. Interim-Updates are at least 60 s apart (RFC 2869 §2.1) and stay different.
//! - Without either, nothing tells a repeat but its octets: a packet with the same Request Authenticator, which is a digest
//!   over all of it, is the same record ([`super::recent`]).

use crate::config::Client;
use crate::radius::{Code, Packet, Proof, attribute};
use crate::reason::Reason;
use crate::secret;
use crate::time::Timestamp;
use sha2::{Digest, Sha256};

use super::sessions::Session;
use crate::identity::Rules;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Seconds of event time that are one, where the NAS sends no Event-Timestamp.
const STEP: u64 = 8;

/// 1 January 2000: a clock before it was never set.
const MILLENNIUM: u64 = 946_684_800;

/// How far a NAS's clock may be ahead, in seconds, before its time is called impossible.
const AHEAD: u64 = 300;

/// The longest Acct-Delay-Time that is believed, in seconds.
const LONGEST_DELAY: u32 = 86_400;

/// What happened (RFC 2866 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A session began.
    Start,
    /// A session ended.
    Stop,
    /// A session goes on (RFC 2869 §2.1).
    Interim,
    /// The NAS has started.
    On,
    /// The NAS is about to stop.
    Off,
    /// Something else, of tunnels as a rule (RFC 2867).
    Other(u32),
}

impl Status {
    fn read(number: u32) -> Self {
        match number {
            1 => Self::Start,
            2 => Self::Stop,
            3 => Self::Interim,
            7 => Self::On,
            8 => Self::Off,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::Interim => 3,
            Self::On => 7,
            Self::Off => 8,
            Self::Other(other) => other,
        }
    }

    /// The word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Interim => "interim",
            Self::On => "on",
            Self::Off => "off",
            Self::Other(_) => "other",
        }
    }
}

/// What is wrong with the time of a record. It is written down all the same: a NAS with a wrong clock still serves people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// More than five minutes ahead of this node's clock.
    Future,
    /// Before the year 2000.
    Before2000,
    /// An Acct-Delay-Time of more than a day.
    Delay,
}

impl Impossible {
    /// The word in records and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Future => "future",
            Self::Before2000 => "before_2000",
            Self::Delay => "delay",
        }
    }
}

/// A record's name: the first half of the SHA-256.
pub type RecordId = u128;

/// An Accounting-Request, checked.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The packet that says it.
    pub packet: Packet<'a>,
    /// Which of the client's secrets signed it.
    pub secret: usize,
    /// What happened.
    pub status: Status,
    /// Acct-Session-Id; empty where a NAS leaves it out of Accounting-On and -Off.
    pub acct_session_id: &'a [u8],
    /// When it happened, as the NAS says or as the delay tells.
    pub at: Timestamp,
    /// What is wrong with that time.
    pub impossible: Option<Impossible>,
    /// Which record it is.
    pub id: RecordId,
    /// What the same record may be called too, where the NAS sends no Event-Timestamp: the steps before and after.
    pub near: Option<[RecordId; 2]>,
    /// The Request Authenticator: the same for the same octets.
    pub octets: u128,
}

impl<'a> Record<'a> {
    /// Reads and checks an Accounting-Request.
    ///
    /// # Errors
    ///
    /// Why it gets no answer.
    pub fn read(packet: Packet<'a>, client: &Client, received: Timestamp) -> Result<Self, Reason> {
        if packet.code() != Code::ACCOUNTING_REQUEST {
            return Err(Reason::NotAccounting);
        }
        if !client.accounting {
            return Err(Reason::AccountingOff);
        }
        let secret = signed_by(&packet, client)?;
        let status = Status::read(integer(&packet, attribute::ACCT_STATUS_TYPE).ok_or(Reason::NoStatusType)?);
        let acct_session_id = packet.first(attribute::ACCT_SESSION_ID).unwrap_or_default();
        if acct_session_id.is_empty() && !matches!(status, Status::On | Status::Off) {
            return Err(Reason::NoSessionId);
        }
        let delay = integer(&packet, attribute::ACCT_DELAY_TIME).unwrap_or_default();
        let stamp = integer(&packet, attribute::EVENT_TIMESTAMP).map(u64::from);
        let at = match stamp {
            Some(stamp) => Timestamp::from_secs(stamp),
            None => received.before(Duration::from_secs(delay.into())),
        };
        let impossible = if at.as_secs() > received.as_secs().saturating_add(AHEAD) {
            Some(Impossible::Future)
        } else if at.as_secs() < MILLENNIUM {
            Some(Impossible::Before2000)
        } else if delay > LONGEST_DELAY {
            Some(Impossible::Delay)
        } else {
            None
        };
        let name = |time: u64| name(&client.name, acct_session_id, status, stamp.is_some(), time);
        let (id, near) = match stamp {
            Some(stamp) => (name(stamp), None),
            None => {
                let step = at.as_secs() / STEP;
                (name(step), Some([name(step.saturating_sub(1)), name(step.saturating_add(1))]))
            }
        };
        let octets = u128::from_be_bytes(*packet.authenticator());
        Ok(Self { packet, secret, status, acct_session_id, at, impossible, id, near, octets })
    }

    /// The session that a Start or an Interim-Update tells of.
    pub fn session(&self, client: &Arc<str>, nas: IpAddr, rules: &Rules, received: Timestamp) -> Session {
        let packet = &self.packet;
        let of = |kind: u8| packet.first(kind).map(Box::from);
        let number = |kind: u8| integer(packet, kind);
        let wide = |low: u8, high: u8| {
            u64::from(number(high).unwrap_or_default()) << 32 | u64::from(number(low).unwrap_or_default())
        };
        let user_name = packet.first(attribute::USER_NAME).unwrap_or_default();
        let user = match rules.read(user_name) {
            Ok(identity) => identity.canonical.into(),
            Err(_) => String::from_utf8_lossy(user_name).into(),
        };
        let session_time = number(attribute::ACCT_SESSION_TIME).unwrap_or_default();
        let at = if self.impossible.is_some() { received } else { self.at };
        Session {
            client: client.clone(),
            nas,
            user,
            user_name: user_name.into(),
            acct_session_id: self.acct_session_id.into(),
            acct_multi_session_id: of(attribute::ACCT_MULTI_SESSION_ID),
            nas_identifier: of(attribute::NAS_IDENTIFIER),
            nas_ip: nas_ip(packet),
            nas_port: number(attribute::NAS_PORT),
            nas_port_id: of(attribute::NAS_PORT_ID),
            framed_ip: ipv4(packet, attribute::FRAMED_IP_ADDRESS),
            framed_ipv6_prefix: of(attribute::FRAMED_IPV6_PREFIX),
            calling_station_id: of(attribute::CALLING_STATION_ID),
            called_station_id: of(attribute::CALLED_STATION_ID),
            class: of(attribute::CLASS),
            started: at.before(Duration::from_secs(session_time.into())),
            last_seen: received,
            input_octets: wide(attribute::ACCT_INPUT_OCTETS, attribute::ACCT_INPUT_GIGAWORDS),
            output_octets: wide(attribute::ACCT_OUTPUT_OCTETS, attribute::ACCT_OUTPUT_GIGAWORDS),
            session_time,
        }
    }
}

/// NAS-IP-Address or NAS-IPv6-Address.
pub fn nas_ip(packet: &Packet<'_>) -> Option<IpAddr> {
    let six = || {
        let octets: [u8; 16] = packet.first(attribute::NAS_IPV6_ADDRESS)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    ipv4(packet, attribute::NAS_IP_ADDRESS).map(IpAddr::from).or_else(six)
}

fn ipv4(packet: &Packet<'_>, kind: u8) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = packet.first(kind)?.try_into().ok()?;
    Some(octets.into())
}

fn integer(packet: &Packet<'_>, kind: u8) -> Option<u32> {
    packet.first(kind).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes)
}

/// Which secret the Request Authenticator was made with (RFC 2866 §3): MD5 over the packet with sixteen zero octets in its
/// place, and the secret. A Message-Authenticator, which is not required here, must be right too if there is one.
fn signed_by(packet: &Packet<'_>, client: &Client) -> Result<usize, Reason> {
    let found = client
        .secrets
        .iter()
        .position(|secret| secret::equal(&secret.digest_of_request(packet), packet.authenticator()));
    let found = found.ok_or(Reason::BadAccountingAuthenticator)?;
    match client.secrets.get(found).map(|secret| packet.message_authenticator(secret)) {
        Some(Proof::Valid | Proof::Absent) => Ok(found),
        Some(Proof::Wrong) | None => Err(Reason::BadMessageAuthenticator),
    }
}

fn name(client: &str, acct_session_id: &[u8], status: Status, stamped: bool, time: u64) -> RecordId {
    let mut hash = Sha256::new();
    // Lengths before what varies, so that no two sets of parts are one text.
    hash.update((client.len() as u64).to_be_bytes());
    hash.update(client);
    hash.update((acct_session_id.len() as u64).to_be_bytes());
    hash.update(acct_session_id);
    hash.update(status.number().to_be_bytes());
    hash.update([u8::from(stamped)]);
    hash.update(time.to_be_bytes());
    hash.finalize().iter().take(16).fold(0, |id, octet| id << 8 | u128::from(*octet))
}
