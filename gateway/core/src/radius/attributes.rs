//! The attributes of a packet that we write.

use super::attribute;
use super::hidden::Hidden;
use super::packet::{AttributeIter, vendor_attributes};
use std::fmt;

/// The longest value of a plain attribute, in octets.
pub(crate) const LONGEST_VALUE: usize = 253;

/// The longest value of a vendor's attribute: less Vendor-Id, type and length.
pub(crate) const LONGEST_VENDOR_VALUE: usize = 247;

/// Something that does not fit into the place it is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {octets} octets; at most {most} fit")]
pub struct TooLong {
    what: &'static str,
    octets: usize,
    most: usize,
}

impl TooLong {
    /// An error if `octets` is above `most`.
    pub(crate) fn check(what: &'static str, octets: usize, most: usize) -> Result<(), Self> {
        if octets > most { Err(Self { what, octets, most }) } else { Ok(()) }
    }
}

/// An encoded attribute list under construction, in the order in which it will be sent.
///
/// Message-Authenticator and Proxy-State do not belong here: the packet's encoder writes those itself and leaves out any
/// that it meets. Values that must be hidden wait here until it does, with zeros in their place.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    pub(super) octets: Vec<u8>,
    pub(super) hidden: Vec<Hidden>,
}

impl Attributes {
    /// No attributes yet.
    pub const fn new() -> Self {
        Self { octets: Vec::new(), hidden: Vec::new() }
    }

    /// Takes a list over that was encoded before; `None` if the octets are no attribute list.
    pub fn from_encoded(octets: &[u8]) -> Option<Self> {
        let list = Self { octets: octets.to_vec(), hidden: Vec::new() };
        let read: usize = list.iter().map(|attribute| attribute.value.len() + 2).sum();
        (read == octets.len()).then_some(list)
    }

    /// Adds an attribute. An empty value is written as it is, for EAP-Start; RFC 2865 §5 wants any other left out.
    ///
    /// # Errors
    ///
    /// The value is longer than 253 octets; nothing was added.
    pub fn push(&mut self, kind: u8, value: &[u8]) -> Result<(), TooLong> {
        TooLong::check("attribute value", value.len(), LONGEST_VALUE)?;
        self.write(kind, &[value]);
        Ok(())
    }

    /// Adds an integer attribute.
    pub fn push_integer(&mut self, kind: u8, value: u32) {
        self.write(kind, &[&value.to_be_bytes()]);
    }

    /// Adds a vendor's attribute in a Vendor-Specific of its own (RFC 2865 §5.26).
    ///
    /// # Errors
    ///
    /// The value is longer than 247 octets; nothing was added.
    pub fn push_vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) -> Result<(), TooLong> {
        TooLong::check("vendor attribute value", value.len(), LONGEST_VENDOR_VALUE)?;
        let length = u8::try_from(value.len() + 2).unwrap_or(u8::MAX);
        self.write(attribute::VENDOR_SPECIFIC, &[&vendor.to_be_bytes(), &[kind, length], value]);
        Ok(())
    }

    /// Adds text, in as many attributes as it needs, never cut within a character: Reply-Message may stand several times
    /// (RFC 2865 §5.18). Nothing is added for empty text.
    pub fn push_text(&mut self, kind: u8, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(rest.floor_char_boundary(LONGEST_VALUE));
            self.write(kind, &[piece.as_bytes()]);
            rest = next;
        }
    }

    /// Adds octets, in as many attributes as they need, to be joined by the receiver (`concat` of RFC 8044 §3.6, as with
    /// EAP-Message). Nothing is added for no octets.
    pub fn push_concat(&mut self, kind: u8, octets: &[u8]) {
        octets.chunks(LONGEST_VALUE).for_each(|piece| self.write(kind, &[piece]));
    }

    /// Adds what another list holds. Rules of NAS-Filter-Rule join those before them.
    pub fn append(&mut self, other: &Self) {
        let mut octets = &*other.octets;
        if octets.first() == Some(&attribute::NAS_FILTER_RULE) {
            let rules = other.iter().take_while(|attribute| attribute.kind == attribute::NAS_FILTER_RULE);
            let rules: Vec<&[u8]> = rules.map(|attribute| attribute.value).collect();
            let taken: usize = rules.iter().map(|rule| rule.len() + 2).sum();
            self.push_rule(&rules.concat());
            octets = octets.get(taken..).unwrap_or_default();
        }
        let begin = self.octets.len();
        self.octets.extend_from_slice(octets);
        // Before the first of the other's attributes that are copied there were those that were joined.
        let joined = other.octets.len() - octets.len();
        self.append_hidden(other, begin, joined);
    }

    /// The encoded list.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Every attribute in order.
    pub fn iter(&self) -> AttributeIter<'_> {
        AttributeIter::new(&self.octets)
    }

    /// The values of one vendor's attribute, in order.
    pub fn vendor(&self, vendor: u32, kind: u8) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(|attribute| attribute.kind == attribute::VENDOR_SPECIFIC)
            .filter_map(|attribute| vendor_attributes(attribute.value))
            .filter(move |(number, _)| *number == vendor)
            .flat_map(|(_, attributes)| attributes)
            .filter(move |attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    /// Writes one attribute whose parts were found to fit.
    pub(crate) fn write(&mut self, kind: u8, parts: &[&[u8]]) {
        let octets = parts.iter().map(|part| part.len()).sum::<usize>();
        debug_assert!(octets <= LONGEST_VALUE, "the callers check or cut");
        self.octets.extend([kind, u8::try_from(octets + 2).unwrap_or(u8::MAX)]);
        parts.iter().for_each(|part| self.octets.extend_from_slice(part));
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = super::Attribute<'a>;
    type IntoIter = AttributeIter<'a>;

    fn into_iter(self) -> AttributeIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Attributes {
    /// Types and lengths only: values may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|attribute| (attribute.kind, attribute.value.len()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_are_written_in_order() {
        let mut attributes = Attributes::new();
        assert!(attributes.is_empty());
        attributes.push(1, b"nemo").unwrap();
        attributes.push_integer(27, 3600);
        attributes.push_vendor(311, 25, b"x").unwrap();
        attributes.push_text(18, "");
        attributes.push_concat(79, &[]);
        assert_eq!(
            attributes.as_bytes(),
            [1, 6, b'n', b'e', b'm', b'o', 27, 6, 0, 0, 14, 16, 26, 9, 0, 0, 1, 55, 25, 3, b'x']
        );
        assert_eq!(format!("{attributes:?}"), "{1: 4, 27: 4, 26: 7}");
    }

    #[test]
    fn what_does_not_fit_is_refused_or_cut() {
        let mut attributes = Attributes::new();
        attributes.push(1, &[0; 254]).unwrap_err();
        attributes.push_vendor(9, 1, &[0; 248]).unwrap_err();
        assert!(attributes.is_empty());
        attributes.push(1, &[0; 253]).unwrap();
        attributes.push_vendor(9, 1, &[0; 247]).unwrap();
        assert_eq!(attributes.as_bytes().len(), 510);

        let mut text = Attributes::new();
        text.push_text(18, &"é".repeat(200));
        assert_eq!(text.iter().map(|a| a.value.len()).collect::<Vec<_>>(), [252, 148]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(list in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..=253)), 0..12)) {
            let mut attributes = Attributes::new();
            for (kind, value) in &list {
                attributes.push(*kind, value).unwrap();
            }
            let read: Vec<_> = attributes.iter().map(|a| (a.kind, a.value.to_vec())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn cut_text_joins_again(text in "\\PC{0,300}") {
            let mut attributes = Attributes::new();
            attributes.push_text(18, &text);
            let joined: Vec<u8> = attributes.iter().flat_map(|a| a.value.to_vec()).collect();
            prop_assert_eq!(joined, text.as_bytes());
            prop_assert!(attributes.iter().all(|a| std::str::from_utf8(a.value).is_ok()));
        }
    }
}
