//! What the file of records tells at the start: which records were written, and which sessions are open.

use crate::durable::ReadLine;
use gateway_core::accounting::report::Written;
use gateway_core::accounting::sessions::{Session, Sessions};
use gateway_core::identity::Rules;
use gateway_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One line of the file.
pub struct Line {
    /// Which record it is.
    pub id: u128,
    /// Its Request Authenticator.
    pub octets: u128,
    /// When it was received.
    pub received: Timestamp,
    at: Timestamp,
    impossible: bool,
    client: Arc<str>,
    source: IpAddr,
    attributes: Map<String, Value>,
}

#[derive(Deserialize)]
struct Raw {
    v: u32,
    id: String,
    octets: String,
    received: f64,
    at: u64,
    client: String,
    source: SocketAddr,
    impossible_time: Option<String>,
    attributes: Map<String, Value>,
}

impl ReadLine for Line {
    fn read(text: &[u8]) -> Option<Self> {
        let raw: Raw = serde_json::from_slice(text).ok().filter(|raw: &Raw| raw.v == 1)?;
        let received = Duration::try_from_secs_f64(raw.received).ok()?;
        Some(Self {
            id: u128::from_str_radix(&raw.id, 16).ok()?,
            octets: u128::from_str_radix(&raw.octets, 16).ok()?,
            received: Timestamp::from_micros(u64::try_from(received.as_micros()).ok()?),
            at: Timestamp::from_secs(raw.at),
            impossible: raw.impossible_time.is_some(),
            client: raw.client.into(),
            source: raw.source.ip(),
            attributes: raw.attributes,
        })
    }

    fn received(&self) -> Option<Timestamp> {
        Some(self.received)
    }
}

impl Line {
    /// Which record it is.
    fn written(&self) -> Written {
        Written { id: self.id, octets: self.octets, received: self.received }
    }

    /// The first value of an attribute.
    fn value(&self, name: &str) -> Option<&Value> {
        match self.attributes.get(name)? {
            Value::Array(values) => values.first(),
            value => Some(value),
        }
    }

    fn octets_of(&self, name: &str) -> Option<Box<[u8]>> {
        let text = self.value(name)?.as_str()?;
        match text.strip_prefix("0x") {
            None => Some(text.as_bytes().into()),
            Some(hex) => {
                let pairs = hex.as_bytes().as_chunks::<2>().0;
                pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
            }
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.value(name)?.as_u64().and_then(|number| u32::try_from(number).ok())
    }

    fn address<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.value(name)?.as_str()?.parse().ok()
    }

    fn session(&self, rules: &Rules, at: Timestamp) -> Session {
        let wide = |low: &str, high: &str| {
            u64::from(self.number(high).unwrap_or_default()) << 32 | u64::from(self.number(low).unwrap_or_default())
        };
        let user_name = self.octets_of("User-Name").unwrap_or_default();
        let user = match rules.read(&user_name) {
            Ok(identity) => identity.canonical.into(),
            Err(_) => String::from_utf8_lossy(&user_name).into(),
        };
        let session_time = self.number("Acct-Session-Time").unwrap_or_default();
        Session {
            client: self.client.clone(),
            nas: self.source,
            user,
            user_name,
            acct_session_id: self.octets_of("Acct-Session-Id").unwrap_or_default(),
            acct_multi_session_id: self.octets_of("Acct-Multi-Session-Id"),
            nas_identifier: self.octets_of("NAS-Identifier"),
            nas_ip: self.nas_ip(),
            nas_port: self.number("NAS-Port"),
            nas_port_id: self.octets_of("NAS-Port-Id"),
            framed_ip: self.address("Framed-IP-Address"),
            framed_ipv6_prefix: self.prefix(),
            calling_station_id: self.octets_of("Calling-Station-Id"),
            called_station_id: self.octets_of("Called-Station-Id"),
            class: self.octets_of("Class"),
            started: at.before(Duration::from_secs(session_time.into())),
            last_seen: self.received,
            input_octets: wide("Acct-Input-Octets", "Acct-Input-Gigawords"),
            output_octets: wide("Acct-Output-Octets", "Acct-Output-Gigawords"),
            session_time,
        }
    }

    fn nas_ip(&self) -> Option<IpAddr> {
        self.address("NAS-IP-Address").or_else(|| self.address("NAS-IPv6-Address"))
    }

    /// Framed-IPv6-Prefix as on the wire.
    fn prefix(&self) -> Option<Box<[u8]>> {
        let text = self.value("Framed-IPv6-Prefix")?.as_str()?;
        gateway_core::radius::dictionary().by_name("Framed-IPv6-Prefix")?.encode_value(text).ok().map(Into::into)
    }
}

/// Opens the sessions that the lines, the oldest first, leave open.
pub fn sessions(lines: &[Line], rules: &Rules, sessions: &mut Sessions, now: Timestamp) {
    for line in lines {
        let at = if line.impossible { line.received } else { line.at };
        let session_id = line.octets_of("Acct-Session-Id").unwrap_or_default();
        match line.value("Acct-Status-Type").and_then(Value::as_str) {
            Some("Start" | "Interim-Update") => drop(sessions.report(line.session(rules, at), Some(line.written()))),
            Some("Stop") => drop(sessions.stop(&line.client, &session_id, at, line.received, Some(line.written()))),
            Some("Accounting-On" | "Accounting-Off") => {
                let identifier = line.octets_of("NAS-Identifier");
                let (source, nas_ip) = (line.source, line.nas_ip());
                sessions.restart(&line.client, source, nas_ip, identifier.as_deref(), at, line.received);
            }
            _ => {}
        }
    }
    sessions.expire(now);
}
