//! What a sign-in consists of: which packets are sent, and which answer each of them must get.

use crate::people::Person;
use anyhow::Result;
use gateway_core::radius::{Attributes, Code, SharedSecret, attribute, encode_request, hide_password};
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
}

impl Scenario {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Challenge => "challenge",
        }
    }
}

/// Which packet of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Carries the password.
    Password,
    /// Carries the code and the State of the challenge.
    Code(Vec<u8>),
}

/// What must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Access-Accept with the Class and Filter-Id of the policy.
    Accept,
    /// Access-Reject.
    Reject,
    /// Access-Challenge with State.
    Challenge,
}

impl Expected {
    pub(crate) const fn of(scenario: Scenario, leg: &Leg) -> Self {
        match (scenario, leg) {
            (Scenario::Accept, _) | (Scenario::Challenge, Leg::Code(_)) => Self::Accept,
            (Scenario::Reject, _) => Self::Reject,
            (Scenario::Challenge, Leg::Password) => Self::Challenge,
        }
    }
}

/// Where codes come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codes {
    /// The user's own counter-based token (RFC 4226).
    Hotp,
    /// One code for everybody and always.
    Fixed(&'static str),
}

/// Writes the packet for a leg.
pub(crate) fn request(
    scenario: Scenario,
    codes: Codes,
    leg: &Leg,
    person: &mut Person,
    identifier: u8,
    authenticator: [u8; 16],
    secret: &SharedSecret,
) -> Result<Vec<u8>> {
    let word = match (leg, scenario, codes) {
        (Leg::Password, Scenario::Reject, _) => "not-the-password".to_owned(),
        (Leg::Password, ..) => person.password.clone(),
        (Leg::Code(_), _, Codes::Hotp) => person.next_code(),
        (Leg::Code(_), _, Codes::Fixed(code)) => code.to_owned(),
    };
    let mut attributes = Attributes::new();
    attributes.push(attribute::USER_NAME, person.name.as_bytes())?;
    attributes.push(attribute::USER_PASSWORD, &hide_password(word.as_bytes(), secret, &authenticator)?)?;
    attributes.push(attribute::NAS_IP_ADDRESS, &Ipv4Addr::LOCALHOST.octets())?;
    attributes.push(attribute::CALLING_STATION_ID, person.station.as_bytes())?;
    if let Leg::Code(state) = leg {
        attributes.push(attribute::STATE, state)?;
    }
    Ok(encode_request(Code::ACCESS_REQUEST, identifier, authenticator, &attributes, secret, true)?)
}
