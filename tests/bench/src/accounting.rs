//! What a VPN server tells of a session.

use crate::people::Person;
use crate::scenario::Leg;
use anyhow::Result;
use gateway_core::radius::{Attributes, attribute};
use std::net::Ipv4Addr;
use std::time::SystemTime;

const ACCT_INPUT_OCTETS: u8 = 42;
const ACCT_OUTPUT_OCTETS: u8 = 43;
const ACCT_AUTHENTIC: u8 = 45;
const ACCT_SESSION_TIME: u8 = 46;
const ACCT_INPUT_PACKETS: u8 = 47;
const ACCT_OUTPUT_PACKETS: u8 = 48;
const ACCT_TERMINATE_CAUSE: u8 = 49;
const NAS_PORT_TYPE: u8 = 61;

/// The attributes of a start or a stop after User-Name.
pub(crate) fn fill(attributes: &mut Attributes, leg: &Leg, person: &Person) -> Result<()> {
    let (status, session) = match leg {
        Leg::Stop(session) => (2, *session),
        Leg::Start(session) => (1, *session),
        _ => return Ok(()),
    };
    let now = u32::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_secs())?;
    attributes.push_integer(attribute::ACCT_STATUS_TYPE, status);
    attributes.push(attribute::ACCT_SESSION_ID, format!("{session:016X}").as_bytes())?;
    attributes.push_integer(attribute::EVENT_TIMESTAMP, now);
    attributes.push(attribute::NAS_IP_ADDRESS, &Ipv4Addr::LOCALHOST.octets())?;
    attributes.push_integer(attribute::NAS_PORT, 7);
    // Virtual, as VPN servers say; RADIUS; Framed.
    attributes.push_integer(NAS_PORT_TYPE, 5);
    attributes.push_integer(ACCT_AUTHENTIC, 1);
    attributes.push_integer(attribute::SERVICE_TYPE, 2);
    attributes.push(attribute::FRAMED_IP_ADDRESS, &[10, 8, 0, 42])?;
    attributes.push(attribute::CALLING_STATION_ID, person.station.as_bytes())?;
    if status == 2 {
        attributes.push_integer(ACCT_SESSION_TIME, 3600);
        attributes.push_integer(ACCT_INPUT_OCTETS, 123_456_789);
        attributes.push_integer(ACCT_OUTPUT_OCTETS, 987_654_321);
        attributes.push_integer(ACCT_INPUT_PACKETS, 234_567);
        attributes.push_integer(ACCT_OUTPUT_PACKETS, 765_432);
        // User-Request.
        attributes.push_integer(ACCT_TERMINATE_CAUSE, 1);
    }
    Ok(())
}
