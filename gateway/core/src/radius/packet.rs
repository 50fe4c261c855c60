//! One received packet, checked at the door (RFC 2865 §3, §5). What passes keeps the octets where they are: a [`Packet`]
//! is a view that costs no allocation.
//!
//! Refused are frames that are not RADIUS, and those attributes whose repetition or length would leave it open *which*
//! proof or conversation is meant. Any other attribute with an odd value stays an attribute with an odd value: RFC 6929
//! §2.8 wants it treated as unknown, not the packet dropped.
//!
//! A fault of the second kind leaves the packet readable as far as its Message-Authenticator: [`Packet::frame`] returns both, so
//! that a NAS which proves itself gets an Access-Reject (RFC 2865 §5) instead of silence.

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

/// A packet whose frame holds, whatever its attributes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The packet. With a fault, only its header, its Message-Authenticator and its Proxy-State are to be looked at.
    pub packet: Packet<'a>,
    /// The first fault of its attributes that leaves open which proof or conversation is meant.
    pub fault: Option<Malformed>,
}

impl Framed<'_> {
    /// The same, where nothing is wrong or a Message-Authenticator may show who sent it.
    ///
    /// # Errors
    ///
    /// The fault of a packet that has none.
    pub fn provable(self) -> Result<Self, Malformed> {
        match self.fault {
            Some(fault) if !self.packet.has_message_authenticator() => Err(fault),
            _ => Ok(self),
        }
    }
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of `datagram`; octets beyond its Length field are padding (RFC 2865 §3).
    ///
    /// # Errors
    ///
    /// The first fault found.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let Framed { packet, fault } = Self::frame(datagram)?;
        fault.map_or(Ok(packet), Err)
    }

    /// Reads the packet at the start of `datagram` as far as it can be proved.
    ///
    /// # Errors
    ///
    /// A fault that leaves nothing to prove the packet with. RFC 2865 §3 wants it dropped in silence.
    pub fn frame(datagram: &'a [u8]) -> Result<Framed<'a>, Malformed> {
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
        let (proof_at, fault) = check_attributes(Code::from(*code), bytes)?;
        Ok(Framed { packet: Self { bytes, authenticator, proof_at }, fault })
    }

    /// Reads a packet for what it says, not for what it proves: its attributes are whole, and whatever else is wrong with them, such as an
    /// empty User-Name or a User-Password of a wrong length, is somebody else's to judge. An accounting record is kept all the same.
    ///
    /// # Errors
    ///
    /// A fault of the frame, or an attribute that ends beyond the packet.
    pub fn whole(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let Framed { packet, fault } = Self::frame(datagram)?;
        let read: usize = packet.attributes().map(|attribute| attribute.value.len() + 2).sum();
        match fault {
            Some(fault) if HEADER + read != packet.bytes.len() => Err(fault),
            _ => Ok(packet),
        }
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
/// Message-Authenticator begins, and the first fault that leaves it readable.
fn check_attributes(code: Code, bytes: &[u8]) -> Result<(Option<usize>, Option<Malformed>), Malformed> {
    let mut proof_at = None;
    let mut seen = Seen::default();
    let mut offset = HEADER;
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    while let Some(&kind) = rest.first() {
        let length = rest.get(1).copied();
        let broken = match length {
            Some(length) if length < 2 => Malformed::AttributeTooShort { kind, offset },
            _ => Malformed::AttributeOverrun { kind, offset },
        };
        let split = length.filter(|length| *length >= 2).and_then(|length| rest.split_at_checked(usize::from(length)));
        let Some((attribute, next)) = split else {
            // What stands behind it cannot be told apart; a Message-Authenticator before it covers all of it.
            seen.note(false, broken);
            return if proof_at.is_some() { Ok((proof_at, seen.fault)) } else { Err(seen.fault.unwrap_or(broken)) };
        };
        let value = attribute.get(2..).unwrap_or_default();
        if kind == attribute::MESSAGE_AUTHENTICATOR {
            require(proof_at.is_none(), Malformed::RepeatedMessageAuthenticator)?;
            require(value.len() == 16, Malformed::MessageAuthenticatorLength { octets: value.len() })?;
            proof_at = Some(offset);
        } else {
            seen.check(kind, value);
        }
        offset += attribute.len();
        rest = next;
    }
    let proofs = [seen.user_password, seen.chap_password, seen.ms_chap, seen.arap_password, seen.eap_message];
    seen.note(proofs.into_iter().filter(|present| *present).count() < 2, Malformed::MixedCredentials);
    if proof_at.is_none() {
        require(!seen.eap_message, Malformed::UnprotectedEap)?;
        require(code != Code::STATUS_SERVER, Malformed::UnprotectedStatusServer)?;
    }
    Ok((proof_at, seen.fault))
}

/// Microsoft's number as a vendor, and the attributes that prove somebody by MS-CHAP (RFC 2548 §2).
const MICROSOFT: u32 = 311;
const MS_CHAP_PROOFS: [u8; 3] = [1, 25, 27];

/// Which attributes that may stand once have been met, and the first fault.
#[derive(Default)]
struct Seen {
    user_name: bool,
    user_password: bool,
    chap_password: bool,
    ms_chap: bool,
    arap_password: bool,
    eap_message: bool,
    state: bool,
    fault: Option<Malformed>,
}

impl Seen {
    fn note(&mut self, holds: bool, fault: Malformed) {
        if !holds {
            self.fault.get_or_insert(fault);
        }
    }

    fn check(&mut self, kind: u8, value: &[u8]) {
        let octets = value.len();
        match kind {
            attribute::USER_NAME => {
                let first = !std::mem::replace(&mut self.user_name, true);
                self.note(first, Malformed::RepeatedUserName);
                self.note(octets > 0, Malformed::EmptyUserName);
            }
            attribute::USER_PASSWORD => {
                let first = !std::mem::replace(&mut self.user_password, true);
                self.note(first, Malformed::RepeatedUserPassword);
                let whole_blocks = (16..=128).contains(&octets) && octets.is_multiple_of(16);
                self.note(whole_blocks, Malformed::UserPasswordLength { octets });
            }
            attribute::CHAP_PASSWORD => {
                let first = !std::mem::replace(&mut self.chap_password, true);
                self.note(first, Malformed::RepeatedChapPassword);
                self.note(octets == 17, Malformed::ChapPasswordLength { octets });
            }
            attribute::CHAP_CHALLENGE => self.note(octets >= 5, Malformed::ChapChallengeLength { octets }),
            attribute::STATE => {
                let first = !std::mem::replace(&mut self.state, true);
                self.note(first, Malformed::RepeatedState);
                self.note(octets > 0, Malformed::EmptyState);
            }
            attribute::ARAP_PASSWORD => self.arap_password = true,
            attribute::EAP_MESSAGE => self.eap_message = true,
            attribute::VENDOR_SPECIFIC => {
                self.ms_chap |= vendor_attributes(value).is_some_and(|(vendor, mut attributes)| {
                    vendor == MICROSOFT && attributes.any(|attribute| MS_CHAP_PROOFS.contains(&attribute.kind))
                });
            }
            _ => {}
        }
    }
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
    /// RFC 2865 §5.40: a shorter challenge is soon the same again, and with it the response.
    #[error("CHAP-Challenge has {octets} octets; at least 5 are required")]
    ChapChallengeLength {
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
    #[error("the packet offers two kinds of password (PAP, CHAP, MS-CHAP, ARAP, EAP); one is allowed")]
    MixedCredentials,
    /// RFC 3579 §3.1.
    #[error("EAP-Message without Message-Authenticator")]
    UnprotectedEap,
    /// RFC 5997 §3.
    #[error("Status-Server without Message-Authenticator")]
    UnprotectedStatusServer,
}

macro_rules! words {
    ($($pattern:pat => $label:literal, $meaning:literal;)*) => {
        impl Malformed {
            /// A short fixed name: `detail` in logs.
            pub const fn label(&self) -> &'static str {
                match self { $($pattern => $label,)* }
            }

            /// Every name with its meaning, for the reference.
            pub const WORDS: &'static [(&'static str, &'static str)] = &[$(($label, $meaning),)*];
        }
    };
}

words! {
    Self::Short { .. } => "short", "The datagram is shorter than the 20 octets of a header (RFC 2865 §3).";
    Self::LengthTooSmall { .. } => "length_too_small", "The Length field is below 20 (RFC 2865 §3).";
    Self::LengthTooLarge { .. } => "length_too_large", "The Length field is above 4096 (RFC 2865 §3).";
    Self::Truncated { .. } => "truncated",
        "Fewer octets arrived than the Length field announces: a fragment was lost, or the network's MTU is too small.";
    Self::AttributeTooShort { .. } => "attribute_too_short", "An attribute has a length below 2 (RFC 2865 §5).";
    Self::AttributeOverrun { .. } => "attribute_overrun", "An attribute goes on behind the end of the packet (RFC 2865 §5).";
    Self::RepeatedUserName => "repeated_user_name", "User-Name appears more than once (RFC 2865 §5.44).";
    Self::EmptyUserName => "empty_user_name", "User-Name has no octets (RFC 2865 §5.1).";
    Self::RepeatedUserPassword => "repeated_user_password", "User-Password appears more than once (RFC 2865 §5.44).";
    Self::UserPasswordLength { .. } => "user_password_length",
        "User-Password has another length than 16 to 128 octets in steps of 16 (RFC 2865 §5.2): often the password is longer \
         than 128 octets.";
    Self::RepeatedChapPassword => "repeated_chap_password", "CHAP-Password appears more than once (RFC 2865 §5.44).";
    Self::ChapPasswordLength { .. } => "chap_password_length", "CHAP-Password has not 17 octets (RFC 2865 §5.3).";
    Self::ChapChallengeLength { .. } => "chap_challenge_length", "CHAP-Challenge has fewer than 5 octets (RFC 2865 §5.40).";
    Self::RepeatedState => "repeated_state", "State appears more than once (RFC 2865 §5.44).";
    Self::EmptyState => "empty_state", "State has no octets (RFC 2865 §5.24).";
    Self::RepeatedMessageAuthenticator => "repeated_message_authenticator",
        "Message-Authenticator appears more than once (RFC 3579 §3.2).";
    Self::MessageAuthenticatorLength { .. } => "message_authenticator_length",
        "Message-Authenticator has not 16 octets (RFC 3579 §3.2).";
    Self::MixedCredentials => "mixed_credentials",
        "The packet offers two kinds of password, of PAP, CHAP, MS-CHAP, ARAP and EAP (RFC 2869 §5.19).";
    Self::UnprotectedEap => "unprotected_eap", "EAP-Message without Message-Authenticator (RFC 3579 §3.1).";
    Self::UnprotectedStatusServer => "unprotected_status_server",
        "Status-Server without Message-Authenticator (RFC 5997 §3).";
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
    fn whole_judges_no_values() {
        for attributes in
            [attribute(1, 0), attribute(2, 17), attribute(3, 3), [attribute(1, 3), attribute(1, 3)].concat()]
        {
            let bytes = packet(4, &attributes);
            assert!(Packet::parse(&bytes).is_err());
            assert_eq!(Packet::whole(&bytes).unwrap().bytes(), bytes);
        }
        // An attribute that ends beyond the packet, behind another fault and behind a signature too.
        let open = [attribute(1, 0), attribute(80, 16), vec![4, 9, 1]].concat();
        assert!(Packet::whole(&packet(4, &open)).is_err());
        assert!(Packet::whole(&packet(4, &[attribute(1, 0), vec![4, 1]].concat())).is_err());
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
    fn fault_behind_proof_stays_readable() {
        let proof = attribute(80, 16);
        let faults: [(&[u8], Malformed); 9] = [
            (&attribute(2, 144), Malformed::UserPasswordLength { octets: 144 }),
            (&attribute(2, 17), Malformed::UserPasswordLength { octets: 17 }),
            (&attribute(1, 0), Malformed::EmptyUserName),
            (&attribute(3, 16), Malformed::ChapPasswordLength { octets: 16 }),
            (&attribute(60, 4), Malformed::ChapChallengeLength { octets: 4 }),
            (&attribute(24, 0), Malformed::EmptyState),
            (&[attribute(2, 16), attribute(2, 16)].concat(), Malformed::RepeatedUserPassword),
            (&[5, 0], Malformed::AttributeTooShort { kind: 5, offset: 38 }),
            (&[5, 9, 1], Malformed::AttributeOverrun { kind: 5, offset: 38 }),
        ];
        for (octets, fault) in faults {
            let bytes = packet(1, &[&proof, octets].concat());
            let framed = Packet::frame(&bytes).unwrap();
            assert_eq!((framed.fault, framed.packet.has_message_authenticator()), (Some(fault), true), "{fault}");
            assert_eq!(Packet::parse(&bytes), Err(fault));
        }
        let unsigned = packet(1, &attribute(2, 17));
        let fault = Malformed::UserPasswordLength { octets: 17 };
        assert_eq!(Packet::frame(&unsigned).unwrap().provable(), Err(fault));
        assert!(Packet::frame(&packet(1, &[&proof[..], &attribute(2, 17)].concat())).unwrap().provable().is_ok());
        // What proves the packet must itself be read: behind a break it cannot be.
        let bytes = packet(1, &[&[5, 0][..], &proof].concat());
        assert_eq!(Packet::frame(&bytes), Err(Malformed::AttributeTooShort { kind: 5, offset: 20 }));
        let bytes = packet(1, &[&proof[..], &proof].concat());
        assert_eq!(Packet::frame(&bytes), Err(Malformed::RepeatedMessageAuthenticator));
        assert_eq!(Packet::frame(&packet(12, &attribute(2, 17))), Err(Malformed::UnprotectedStatusServer));
    }

    #[test]
    fn message_authenticator_may_stand_anywhere() {
        let secret = super::super::SharedSecret::new(crate::secret::Secret::new(b"secret".to_vec()));
        let (state, name, proof) = (attribute(24, 4), attribute(1, 5), [&[80, 18][..], &[0; 16]].concat());
        for order in [[&state, &name, &proof], [&proof, &name, &state], [&name, &proof, &state]] {
            let mut bytes = packet(1, &order.map(Vec::as_slice).concat());
            let at = bytes.windows(2).position(|pair| pair == [80, 18]).unwrap() + 2;
            let signature = secret.sign(&[&bytes]);
            bytes[at..at + 16].copy_from_slice(&signature);
            let read = Packet::parse(&bytes).unwrap();
            assert_eq!(read.message_authenticator(&secret), super::super::Proof::Valid);
            assert_eq!((read.first(24), read.first(1)), (Some(&b"xxxx"[..]), Some(&b"xxxxx"[..])));
        }
    }

    #[test]
    fn ms_chap_is_a_proof_of_its_own() {
        for kind in [1, 25, 27] {
            let ms_chap = [&[26, 10, 0, 0, 1, 55, kind, 4][..], &[0; 2]].concat();
            assert_eq!(fault(&[attribute(2, 16), ms_chap.clone()].concat()), Malformed::MixedCredentials, "{kind}");
            assert_eq!(fault(&[ms_chap.clone(), attribute(3, 17)].concat()), Malformed::MixedCredentials, "{kind}");
            assert!(Packet::parse(&packet(1, &[ms_chap.clone(), ms_chap].concat())).is_ok());
        }
        // MS-CHAP-Challenge and other vendors prove nothing.
        let others = [26, 10, 0, 0, 1, 55, 11, 4, 0, 0, 26, 10, 0, 0, 0, 9, 1, 4, 0, 0];
        assert!(Packet::parse(&packet(1, &[&others[..], &attribute(2, 16)].concat())).is_ok());
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
                &[26, 14, 0, 0, 1, 55, 11, 3, b'a', 28, 5, b'b', b'c', b'd'],
                &[26, 9, 0, 0, 1, 55, 28, 9, b'x'],
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
        assert_eq!(read.vendor(311, 28).collect::<Vec<_>>(), [b"bcd"]);
        assert_eq!(read.vendor(9, 28).count(), 0);
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
