//! Packets for human eyes: `Reply-Message = "Enter your code"`, one line for each attribute. Secrets are not shown.

use super::definition::AttributeNumber;
use super::packet::{Attribute, AttributeIter, vendor_attributes};
use super::{Dictionary, Packet, attribute, dictionary};
use std::borrow::Cow;

/// The longest value of one attribute, in octets.
const LONGEST_VALUE: usize = 253;

/// A value under the full number of its attribute.
pub type Numbered<'a> = (AttributeNumber, Cow<'a, [u8]>);

/// The attributes of a packet, one line each.
pub fn describe(packet: &Packet<'_>) -> Vec<String> {
    describe_attributes(packet.attributes())
}

/// The same for attributes that are in no packet yet.
pub fn describe_attributes(attributes: AttributeIter<'_>) -> Vec<String> {
    describe_with(dictionary(), attributes)
}

/// The same, with the names of a dictionary to which somebody has added.
pub fn describe_with(dictionary: &Dictionary, attributes: AttributeIter<'_>) -> Vec<String> {
    numbered(attributes).into_iter().map(|(number, value)| line(dictionary, number, &value)).collect()
}

fn line(dictionary: &Dictionary, number: AttributeNumber, value: &[u8]) -> String {
    let def = dictionary.definition(number);
    let tag = def.tag(value).map(|tag| format!(":{tag}")).unwrap_or_default();
    format!("{}{tag} = {}", def.name, def.print_value(value))
}

/// Unpacks vendors' attributes (RFC 2865 §5.26) and the extended formats, and joins what was cut into several long ones
/// (RFC 6929 §2). What is not in its format stays what it is: an attribute of its type with odd octets.
pub fn numbered(attributes: AttributeIter<'_>) -> Vec<Numbered<'_>> {
    let mut list = Vec::new();
    let mut cut: Option<Cut> = None;
    for Attribute { kind, value } in attributes {
        // The pieces of one value stand next to each other; anything else between them leaves it unfinished.
        let begun = cut.take();
        match (kind, value) {
            (attribute::LONG_EXTENDED_1 | attribute::LONG_EXTENDED_2, [extended, flags, rest @ ..]) => {
                let mut whole = match begun {
                    Some(begun) if begun.kind == kind && begun.extended == *extended => begun,
                    unfinished => {
                        list.extend(unfinished.map(Cut::unfinished));
                        Cut { kind, extended: *extended, value: Vec::new(), broken: false }
                    }
                };
                whole.value.extend_from_slice(rest);
                let more = flags & 0x80 != 0;
                // Only a full piece may have another behind it (RFC 6929 §2.2): where one does, nobody knows what was left out.
                whole.broken |= more && value.len() < LONGEST_VALUE;
                if !more && whole.broken {
                    list.push(whole.unfinished());
                } else if !more {
                    let number = AttributeNumber::Extended { kind, extended: *extended };
                    list.push((number, whole.value.into()));
                } else {
                    cut = Some(whole);
                }
                continue;
            }
            _ => list.extend(begun.map(Cut::unfinished)),
        }
        match (kind, value) {
            (attribute::EXTENDED_1..=attribute::EXTENDED_4, [extended, rest @ ..]) => {
                list.push((AttributeNumber::Extended { kind, extended: *extended }, rest.into()));
            }
            (attribute::VENDOR_SPECIFIC, _) if let Some((vendor, inner)) = vendor_attributes(value) => {
                list.extend(
                    inner.map(|inner| (AttributeNumber::Vendor { vendor, kind: inner.kind }, inner.value.into())),
                );
            }
            _ => list.push((AttributeNumber::Standard(kind), value.into())),
        }
    }
    list.extend(cut.map(Cut::unfinished));
    list
}

/// A long value of which the end has not come yet.
struct Cut {
    kind: u8,
    extended: u8,
    value: Vec<u8>,
    /// A piece before the last was not full.
    broken: bool,
}

impl Cut {
    /// The value, which is not whole, under the number of its container: it must not be taken for a whole one.
    fn unfinished(self) -> Numbered<'static> {
        (AttributeNumber::Standard(self.kind), self.value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Attributes;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_is_told_line_by_line() {
        let mut attributes = Attributes::new();
        attributes.push(1, b"nemo").unwrap();
        attributes.push(2, &[7; 16]).unwrap();
        attributes.push_integer(6, 2);
        attributes.push(24, &[1, 2]).unwrap();
        attributes.push(64, &[3, 0, 0, 13]).unwrap();
        attributes.push(81, b"\x03twelve").unwrap();
        attributes.push(200, &[1]).unwrap();
        attributes.push_vendor(9, 1, b"shell:priv-lvl=15").unwrap();
        attributes.push_vendor(311, 16, &[1; 34]).unwrap();
        attributes.push_vendor(12345, 6, &[0]).unwrap();
        attributes.push(26, &[0, 0, 0, 9, 1]).unwrap();
        attributes.push(241, &[1, 0, 0, 0, 2]).unwrap();
        attributes.push(241, &[77, 5]).unwrap();
        attributes.push(241, &[]).unwrap();
        attributes.push_def(dictionary().by_name("SAML-Protocol").unwrap(), &[b'x'; 252]).unwrap();
        assert_eq!(
            describe_attributes(attributes.iter()),
            [
                "User-Name = \"nemo\"",
                "User-Password = [secret]",
                "Service-Type = Framed-User",
                "State = 0x0102",
                "Tunnel-Type:3 = VLAN",
                "Tunnel-Private-Group-ID:3 = \"twelve\"",
                "Attr-200 = 0x01",
                "Cisco-AVPair = \"shell:priv-lvl=15\"",
                "MS-MPPE-Send-Key = [secret]",
                "Vendor-12345-Attr-6 = 0x00",
                "Vendor-Specific = 0x0000000901",
                "Frag-Status = More-Data-Pending",
                "Attr-241.77 = 0x05",
                "Attr-241 = 0x",
                &format!("SAML-Protocol = \"{}\"", "x".repeat(252)),
            ]
        );
    }

    #[test]
    fn a_long_value_without_its_end_is_not_taken_for_whole() {
        let mut attributes = Attributes::new();
        attributes.push(245, &[1, 0x80, 5]).unwrap();
        attributes.push(245, &[2, 0, 6]).unwrap();
        attributes.push(246, &[1, 0x80, 7]).unwrap();
        attributes.push(25, &[0]).unwrap();
        attributes.push(245, &[1, 0x80, 8]).unwrap();
        attributes.push(245, &[1]).unwrap();
        attributes.push(245, &[1, 0x80, 9]).unwrap();
        let lines = describe_attributes(attributes.iter());
        assert_eq!(
            lines,
            [
                "Attr-245 = 0x05",
                "SAML-Protocol = \"\\u{6}\"",
                "Attr-246 = 0x07",
                "Class = 0x00",
                "Attr-245 = 0x08",
                "Attr-245 = 0x01",
                "Attr-245 = 0x09"
            ]
        );
    }

    #[test]
    fn pieces_that_are_not_full_are_not_joined() {
        let piece = |flags: u8, octet: u8, length: usize| [&[2, flags][..], &vec![octet; length]].concat();
        let told = |pieces: &[Vec<u8>]| {
            let mut attributes = Attributes::new();
            pieces.iter().for_each(|piece| attributes.push(245, piece).unwrap());
            describe_attributes(attributes.iter())
        };
        let (full, rest) = (piece(0x80, b'a', 251), piece(0, b'b', 2));
        // Of the flags only the first bit counts; the others are reserved.
        for rest in [rest.clone(), piece(0x7f, b'b', 2)] {
            assert_eq!(told(&[full.clone(), rest]), [format!("SAML-Protocol = \"{}bb\"", "a".repeat(251))]);
        }
        assert_eq!(told(&[piece(0x80, b'a', 2), rest.clone()]), ["Attr-245 = \"aabb\""]);
        assert_eq!(told(&[piece(0x80, b'a', 250), rest.clone()])[0], format!("Attr-245 = \"{}bb\"", "a".repeat(250)));
        // The one that is not full may stand anywhere but at the end.
        let middle = told(&[full.clone(), piece(0x80, b'c', 1), rest.clone()]);
        assert_eq!(middle, [format!("Attr-245 = \"{}cbb\"", "a".repeat(251))]);
        // A value behind it is whole again.
        let after = told(&[piece(0x80, b'a', 2), rest.clone(), rest]);
        assert_eq!(after, ["Attr-245 = \"aabb\"", "SAML-Protocol = \"bb\""]);
    }

    proptest! {
        #[test]
        fn any_octets_can_be_described(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            for line in describe_attributes(AttributeIter::new(&octets)) {
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
