//! Is a reply what it must be? Nothing counts as served that was not proved and complete.

use crate::mschap;
use crate::people::{CLASS, FILTER_ID};
use crate::scenario::Expected;
use gateway_core::radius::{Code, Packet, ReplyFault, SharedSecret, attribute, verify_reply};

/// Why a request does not count as served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Malformed,
    ResponseAuthenticator,
    MessageAuthenticator,
    MessageAuthenticatorMissing,
    UnexpectedAccept,
    UnexpectedReject,
    UnexpectedChallenge,
    UnexpectedCode,
    AttributeMissing,
    StateMissing,
    /// No answer to any of the tries.
    TimeOut,
    /// The socket refused to send: nobody listens, as a rule.
    Send,
    /// At a fixed rate: every user or identifier was busy when a sign-in was due.
    NotStarted,
}

impl Fault {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::ResponseAuthenticator => "response authenticator",
            Self::MessageAuthenticator => "message authenticator",
            Self::MessageAuthenticatorMissing => "message authenticator missing",
            Self::UnexpectedAccept => "unexpected accept",
            Self::UnexpectedReject => "unexpected reject",
            Self::UnexpectedChallenge => "unexpected challenge",
            Self::UnexpectedCode => "unexpected code",
            Self::AttributeMissing => "attribute missing",
            Self::StateMissing => "state missing",
            Self::TimeOut => "time-out",
            Self::Send => "send",
            Self::NotStarted => "not started",
        }
    }
}

/// What every reply of a run is held against.
#[derive(Debug)]
pub(crate) struct Demands {
    pub(crate) secret: SharedSecret,
    /// Message-Authenticator must be there, and first. Where it is there it must be right in any case.
    pub(crate) message_authenticator: bool,
}

/// Checks a reply; returns its State, which is empty where none is expected.
pub(crate) fn check(
    reply: &[u8],
    authenticator: &[u8; 16],
    expected: &Expected,
    demands: &Demands,
) -> Result<Vec<u8>, Fault> {
    let reply = Packet::parse(reply).map_err(|_| Fault::Malformed)?;
    verify_reply(&reply, authenticator, &demands.secret).map_err(|fault| match fault {
        ReplyFault::ResponseAuthenticator => Fault::ResponseAuthenticator,
        ReplyFault::MessageAuthenticator => Fault::MessageAuthenticator,
    })?;
    if *expected == Expected::Acknowledgement {
        // Its authenticator is its proof (RFC 2866 §3).
        return if reply.code() == Code::ACCOUNTING_RESPONSE { Ok(Vec::new()) } else { Err(Fault::UnexpectedCode) };
    }
    if demands.message_authenticator && !reply.message_authenticator_is_first() {
        return Err(Fault::MessageAuthenticatorMissing);
    }
    match (expected, reply.code()) {
        (Expected::Accept | Expected::AcceptWithKeys(_), Code::ACCESS_ACCEPT) => {
            let complete = reply.first(attribute::CLASS) == Some(CLASS.as_bytes())
                && reply.first(attribute::FILTER_ID) == Some(FILTER_ID.as_bytes())
                && keyed(&reply, expected);
            if complete { Ok(Vec::new()) } else { Err(Fault::AttributeMissing) }
        }
        (Expected::Reject, Code::ACCESS_REJECT) => Ok(Vec::new()),
        (Expected::Challenge, Code::ACCESS_CHALLENGE) => {
            reply.first(attribute::STATE).map(<[u8]>::to_vec).ok_or(Fault::StateMissing)
        }
        (_, Code::ACCESS_ACCEPT) => Err(Fault::UnexpectedAccept),
        (_, Code::ACCESS_REJECT) => Err(Fault::UnexpectedReject),
        (_, Code::ACCESS_CHALLENGE) => Err(Fault::UnexpectedChallenge),
        _ => Err(Fault::UnexpectedCode),
    }
}

/// Whether the server has proved that it knows the password, and sent the keys of the connection.
fn keyed(reply: &Packet<'_>, expected: &Expected) -> bool {
    let Expected::AcceptWithKeys(success) = expected else { return true };
    let of_microsoft = |kind: u8| reply.vendor(mschap::MICROSOFT, kind).next();
    of_microsoft(mschap::SUCCESS) == Some(&**success)
        && mschap::KEYS.iter().all(|kind| of_microsoft(*kind).is_some_and(|key| key.len() == 34))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::radius::{Attributes, encode_reply, encode_request};
    use gateway_core::secret::Secret;

    fn demands(secret: &str, message_authenticator: bool) -> Demands {
        Demands { secret: SharedSecret::new(Secret::new(secret.as_bytes().to_vec())), message_authenticator }
    }

    fn reply(code: Code, attributes: &[(u8, &str)]) -> Vec<u8> {
        let secret = demands("s", true).secret;
        let request = encode_request(Code::ACCESS_REQUEST, 1, [9; 16], &Attributes::new(), &secret, true).unwrap();
        let mut list = Attributes::new();
        for (kind, value) in attributes {
            list.push(*kind, value.as_bytes()).unwrap();
        }
        encode_reply(code, &Packet::parse(&request).unwrap(), &list, &secret).unwrap()
    }

    #[test]
    fn only_the_whole_and_proved_answer_counts() {
        let full = [(attribute::CLASS, CLASS), (attribute::FILTER_ID, FILTER_ID)];
        let accept = reply(Code::ACCESS_ACCEPT, &full);
        let judge = |octets: &[u8], expected| check(octets, &[9; 16], expected, &demands("s", true));
        assert_eq!(judge(&accept, &Expected::Accept), Ok(Vec::new()));
        assert_eq!(judge(&accept, &Expected::Reject), Err(Fault::UnexpectedAccept));
        assert_eq!(judge(&reply(Code::ACCESS_ACCEPT, &full[..1]), &Expected::Accept), Err(Fault::AttributeMissing));
        assert_eq!(judge(&reply(Code::ACCESS_CHALLENGE, &[]), &Expected::Challenge), Err(Fault::StateMissing));
        let challenge = reply(Code::ACCESS_CHALLENGE, &[(attribute::STATE, "xyz")]);
        assert_eq!(judge(&challenge, &Expected::Challenge), Ok(b"xyz".to_vec()));
        assert_eq!(judge(&accept[..19], &Expected::Accept), Err(Fault::Malformed));
        assert_eq!(check(&accept, &[8; 16], &Expected::Accept, &demands("s", true)), Err(Fault::ResponseAuthenticator));
        assert_eq!(check(&accept, &[9; 16], &Expected::Accept, &demands("t", true)), Err(Fault::ResponseAuthenticator));
    }
}
