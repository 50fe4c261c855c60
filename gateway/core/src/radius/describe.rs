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
    let list = unpacked(attributes, &|vendor| dictionary.layout(vendor));
    if !list.iter().any(|(number, _)| dictionary.is_tlv(*number)) {
        return list;
    }
    let mut leaves = Vec::with_capacity(list.len());
    for (number, value) in list {
        if !dictionary.is_tlv(number) || !inside(dictionary, number, &value, &mut leaves) {
            leaves.push((number, value));
        }
    }
    leaves
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
    let mut unpacking = Unpacking::default();
    for whole in attributes {
        let Attribute { kind, value } = whole;
        match (kind, value) {
            (attribute::LONG_EXTENDED_1 | attribute::LONG_EXTENDED_2, [extended, flags, rest @ ..]) => {
                let number = AttributeNumber::Extended { kind, extended: *extended };
                unpacking.piece(whole, number, rest, flags & MORE != 0);
            }
            (attribute::EXTENDED_1..=attribute::EXTENDED_4, [extended, rest @ ..]) => {
                unpacking.whole(AttributeNumber::Extended { kind, extended: *extended }, rest);
            }
            (attribute::VENDOR_SPECIFIC, [a, b, c, d, rest @ ..]) if !rest.is_empty() => {
                unpacking.vendor(whole, u32::from_be_bytes([*a, *b, *c, *d]), rest, layout);
            }
            _ => unpacking.whole(AttributeNumber::Standard(kind), value),
        }
    }
    unpacking.cut_off();
    unpacking.list
}

/// Says that a value goes on in the next attribute.
const MORE: u8 = 0x80;

/// Values as they are found, and the one of which the end has not come yet.
#[derive(Default)]
struct Unpacking<'a> {
    list: Vec<Numbered<'a>>,
    cut: Option<Cut>,
}

impl<'a> Unpacking<'a> {
    /// A value that stands in one attribute. What was begun before it stays unfinished.
    fn whole(&mut self, number: AttributeNumber, value: &'a [u8]) {
        self.cut_off();
        self.list.push(of_extended_vendor((number, value.into())));
    }

    /// What one attribute holds of a value that may go on in the next. The pieces of one value stand next to each other.
    fn piece(&mut self, container: Attribute<'a>, number: AttributeNumber, value: &'a [u8], more: bool) {
        let begun = self.cut.take_if(|begun| begun.number == number);
        if begun.is_none() && !more {
            return self.whole(number, value);
        }
        self.cut_off();
        let mut begun = begun.unwrap_or(Cut { container: container.kind, number, value: Vec::new(), broken: false });
        begun.value.extend_from_slice(value);
        // Only a full piece may have another behind it (RFC 6929 §2.2): where one does, nobody knows what was left out.
        begun.broken |= more && container.value.len() < LONGEST_VALUE;
        if more {
            self.cut = Some(begun);
        } else if begun.broken {
            self.list.push(begun.unfinished());
        } else {
            self.list.push(of_extended_vendor((number, begun.value.into())));
        }
    }

    /// The attributes in a Vendor-Specific, if it is in the form of its vendor from beginning to end.
    fn vendor(&mut self, container: Attribute<'a>, vendor: u32, octets: &'a [u8], layout: &dyn Fn(u32) -> Layout) {
        let layout = layout(vendor);
        let mut rest = octets;
        while !rest.is_empty() {
            match of_vendor(layout, rest) {
                Some((.., behind)) => rest = behind,
                None => return self.whole(AttributeNumber::Standard(container.kind), container.value),
            }
        }
        rest = octets;
        while let Some((kind, flags, value, behind)) = of_vendor(layout, rest) {
            let number = AttributeNumber::Vendor { vendor, kind };
            if layout.continued {
                self.piece(container, number, value, flags & MORE != 0);
            } else {
                self.whole(number, value);
            }
            rest = behind;
        }
    }

    /// No end of what was begun will come.
    fn cut_off(&mut self) {
        self.list.extend(self.cut.take().map(Cut::unfinished));
    }
}

/// The first of a vendor's attributes: its type, the octet that says whether it goes on, its value, and what stands behind it.
fn of_vendor(layout: Layout, octets: &[u8]) -> Option<(u32, u8, &[u8], &[u8])> {
    let number_of = |octets: &[u8]| octets.iter().fold(0_u32, |number, octet| number << 8 | u32::from(*octet));
    let (kind, behind) = octets.split_at_checked(layout.kind.into())?;
    let length = match layout.length {
        0 => octets.len(),
        width => usize::try_from(number_of(behind.get(..width.into())?)).ok()?,
    };
    let (whole, behind) = octets.split_at_checked(length)?;
    let (head, value) = whole.split_at_checked(layout.octets())?;
    Some((number_of(kind), *head.last()?, value, behind))
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

    #[test]
    fn continued_values_need_their_end() {
        let mut known = dictionary().clone();
        known.set_layout(24757, Layout { continued: true, ..Layout::PLAIN }).unwrap();
        known.set_layout(429, Layout { kind: 4, length: 0, continued: false }).unwrap();
        let told = |pieces: &[&[u8]]| {
            let mut attributes = Attributes::new();
            pieces.iter().for_each(|piece| attributes.push(26, piece).unwrap());
            describe_with(&known, attributes.iter())
        };
        let end: &[u8] = &[0, 0, 0x60, 0xb5, 7, 4, 0, b'x'];
        let begun: &[u8] = &[0, 0, 0x60, 0xb5, 7, 4, 0x80, b'y'];
        assert_eq!(told(&[end]), ["Vendor-24757-Attr-7 = \"x\""]);
        assert_eq!(told(&[begun]), ["Vendor-Specific = 0x79"]);
        assert_eq!(told(&[begun, end]), ["Vendor-Specific = 0x7978"], "a piece that is not full has nothing behind it");
        // Two in one attribute, and one that is too short for its head.
        assert_eq!(told(&[&[end, &[8, 4, 0, b'z']].concat()]).len(), 2);
        assert_eq!(told(&[&[0, 0, 0x60, 0xb5, 7, 2]]), ["Vendor-Specific = 0x000060b50702"]);
        assert_eq!(told(&[&[0, 0, 1, 0xad, 0, 0, 0x90, 1, 5]]), ["Vendor-429-Attr-36865 = 0x05"]);
        assert_eq!(told(&[&[0, 0, 1, 0xad, 0, 0, 0x90]]), ["Vendor-Specific = 0x000001ad000090"]);
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
