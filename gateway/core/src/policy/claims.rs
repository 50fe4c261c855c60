//! Conditions on what the packet says of itself. The RADIUS client wrote these attributes, and whoever signs in chose some of
//! them: they tell one door from another, and they prove nothing.

use super::View;
use crate::radius::{AttributeDef, AttributeNumber, DataType, attribute};
use ipnet::IpNet;
use regex_lite::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The longest pattern, in octets.
const LONGEST_PATTERN: usize = 256;

/// What a compiled pattern may take, in octets: this and the 253 octets of a value bound what one match costs.
const LARGEST_PATTERN: usize = 32 * 1024;

/// A condition on one attribute of the packet.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The key of the configuration, such as `nas_port_types` or `attributes.Cisco-AVPair`.
    pub key: Arc<str>,
    /// Which attribute.
    pub def: Arc<AttributeDef>,
    /// Only values with this tag count (RFC 2868 §3).
    pub tag: Option<u8>,
    /// What must be so.
    pub test: Test,
}

/// What must be so for an attribute.
#[derive(Clone, Debug)]
pub enum Test {
    /// It is there, or it is not.
    Present(bool),
    /// One of its values matches one of these.
    AnyOf(Vec<Matcher>),
}

/// What a value is compared with.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// These octets.
    Octets(Box<[u8]>),
    /// This text, whatever its ASCII capitals.
    Text(Box<str>),
    /// A text that begins like this, whatever its ASCII capitals.
    Prefix(Box<str>),
    /// A text that this pattern describes from its first character to its last.
    Pattern(Regex),
}

impl Matcher {
    /// The value that `text` names: a text as it is, a name or number of an enum, an address.
    ///
    /// # Errors
    ///
    /// The text is no value of this attribute.
    pub fn equals(def: &AttributeDef, text: &str) -> Result<Self, String> {
        if def.data_type == DataType::Text {
            return Ok(Self::Text(text.into()));
        }
        def.encode_value(text).map(|octets| Self::Octets(octets.into())).map_err(|error| error.to_string())
    }

    /// A pattern for a whole value. Matching takes time in proportion to the value, whatever the pattern.
    ///
    /// # Errors
    ///
    /// It is no pattern, or too large a one.
    pub fn pattern(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("a pattern of {} octets; at most {LONGEST_PATTERN} are taken", text.len()));
        }
        // By itself first: with an open bracket of its own, it would be another one inside ours.
        Regex::new(text).map_err(|error| format!("`{text}` is no pattern: {error}"))?;
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(LARGEST_PATTERN).build();
        whole.map(Self::Pattern).map_err(|error| format!("`{text}` cannot be used: {error}"))
    }

    fn fits(&self, def: &AttributeDef, value: &[u8]) -> bool {
        match self {
            Self::Octets(octets) => **octets == *value,
            Self::Text(text) => text.as_bytes().eq_ignore_ascii_case(value),
            Self::Prefix(prefix) => text(def, value)
                .as_bytes()
                .get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes())),
            Self::Pattern(pattern) => pattern.is_match(&text(def, value)),
        }
    }
}

/// A value as people read it. Octets that are not UTF-8 stand there in hexadecimal.
fn text<'a>(def: &AttributeDef, value: &'a [u8]) -> Cow<'a, str> {
    match (def.data_type, str::from_utf8(value)) {
        (DataType::Text | DataType::String, Ok(text)) => text.into(),
        _ => def.print_value(value).into(),
    }
}

impl Claim {
    pub(super) fn holds(&self, view: &View<'_>) -> bool {
        let values = view.claims().iter().filter(|(number, _)| *number == self.def.number);
        let mut values = values.filter_map(|(_, value)| self.value(value));
        match &self.test {
            Test::Present(wanted) => values.next().is_some() == *wanted,
            Test::AnyOf(matchers) => values.any(|value| matchers.iter().any(|matcher| matcher.fits(&self.def, &value))),
        }
    }

    /// The value without its tag, if it has the one that is asked for.
    fn value<'a>(&self, value: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if !self.def.has_tag {
            return Some(value.into());
        }
        if self.tag.is_some() && self.def.tag(value) != self.tag {
            return None;
        }
        match (self.def.data_type, value) {
            // Numbers are compared with an unused tag, as they are written.
            (DataType::Integer | DataType::Enum, [_, rest @ ..]) => Some([&[0], rest].concat().into()),
            (_, [0..=0x1f, rest @ ..]) => Some(rest.into()),
            _ => Some(value.into()),
        }
    }
}

/// Whether NAS-IP-Address or NAS-IPv6-Address lies in one of `networks`.
pub(super) fn nas_address_in(networks: &[IpNet], view: &View<'_>) -> bool {
    view.claims().iter().any(|(number, value)| {
        let address = nas_address(*number, value);
        address.is_some_and(|address| networks.iter().any(|net| net.contains(&address)))
    })
}

/// The address that an attribute gives for the NAS, if it does.
pub(super) fn nas_address(number: AttributeNumber, value: &[u8]) -> Option<IpAddr> {
    match number {
        AttributeNumber::Standard(attribute::NAS_IP_ADDRESS) => {
            Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into())
        }
        AttributeNumber::Standard(attribute::NAS_IPV6_ADDRESS) => {
            Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?)).to_canonical())
        }
        _ => None,
    }
}
