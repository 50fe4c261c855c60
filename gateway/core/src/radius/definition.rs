//! What one attribute is: its full number, its data type (RFC 8044 §3), and how it is protected.

use super::attributes::LONGEST_VALUE;
use super::{TooLong, attribute};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Where an attribute lives in the attribute space (RFC 6929 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeNumber {
    /// A type octet of its own.
    Standard(u8),
    /// Inside the first (241 to 244) or the long (245, 246) extended format.
    Extended {
        /// The type octet, 241 to 246.
        kind: u8,
        /// The Extended-Type octet behind it.
        extended: u8,
    },
    /// Inside Vendor-Specific (RFC 2865 §5.26).
    Vendor {
        /// IANA enterprise number.
        vendor: u32,
        /// The vendor's type, which most vendors keep in one octet ([`Layout`]).
        kind: u32,
    },
    /// Inside Extended-Vendor-Specific (RFC 6929 §2.4).
    ExtendedVendor {
        /// The type octet, 241 to 246.
        kind: u8,
        /// IANA enterprise number.
        vendor: u32,
        /// The vendor's type octet.
        number: u8,
    },
    /// Inside another attribute, which is a TLV (RFC 6929 §2.3).
    Inner {
        /// The outermost attribute.
        outer: Outer,
        /// TLV-Type octets from the outside in. No type is zero, so that zeros stand behind the last.
        path: [u8; DEEPEST],
    },
}

/// Depth to which TLVs may lie within each other.
pub const DEEPEST: usize = 4;

/// An attribute in which others may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outer {
    /// [`AttributeNumber::Standard`].
    Standard(u8),
    /// [`AttributeNumber::Extended`].
    Extended(u8, u8),
    /// [`AttributeNumber::Vendor`].
    Vendor(u32, u32),
    /// [`AttributeNumber::ExtendedVendor`].
    ExtendedVendor(u8, u32, u8),
}

impl From<Outer> for AttributeNumber {
    fn from(outer: Outer) -> Self {
        match outer {
            Outer::Standard(kind) => Self::Standard(kind),
            Outer::Extended(kind, extended) => Self::Extended { kind, extended },
            Outer::Vendor(vendor, kind) => Self::Vendor { vendor, kind },
            Outer::ExtendedVendor(kind, vendor, number) => Self::ExtendedVendor { kind, vendor, number },
        }
    }
}

impl AttributeNumber {
    /// The outermost attribute, and the TLVs within it.
    pub(crate) fn parts(&self) -> (Outer, &[u8]) {
        match self {
            Self::Standard(kind) => (Outer::Standard(*kind), &[]),
            Self::Extended { kind, extended } => (Outer::Extended(*kind, *extended), &[]),
            Self::Vendor { vendor, kind } => (Outer::Vendor(*vendor, *kind), &[]),
            Self::ExtendedVendor { kind, vendor, number } => (Outer::ExtendedVendor(*kind, *vendor, *number), &[]),
            Self::Inner { outer, path } => {
                let depth = path.iter().position(|kind| *kind == 0).unwrap_or(path.len());
                (*outer, path.get(..depth).unwrap_or_default())
            }
        }
    }

    /// The TLV of this type inside; `None` where it would lie too deep, and for zero, which is no type.
    pub(crate) fn inner(&self, kind: u8) -> Option<Self> {
        let (outer, above) = self.parts();
        let mut path = [0; DEEPEST];
        path.get_mut(..above.len())?.copy_from_slice(above);
        *path.get_mut(above.len())? = kind;
        (kind != 0).then_some(Self::Inner { outer, path })
    }

    /// The vendor whose attribute this is.
    pub(crate) fn vendor(&self) -> Option<u32> {
        match self.parts().0 {
            Outer::Vendor(vendor, _) | Outer::ExtendedVendor(_, vendor, _) => Some(vendor),
            Outer::Standard(_) | Outer::Extended(..) => None,
        }
    }
}

/// Widths of type and length inside a vendor's Vendor-Specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Octets of the type: 1, 2 or 4.
    pub kind: u8,
    /// Octets of the length: 0, 1 or 2.
    pub length: u8,
    /// `true` where an octet stands behind the length whose first bit says that the value goes on in the next attribute (WiMAX).
    pub continued: bool,
}

impl Layout {
    /// Layout that RFC 2865 §5.26 recommends.
    pub const PLAIN: Self = Self { kind: 1, length: 1, continued: false };

    /// Octets before the value.
    pub(crate) const fn octets(self) -> usize {
        self.kind as usize + self.length as usize + self.continued as usize
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl fmt::Display for AttributeNumber {
    /// The name of an attribute that the dictionary does not know; [`AttributeNumber::from_str`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(kind) => write!(f, "Attr-{kind}"),
            Self::Extended { kind, extended } => write!(f, "Attr-{kind}.{extended}"),
            Self::Vendor { vendor, kind } => write!(f, "Vendor-{vendor}-Attr-{kind}"),
            Self::ExtendedVendor { kind, vendor, number } => write!(f, "Attr-{kind}.26.{vendor}.{number}"),
            Self::Inner { outer, .. } => {
                Self::from(*outer).fmt(f)?;
                self.parts().1.iter().try_for_each(|kind| write!(f, ".{kind}"))
            }
        }
    }
}

/// The text is not of the form `Attr-18`, `Attr-241.1`, `Vendor-9-Attr-1` or `Attr-241.26.9.1`, with `.2` for each TLV within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an attribute without a name is written Attr-18, Attr-241.1, Vendor-9-Attr-1 or Attr-241.26.9.1")]
pub struct NotANumber;

impl FromStr for AttributeNumber {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        if let Some(rest) = text.strip_prefix("Vendor-") {
            let (vendor, rest) = rest.split_once("-Attr-").ok_or(NotANumber)?;
            let mut parts = rest.split('.');
            let kind = decimal(parts.next().ok_or(NotANumber)?)?;
            return Self::Vendor { vendor: decimal(vendor)?, kind }.within(parts);
        }
        Self::plain(text.strip_prefix("Attr-").ok_or(NotANumber)?)
    }
}

impl AttributeNumber {
    /// Reads `18`, `241.1` or `241.26.9.1`, with what lies within.
    pub(crate) fn plain(text: &str) -> Result<Self, NotANumber> {
        let mut parts = text.split('.');
        let kind = decimal(parts.next().ok_or(NotANumber)?)?;
        if !(241..=246).contains(&kind) {
            return Self::Standard(kind).within(parts);
        }
        let Some(extended) = parts.next() else { return Ok(Self::Standard(kind)) };
        let number = Self::Extended { kind, extended: decimal(extended)? };
        if extended != "26" {
            return number.within(parts);
        }
        let Some(vendor) = parts.next() else { return Ok(number) };
        let vendor = decimal(vendor)?;
        Self::ExtendedVendor { kind, vendor, number: decimal(parts.next().ok_or(NotANumber)?)? }.within(parts)
    }

    /// Rest of a number: a TLV within a TLV for each part.
    fn within<'a>(self, parts: impl Iterator<Item = &'a str>) -> Result<Self, NotANumber> {
        let mut number = self;
        for part in parts {
            number = number.inner(decimal(part)?).ok_or(NotANumber)?;
        }
        Ok(number)
    }
}

/// A number in digits alone: `FromStr` of the integers would take a plus sign too.
pub(crate) fn decimal<T: FromStr>(text: &str) -> Result<T, NotANumber> {
    if !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(NotANumber);
    }
    text.parse().map_err(|_| NotANumber)
}

macro_rules! data_types {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// The data types of RFC 8044 §3, and those that vendors have besides.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DataType {
            $($(#[$doc])* $variant,)*
        }

        impl DataType {
            /// Its name, where RFC 8044 has it the one that stands there.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The type of this name.
            pub(crate) fn by_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

data_types! {
    /// 32 bits, unsigned; 24 behind a tag.
    Integer "integer",
    /// An integer whose values have names.
    Enum "enum",
    /// Seconds since the Unix epoch.
    Time "time",
    /// UTF-8.
    Text "text",
    /// Octets of no known structure.
    String "string",
    /// Octets, joined from as many attributes as there are.
    Concat "concat",
    /// 64 bits of an IPv6 interface.
    Ifid "ifid",
    /// An IPv4 address.
    Ipv4Addr "ipv4addr",
    /// An IPv6 address.
    Ipv6Addr "ipv6addr",
    /// An IPv4 network.
    Ipv4Prefix "ipv4prefix",
    /// An IPv6 network.
    Ipv6Prefix "ipv6prefix",
    /// 64 bits, unsigned.
    Integer64 "integer64",
    /// Attributes within an attribute (RFC 6929 §2.3).
    Tlv "tlv",
    /// A vendor's data behind the vendor's number.
    Vsa "vsa",
    /// The same in the extended space (RFC 6929 §2.4).
    Evs "evs",
    /// 8 bits, unsigned.
    Byte "byte",
    /// 16 bits, unsigned.
    Short "short",
    /// 32 bits, signed.
    Signed "signed",
    /// An Ethernet address.
    Ether "ether",
    /// An IPv4 or an IPv6 address.
    ComboIp "combo-ip",
    /// Ascend's filters, in binary.
    Filter "abinary",
}

/// How the value of an attribute is kept from eyes that should not see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hiding {
    /// Not at all.
    Open,
    /// Sent as it is, never printed.
    Secret,
    /// Hidden on the wire as RFC 2865 §5.2 says, never printed.
    Password,
    /// Hidden on the wire with a salt (RFC 2868 §3.5, RFC 2548 §2.4.2), never printed.
    Salted,
    /// Hidden on the wire as Ascend hides Send-Secret, in 16 octets; never printed.
    Ascend,
}

/// The longest value that is joined from several attributes, in octets.
const LONGEST_JOINED: usize = 3072;

/// One attribute of the dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeDef {
    /// As in the RFC or the vendor's manual.
    pub name: Cow<'static, str>,
    /// Where it lives.
    pub number: AttributeNumber,
    /// What its octets mean.
    pub data_type: DataType,
    /// Whether a tag stands before the value (RFC 2868 §3).
    pub has_tag: bool,
    /// How its value is protected.
    pub hiding: Hiding,
    /// Layout of its vendor's type and length.
    pub layout: Layout,
    /// Names of values, where they are numbers: for [`DataType::Enum`], and the narrow and the signed ones.
    pub values: Vec<(Cow<'static, str>, u32)>,
}

impl AttributeDef {
    /// An attribute of which only the number is known: named after it, with octets for a value.
    pub fn unknown(number: AttributeNumber) -> Self {
        Self {
            name: number.to_string().into(),
            number,
            data_type: DataType::String,
            has_tag: false,
            hiding: Hiding::Open,
            layout: Layout::PLAIN,
            values: Vec::new(),
        }
    }

    /// Whether the value must not be shown to anybody.
    pub fn is_secret(&self) -> bool {
        self.hiding != Hiding::Open
    }

    /// Returns whether its values are numbers that may have names.
    pub(crate) fn is_numeric(&self) -> bool {
        use DataType::{Byte, Enum, Integer, Short, Signed};
        matches!(self.data_type, Enum | Integer | Byte | Short | Signed)
    }

    /// Whether only the shared secret and a packet's authenticator make of the value what is sent.
    pub fn is_hidden(&self) -> bool {
        matches!(self.hiding, Hiding::Password | Hiding::Salted | Hiding::Ascend)
    }

    /// The longest value in octets. What may go on in further attributes could be joined to more than 3072; a packet could not
    /// hold much more.
    pub(crate) fn longest(&self) -> usize {
        let (outer, path) = self.number.parts();
        let one = match outer {
            Outer::Standard(_) => LONGEST_VALUE,
            Outer::Extended(245 | 246, _) => LONGEST_VALUE - 2,
            Outer::Extended(..) => LONGEST_VALUE - 1,
            Outer::ExtendedVendor(245 | 246, ..) => LONGEST_VALUE - 7,
            Outer::ExtendedVendor(..) => LONGEST_VALUE - 6,
            Outer::Vendor(..) => LONGEST_VALUE - 4 - self.layout.octets(),
        };
        let many = match outer {
            Outer::Standard(kind) => self.data_type == DataType::Concat || kind == attribute::NAS_FILTER_RULE,
            Outer::Extended(kind, _) | Outer::ExtendedVendor(kind, ..) => kind >= attribute::LONG_EXTENDED_1,
            Outer::Vendor(..) => self.layout.continued,
        };
        match path.len() {
            0 if many && !self.is_hidden() => LONGEST_JOINED,
            depth => one - 2 * depth,
        }
    }

    /// The tag of a value (RFC 2868 §3), if it has one.
    pub fn tag(&self, value: &[u8]) -> Option<u8> {
        let tag = self.has_tag.then(|| value.first().copied()).flatten()?;
        (1..=0x1f).contains(&tag).then_some(tag)
    }

    /// The name of a value of an enum.
    pub fn value_name(&self, number: u32) -> Option<&str> {
        self.values.iter().find(|(_, value)| *value == number).map(|(name, _)| &**name)
    }

    /// An error if a value of so many octets has no place in this attribute.
    pub(crate) fn check_length(&self, octets: usize) -> Result<(), TooLong> {
        TooLong::check("value", octets, self.longest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_strict() {
        for wrong in [
            "",
            "18",
            "Attr-",
            "Attr-256",
            "Attr-+1",
            "Attr-241.",
            "Attr-241.26.9",
            "Attr-241.1.0",
            "Attr-26.1.2.3.4.5",
            "Vendor-9",
            "Vendor--Attr-1",
            "Vendor-9-Attr-1.256",
        ] {
            assert_eq!(wrong.parse::<AttributeNumber>(), Err(NotANumber), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_written(
            vendor in any::<u32>(),
            kind in any::<u8>(),
            wide in any::<u32>(),
            extended in 241_u8..=246,
            path in proptest::collection::vec(1_u8.., 0..=DEEPEST),
        ) {
            for number in [
                AttributeNumber::Standard(kind),
                AttributeNumber::Vendor { vendor, kind: wide },
                AttributeNumber::Extended { kind: extended, extended: kind },
                AttributeNumber::ExtendedVendor { kind: extended, vendor, number: kind },
            ] {
                // 241 to 246 have no plain TLVs, and 26 in them is a vendor's.
                let frame = matches!(number, AttributeNumber::Standard(241..=246) | AttributeNumber::Extended { extended: 26, .. });
                let path: &[u8] = if frame { &[] } else { &path };
                let number = path.iter().fold(number, |number, kind| number.inner(*kind).unwrap());
                prop_assert_eq!(number.to_string().parse(), Ok(number));
                prop_assert_eq!(number.parts().1, path);
            }
        }
    }
}
