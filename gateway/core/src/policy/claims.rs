//! Conditions on what the packet says of itself. The RADIUS client wrote these attributes, and whoever signs in chose some of
//! them: they tell one door from another, and they prove nothing.

use super::View;
use super::index::{Octets, set};
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

/// The claims on one attribute, for the index: policies by value, and by how a value begins.
#[derive(Debug)]
pub(super) struct Claimed {
    def: Arc<AttributeDef>,
    /// Policies that do not ask for values of it.
    pub(super) any: Box<[u64]>,
    values: Octets,
    heads: Octets,
    /// The lengths of `heads`, each once.
    lengths: Vec<usize>,
}

impl Claim {
    /// Whether a value tells that it does not hold.
    pub(super) fn can_be_indexed(&self) -> bool {
        let Test::AnyOf(matchers) = &self.test else { return false };
        !self.def.has_tag && matchers.iter().all(|matcher| !matcher.key().is_empty())
    }
}

impl Matcher {
    /// What a value that fits is or begins with, in lower case but for octets; empty if that cannot be said.
    fn key(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Octets(octets) => Cow::Borrowed(octets),
            Self::Text(text) | Self::Prefix(text) => text.to_ascii_lowercase().into_bytes().into(),
            Self::Pattern(pattern) => literal_head(pattern).to_ascii_lowercase().into_bytes().into(),
        }
    }
}

/// The characters that every match begins with, as far as they are easily seen.
fn literal_head(whole: &Regex) -> &str {
    let pattern = whole.as_str().strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or_default();
    if pattern.contains('|') {
        return "";
    }
    let end = pattern.find(|c: char| !(c.is_ascii_alphanumeric() || " -_@/:,=".contains(c))).unwrap_or(pattern.len());
    let (head, rest) = pattern.split_at_checked(end).unwrap_or_default();
    if rest.starts_with(['?', '*', '{']) { head.get(..end.saturating_sub(1)).unwrap_or_default() } else { head }
}

impl Claimed {
    pub(super) fn new(claim: &Claim, words: usize) -> Self {
        let (values, heads) = Default::default();
        Self { def: claim.def.clone(), any: vec![0; words].into(), values, heads, lengths: Vec::new() }
    }

    pub(super) fn is_about(&self, claim: &Claim) -> bool {
        self.def.number == claim.def.number
    }

    /// Policy `place` makes this claim.
    pub(super) fn add(&mut self, claim: &Claim, place: usize) {
        let Test::AnyOf(matchers) = &claim.test else { return };
        for matcher in matchers {
            let key = matcher.key();
            let table = match matcher {
                Matcher::Octets(_) | Matcher::Text(_) => &mut self.values,
                Matcher::Prefix(_) | Matcher::Pattern(_) => {
                    if !self.lengths.contains(&key.len()) {
                        self.lengths.push(key.len());
                    }
                    &mut self.heads
                }
            };
            set(table.entry(key.as_ref().into()).or_insert_with(|| vec![0; self.any.len()].into()), place);
        }
    }

    /// The policies that name a value of the packet.
    pub(super) fn look<'a>(&'a self, view: &View<'_>) -> Vec<&'a [u64]> {
        let mut rows: Vec<&[u64]> = Vec::new();
        for (_, value) in view.claims().iter().filter(|(number, _)| *number == self.def.number) {
            let wanted = match self.def.data_type {
                DataType::Text => Cow::Owned(value.to_ascii_lowercase()),
                _ => Cow::Borrowed(&**value),
            };
            rows.extend(self.values.get(&*wanted).map(|row| &**row));
            if !self.lengths.is_empty() {
                let text = text(&self.def, value).to_ascii_lowercase();
                let heads = self.lengths.iter().filter_map(|length| self.heads.get(text.as_bytes().get(..*length)?));
                rows.extend(heads.map(|row| &**row));
            }
        }
        rows
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
