//! `[clients.dynamic_authorization]`: where and how a NAS is told to end or change a session (RFC 5176).

use super::report::Report;
use super::secrets::{Reference, fetch, warn_if_weak};
use super::{Surroundings, units::Span};
use crate::radius::SharedSecret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How this client is told to end or change a session (RFC 5176: Disconnect-Request, CoA-Request). Left out, the defaults hold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDynamicAuthorization {
    /// UDP port on which the NAS takes the requests.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u64,
    /// Where the requests are sent. Left out, they go to the address that the session's accounting came from; set it where a
    /// balancer or a proxy hides that.
    #[schemars(extend("x-type" = "address", "x-default" = "the source of accounting"))]
    pub address: Option<String>,
    /// File that holds the secret for these requests, where the NAS has one of its own for them. Left out, it is the client's
    /// `secret_file`.
    #[schemars(extend("x-type" = "path"))]
    pub secret_file: Option<PathBuf>,
    /// How long the first try waits for an answer; each further one waits twice as long.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s"))]
    pub timeout: Span,
    /// How often a request is sent at most, the first time included.
    #[schemars(range(min = 1, max = 10))]
    pub tries: u64,
    /// What names the session, of what the NAS reported of it. A NAS may refuse a request for one attribute that it does not
    /// know (Error-Cause 401): shorten the list then.
    pub send_attributes: Vec<SessionAttribute>,
}

impl Default for RawDynamicAuthorization {
    fn default() -> Self {
        Self {
            port: 3799,
            address: None,
            secret_file: None,
            timeout: Span::secs(2),
            tries: 3,
            send_attributes: SessionAttribute::DEFAULT.to_vec(),
        }
    }
}

/// An attribute that names a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SessionAttribute {
    /// User-Name.
    #[serde(rename = "User-Name")]
    UserName,
    /// NAS-IP-Address or NAS-IPv6-Address.
    #[serde(rename = "NAS-IP-Address")]
    NasIpAddress,
    /// NAS-Identifier.
    #[serde(rename = "NAS-Identifier")]
    NasIdentifier,
    /// NAS-Port.
    #[serde(rename = "NAS-Port")]
    NasPort,
    /// NAS-Port-Id.
    #[serde(rename = "NAS-Port-Id")]
    NasPortId,
    /// Acct-Session-Id.
    #[serde(rename = "Acct-Session-Id")]
    AcctSessionId,
    /// Acct-Multi-Session-Id.
    #[serde(rename = "Acct-Multi-Session-Id")]
    AcctMultiSessionId,
    /// Calling-Station-Id.
    #[serde(rename = "Calling-Station-Id")]
    CallingStationId,
    /// Called-Station-Id.
    #[serde(rename = "Called-Station-Id")]
    CalledStationId,
    /// Framed-IP-Address.
    #[serde(rename = "Framed-IP-Address")]
    FramedIpAddress,
    /// Framed-IPv6-Prefix.
    #[serde(rename = "Framed-IPv6-Prefix")]
    FramedIpv6Prefix,
    /// Class.
    #[serde(rename = "Class")]
    Class,
}

impl SessionAttribute {
    /// What names a session at every NAS tried, and narrows it to one.
    pub const DEFAULT: &'static [Self] = &[
        Self::UserName,
        Self::NasIpAddress,
        Self::NasIdentifier,
        Self::AcctSessionId,
        Self::CallingStationId,
        Self::FramedIpAddress,
    ];
}

/// How a client is told to end or change a session, checked.
#[derive(Debug)]
pub struct DynamicAuthorization {
    /// The NAS's port.
    pub port: u16,
    /// The NAS's address; `None`: where accounting came from.
    pub address: Option<IpAddr>,
    /// The secret, where it is not the client's.
    pub secret: Option<SharedSecret>,
    /// How long the first try waits.
    pub timeout: Duration,
    /// How often a request is sent.
    pub tries: u32,
    /// What names a session.
    pub send_attributes: Vec<SessionAttribute>,
}

impl Default for DynamicAuthorization {
    fn default() -> Self {
        Self {
            port: 3799,
            address: None,
            secret: None,
            timeout: Duration::from_secs(2),
            tries: 3,
            send_attributes: SessionAttribute::DEFAULT.to_vec(),
        }
    }
}

impl RawDynamicAuthorization {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>, section: &str) -> DynamicAuthorization {
        let section = format!("{section}.dynamic_authorization");
        let least = Span(Duration::from_millis(100));
        report.within(&format!("{section}.timeout"), &self.timeout, least, Span::secs(30));
        let address = self.address.as_ref().and_then(|text| match text.parse::<IpAddr>() {
            Ok(address) => Some(address.to_canonical()),
            Err(_) => {
                let problem = format!("`{text}` is not an address");
                report.fault(
                    format!("{section}.address"),
                    problem,
                    "Write 192.0.2.1 or 2001:db8::1; the port has its own key.",
                );
                None
            }
        });
        let names_session = [SessionAttribute::AcctSessionId, SessionAttribute::AcctMultiSessionId];
        if !self.send_attributes.iter().any(|attribute| names_session.contains(attribute)) {
            report.warn(
                format!("{section}.send_attributes"),
                "without Acct-Session-Id a request may end several sessions of a user",
                "Add \"Acct-Session-Id\", unless the NAS refuses it.",
            );
        }
        if self.send_attributes.is_empty() {
            let remedy = "List at least one, or leave the key out.";
            report.fault(format!("{section}.send_attributes"), "nothing would say which session is meant", remedy);
        }
        let reference = Reference { file: self.secret_file.as_ref(), env: None, key: "secret" };
        let secret = fetch(report, around, &section, &reference).map(|(path, secret)| {
            warn_if_weak(report, &path, &secret);
            SharedSecret::new(secret)
        });
        DynamicAuthorization {
            port: report.number(&format!("{section}.port"), self.port, 1..=65_535),
            address,
            secret,
            timeout: self.timeout.0,
            tries: report.number(&format!("{section}.tries"), self.tries, 1..=10),
            send_attributes: self.send_attributes.clone(),
        }
    }
}
