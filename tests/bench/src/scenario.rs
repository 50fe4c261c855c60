//! What a sign-in consists of: which packets are sent, and which answer each of them must get.

use crate::accounting;
use crate::mschap;
use crate::people::Person;
use anyhow::Result;
use gateway_core::radius::{Attributes, Code, SharedSecret, attribute, encode_request, hide_password};
use md5::{Digest, Md5};
use std::net::Ipv4Addr;

/// The kind of sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// The right password, and no second factor: one Access-Request, one Access-Accept.
    Accept,
    /// A wrong password: one Access-Request, one Access-Reject.
    Reject,
    /// The right password, an Access-Challenge, the right code, an Access-Accept.
    Challenge,
    /// As `accept`, with CHAP.
    Chap,
    /// As `accept`, with MS-CHAPv2 and its keys.
    Mschapv2,
    /// As `accept`; then the same packet again, nine times.
    Duplicates,
    /// An Accounting-Request for a start and one for the stop, each acknowledged.
    Accounting,
}

impl Scenario {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] =
        [Self::Accept, Self::Reject, Self::Challenge, Self::Chap, Self::Mschapv2, Self::Duplicates, Self::Accounting];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Challenge => "challenge",
            Self::Chap => "chap",
            Self::Mschapv2 => "mschapv2",
            Self::Duplicates => "duplicates",
            Self::Accounting => "accounting",
        }
    }

    /// The packet that begins it; `serial` tells sessions apart.
    pub(crate) const fn first(self, serial: u64) -> Leg {
        match self {
            Self::Accounting => Leg::Start(serial),
            _ => Leg::Password,
        }
    }

    /// What follows the packet `leg` whose reply was right; `state` is what a challenge brought.
    pub(crate) fn next(self, leg: &Leg, state: Vec<u8>) -> Next {
        match (self, leg) {
            (Self::Challenge, Leg::Password) => Next::Send(Leg::Code(state)),
            (Self::Accounting, Leg::Start(session)) => Next::Send(Leg::Stop(*session)),
            (Self::Duplicates, Leg::Password) => Next::Repeat(REPEATS),
            (Self::Duplicates, Leg::Again(left)) if *left > 1 => Next::Repeat(left - 1),
            _ => Next::Done,
        }
    }
}

/// How often a duplicate is sent.
const REPEATS: u8 = 9;

/// Which packet of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Carries the password.
    Password,
    /// Carries the code and the State of the challenge.
    Code(Vec<u8>),
    /// The packet before it, octet for octet, and so many more are to come.
    Again(u8),
    /// Begins this session.
    Start(u64),
    /// Ends it.
    Stop(u64),
}

/// What follows a right reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another packet.
    Send(Leg),
    /// The same packet, so many times.
    Repeat(u8),
    /// Nothing.
    Done,
}

/// What must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Access-Accept with the Class and Filter-Id of the policy.
    Accept,
    /// The same, with this MS-CHAP2-Success and with keys.
    AcceptWithKeys(Box<[u8]>),
    /// Access-Reject.
    Reject,
    /// Access-Challenge with State.
    Challenge,
    /// Accounting-Response.
    Acknowledgement,
}

/// Where codes come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codes {
    /// The user's own counter-based token (RFC 4226).
    Hotp,
    /// One code for everybody and always.
    Fixed(&'static str),
}

/// The packet for a leg, and what must come back.
pub(crate) fn request(
    (scenario, codes): (Scenario, Codes),
    leg: &Leg,
    person: &mut Person,
    identifier: u8,
    authenticator: [u8; 16],
    secret: &SharedSecret,
) -> Result<(Vec<u8>, Expected)> {
    let mut attributes = Attributes::new();
    attributes.push(attribute::USER_NAME, person.name.as_bytes())?;
    let mut expected = match (scenario, leg) {
        (Scenario::Reject, _) => Expected::Reject,
        (Scenario::Challenge, Leg::Password) => Expected::Challenge,
        _ => Expected::Accept,
    };
    match (leg, scenario) {
        (Leg::Start(_) | Leg::Stop(_), _) => {
            accounting::fill(&mut attributes, leg, person)?;
            let code = Code::ACCOUNTING_REQUEST;
            let packet = encode_request(code, identifier, authenticator, &attributes, secret, false)?;
            return Ok((packet, Expected::Acknowledgement));
        }
        (_, Scenario::Chap) => {
            let id = [identifier];
            let response = Md5::new().chain_update(id).chain_update(&person.password).chain_update(authenticator);
            let value = [&id[..], &response.finalize()].concat();
            attributes.push(attribute::CHAP_PASSWORD, &value)?;
        }
        (_, Scenario::Mschapv2) => {
            let answer = mschap::answer(person, identifier, &authenticator);
            attributes.push_vendor(mschap::MICROSOFT, mschap::CHALLENGE, &authenticator)?;
            attributes.push_vendor(mschap::MICROSOFT, mschap::RESPONSE, &answer.response)?;
            expected = Expected::AcceptWithKeys(answer.success.into());
        }
        (Leg::Code(_), _) => {
            let code = match codes {
                Codes::Hotp => person.next_code(),
                Codes::Fixed(code) => code.to_owned(),
            };
            attributes.push(attribute::USER_PASSWORD, &hide_password(code.as_bytes(), secret, &authenticator)?)?;
        }
        (Leg::Password | Leg::Again(_), _) => {
            let word = if scenario == Scenario::Reject { "not-the-password" } else { &person.password };
            attributes.push(attribute::USER_PASSWORD, &hide_password(word.as_bytes(), secret, &authenticator)?)?;
        }
    }
    attributes.push(attribute::NAS_IP_ADDRESS, &Ipv4Addr::LOCALHOST.octets())?;
    attributes.push(attribute::CALLING_STATION_ID, person.station.as_bytes())?;
    if let Leg::Code(state) = leg {
        attributes.push(attribute::STATE, state)?;
    }
    let packet = encode_request(Code::ACCESS_REQUEST, identifier, authenticator, &attributes, secret, true)?;
    Ok((packet, expected))
}
