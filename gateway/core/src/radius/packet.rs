//! One received packet, checked at the door (RFC 2865 §3, §5). What passes keeps the octets where they are: a [`Packet`]
//! is a view that costs no allocation.
//!
//! Refused are frames that are not RADIUS, and those attributes whose repetition or length would leave it open *which*
//! proof or conversation is meant. Any other attribute with an odd value stays an attribute with an odd value: RFC 6929
//! §2.8 wants it treated as unknown, not the packet dropped.

use super::{Code, attribute};
use std::fmt;

/// The longest packet over UDP, in octets (RFC 2865 §3).
pub const LONGEST_PACKET: usize = 4096;

/// Code, Identifier, Length and Authenticator, in octets.
pub(crate) const HEADER: usize = 20;

/// A packet that passed [`Packet::parse`]. Still unproven: see [`Packet::message_authenticator`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    authenticator: &'a [u8; 16],
    /// Where the Message-Authenticator attribute begins, so that proving the packet does not walk it again.
    proof_at: Option<usize>,
}

/// One attribute as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The type octet.
    pub kind: u8,
    /// The octets behind type and length; at most 253.
    pub value: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of `datagram`; octets beyond its Length field are padding (RFC 2865 §3).
    ///
    /// # Errors
    ///
    /// The first fault found. RFC 2865 §3 wants such a packet dropped in silence.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let received = datagram.len();
        let (header, _) = datagram.split_first_chunk::<HEADER>().ok_or(Malformed::Short { received })?;
        let [code, _, high, low, authenticator @ ..] = header;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length < HEADER {
            return Err(Malformed::LengthTooSmall { length });
        }
        if length > LONGEST_PACKET {
            return Err(Malformed::LengthTooLarge { length });
        }
        let bytes = datagram.get(..length).ok_or(Malformed::Truncated { length, received })?;
        let proof_at = check_attributes(Code::from(*code), bytes)?;
        Ok(Self { bytes, authenticator, proof_at })
    }

    /// What the packet is.
    pub fn code(&self) -> Code {
        Code::from(self.bytes.first().copied().unwrap_or_default())
    }

    /// Matches a reply to its request.
    pub fn identifier(&self) -> u8 {
        self.bytes.get(1).copied().unwrap_or_default()
    }

    /// The Request or Response Authenticator.
    pub fn authenticator(&self) -> &'a [u8; 16] {
        self.authenticator
    }

    /// The packet as received, without padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Every attribute in the order received.
    pub fn attributes(&self) -> AttributeIter<'a> {
        AttributeIter { rest: self.bytes.get(HEADER..).unwrap_or_default() }
    }

    /// The value of the first attribute of this type.
    pub fn first(&self, kind: u8) -> Option<&'a [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// The values of all attributes of this type, in order.
    pub fn all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes().filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// The values of this type joined into one, as EAP-Message is meant (RFC 3579 §3.1); `None` if there is none.
    pub fn joined(&self, kind: u8) -> Option<Vec<u8>> {
        let mut values = self.all(kind);
        let mut joined = values.next()?.to_vec();
        values.for_each(|value| joined.extend_from_slice(value));
        Some(joined)
    }

    /// The values of one vendor's attribute, in order. A Vendor-Specific attribute may hold several (RFC 2865 §5.26); one
    /// that is not in that recommended form is passed over.
    pub fn vendor(&self, vendor: u32, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(attribute::VENDOR_SPECIFIC)
            .filter_map(vendor_attributes)
            .filter(move |(number, _)| *number == vendor)
            .flat_map(|(_, attributes)| attributes)
            .filter(move |attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    /// Whether the packet carries Message-Authenticator, right or wrong.
    pub fn has_message_authenticator(&self) -> bool {
        self.proof_at.is_some()
    }

    /// Whether Message-Authenticator is the first attribute. Only there does it stop the chosen-prefix collision of
    /// CVE-2024-3596 in a reply.
    pub fn message_authenticator_is_first(&self) -> bool {
        self.proof_at == Some(HEADER)
    }

    /// Where the Message-Authenticator attribute begins.
    pub(crate) fn proof_at(&self) -> Option<usize> {
        self.proof_at
    }
}

impl fmt::Debug for Packet<'_> {
    /// Names the packet and nothing in it: attributes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} octets)", self.code(), self.identifier(), self.bytes.len())
    }
}

/// The vendor's number and its attributes inside the value of a Vendor-Specific attribute, if that value is in the form
/// that RFC 2865 §5.26 recommends.
pub(crate) fn vendor_attributes(value: &[u8]) -> Option<(u32, AttributeIter<'_>)> {
    let (vendor, rest) = value.split_first_chunk::<4>()?;
    let attributes = AttributeIter { rest };
    attributes.is_whole().then_some((u32::from_be_bytes(*vendor), attributes))
}

/// Walks attributes; ends where the octets end or stop making sense.
#[derive(Clone, Debug)]
pub struct AttributeIter<'a> {
    rest: &'a [u8],
}

impl<'a> AttributeIter<'a> {
    /// Over an encoded attribute list.
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// Whether the walk will reach the very end, past at least one attribute.
    fn is_whole(&self) -> bool {
        let mut walk = self.clone();
        walk.by_ref().count() > 0 && walk.rest.is_empty()
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [kind, length, ..] = self.rest else { return None };
        let (attribute, rest) = self.rest.split_at_checked(usize::from(*length))?;
        let value = attribute.get(2..)?;
        self.rest = rest;
        Some(Attribute { kind: *kind, value })
    }
}

/// Walks the attributes once: framing, and the rules that keep the meaning of the packet single. Returns where
/// Message-Authenticator begins.
fn check_attributes(code: Code, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut proof_at = None;
    let mut seen = Seen::default();
    let mut offset = HEADER;
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    while let Some(&kind) = rest.first() {
        let Some(&length) = rest.get(1) else { return Err(Malformed::AttributeOverrun { kind, offset }) };
        if length < 2 {
            return Err(Malformed::AttributeTooShort { kind, offset });
        }
        let (_, next) =
            rest.split_at_checked(usize::from(length)).ok_or(Malformed::AttributeOverrun { kind, offset })?;
        let octets = usize::from(length) - 2;
        match kind {
            attribute::USER_NAME => {
                once(&mut seen.user_name, Malformed::RepeatedUserName)?;
                require(octets > 0, Malformed::EmptyUserName)?;
            }
            attribute::USER_PASSWORD => {
                once(&mut seen.user_password, Malformed::RepeatedUserPassword)?;
                let whole_blocks = (16..=128).contains(&octets) && octets.is_multiple_of(16);
                require(whole_blocks, Malformed::UserPasswordLength { octets })?;
            }
            attribute::CHAP_PASSWORD => {
                once(&mut seen.chap_password, Malformed::RepeatedChapPassword)?;
                require(octets == 17, Malformed::ChapPasswordLength { octets })?;
            }
            attribute::STATE => {
                once(&mut seen.state, Malformed::RepeatedState)?;
                require(octets > 0, Malformed::EmptyState)?;
            }
            attribute::ARAP_PASSWORD => seen.arap_password = true,
            attribute::EAP_MESSAGE => seen.eap_message = true,
            attribute::MESSAGE_AUTHENTICATOR => {
                require(proof_at.is_none(), Malformed::RepeatedMessageAuthenticator)?;
                require(octets == 16, Malformed::MessageAuthenticatorLength { octets })?;
                proof_at = Some(offset);
            }
            _ => {}
        }
        offset += usize::from(length);
        rest = next;
    }
    let proofs = [seen.user_password, seen.chap_password, seen.arap_password, seen.eap_message];
    require(proofs.into_iter().filter(|present| *present).count() < 2, Malformed::MixedCredentials)?;
    if proof_at.is_none() {
        require(!seen.eap_message, Malformed::UnprotectedEap)?;
        require(code != Code::STATUS_SERVER, Malformed::UnprotectedStatusServer)?;
    }
    Ok(proof_at)
}

/// Which attributes that may stand once have been met.
#[derive(Default)]
struct Seen {
    user_name: bool,
    user_password: bool,
    chap_password: bool,
    arap_password: bool,
    eap_message: bool,
    state: bool,
}

fn once(seen: &mut bool, fault: Malformed) -> Result<(), Malformed> {
    require(!std::mem::replace(seen, true), fault)
}

fn require(holds: bool, fault: Malformed) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(fault) }
}

/// Why octets are not a packet that we serve. Offsets count octets from the start of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not even a header.
    #[error("the datagram has {received} octets; a RADIUS header has 20")]
    Short {
        /// Octets received.
        received: usize,
    },
    /// The Length field denies the header.
    #[error("the Length field says {length}; at least 20 is possible")]
    LengthTooSmall {
        /// The Length field.
        length: usize,
    },
    /// The Length field allows more than RFC 2865 §3 does.
    #[error("the Length field says {length}; at most 4096 is allowed")]
    LengthTooLarge {
        /// The Length field.
        length: usize,
    },
    /// Octets are missing, often because a fragment was lost.
    #[error("the Length field says {length}, but only {received} octets arrived")]
    Truncated {
        /// The Length field.
        length: usize,
        /// Octets received.
        received: usize,
    },
    /// An attribute that does not even cover its own type and length.
    #[error("attribute {kind} at octet {offset} has a length below 2")]
    AttributeTooShort {
        /// Attribute type.
        kind: u8,
        /// Where it begins.
        offset: usize,
    },
    /// An attribute that goes on behind the end of the packet.
    #[error("attribute {kind} at octet {offset} runs past the end of the packet")]
    AttributeOverrun {
        /// Attribute type.
        kind: u8,
        /// Where it begins.
        offset: usize,
    },
    /// RFC 2865 §5.44 allows one.
    #[error("User-Name appears more than once")]
    RepeatedUserName,
    /// RFC 2865 §5.1 wants at least one octet.
    #[error("User-Name is empty")]
    EmptyUserName,
    /// RFC 2865 §5.44 allows one.
    #[error("User-Password appears more than once")]
    RepeatedUserPassword,
    /// RFC 2865 §5.2: whole blocks of 16, from one to eight.
    #[error("User-Password has {octets} octets; 16 to 128 in steps of 16 are possible")]
    UserPasswordLength {
        /// Octets of the value.
        octets: usize,
    },
    /// RFC 2865 §5.44 allows one.
    #[error("CHAP-Password appears more than once")]
    RepeatedChapPassword,
    /// RFC 2865 §5.3: identifier and an MD5 digest.
    #[error("CHAP-Password has {octets} octets; 17 are required")]
    ChapPasswordLength {
        /// Octets of the value.
        octets: usize,
    },
    /// RFC 2865 §5.44 allows one.
    #[error("State appears more than once")]
    RepeatedState,
    /// RFC 2865 §5.24 wants at least one octet.
    #[error("State is empty")]
    EmptyState,
    /// RFC 3579 §3.2 allows one.
    #[error("Message-Authenticator appears more than once")]
    RepeatedMessageAuthenticator,
    /// RFC 3579 §3.2.
    #[error("Message-Authenticator has {octets} octets; 16 are required")]
    MessageAuthenticatorLength {
        /// Octets of the value.
        octets: usize,
    },
    /// RFC 2869 §5.19 forbids more than one kind of proof: whichever we checked, another server might check the other.
    #[error("the packet offers two kinds of password (PAP, CHAP, ARAP, EAP); one is allowed")]
    MixedCredentials,
    /// RFC 3579 §3.1.
    #[error("EAP-Message without Message-Authenticator")]
    UnprotectedEap,
    /// RFC 5997 §3.
    #[error("Status-Server without Message-Authenticator")]
    UnprotectedStatusServer,
}

impl Malformed {
    /// A short fixed name for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Short { .. } => "short",
            Self::LengthTooSmall { .. } => "length_too_small",
            Self::LengthTooLarge { .. } => "length_too_large",
            Self::Truncated { .. } => "truncated",
            Self::AttributeTooShort { .. } => "attribute_too_short",
            Self::AttributeOverrun { .. } => "attribute_overrun",
            Self::RepeatedUserName => "repeated_user_name",
            Self::EmptyUserName => "empty_user_name",
            Self::RepeatedUserPassword => "repeated_user_password",
            Self::UserPasswordLength { .. } => "user_password_length",
            Self::RepeatedChapPassword => "repeated_chap_password",
            Self::ChapPasswordLength { .. } => "chap_password_length",
            Self::RepeatedState => "repeated_state",
            Self::EmptyState => "empty_state",
            Self::RepeatedMessageAuthenticator => "repeated_message_authenticator",
            Self::MessageAuthenticatorLength { .. } => "message_authenticator_length",
            Self::MixedCredentials => "mixed_credentials",
            Self::UnprotectedEap => "unprotected_eap",
            Self::UnprotectedStatusServer => "unprotected_status_server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(code: u8, attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER + attributes.len()).unwrap().to_be_bytes();
        [&[code, 7, length[0], length[1]], &[9; 16][..], attributes].concat()
    }

    fn fault(attributes: &[u8]) -> Malformed {
        Packet::parse(&packet(1, attributes)).unwrap_err()
    }

    fn attribute(kind: u8, octets: usize) -> Vec<u8> {
        let mut attribute = vec![kind, u8::try_from(octets + 2).unwrap()];
        attribute.resize(octets + 2, b'x');
        attribute
    }

    #[test]
    fn the_header_is_measured_first() {
        assert_eq!(Packet::parse(&[]), Err(Malformed::Short { received: 0 }));
        assert_eq!(Packet::parse(&[1; 19]), Err(Malformed::Short { received: 19 }));
        let mut bytes = packet(1, &[1, 3, b'a']);
        bytes[3] = 19;
        assert_eq!(Packet::parse(&bytes), Err(Malformed::LengthTooSmall { length: 19 }));
        bytes[3] = 24;
        assert_eq!(Packet::parse(&bytes), Err(Malformed::Truncated { length: 24, received: 23 }));
        bytes[2] = 0x10;
        bytes[3] = 1;
        assert_eq!(Packet::parse(&bytes), Err(Malformed::LengthTooLarge { length: 4097 }));
    }

    #[test]
    fn padding_is_not_part_of_the_packet() {
        let mut bytes = packet(1, &[1, 3, b'a']);
        bytes.extend([0; 9]);
        let read = Packet::parse(&bytes).unwrap();
        assert_eq!(read.bytes().len(), 23);
        assert_eq!(read.attributes().collect::<Vec<_>>(), [Attribute { kind: 1, value: b"a" }]);
        assert_eq!((read.code(), read.identifier(), read.authenticator()), (Code::ACCESS_REQUEST, 7, &[9; 16]));
        assert_eq!(format!("{read:?}"), "Access-Request 7 (23 octets)");
    }

    #[test]
    fn attributes_fill_the_packet_exactly() {
        assert_eq!(fault(&[1, 3, b'a', 5]), Malformed::AttributeOverrun { kind: 5, offset: 23 });
        assert_eq!(fault(&[5, 0]), Malformed::AttributeTooShort { kind: 5, offset: 20 });
        assert_eq!(fault(&[5, 1]), Malformed::AttributeTooShort { kind: 5, offset: 20 });
        assert_eq!(fault(&[5, 6, 0, 0, 0]), Malformed::AttributeOverrun { kind: 5, offset: 20 });
    }

    #[test]
    fn what_decides_is_single_and_of_the_right_length() {
        let twice = |kind, octets| fault(&[attribute(kind, octets), attribute(kind, octets)].concat());
        assert_eq!(twice(1, 4), Malformed::RepeatedUserName);
        assert_eq!(twice(2, 16), Malformed::RepeatedUserPassword);
        assert_eq!(twice(3, 17), Malformed::RepeatedChapPassword);
        assert_eq!(twice(24, 4), Malformed::RepeatedState);
        assert_eq!(twice(80, 16), Malformed::RepeatedMessageAuthenticator);
        assert_eq!(fault(&attribute(1, 0)), Malformed::EmptyUserName);
        assert_eq!(fault(&attribute(24, 0)), Malformed::EmptyState);
        assert_eq!(fault(&attribute(3, 16)), Malformed::ChapPasswordLength { octets: 16 });
        for octets in [0, 15, 17, 129, 144] {
            assert_eq!(fault(&attribute(2, octets)), Malformed::UserPasswordLength { octets });
        }
        for octets in [0, 15, 17] {
            assert_eq!(fault(&attribute(80, octets)), Malformed::MessageAuthenticatorLength { octets });
        }
    }

    #[test]
    fn one_kind_of_proof_and_protection_where_it_is_due() {
        assert_eq!(fault(&[attribute(2, 16), attribute(3, 17)].concat()), Malformed::MixedCredentials);
        assert_eq!(
            fault(&[attribute(2, 16), attribute(79, 9), attribute(80, 16)].concat()),
            Malformed::MixedCredentials
        );
        assert_eq!(fault(&[attribute(3, 17), attribute(70, 16)].concat()), Malformed::MixedCredentials);
        assert_eq!(fault(&attribute(79, 0)), Malformed::UnprotectedEap);
        assert_eq!(Packet::parse(&packet(12, &[])), Err(Malformed::UnprotectedStatusServer));
        assert!(Packet::parse(&packet(12, &attribute(80, 16))).is_ok());
        assert!(Packet::parse(&packet(1, &[attribute(79, 9), attribute(79, 9), attribute(80, 16)].concat())).is_ok());
    }

    #[test]
    fn values_are_found_joined_and_unpacked() {
        let bytes = packet(
            1,
            &[
                &[80, 18][..],
                &[0; 16],
                &[79, 4, 1, 2, 5, 6, 0, 0, 0, 3, 79, 3, 3],
                // Two attributes of Microsoft in one Vendor-Specific, then one that overruns and is passed over.
                &[26, 14, 0, 0, 1, 55, 11, 3, b'a', 25, 5, b'b', b'c', b'd'],
                &[26, 9, 0, 0, 1, 55, 25, 9, b'x'],
                &[26, 6, 0, 0, 1, 55],
                &[26, 4, 0, 0],
            ]
            .concat(),
        );
        let read = Packet::parse(&bytes).unwrap();
        assert!(read.has_message_authenticator() && read.message_authenticator_is_first());
        assert_eq!(read.joined(79).unwrap(), [1, 2, 3]);
        assert_eq!(read.joined(18), None);
        assert_eq!(read.first(5), Some(&[0, 0, 0, 3][..]));
        assert_eq!(read.all(79).count(), 2);
        assert_eq!(read.vendor(311, 25).collect::<Vec<_>>(), [b"bcd"]);
        assert_eq!(read.vendor(9, 25).count(), 0);
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(read) = Packet::parse(&bytes) {
                read.vendor(311, 1).count();
                prop_assert_eq!(read.attributes().map(|a| a.value.len() + 2).sum::<usize>() + HEADER, read.bytes().len());
            }
        }

        #[test]
        fn nor_do_they_behind_a_true_length(code in any::<u8>(), attributes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = Packet::parse(&packet(code, &attributes)) {
                prop_assert_eq!(read.attributes().map(|a| a.value.len() + 2).sum::<usize>(), attributes.len());
            }
        }
    }
}
