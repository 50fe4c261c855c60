//! Values of a list that only the packet can hide: by its authenticator, with the shared secret. Zeros stand in their place
//! until the packet is encoded, so that who forgets to hide them sends no secret.

use super::definition::Hiding;
use super::packet::AttributeIter;
use super::password::{LONGEST_ASCEND, LONGEST_PASSWORD, LONGEST_SALTED, hide_ascend, hide_password, hide_salted};
use super::{Attributes, SharedSecret, TooLong, attribute};
use crate::secret::Secret;
use std::borrow::Cow;

/// Stands in the record of a list before what is hidden. No attribute is shorter than two octets, so that releases that do not
/// know of it find no attributes at all, rather than ones of zeros.
const MARK: [u8; 2] = [0, 0];

/// A value that waits to be hidden.
pub(super) struct Hidden {
    hiding: Hiding,
    /// Place of its octets in the list.
    place: usize,
    value: Secret,
}

impl Hidden {
    /// A value, which has no place yet.
    pub(super) fn new(hiding: Hiding, value: &[u8]) -> Result<Self, TooLong> {
        let most = match hiding {
            Hiding::Password => LONGEST_PASSWORD,
            Hiding::Ascend => LONGEST_ASCEND,
            Hiding::Salted | Hiding::Open | Hiding::Secret => LONGEST_SALTED,
        };
        TooLong::check("hidden value", value.len(), most)?;
        Ok(Self { hiding, place: 0, value: Secret::new(value.to_vec()) })
    }

    /// Length once it is hidden.
    pub(super) fn octets(&self) -> usize {
        let clear = self.value.expose().len();
        match self.hiding {
            Hiding::Password => clear.next_multiple_of(16).max(16),
            Hiding::Ascend => 16,
            Hiding::Salted | Hiding::Open | Hiding::Secret => 2 + (1 + clear).next_multiple_of(16),
        }
    }

    fn hide(&self, secret: &SharedSecret, authenticator: &[u8; 16], salt: u16) -> Result<Vec<u8>, TooLong> {
        let value = self.value.expose();
        match self.hiding {
            Hiding::Password => hide_password(value, secret, authenticator),
            Hiding::Ascend => hide_ascend(value, secret, authenticator),
            Hiding::Salted | Hiding::Open | Hiding::Secret => {
                hide_salted(value, salt.to_be_bytes(), secret, authenticator)
            }
        }
    }

    /// As it stands in a record.
    fn record(&self, out: &mut Vec<u8>) {
        let kind = match self.hiding {
            Hiding::Password => 1,
            Hiding::Ascend => 3,
            Hiding::Salted | Hiding::Open | Hiding::Secret => 2,
        };
        // A list has at most 4096 octets, and a value at most 239.
        out.extend(u16::try_from(self.place).unwrap_or(u16::MAX).to_be_bytes());
        out.extend([kind, u8::try_from(self.value.expose().len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(self.value.expose());
    }

    fn read(octets: &[u8]) -> Option<(Self, &[u8])> {
        let (&[high, low, kind, length], rest) = octets.split_first_chunk::<4>()?;
        let hiding = match kind {
            1 => Hiding::Password,
            2 => Hiding::Salted,
            3 => Hiding::Ascend,
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length.into())?;
        let hidden = Self::new(hiding, value).ok()?;
        Some((Self { place: u16::from_be_bytes([high, low]).into(), ..hidden }, rest))
    }

    fn copy(&self) -> Self {
        Self { hiding: self.hiding, place: self.place, value: self.value.duplicate() }
    }
}

impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        self.hiding == other.hiding && self.place == other.place && self.value == other.value
    }
}

impl Eq for Hidden {}

impl Clone for Hidden {
    /// A policy's reply is copied for each sign-in.
    fn clone(&self) -> Self {
        self.copy()
    }
}

impl Attributes {
    /// Keeps the value that belongs to the octets that were written last.
    pub(super) fn keep_hidden(&mut self, hidden: Hidden) {
        let place = self.octets.len().saturating_sub(hidden.octets());
        self.hidden.push(Hidden { place, ..hidden });
    }

    /// The hidden values of another list, of which the octets from `from` on were appended at `begin`.
    pub(super) fn append_hidden(&mut self, other: &Self, begin: usize, from: usize) {
        let moved = |hidden: &Hidden| Hidden { place: hidden.place.saturating_sub(from) + begin, ..hidden.copy() };
        self.hidden.extend(other.hidden.iter().map(moved));
    }

    /// The list as a record keeps it: the octets, and behind a mark the values that are still to be hidden.
    pub fn to_record(&self) -> Vec<u8> {
        let mut out = self.octets.clone();
        if !self.hidden.is_empty() {
            out.extend(MARK);
            self.hidden.iter().for_each(|hidden| hidden.record(&mut out));
        }
        out
    }

    /// Reads [`to_record`](Self::to_record); `None` if the octets are no such list.
    pub fn from_record(octets: &[u8]) -> Option<Self> {
        let mut walk = AttributeIter::new(octets);
        let read: usize = walk.by_ref().map(|attribute| attribute.value.len() + 2).sum();
        let (list, rest) = octets.split_at_checked(read)?;
        let mut attributes = Self { octets: list.to_vec(), hidden: Vec::new() };
        if rest.is_empty() {
            return Some(attributes);
        }
        let mut rest = rest.strip_prefix(&MARK)?;
        while !rest.is_empty() {
            let (hidden, more) = Hidden::read(rest)?;
            let blank = list.get(hidden.place..hidden.place + hidden.octets())?;
            if blank.iter().any(|octet| *octet != 0) {
                return None;
            }
            attributes.hidden.push(hidden);
            rest = more;
        }
        (!attributes.hidden.is_empty()).then_some(attributes)
    }

    /// The list with its secrets hidden for the packet with this authenticator. Salts come from `seed`, the list and the shared
    /// secret, so that the same packet gets the same octets wherever it is answered; within a packet each is another.
    pub(super) fn sealed(
        &self,
        secret: &SharedSecret,
        authenticator: &[u8; 16],
        seed: &[u8],
    ) -> Result<Cow<'_, Self>, TooLong> {
        if self.hidden.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let mut parts = vec![seed, &self.octets];
        parts.extend(self.hidden.iter().map(|hidden| hidden.value.expose()));
        let [first, second, ..] = secret.sign(&parts);
        let mut salt = u16::from_be_bytes([first, second]);
        // The keys of MS-CHAP have salts of their own.
        let microsoft = attribute::vendor::MICROSOFT;
        let mut used: Vec<u16> = [16, 17]
            .into_iter()
            .flat_map(|kind| self.vendor(microsoft, kind))
            .filter_map(|value| value.first_chunk::<2>())
            .map(|salt| u16::from_be_bytes(*salt) | 0x8000)
            .collect();
        let mut octets = self.octets.clone();
        for hidden in &self.hidden {
            // There are more salts than attributes in a packet.
            while used.contains(&(salt | 0x8000)) {
                salt = salt.wrapping_add(1);
            }
            used.push(salt | 0x8000);
            let value = hidden.hide(secret, authenticator, salt)?;
            octets.iter_mut().skip(hidden.place).zip(value).for_each(|(place, octet)| *place = octet);
        }
        Ok(Cow::Owned(Self { octets, hidden: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        AttributeDef, AttributeNumber, Code, Packet, describe_attributes, dictionary, encode_reply, encode_request,
        reveal_password, reveal_salted,
    };
    use super::*;
    use proptest::prelude::*;

    fn shared() -> SharedSecret {
        SharedSecret::new(Secret::new(b"testing123".to_vec()))
    }

    fn hiding(hiding: Hiding, kind: u32) -> AttributeDef {
        let number = AttributeNumber::Vendor { vendor: 529, kind };
        AttributeDef { hiding, ..AttributeDef::unknown(number) }
    }

    /// Two tunnels' passwords, one of each other way, and a key of MS-CHAP.
    fn list() -> Attributes {
        let mut list = Attributes::new();
        let tunnel = dictionary().by_name("Tunnel-Password").unwrap();
        list.push_def(tunnel, &tunnel.encode_tagged("hunter2", Some(3)).unwrap()).unwrap();
        list.push_def(tunnel, &tunnel.encode_tagged("\u{1}hunter2", None).unwrap()).unwrap();
        list.push_def(&hiding(Hiding::Ascend, 214), b"hunter2").unwrap();
        list.push_def(&hiding(Hiding::Password, 5), b"hunter2").unwrap();
        list.push_vendor(311, 16, &[0x80, 7, 1, 2]).unwrap();
        list
    }

    #[test]
    fn hidden_values_can_be_revealed() {
        let secret = shared();
        let request = encode_request(Code::ACCESS_REQUEST, 7, [5; 16], &Attributes::new(), &secret, true).unwrap();
        let request = Packet::parse(&request).unwrap();
        let bytes = encode_reply(Code::ACCESS_ACCEPT, &request, &list(), &secret).unwrap();
        let again = encode_reply(Code::ACCESS_ACCEPT, &request, &list(), &secret).unwrap();
        assert_eq!(bytes, again, "duplicates have the same octets");
        assert!(!bytes.windows(7).any(|octets| octets == b"hunter2"));
        let reply = Packet::parse(&bytes).unwrap();
        let tunnels: Vec<&[u8]> = reply.all(attribute::TUNNEL_PASSWORD).collect();
        assert_eq!([tunnels[0][0], tunnels[1][0]], [3, 0], "the tag stands before the salt");
        assert_eq!(reveal_salted(&tunnels[0][1..], &secret, &[5; 16]).unwrap().expose(), b"hunter2");
        assert_eq!(reveal_salted(&tunnels[1][1..], &secret, &[5; 16]).unwrap().expose(), b"\x01hunter2");
        assert!(tunnels.iter().all(|value| value[1] & 0x80 != 0));
        assert_ne!(tunnels[0][1..3], tunnels[1][1..3], "each has a salt of its own");
        let ascend: Vec<u8> = reply.vendor(529, 214).next().unwrap().to_vec();
        let clear = hide_ascend(&ascend, &secret, &[5; 16]).unwrap();
        assert_eq!(clear, [&b"hunter2"[..], &[0; 9]].concat());
        assert_eq!(reveal_password(reply.vendor(529, 5).next().unwrap(), &secret, &[5; 16]).expose(), b"hunter2");

        let other = encode_request(Code::ACCESS_REQUEST, 7, [6; 16], &Attributes::new(), &secret, true).unwrap();
        let other = encode_reply(Code::ACCESS_ACCEPT, &Packet::parse(&other).unwrap(), &list(), &secret).unwrap();
        let other = Packet::parse(&other).unwrap();
        assert_ne!(other.first(attribute::TUNNEL_PASSWORD), Some(tunnels[0]));
    }

    #[test]
    fn orders_hide_with_zeros() {
        let bytes = encode_request(Code::COA_REQUEST, 7, [5; 16], &list(), &shared(), true).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        let tunnel = packet.first(attribute::TUNNEL_PASSWORD).unwrap();
        assert_eq!(reveal_salted(&tunnel[1..], &shared(), &[0; 16]).unwrap().expose(), b"hunter2");
    }

    #[test]
    fn salts_of_keys_are_not_taken() {
        let secret = shared();
        let salt_of = |list: &Attributes| {
            let sealed = list.sealed(&secret, &[5; 16], b"").unwrap();
            let value = sealed.iter().next().unwrap().value.to_vec();
            [value[1], value[2]]
        };
        let tunnel = dictionary().by_name("Tunnel-Password").unwrap();
        let mut taken = Vec::new();
        // The seed covers the list, so that a key with the same salt is found by trying.
        for low in 0..=u8::MAX {
            for high in 0x80..=u8::MAX {
                let mut list = Attributes::new();
                list.push_def(tunnel, b"\0x").unwrap();
                list.push_vendor(311, 16, &[high, low]).unwrap();
                let salt = salt_of(&list);
                assert_ne!(salt, [high, low]);
                taken.push(salt);
            }
        }
        assert!(taken.iter().all(|salt| salt[0] & 0x80 != 0));
    }

    #[test]
    fn unhidden_lists_carry_no_secret() {
        let list = list();
        assert!(!list.as_bytes().windows(7).any(|octets| octets == b"hunter2"));
        assert!(!format!("{list:?}").contains("hunter2"));
        assert_eq!(describe_attributes(list.iter())[0], "Tunnel-Password:3 = [secret]");
    }

    #[test]
    fn records_keep_what_is_hidden() {
        let list = list();
        let record = list.to_record();
        assert_eq!(Attributes::from_record(&record), Some(list.clone()));
        assert_eq!(Attributes::from_encoded(&record), None, "who does not know of it sends nothing");
        let mut open = Attributes::new();
        open.push(25, b"x").unwrap();
        assert_eq!(open.to_record(), open.as_bytes());
        assert_eq!(Attributes::from_record(open.as_bytes()), Some(open.clone()));
        open.append(&list);
        let read = Attributes::from_record(&open.to_record()).unwrap();
        assert_eq!(read, open);
        let sealed = open.sealed(&shared(), &[5; 16], b"").unwrap();
        let tunnel = sealed.iter().nth(1).unwrap().value;
        assert_eq!(reveal_salted(&tunnel[1..], &shared(), &[5; 16]).unwrap().expose(), b"hunter2");
        for wrong in [&record[..record.len() - 1], &[&record[..], &[0]].concat(), &[25, 3, 1, 0, 0], &[0, 0]] {
            assert_eq!(Attributes::from_record(wrong), None);
        }
    }

    #[test]
    fn values_too_long_to_hide_are_refused() {
        let mut list = Attributes::new();
        for (way, most) in [(Hiding::Ascend, 16), (Hiding::Password, 128), (Hiding::Salted, 239)] {
            list.push_def(&hiding(way, 1), &vec![b'x'; most]).unwrap();
            let refused = list.push_def(&hiding(way, 1), &vec![b'x'; most + 1]).unwrap_err().to_string();
            assert!(refused.contains(&format!("at most {most} fit")), "{refused}");
        }
        list.sealed(&shared(), &[0; 16], b"").unwrap();
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(list) = Attributes::from_record(&octets) {
                prop_assert_eq!(list.to_record(), octets);
                list.sealed(&shared(), &[0; 16], b"").unwrap();
            }
        }
    }
}
