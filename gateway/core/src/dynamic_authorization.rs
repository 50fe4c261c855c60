//! Dynamic authorization (RFC 5176), where Orthrus is the client: a Disconnect-Request or CoA-Request is made from a session
//! as its NAS reported it, and what comes back is judged. Nothing of it is taken from the network unasked: a packet that
//! answers no request of ours means nothing.

use crate::accounting::sessions::Session;
use crate::config::SessionAttribute;
use crate::radius::{Attributes, Code, Packet, SharedSecret, TooLong, attribute, encode_request, verify_reply};
use crate::time::Timestamp;
use std::net::IpAddr;

/// What a NAS is asked to do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// End it (Disconnect-Request).
    Disconnect,
    /// Change what it may do (CoA-Request).
    Change,
}

impl Order {
    /// The code of the request.
    pub const fn code(self) -> Code {
        match self {
            Self::Disconnect => Code::DISCONNECT_REQUEST,
            Self::Change => Code::COA_REQUEST,
        }
    }

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::Change => "coa",
        }
    }

    const fn answers(self) -> (Code, Code) {
        match self {
            Self::Disconnect => (Code::DISCONNECT_ACK, Code::DISCONNECT_NAK),
            Self::Change => (Code::COA_ACK, Code::COA_NAK),
        }
    }
}

/// Writes the request: Message-Authenticator first, what names the session, `changes`, and Event-Timestamp, by which the NAS
/// tells a replay (RFC 5176 §6.3). Retransmissions must be these octets again (RFC 5176 §2.3), so `now` is the time of the first.
///
/// # Errors
///
/// The packet would be longer than 4096 octets, or a value does not fit an attribute.
pub fn encode(
    order: Order,
    identifier: u8,
    session: &Session,
    send: &[SessionAttribute],
    changes: &Attributes,
    secret: &SharedSecret,
    now: Timestamp,
) -> Result<Vec<u8>, TooLong> {
    let mut attributes = Attributes::new();
    for kind in send {
        identify(&mut attributes, session, *kind)?;
    }
    attributes.append(changes);
    attributes.push_integer(attribute::EVENT_TIMESTAMP, u32::try_from(now.as_secs()).unwrap_or(u32::MAX));
    encode_request(order.code(), identifier, [0; 16], &attributes, secret, true)
}

/// Attributes that a CoA-Request must not change: what names the session or the NAS, which a change cannot be (RFC 5176 §3.6, note 1), and what is
/// the packet's own.
const NO_CHANGES: [u8; 18] = [
    attribute::USER_NAME,
    attribute::NAS_IP_ADDRESS,
    attribute::NAS_PORT,
    attribute::FRAMED_IP_ADDRESS,
    attribute::STATE,
    attribute::CALLED_STATION_ID,
    attribute::CALLING_STATION_ID,
    attribute::NAS_IDENTIFIER,
    attribute::PROXY_STATE,
    attribute::ACCT_SESSION_ID,
    attribute::ACCT_MULTI_SESSION_ID,
    attribute::EVENT_TIMESTAMP,
    attribute::EAP_MESSAGE,
    attribute::MESSAGE_AUTHENTICATOR,
    attribute::NAS_PORT_ID,
    attribute::CHARGEABLE_USER_IDENTITY,
    attribute::NAS_IPV6_ADDRESS,
    attribute::FRAMED_IPV6_PREFIX,
];

/// Authorize-Only, a value of Service-Type.
const AUTHORIZE_ONLY: [u8; 4] = [0, 0, 0, 17];

/// Checks whether a NAS may be asked for `changes`.
///
/// # Errors
///
/// The first attribute that RFC 5176 forbids in a CoA-Request that changes a session, in words.
pub fn check_changes(changes: &Attributes) -> Result<(), String> {
    for attribute in changes.iter() {
        if NO_CHANGES.contains(&attribute.kind) {
            return Err(format!(
                "attribute {} names the session or belongs to the packet itself: a CoA-Request cannot change it (RFC 5176 §3.6)",
                attribute.kind
            ));
        }
        if attribute.kind == attribute::SERVICE_TYPE && attribute.value == AUTHORIZE_ONLY {
            return Err("Service-Type = Authorize-Only has the NAS ask again instead of changing the session (RFC 5176 §3.2), which is \
                        not supported"
                .to_owned());
        }
    }
    Ok(())
}

/// Adds what the NAS reported; what it did not report is left out.
fn identify(attributes: &mut Attributes, session: &Session, kind: SessionAttribute) -> Result<(), TooLong> {
    let octets = |attributes: &mut Attributes, kind: u8, value: Option<&[u8]>| match value {
        Some(value) if !value.is_empty() => attributes.push(kind, value),
        _ => Ok(()),
    };
    match kind {
        SessionAttribute::UserName => octets(attributes, attribute::USER_NAME, Some(&session.user_name)),
        SessionAttribute::NasIpAddress => match session.nas_ip {
            Some(IpAddr::V4(address)) => attributes.push(attribute::NAS_IP_ADDRESS, &address.octets()),
            Some(IpAddr::V6(address)) => attributes.push(attribute::NAS_IPV6_ADDRESS, &address.octets()),
            None => Ok(()),
        },
        SessionAttribute::NasIdentifier => {
            octets(attributes, attribute::NAS_IDENTIFIER, session.nas_identifier.as_deref())
        }
        SessionAttribute::NasPort => {
            if let Some(port) = session.nas_port {
                attributes.push_integer(attribute::NAS_PORT, port);
            }
            Ok(())
        }
        SessionAttribute::NasPortId => octets(attributes, attribute::NAS_PORT_ID, session.nas_port_id.as_deref()),
        SessionAttribute::AcctSessionId => {
            octets(attributes, attribute::ACCT_SESSION_ID, Some(&session.acct_session_id))
        }
        SessionAttribute::AcctMultiSessionId => {
            octets(attributes, attribute::ACCT_MULTI_SESSION_ID, session.acct_multi_session_id.as_deref())
        }
        SessionAttribute::CallingStationId => {
            octets(attributes, attribute::CALLING_STATION_ID, session.calling_station_id.as_deref())
        }
        SessionAttribute::CalledStationId => {
            octets(attributes, attribute::CALLED_STATION_ID, session.called_station_id.as_deref())
        }
        SessionAttribute::FramedIpAddress => match session.framed_ip {
            Some(address) => attributes.push(attribute::FRAMED_IP_ADDRESS, &address.octets()),
            None => Ok(()),
        },
        SessionAttribute::FramedIpv6Prefix => {
            octets(attributes, attribute::FRAMED_IPV6_PREFIX, session.framed_ipv6_prefix.as_deref())
        }
        SessionAttribute::Class => octets(attributes, attribute::CLASS, session.class.as_deref()),
    }
}

/// What a NAS answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did so.
    Ack,
    /// It refused.
    Nak {
        /// Error-Cause (RFC 5176 §3.5), where it says why.
        cause: Option<u32>,
    },
}

/// Why octets are no answer to a request. They are dropped, and the answer is waited for: anybody can send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No RADIUS, another identifier, or a code that does not answer this request.
    #[error("it does not answer this request")]
    Stranger,
    /// A proof is wrong.
    #[error("its authenticator is wrong: compare the secrets of both sides, or somebody forges answers")]
    Forged,
}

/// Judges what came from the NAS: identifier, code, Response Authenticator, and Message-Authenticator where there is one, as
/// RFC 5176 §3.4 leaves that to the NAS.
///
/// # Errors
///
/// It does not count as an answer.
pub fn judge(order: Order, request: &[u8], octets: &[u8], secret: &SharedSecret) -> Result<Answer, NoAnswer> {
    let request = Packet::parse(request).map_err(|_| NoAnswer::Stranger)?;
    let reply = Packet::parse(octets).map_err(|_| NoAnswer::Stranger)?;
    let (ack, nak) = order.answers();
    if reply.identifier() != request.identifier() || (reply.code() != ack && reply.code() != nak) {
        return Err(NoAnswer::Stranger);
    }
    // RFC 5176 §3.4 computes the Message-Authenticator of an answer with the Request Authenticator, as `verify_reply` does.
    verify_reply(&reply, request.authenticator(), secret).map_err(|_| NoAnswer::Forged)?;
    if reply.code() == ack {
        return Ok(Answer::Ack);
    }
    let cause = reply.first(attribute::ERROR_CAUSE).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes);
    Ok(Answer::Nak { cause })
}

/// The text of an Error-Cause (RFC 5176 §3.5 and the IANA registry), and what it means for the operator.
pub const fn error_cause(cause: u32) -> Option<&'static str> {
    Some(match cause {
        201 => "Residual Session Context Removed",
        202 => "Invalid EAP Packet (Ignored)",
        401 => "Unsupported Attribute: shorten send_attributes, or leave the attribute out",
        402 => {
            "Missing Attribute: the NAS wants an attribute that it did not report, or that send_attributes leaves out"
        }
        403 => "NAS Identification Mismatch: the NAS does not call itself as it did in accounting",
        404 => "Invalid Request",
        405 => "Unsupported Service",
        406 => "Unsupported Extension: the NAS does not do this",
        407 => "Invalid Attribute Value",
        501 => "Administratively Prohibited: the NAS does not let Orthrus do this",
        502 => "Request Not Routable (Proxy)",
        503 => "Session Context Not Found: the session has ended already",
        504 => "Session Context Not Removable",
        505 => "Other Proxy Processing Error",
        506 => "Resources Unavailable",
        507 => "Request Initiated",
        508 => "Multiple Session Selection Unsupported",
        509 => "Location-Info-Required",
        601 => "Response Too Big",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{Proof, encode_reply};
    use crate::secret::Secret;

    fn shared(secret: &[u8]) -> SharedSecret {
        SharedSecret::new(Secret::new(secret.to_vec()))
    }

    fn session() -> Session {
        Session {
            client: "vpn".into(),
            nas: [192, 0, 2, 1].into(),
            user: "alice".into(),
            user_name: b"Alice"[..].into(),
            acct_session_id: b"0001"[..].into(),
            acct_multi_session_id: None,
            nas_identifier: Some(b"gw"[..].into()),
            nas_ip: Some([192, 0, 2, 1].into()),
            nas_port: Some(7),
            nas_port_id: None,
            framed_ip: Some([10, 0, 0, 9].into()),
            framed_ipv6_prefix: None,
            calling_station_id: Some(b"198.51.100.7"[..].into()),
            called_station_id: None,
            class: Some(b"staff"[..].into()),
            started: Timestamp::from_secs(1),
            last_seen: Timestamp::from_secs(2),
            input_octets: 0,
            output_octets: 0,
            session_time: 0,
        }
    }

    fn made(order: Order, changes: &Attributes) -> Vec<u8> {
        let (now, secret) = (Timestamp::from_secs(1_700_000_000), shared(b"secret"));
        encode(order, 9, &session(), SessionAttribute::DEFAULT, changes, &secret, now).unwrap()
    }

    #[test]
    fn a_request_names_the_session_and_its_time_and_proves_itself() {
        let octets = made(Order::Disconnect, &Attributes::new());
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!((packet.code(), packet.identifier()), (Code::DISCONNECT_REQUEST, 9));
        assert!(packet.message_authenticator_is_first());
        assert_eq!(packet.message_authenticator(&shared(b"secret")), Proof::Valid);
        assert_eq!(packet.authenticator(), &shared(b"secret").digest_of_request(&packet));
        assert_eq!(packet.first(attribute::USER_NAME), Some(&b"Alice"[..]));
        assert_eq!(packet.first(attribute::ACCT_SESSION_ID), Some(&b"0001"[..]));
        assert_eq!(packet.first(attribute::NAS_IDENTIFIER), Some(&b"gw"[..]));
        assert_eq!(packet.first(attribute::EVENT_TIMESTAMP), Some(&1_700_000_000_u32.to_be_bytes()[..]));
        assert_eq!(packet.first(attribute::NAS_PORT_ID), None, "what was not reported is not made up");
        assert_eq!(octets, made(Order::Disconnect, &Attributes::new()), "a retransmission is the same octets");
    }

    #[test]
    fn forbidden_changes_are_refused() {
        let check = |kind: u8, value: &[u8]| {
            let mut changes = Attributes::new();
            changes.push_integer(attribute::SESSION_TIMEOUT, 60);
            changes.push(kind, value).unwrap();
            check_changes(&changes)
        };
        for kind in NO_CHANGES {
            assert!(
                check(kind, &[0, 0, 0, 1]).is_err_and(|text| text.contains(&format!("attribute {kind} "))),
                "{kind}"
            );
        }
        assert!(check(attribute::SERVICE_TYPE, &AUTHORIZE_ONLY).is_err());
        assert_eq!(check(attribute::SERVICE_TYPE, &[0, 0, 0, 2]), Ok(()));
        assert_eq!(check(attribute::FILTER_ID, b"quarantine"), Ok(()));
    }

    #[test]
    fn a_change_carries_its_attributes() {
        let mut changes = Attributes::new();
        changes.push_integer(attribute::SESSION_TIMEOUT, 60);
        let octets = made(Order::Change, &changes);
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!(packet.code(), Code::COA_REQUEST);
        assert_eq!(packet.first(attribute::SESSION_TIMEOUT), Some(&[0, 0, 0, 60][..]));
    }

    #[test]
    fn only_a_proved_answer_to_this_request_counts() {
        let octets = made(Order::Disconnect, &Attributes::new());
        let request = Packet::parse(&octets).unwrap();
        let secret = shared(b"secret");
        let reply = |code, secret: &SharedSecret| encode_reply(code, &request, &Attributes::new(), secret).unwrap();
        let judged = |reply: &[u8]| judge(Order::Disconnect, &octets, reply, &secret);
        let ack = reply(Code::DISCONNECT_ACK, &secret);
        assert_eq!(judged(&ack), Ok(Answer::Ack));
        assert_eq!(judged(&reply(Code::DISCONNECT_NAK, &secret)), Ok(Answer::Nak { cause: None }));
        assert_eq!(judged(&reply(Code::COA_ACK, &secret)), Err(NoAnswer::Stranger));
        assert_eq!(judged(&reply(Code::DISCONNECT_ACK, &shared(b"other"))), Err(NoAnswer::Forged));
        assert_eq!(judged(&ack[..19]), Err(NoAnswer::Stranger));
        for place in (0..ack.len()).filter(|place| ![2, 3].contains(place)) {
            let mut changed = ack.clone();
            changed[place] ^= 1;
            assert!(judged(&changed).is_err(), "octet {place}");
        }
        let mut why = Attributes::new();
        why.push_integer(attribute::ERROR_CAUSE, 503);
        let nak = encode_reply(Code::DISCONNECT_NAK, &request, &why, &secret).unwrap();
        assert_eq!(judged(&nak), Ok(Answer::Nak { cause: Some(503) }));
        assert!(error_cause(503).unwrap().contains("ended already"));
        assert_eq!(error_cause(999), None);
    }
}
