//! Values in the frames that their numbers ask for: vendors' attributes with types and lengths of their own width, the
//! extended formats, TLVs within them (RFC 6929 §2), and lists of rules (RFC 4849 §2).

use super::attributes::{LONGEST_VALUE, TooLong};
use super::definition::{AttributeDef, AttributeNumber, Outer};
use super::hidden::Hidden;
use super::value::ValueError;
use super::{Attribute, Attributes, attribute};

/// Says that a value goes on in the next attribute: in the flags of the long extended formats, and in WiMAX's octet.
const MORE: u8 = 0x80;

/// Octets that stand before a value.
struct Head {
    /// With the lengths that they have where no value follows.
    octets: Vec<u8>,
    /// Places of the lengths in `octets`; of lengths of two octets, those of the second.
    lengths: Vec<usize>,
    /// Number of its octets that are repeated where a value goes on in the next attribute.
    repeated: usize,
    /// Place of the octet that says that the value goes on.
    more: Option<usize>,
}

impl Head {
    fn of(def: &AttributeDef) -> Self {
        match def.number.parts().0 {
            Outer::Standard(kind) => Self::plain(vec![kind, 2]),
            Outer::Extended(kind, extended) if kind < attribute::LONG_EXTENDED_1 => {
                Self::plain(vec![kind, 3, extended])
            }
            Outer::Extended(kind, extended) => Self::long(vec![kind, 4, extended, 0]),
            Outer::ExtendedVendor(kind, vendor, number) => {
                let [a, b, c, d] = vendor.to_be_bytes();
                let extended = attribute::VENDOR_SPECIFIC;
                if kind < attribute::LONG_EXTENDED_1 {
                    Self::plain(vec![kind, 8, extended, a, b, c, d, number])
                } else {
                    Self::long(vec![kind, 9, extended, 0, a, b, c, d, number])
                }
            }
            Outer::Vendor(vendor, kind) => Self::vendor(def, vendor, kind),
        }
    }

    fn plain(octets: Vec<u8>) -> Self {
        Self { repeated: octets.len(), octets, lengths: vec![1], more: None }
    }

    fn long(octets: Vec<u8>) -> Self {
        Self { octets, lengths: vec![1], repeated: 4, more: Some(3) }
    }

    fn vendor(def: &AttributeDef, vendor: u32, kind: u32) -> Self {
        let layout = def.layout;
        let own = u8::try_from(layout.octets()).unwrap_or(u8::MAX);
        let mut octets = vec![attribute::VENDOR_SPECIFIC, own.saturating_add(6)];
        octets.extend(vendor.to_be_bytes());
        octets.extend(kind.to_be_bytes().iter().skip(4_usize.saturating_sub(layout.kind.into())));
        let mut lengths = vec![1];
        if layout.length > 0 {
            octets.extend([0, own].iter().skip(2_usize.saturating_sub(layout.length.into())));
            lengths.push(octets.len() - 1);
        }
        let more = layout.continued.then_some(octets.len());
        octets.extend(more.map(|_| 0));
        Self { repeated: octets.len(), octets, lengths, more }
    }

    /// Returns whether an attribute begins like this, whatever its lengths.
    fn begins(&self, attribute: &[u8]) -> bool {
        attribute.len() >= self.octets.len()
            && self.octets.iter().zip(attribute).enumerate().all(|(at, (a, b))| self.lengths.contains(&at) || a == b)
    }
}

/// The value inside the TLVs of these types, from the outside in.
fn wrapped(path: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * path.len() + value.len());
    for (depth, kind) in path.iter().enumerate() {
        let length = 2 * (path.len() - depth) + value.len();
        out.extend([*kind, u8::try_from(length).unwrap_or(u8::MAX)]);
    }
    out.extend_from_slice(value);
    out
}

impl Attributes {
    /// Adds an attribute with a value from [`AttributeDef::encode_value`], in the format that its number asks for. What must be
    /// hidden is kept aside until the packet is encoded. What lies within a TLV joins it, where the attribute before lies
    /// there too, and a rule of NAS-Filter-Rule joins those before it.
    ///
    /// # Errors
    ///
    /// The value is too long; nothing was added.
    pub fn push_def(&mut self, def: &AttributeDef, value: &[u8]) -> Result<(), ValueError> {
        let too_long = |fault: TooLong| ValueError::TooLong { attribute: def.name.to_string(), fault };
        if def.is_hidden() {
            // The tag is not hidden (RFC 2868 §3.5).
            let (tag, clear) = value.split_at_checked(usize::from(def.has_tag)).unwrap_or((value, &[]));
            let hidden = Hidden::new(def.hiding, clear).map_err(too_long)?;
            let blank = [tag, &vec![0; hidden.octets()]].concat();
            def.check_length(blank.len()).map_err(too_long)?;
            self.push_framed(def, &blank);
            self.keep_hidden(hidden);
            return Ok(());
        }
        def.check_length(value.len()).map_err(too_long)?;
        if def.number == AttributeNumber::Standard(attribute::NAS_FILTER_RULE) {
            self.push_rule(value);
        } else {
            self.push_framed(def, value);
        }
        Ok(())
    }

    fn push_framed(&mut self, def: &AttributeDef, value: &[u8]) {
        let head = Head::of(def);
        let (_, path) = def.number.parts();
        if path.is_empty() || !self.join_tlv(&head, path, value) {
            self.write_cut(&head, &wrapped(path, value));
        }
    }

    /// Writes an attribute, or as many as the value needs.
    fn write_cut(&mut self, head: &Head, value: &[u8]) {
        let (repeated, rest) = head.octets.split_at_checked(head.repeated).unwrap_or((&head.octets, &[]));
        let content = [rest, value].concat();
        let room = LONGEST_VALUE + 2 - repeated.len();
        let mut pieces = content.chunks(room).peekable();
        loop {
            let piece = pieces.next().unwrap_or_default();
            let begin = self.octets.len();
            self.octets.extend_from_slice(repeated);
            self.octets.extend_from_slice(piece);
            for length in &head.lengths {
                // What is not repeated is counted in the head's lengths, and is a part of the first piece.
                self.subtract_at(begin + length, rest.len());
                self.add_at(begin + length, piece.len());
            }
            let more = pieces.peek().is_some();
            if let Some(flags) = head.more.filter(|_| more).and_then(|at| self.octets.get_mut(begin + at)) {
                *flags |= MORE;
            }
            if !more {
                return;
            }
        }
    }

    /// Puts a TLV into the last attribute, if that has the same head and room enough.
    fn join_tlv(&mut self, head: &Head, path: &[u8], value: &[u8]) -> bool {
        let Some(last) = self.last_whole(head) else { return false };
        let mut places: Vec<usize> = head.lengths.iter().map(|length| last + length).collect();
        let mut inside = last + head.octets.len();
        let mut depth = 0;
        while let Some(tlv) = last_tlv(self.octets.get(inside..).unwrap_or_default()) {
            let at = inside + tlv;
            // The innermost TLV is the value itself: another of its type stands beside it.
            if depth + 1 >= path.len() || self.octets.get(at) != path.get(depth) {
                let more = wrapped(path.get(depth..).unwrap_or_default(), value);
                if self.octets.len() - last + more.len() > LONGEST_VALUE + 2 {
                    return false;
                }
                self.octets.extend_from_slice(&more);
                places.iter().for_each(|place| self.add_at(*place, more.len()));
                return true;
            }
            places.push(at + 1);
            inside = at + 2;
            depth += 1;
        }
        false
    }

    /// Where the last attribute begins, if it has this head and is not the end of a value that began before it.
    fn last_whole(&self, head: &Head) -> Option<usize> {
        let mut last = None;
        let mut at = 0;
        let mut goes_on = false;
        for Attribute { value, .. } in self.iter() {
            let attribute = self.octets.get(at..at + value.len() + 2)?;
            let flags = head.more.and_then(|more| attribute.get(more)).copied().unwrap_or_default();
            last = (head.begins(attribute) && !goes_on).then_some(at);
            goes_on = attribute.first() == head.octets.first() && flags & MORE != 0;
            at += value.len() + 2;
        }
        last
    }

    /// Adds rules to those that the list ends with: with a NUL between them, cut wherever an attribute is full (RFC 4849 §2).
    pub(super) fn push_rule(&mut self, rules: &[u8]) {
        let mut begin = 0;
        let mut before = Vec::new();
        let mut at = 0;
        for Attribute { kind, value } in self.iter() {
            at += value.len() + 2;
            if kind == attribute::NAS_FILTER_RULE {
                before.extend_from_slice(value);
            } else {
                before.clear();
                begin = at;
            }
        }
        self.octets.truncate(begin);
        if !before.is_empty() {
            before.push(0);
        }
        before.extend_from_slice(rules);
        self.push_concat(attribute::NAS_FILTER_RULE, &before);
    }

    /// Adds to a length that was found to have room.
    fn add_at(&mut self, place: usize, octets: usize) {
        if let Some(length) = self.octets.get_mut(place) {
            *length = u8::try_from(usize::from(*length) + octets).unwrap_or(u8::MAX);
        }
    }

    fn subtract_at(&mut self, place: usize, octets: usize) {
        if let Some(length) = self.octets.get_mut(place) {
            *length = length.saturating_sub(u8::try_from(octets).unwrap_or(u8::MAX));
        }
    }
}

/// Where the last of several TLVs begins; `None` unless the octets are nothing but TLVs.
fn last_tlv(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut last = None;
    while let Some([_, length, ..]) = octets.get(at..) {
        if *length < 2 {
            return None;
        }
        last = Some(at);
        at += usize::from(*length);
    }
    last.filter(|_| at == octets.len())
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, dictionary};
    use super::*;
    use proptest::prelude::*;

    fn rules(list: &Attributes) -> Vec<u8> {
        assert!(list.iter().all(|attribute| attribute.kind == attribute::NAS_FILTER_RULE));
        list.iter().flat_map(|attribute| attribute.value.to_vec()).collect()
    }

    #[test]
    fn rules_are_joined_with_nul() {
        let def = dictionary().by_name("NAS-Filter-Rule").unwrap();
        let mut list = Attributes::new();
        list.push_def(def, b"permit in ip from any to any").unwrap();
        list.push_def(def, b"deny").unwrap();
        assert_eq!(list.iter().count(), 1);
        assert_eq!(rules(&list), b"permit in ip from any to any\0deny");
        let mut other = Attributes::new();
        other.push_def(def, &[b'x'; 600]).unwrap();
        other.push(25, b"class").unwrap();
        let mut both = list.clone();
        both.append(&other);
        let lengths: Vec<usize> = both.iter().map(|attribute| attribute.value.len()).collect();
        assert_eq!(lengths, [253, 253, 128, 5], "full attributes, and whatever stood behind");
        // A list that was interrupted begins anew.
        both.push_def(def, b"last").unwrap();
        assert_eq!(both.iter().last().unwrap().value, b"last");
    }

    #[test]
    fn full_tlvs_are_not_joined() {
        let number = AttributeNumber::Vendor { vendor: 24757, kind: 1 };
        let def = AttributeDef {
            layout: Layout { continued: true, ..Layout::PLAIN },
            ..AttributeDef::unknown(number.inner(7).unwrap())
        };
        let mut list = Attributes::new();
        list.push_def(&def, &[1; 200]).unwrap();
        list.push_def(&def, &[2; 44]).unwrap();
        let lengths: Vec<usize> = list.iter().map(|attribute| attribute.value.len()).collect();
        assert_eq!(lengths, [209, 53], "one octet too many");
        list.push_def(&def, &[3; 198]).unwrap();
        assert_eq!(list.iter().count(), 2);
        list.push_def(&def, &[4; 245]).unwrap_err();
    }

    proptest! {
        #[test]
        fn every_frame_has_right_lengths(
            vendor in any::<u32>(),
            kind in any::<u8>(),
            extended in 241_u8..=246,
            path in proptest::collection::vec(1_u8.., 0..=4),
            widths in (prop_oneof![Just(1_u8), Just(2), Just(4)], 0_u8..=2, any::<bool>()),
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..6),
        ) {
            for number in [
                AttributeNumber::Standard(kind),
                AttributeNumber::Vendor { vendor, kind: kind.into() },
                AttributeNumber::Extended { kind: extended, extended: kind },
                AttributeNumber::ExtendedVendor { kind: extended, vendor, number: kind },
            ] {
                let number = path.iter().fold(number, |number, kind| number.inner(*kind).unwrap());
                let layout = Layout { kind: widths.0, length: widths.1, continued: widths.2 };
                let def = AttributeDef { layout, ..AttributeDef::unknown(number) };
                let mut list = Attributes::new();
                let mut octets = 0;
                for value in &values {
                    if list.push_def(&def, value).is_ok() {
                        octets += value.len();
                    }
                }
                prop_assert!(Attributes::from_encoded(list.as_bytes()).is_some());
                prop_assert!(list.as_bytes().len() >= octets);
            }
        }
    }
}
