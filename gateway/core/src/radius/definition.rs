//! What one attribute is: its full number, its data type (RFC 8044 §3), and how it is protected.

use super::TooLong;
use super::attributes::{LONGEST_VALUE, LONGEST_VENDOR_VALUE};
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
    /// Inside Vendor-Specific, in the form that RFC 2865 §5.26 recommends.
    Vendor {
        /// IANA enterprise number.
        vendor: u32,
        /// The vendor's type octet.
        kind: u8,
    },
}

impl AttributeNumber {
    /// The longest value in octets. The long extended format could be joined from many attributes to more than this; a
    /// packet could not hold much more.
    pub(crate) const fn longest(self) -> usize {
        match self {
            Self::Standard(_) => LONGEST_VALUE,
            Self::Extended { kind: 245 | 246, .. } => 3072,
            Self::Extended { .. } => LONGEST_VALUE - 1,
            Self::Vendor { .. } => LONGEST_VENDOR_VALUE,
        }
    }
}

impl fmt::Display for AttributeNumber {
    /// The name of an attribute that the dictionary does not know; [`AttributeNumber::from_str`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(kind) => write!(f, "Attr-{kind}"),
            Self::Extended { kind, extended } => write!(f, "Attr-{kind}.{extended}"),
            Self::Vendor { vendor, kind } => write!(f, "Vendor-{vendor}-Attr-{kind}"),
        }
    }
}

/// The text is not of the form `Attr-18`, `Attr-241.1` or `Vendor-9-Attr-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an attribute without a name is written Attr-18, Attr-241.1 or Vendor-9-Attr-1")]
pub struct NotANumber;

impl FromStr for AttributeNumber {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        if let Some(rest) = text.strip_prefix("Vendor-") {
            let (vendor, kind) = rest.split_once("-Attr-").ok_or(NotANumber)?;
            return Ok(Self::Vendor { vendor: decimal(vendor)?, kind: decimal(kind)? });
        }
        Self::plain(text.strip_prefix("Attr-").ok_or(NotANumber)?)
    }
}

impl AttributeNumber {
    /// Reads `18` or `241.1`.
    pub(crate) fn plain(text: &str) -> Result<Self, NotANumber> {
        let Some((kind, extended)) = text.split_once('.') else { return Ok(Self::Standard(decimal(text)?)) };
        let kind = decimal(kind)?;
        if !(241..=246).contains(&kind) {
            return Err(NotANumber);
        }
        Ok(Self::Extended { kind, extended: decimal(extended)? })
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
        /// The data types of RFC 8044 §3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DataType {
            $($(#[$doc])* $variant,)*
        }

        impl DataType {
            /// Its name in RFC 8044.
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
}

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
    /// Names of values, for [`DataType::Enum`].
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
            values: Vec::new(),
        }
    }

    /// Whether the value must not be shown to anybody.
    pub fn is_secret(&self) -> bool {
        self.hiding != Hiding::Open
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
        TooLong::check("value", octets, if self.data_type == DataType::Concat { 3072 } else { self.number.longest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_strict() {
        for wrong in ["", "18", "Attr-", "Attr-256", "Attr-+1", "Attr-240.1", "Attr-241.", "Vendor-9", "Vendor--Attr-1"]
        {
            assert_eq!(wrong.parse::<AttributeNumber>(), Err(NotANumber), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_written(vendor in any::<u32>(), kind in any::<u8>(), extended in 241_u8..=246) {
            for number in [
                AttributeNumber::Standard(kind),
                AttributeNumber::Vendor { vendor, kind },
                AttributeNumber::Extended { kind: extended, extended: kind },
            ] {
                prop_assert_eq!(number.to_string().parse(), Ok(number));
            }
        }
    }
}
