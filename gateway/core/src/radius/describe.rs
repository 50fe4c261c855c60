//! Packets for human eyes: `Reply-Message = "Enter your code"`, one line for each attribute. Secrets are not shown.

use super::definition::{AttributeNumber, DataType, Layout};
use super::packet::{Attribute, AttributeIter};
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
    numbered_with(dictionary, attributes).into_iter().map(|(number, value)| line(dictionary, number, &value)).collect()
}

fn line(dictionary: &Dictionary, number: AttributeNumber, value: &[u8]) -> String {
    let def = dictionary.definition(number);
    let tag = def.tag(value).map(|tag| format!(":{tag}")).unwrap_or_default();
    format!("{}{tag} = {}", def.name, def.print_value(value))
}

/// Unpacks vendors' attributes (RFC 2865 §5.26) and the extended formats, and joins what was cut into several long ones
/// (RFC 6929 §2). What is not in its format stays what it is: an attribute of its type with odd octets.
pub fn numbered(attributes: AttributeIter<'_>) -> Vec<Numbered<'_>> {
    unpacked(attributes, &|_| Layout::PLAIN)
}

/// The same with what a dictionary knows of vendors that write types and lengths in other ways, and of TLVs: what lies within
/// one takes its place.
pub fn numbered_with<'a>(dictionary: &Dictionary, attributes: AttributeIter<'a>) -> Vec<Numbered<'a>> {
    let mut list = Vec::new();
    for (number, value) in unpacked(attributes, &|vendor| dictionary.layout(vendor)) {
        if !dictionary.by_number(number).is_some_and(|def| def.data_type == DataType::Tlv)
            || !inside(dictionary, number, &value, &mut list)
        {
            list.push((number, value));
        }
    }
    list
}

/// Adds what lies within a TLV; whether it was nothing but attributes of known types, and everything was added.
fn inside(dictionary: &Dictionary, number: AttributeNumber, value: &[u8], list: &mut Vec<Numbered<'_>>) -> bool {
    let begun = list.len();
    let mut walk = AttributeIter::new(value);
    let mut octets = 0;
    for Attribute { kind, value } in walk.by_ref() {
        octets += value.len() + 2;
        let Some(def) = number.inner(kind).and_then(|inner| dictionary.by_number(inner)) else { break };
        if def.data_type != DataType::Tlv || !inside(dictionary, def.number, value, list) {
            list.push((def.number, value.to_vec().into()));
        }
    }
    let whole = octets == value.len() && list.len() > begun && walk.next().is_none();
    if !whole {
        list.truncate(begun);
    }
    whole
}

fn unpacked<'a>(attributes: AttributeIter<'a>, layout: &dyn Fn(u32) -> Layout) -> Vec<Numbered<'a>> {
    let mut list = Vec::new();
    let mut cut: Option<Cut> = None;
    for Attribute { kind, value } in attributes {
        let pieces = match (kind, value) {
            (attribute::LONG_EXTENDED_1 | attribute::LONG_EXTENDED_2, [extended, flags, rest @ ..]) => {
                let number = AttributeNumber::Extended { kind, extended: *extended };
                vec![Piece { number, value: rest, more: Some(flags & 0x80 != 0) }]
            }
            (attribute::EXTENDED_1..=attribute::EXTENDED_4, [extended, rest @ ..]) => {
                vec![Piece::whole(AttributeNumber::Extended { kind, extended: *extended }, rest)]
            }
            (attribute::VENDOR_SPECIFIC, _) if let Some(pieces) = of_vendor(value, layout) => pieces,
            _ => vec![Piece::whole(AttributeNumber::Standard(kind), value)],
        };
        for Piece { number, value: piece, more } in pieces {
            // The pieces of one value stand next to each other; anything else between them leaves it unfinished.
            let begun = match cut.take() {
                Some(begun) if begun.number == number && more.is_some() => Some(begun),
                unfinished => {
                    list.extend(unfinished.map(Cut::unfinished));
                    None
                }
            };
            let more = more == Some(true);
            if !more && begun.is_none() {
                list.push(of_extended_vendor((number, piece.into())));
                continue;
            }
            let mut whole = begun.unwrap_or_else(|| Cut { container: kind, number, value: Vec::new(), broken: false });
            whole.value.extend_from_slice(piece);
            // Only a full piece may have another behind it (RFC 6929 §2.2): where one does, nobody knows what was left out.
            whole.broken |= more && value.len() < LONGEST_VALUE;
            if more {
                cut = Some(whole);
            } else if whole.broken {
                list.push(whole.unfinished());
            } else {
                list.push(of_extended_vendor((number, whole.value.into())));
            }
        }
    }
    list.extend(cut.map(Cut::unfinished));
    list
}

/// What one attribute holds of a value.
struct Piece<'a> {
    number: AttributeNumber,
    value: &'a [u8],
    /// In formats of which values may be cut: whether more of it follows.
    more: Option<bool>,
}

impl<'a> Piece<'a> {
    fn whole(number: AttributeNumber, value: &'a [u8]) -> Self {
        Self { number, value, more: None }
    }
}

/// The attributes in a Vendor-Specific, if it is in the form of its vendor from beginning to end.
fn of_vendor<'a>(value: &'a [u8], layout: &dyn Fn(u32) -> Layout) -> Option<Vec<Piece<'a>>> {
    let (vendor, mut rest) = value.split_first_chunk::<4>()?;
    let vendor = u32::from_be_bytes(*vendor);
    let layout = layout(vendor);
    let number_of = |octets: &[u8]| octets.iter().fold(0_u32, |number, octet| number << 8 | u32::from(*octet));
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (kind, behind) = rest.split_at_checked(layout.kind.into())?;
        let length = match layout.length {
            0 => rest.len(),
            octets => usize::try_from(number_of(behind.get(..octets.into())?)).ok()?,
        };
        let (whole, next) = rest.split_at_checked(length)?;
        let value = whole.get(layout.octets()..)?;
        let more = layout.continued.then(|| whole.get(layout.octets() - 1).is_some_and(|flags| flags & 0x80 != 0));
        pieces.push(Piece { number: AttributeNumber::Vendor { vendor, kind: number_of(kind) }, value, more });
        rest = next;
    }
    (!pieces.is_empty()).then_some(pieces)
}

/// The vendor's attribute in an Extended-Vendor-Specific (RFC 6929 §2.4), if that is what it is.
fn of_extended_vendor((number, value): Numbered<'_>) -> Numbered<'_> {
    let AttributeNumber::Extended { kind, extended: attribute::VENDOR_SPECIFIC } = number else {
        return (number, value);
    };
    match value.split_first_chunk::<5>() {
        Some(([a, b, c, d, own], rest)) if !rest.is_empty() => {
            let vendor = u32::from_be_bytes([*a, *b, *c, *d]);
            (AttributeNumber::ExtendedVendor { kind, vendor, number: *own }, rest.to_vec().into())
        }
        _ => (number, value),
    }
}

/// A long value of which the end has not come yet.
struct Cut {
    /// The type octet of the attributes in which it stands.
    container: u8,
    number: AttributeNumber,
    value: Vec<u8>,
    /// A piece before the last was not full.
    broken: bool,
}

impl Cut {
    /// The value, which is not whole, under the number of its container: it must not be taken for a whole one.
    fn unfinished(self) -> Numbered<'static> {
        (AttributeNumber::Standard(self.container), self.value.into())
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
