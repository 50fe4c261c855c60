//! Values of attributes as text, in both directions (RFC 8044 §3).
//!
//! What is written in a configuration is read strictly. What came from the network is always printable, on one line: a
//! value that does not fit its type is shown in hexadecimal.

use super::TooLong;
use super::definition::{AttributeDef, DataType, decimal};
use super::nearest::nearest;
use ipnet::{Ipv4Net, Ipv6Net};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a text is no value for an attribute. Names the attribute; shows the text only where it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// RFC 2865 §5: an attribute without a value is left out instead.
    #[error("{attribute}: the value is empty; leave the attribute out instead")]
    Empty {
        /// The attribute's name.
        attribute: String,
    },
    /// The text is of the wrong kind.
    #[error("{attribute}: {text} is not {expected}")]
    Unreadable {
        /// The attribute's name.
        attribute: String,
        /// The text in quotes, or that it is secret.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The attribute has named values, and this is none of them.
    #[error("{attribute} has no value {text}{}; a number is possible too", suggestion(.meant.as_deref()))]
    UnknownName {
        /// The attribute's name.
        attribute: String,
        /// The text in quotes.
        text: String,
        /// The name that was probably meant.
        meant: Option<String>,
    },
    /// A network whose address says more than its length.
    #[error("{attribute}: {text} has bits behind its prefix; write {network}")]
    HostBits {
        /// The attribute's name.
        attribute: String,
        /// The text in quotes.
        text: String,
        /// The network without those bits.
        network: String,
    },
    /// A tag was given, and the attribute has none.
    #[error("{attribute} has no tag (RFC 2868 has those that do)")]
    NoTag {
        /// The attribute's name.
        attribute: String,
    },
    /// The value does not fit into the attribute.
    #[error("{attribute}: {fault}")]
    TooLong {
        /// The attribute's name.
        attribute: String,
        /// By how much.
        fault: TooLong,
    },
}

fn suggestion(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

impl AttributeDef {
    /// The octets of the value that `text` describes: text as it is, a name or number for an enum, numbers in decimal,
    /// addresses and networks as usual, octets as `0x…` or, where a string is meant, as text. For an attribute that is
    /// hidden on the wire these are the octets before hiding. The tag of a tagged attribute is left unused.
    ///
    /// # Errors
    ///
    /// The text does not describe a value of this attribute.
    pub fn encode_value(&self, text: &str) -> Result<Vec<u8>, ValueError> {
        let mut octets = self.encode_untagged(text)?;
        if octets.is_empty() {
            return Err(ValueError::Empty { attribute: self.name.to_string() });
        }
        if self.has_tag && self.is_hidden() {
            // The tag is always there (RFC 2868 §3.5): no first octet could be told from one once it is hidden.
            octets.insert(0, 0);
        }
        self.check_length(octets.len()).map_err(|fault| self.too_long(fault))?;
        Ok(octets)
    }

    /// [`encode_value`](Self::encode_value) with this tag (RFC 2868 §3). Where `tag` is `None` it stays unused.
    ///
    /// # Errors
    ///
    /// The text does not describe a value of this attribute, or the attribute has no tag.
    pub fn encode_tagged(&self, text: &str, tag: Option<u8>) -> Result<Vec<u8>, ValueError> {
        let mut octets = self.encode_value(text)?;
        let Some(tag) = tag else { return Ok(octets) };
        if !self.has_tag {
            return Err(ValueError::NoTag { attribute: self.name.to_string() });
        }
        match (self.data_type, octets.first_mut()) {
            // The first of the four octets, or the one that says that the tag is unused.
            (DataType::Integer | DataType::Enum, Some(first)) | (_, Some(first @ 0)) => *first = tag,
            _ => octets.insert(0, tag),
        }
        self.check_length(octets.len()).map_err(|fault| self.too_long(fault))?;
        Ok(octets)
    }

    fn encode_untagged(&self, text: &str) -> Result<Vec<u8>, ValueError> {
        let expected = |expected| self.unreadable(text, expected);
        Ok(match self.data_type {
            DataType::Text
                if self.has_tag && !self.is_hidden() && text.bytes().next().is_some_and(|first| first <= 0x1f) =>
            {
                // Such an octet would be taken for the tag (RFC 2868 §3.3), so the unused tag stands before it.
                [&[0], text.as_bytes()].concat()
            }
            DataType::Text => text.as_bytes().to_vec(),
            DataType::Integer => {
                let number = decimal::<u32>(text).map_err(|_| expected("a number from 0 to 4294967295"))?;
                self.encode_integer(text, number)?
            }
            DataType::Enum => {
                let number = self.named(text).or_else(|| decimal(text).ok());
                self.encode_integer(text, number.ok_or_else(|| self.unknown_name(text))?)?
            }
            DataType::Byte => {
                let number = self.named(text).or_else(|| decimal(text).ok());
                let number = number.and_then(|number| u8::try_from(number).ok());
                vec![number.ok_or_else(|| self.no_number(text, "a number from 0 to 255"))?]
            }
            DataType::Short => {
                let number = self.named(text).or_else(|| decimal(text).ok());
                let number = number.and_then(|number| u16::try_from(number).ok());
                number.ok_or_else(|| self.no_number(text, "a number from 0 to 65535"))?.to_be_bytes().to_vec()
            }
            DataType::Signed => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let plain = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
                let number = plain.then(|| text.parse::<i32>().ok().map(i32::to_be_bytes)).flatten();
                let number = self.named(text).map(u32::to_be_bytes).or(number);
                number.ok_or_else(|| self.no_number(text, "a number from -2147483648 to 2147483647"))?.to_vec()
            }
            DataType::Ether => {
                read_ether(text).ok_or_else(|| expected("an Ethernet address such as 00:00:5e:00:53:01"))?
            }
            DataType::ComboIp => match text.parse::<IpAddr>().map_err(|_| expected("an IPv4 or IPv6 address"))? {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            },
            DataType::Time => {
                let seconds = decimal::<u32>(text).map_err(|_| expected("a number of seconds since 1970"))?;
                seconds.to_be_bytes().to_vec()
            }
            DataType::Integer64 => {
                let number = decimal::<u64>(text).map_err(|_| expected("a number from 0 to 18446744073709551615"))?;
                number.to_be_bytes().to_vec()
            }
            DataType::Ipv4Addr => text.parse::<Ipv4Addr>().map_err(|_| expected("an IPv4 address"))?.octets().to_vec(),
            DataType::Ipv6Addr => text.parse::<Ipv6Addr>().map_err(|_| expected("an IPv6 address"))?.octets().to_vec(),
            DataType::Ipv4Prefix => {
                let network = text.parse::<Ipv4Net>().map_err(|_| expected("a network such as 192.0.2.0/24"))?;
                if network.addr() != network.network() {
                    return Err(self.host_bits(text, network.trunc().to_string()));
                }
                [&[0, network.prefix_len()], &network.network().octets()[..]].concat()
            }
            DataType::Ipv6Prefix => {
                let network = text.parse::<Ipv6Net>().map_err(|_| expected("a network such as 2001:db8::/32"))?;
                if network.addr() != network.network() {
                    return Err(self.host_bits(text, network.trunc().to_string()));
                }
                // As many octets as the prefix needs (RFC 8044 §3.10).
                let needed = usize::from(network.prefix_len()).div_ceil(8);
                let octets = network.network().octets().into_iter().take(needed);
                [0, network.prefix_len()].into_iter().chain(octets).collect()
            }
            DataType::Ifid => read_ifid(text).ok_or_else(|| expected("four groups such as 200:5eff:fe00:5301"))?,
            DataType::String if !text.starts_with("0x") => text.as_bytes().to_vec(),
            DataType::Filter if !text.starts_with("0x") => super::filter::encode(text).map_err(expected)?,
            DataType::String | DataType::Concat | DataType::Tlv | DataType::Vsa | DataType::Evs | DataType::Filter => {
                read_prefixed_hex(text).ok_or_else(|| expected("octets in hexadecimal such as 0x00ff"))?
            }
        })
    }

    /// The number that a value of this name has.
    fn named(&self, text: &str) -> Option<u32> {
        self.values.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number)
    }

    /// What is wrong with a text that is neither a name nor a number that fits.
    fn no_number(&self, text: &str, expected: &'static str) -> ValueError {
        if self.values.is_empty() || decimal::<u64>(text).is_ok() {
            self.unreadable(text, expected)
        } else {
            self.unknown_name(text)
        }
    }

    fn encode_integer(&self, text: &str, number: u32) -> Result<Vec<u8>, ValueError> {
        // The first of the four octets is the tag (RFC 2868 §3.1), zero if unused.
        if self.has_tag && number > 0x00ff_ffff {
            return Err(self.unreadable(text, "a number from 0 to 16777215"));
        }
        Ok(number.to_be_bytes().to_vec())
    }

    fn unreadable(&self, text: &str, expected: &'static str) -> ValueError {
        ValueError::Unreadable { attribute: self.name.to_string(), text: self.shown(text), expected }
    }

    fn host_bits(&self, text: &str, network: String) -> ValueError {
        ValueError::HostBits { attribute: self.name.to_string(), text: self.shown(text), network }
    }

    fn unknown_name(&self, text: &str) -> ValueError {
        let meant = nearest(text, self.values.iter().map(|(name, _)| &**name)).map(str::to_owned);
        ValueError::UnknownName { attribute: self.name.to_string(), text: self.shown(text), meant }
    }

    fn too_long(&self, fault: TooLong) -> ValueError {
        ValueError::TooLong { attribute: self.name.to_string(), fault }
    }

    fn shown(&self, text: &str) -> String {
        if self.is_secret() { SECRET.to_owned() } else { format!("{text:?}") }
    }

    /// The value on one line, without its tag: text in quotes with what cannot be printed escaped, `[secret]` for what
    /// must not be shown. Never fails; a value that does not fit its type is shown in hexadecimal.
    pub fn print_value(&self, value: &[u8]) -> String {
        if self.is_secret() {
            return SECRET.to_owned();
        }
        self.print_typed(value).unwrap_or_else(|| print_hex(value))
    }

    fn print_typed(&self, value: &[u8]) -> Option<String> {
        Some(match self.data_type {
            DataType::Text => print_text(match value {
                [0..=0x1f, rest @ ..] if self.has_tag => rest,
                _ => value,
            }),
            DataType::Integer => self.integer(value)?.to_string(),
            DataType::Enum => {
                let number = self.integer(value)?;
                self.printed(number)
            }
            DataType::Time => u32::from_be_bytes(value.try_into().ok()?).to_string(),
            DataType::Integer64 => u64::from_be_bytes(value.try_into().ok()?).to_string(),
            DataType::Ipv4Addr => Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).to_string(),
            DataType::Ipv6Addr => Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).to_string(),
            DataType::Ipv4Prefix => {
                let [_, length, address @ ..] = <[u8; 6]>::try_from(value).ok()?;
                // The upper two bits of the length are reserved (RFC 8044 §3.11).
                Ipv4Net::new(address.into(), length & 0x3f).ok()?.to_string()
            }
            DataType::Ipv6Prefix => {
                let [_, length, prefix @ ..] = value else { return None };
                let mut address = [0; 16];
                address.get_mut(..prefix.len())?.copy_from_slice(prefix);
                Ipv6Net::new(address.into(), *length).ok()?.to_string()
            }
            DataType::Ifid => {
                let mut groups = value.as_chunks::<2>().0.iter().map(|group| u16::from_be_bytes(*group));
                let [a, b, c, d] = [groups.next()?, groups.next()?, groups.next()?, groups.next()?];
                if value.len() != 8 {
                    return None;
                }
                format!("{a:x}:{b:x}:{c:x}:{d:x}")
            }
            DataType::String => {
                let text = str::from_utf8(value).ok()?;
                // Only what reads back as the same octets is shown as text.
                let plain = !text.is_empty() && !text.starts_with("0x") && !text.chars().any(char::is_control);
                plain.then(|| format!("{text:?}"))?
            }
            DataType::Byte => self.printed(<[u8; 1]>::try_from(value).ok()?[0].into()),
            DataType::Short => self.printed(u16::from_be_bytes(value.try_into().ok()?).into()),
            DataType::Signed => {
                let number = i32::from_be_bytes(value.try_into().ok()?);
                self.value_name(number.cast_unsigned()).map_or_else(|| number.to_string(), str::to_owned)
            }
            DataType::Ether => {
                let octets = <[u8; 6]>::try_from(value).ok()?.map(|octet| format!("{octet:02x}"));
                octets.join(":")
            }
            DataType::ComboIp => match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
                (Ok(address), _) => Ipv4Addr::from(address).to_string(),
                (_, Ok(address)) => Ipv6Addr::from(address).to_string(),
                _ => return None,
            },
            DataType::Concat | DataType::Tlv | DataType::Vsa | DataType::Evs | DataType::Filter => return None,
        })
    }

    fn printed(&self, number: u32) -> String {
        self.value_name(number).map_or_else(|| number.to_string(), str::to_owned)
    }

    /// The number, which is 24 bits long behind a tag.
    pub(crate) fn integer(&self, value: &[u8]) -> Option<u32> {
        let number = u32::from_be_bytes(value.try_into().ok()?);
        Some(if self.has_tag { number & 0x00ff_ffff } else { number })
    }
}

/// What stands for a value that must not be shown.
const SECRET: &str = "[secret]";

/// Quoted text; octets that are not UTF-8 as `\xNN`.
fn print_text(octets: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in octets.utf8_chunks() {
        let quoted = format!("{:?}", chunk.valid());
        out.push_str(quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default());
        for octet in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{octet:02x}");
        }
    }
    out.push('"');
    out
}

fn print_hex(octets: &[u8]) -> String {
    let mut out = String::with_capacity(2 + octets.len() * 2);
    out.push_str("0x");
    for octet in octets {
        // Writing to a String cannot fail.
        let _ = write!(out, "{octet:02x}");
    }
    out
}

/// Reads `0x…`, two digits to the octet.
fn read_prefixed_hex(text: &str) -> Option<Vec<u8>> {
    read_hex(text.strip_prefix("0x")?)
}

/// Reads hexadecimal, two digits to the octet.
pub(super) fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let octet = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(octet).collect())?
}

/// Reads six octets in hexadecimal, with colons or hyphens between them.
fn read_ether(text: &str) -> Option<Vec<u8>> {
    let sign = if text.contains('-') { '-' } else { ':' };
    let octet = |octet: &str| {
        let hex = (1..=2).contains(&octet.len()) && octet.bytes().all(|octet| octet.is_ascii_hexdigit());
        u8::from_str_radix(octet, 16).ok().filter(|_| hex)
    };
    let octets = text.split(sign).map(octet).collect::<Option<Vec<u8>>>()?;
    (octets.len() == 6).then_some(octets)
}

/// Reads the four groups of an interface identifier (RFC 8044 §3.7).
fn read_ifid(text: &str) -> Option<Vec<u8>> {
    let group = |group: &str| {
        let hex = (1..=4).contains(&group.len()) && group.bytes().all(|octet| octet.is_ascii_hexdigit());
        u16::from_str_radix(group, 16).ok().filter(|_| hex)
    };
    let groups = text.split(':').map(group).collect::<Option<Vec<u16>>>()?;
    (groups.len() == 4).then(|| groups.into_iter().flat_map(u16::to_be_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{AttributeNumber, Attributes, dictionary};
    use super::*;
    use proptest::prelude::*;

    fn def(name: &str) -> &'static AttributeDef {
        dictionary().by_name(name).unwrap()
    }

    fn of_type(data_type: DataType, has_tag: bool) -> AttributeDef {
        AttributeDef { data_type, has_tag, ..AttributeDef::unknown(AttributeNumber::Standard(200)) }
    }

    fn error(name: &str, text: &str) -> String {
        def(name).encode_value(text).unwrap_err().to_string()
    }

    #[test]
    fn text_becomes_octets_and_text_again() {
        for (name, text, octets, printed) in [
            ("Service-Type", "framed-user", &[0, 0, 0, 2][..], "Framed-User"),
            ("Service-Type", "77", &[0, 0, 0, 77], "77"),
            ("Session-Timeout", "3600", &[0, 0, 14, 16], "3600"),
            ("Framed-IP-Address", "192.0.2.1", &[192, 0, 2, 1], "192.0.2.1"),
            ("Framed-IPv6-Prefix", "2001:db8::/32", &[0, 32, 0x20, 1, 0xd, 0xb8], "2001:db8::/32"),
            ("Framed-IPv6-Prefix", "::/0", &[0, 0], "::/0"),
            ("Framed-Interface-Id", "200:5eff:fe00:5301", &[2, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 1], "200:5eff:fe00:5301"),
            ("Event-Timestamp", "1700000000", &[0x65, 0x53, 0xf1, 0], "1700000000"),
            ("MIP6-Feature-Vector", "1", &[0, 0, 0, 0, 0, 0, 0, 1], "1"),
            ("Filter-Id", "vpn \"users\"", b"vpn \"users\"", "\"vpn \\\"users\\\"\""),
            ("Class", "0x00FF", &[0, 255], "0x00ff"),
            ("Class", "staff", b"staff", "\"staff\""),
            ("Tunnel-Type", "VLAN", &[0, 0, 0, 13], "VLAN"),
            ("Tunnel-Private-Group-ID", "12", b"12", "\"12\""),
            ("Tunnel-Private-Group-ID", "\u{1}2", &[0, 1, b'2'], "\"\\u{1}2\""),
            ("SAML-Assertion", "<a/>", b"<a/>", "\"<a/>\""),
        ] {
            assert_eq!(def(name).encode_value(text).unwrap(), octets, "{name} {text}");
            assert_eq!(def(name).print_value(octets), printed, "{name} {text}");
        }
        let prefix = of_type(DataType::Ipv4Prefix, false);
        assert_eq!(prefix.encode_value("192.0.2.0/24").unwrap(), [0, 24, 192, 0, 2, 0]);
        assert_eq!(prefix.print_value(&[0, 24, 192, 0, 2, 0]), "192.0.2.0/24");
    }

    #[test]
    fn a_wrong_value_is_explained() {
        assert_eq!(
            error("Service-Type", "Framed-Usr"),
            "Service-Type has no value \"Framed-Usr\"; did you mean Framed-User?; a number is possible too"
        );
        assert_eq!(error("Session-Timeout", "1h"), "Session-Timeout: \"1h\" is not a number from 0 to 4294967295");
        assert_eq!(
            error("Framed-IPv6-Prefix", "2001:db8::1/64"),
            "Framed-IPv6-Prefix: \"2001:db8::1/64\" has bits behind its prefix; write 2001:db8::/64"
        );
        assert_eq!(error("Filter-Id", ""), "Filter-Id: the value is empty; leave the attribute out instead");
        assert_eq!(error("Class", "0x"), "Class: the value is empty; leave the attribute out instead");
        assert_eq!(error("Filter-Id", &"x".repeat(254)), "Filter-Id: value of 254 octets; at most 253 fit");
        assert_eq!(error("Cisco-AVPair", &"x".repeat(248)), "Cisco-AVPair: value of 248 octets; at most 247 fit");
        assert_eq!(
            error("Tunnel-Preference", "16777216"),
            "Tunnel-Preference: \"16777216\" is not a number from 0 to 16777215"
        );
        for (name, text) in [
            ("Class", "0x0"),
            ("Class", "0xgg"),
            ("Class", "0x+1"),
            ("Framed-IP-Address", "::1"),
            ("NAS-IPv6-Address", "1.2.3.4"),
            ("Framed-Interface-Id", "1:2:3"),
            ("Framed-Interface-Id", "1:2:3:+4"),
            ("Session-Timeout", "+1"),
            ("EAP-Message", "plain"),
        ] {
            error(name, text);
        }
        assert!(!error("MS-CHAP2-Response", "0xhunter2").contains("hunter2"));
    }

    #[test]
    fn whatever_came_in_is_printed_on_one_line() {
        assert_eq!(def("Session-Timeout").print_value(&[1, 2]), "0x0102");
        assert_eq!(def("Framed-IPv6-Prefix").print_value(&[0, 129]), "0x0081");
        assert_eq!(def("Framed-IPv6-Prefix").print_value(&[0; 19]), format!("0x{}", "00".repeat(19)));
        assert_eq!(
            def("Reply-Message").print_value(b"a\r\n\x1b[31m\xff\xe2\x80\xae"),
            r#""a\r\n\u{1b}[31m\xff\u{202e}""#
        );
        assert_eq!(def("Class").print_value(b"a\n"), "0x610a");
        assert_eq!(def("Class").print_value(b"0x61"), "0x30783631");
        assert_eq!(def("Tunnel-Type").print_value(&[3, 0, 0, 13]), "VLAN");
        assert_eq!(def("Tunnel-Private-Group-ID").print_value(&[3, b'x']), "\"x\"");
        assert_eq!(def("User-Password").print_value(b"hunter2"), "[secret]");
    }

    #[test]
    fn each_number_has_its_format() {
        let mut attributes = Attributes::new();
        attributes.push_def(def("Session-Timeout"), &[0, 0, 0, 1]).unwrap();
        attributes.push_def(def("Cisco-AVPair"), b"x").unwrap();
        attributes.push_def(def("Frag-Status"), &[0, 0, 0, 1]).unwrap();
        attributes.push_def(def("SAML-Protocol"), b"y").unwrap();
        assert_eq!(
            attributes.as_bytes(),
            [27, 6, 0, 0, 0, 1, 26, 9, 0, 0, 0, 9, 1, 3, b'x', 241, 7, 1, 0, 0, 0, 1, 245, 5, 2, 0, b'y']
        );
        let mut long = Attributes::new();
        long.push_def(def("SAML-Protocol"), &[b'z'; 300]).unwrap();
        let pieces: Vec<(u8, usize)> = long.iter().map(|piece| (piece.value[1], piece.value.len())).collect();
        assert_eq!(pieces, [(0x80, 253), (0, 51)]);

        attributes.push_def(def("Frag-Status"), &[0; 253]).unwrap_err();
        assert_eq!(attributes.iter().count(), 4);
    }

    /// Attributes of every data type with octets that are right for it.
    fn typed() -> impl Strategy<Value = (AttributeDef, Vec<u8>)> {
        let fixed = |data_type, octets| {
            proptest::collection::vec(any::<u8>(), octets).prop_map(move |value| (of_type(data_type, false), value))
        };
        let text = "\\PC{1,60}".prop_map(|text| (of_type(DataType::String, false), text.into_bytes()));
        prop_oneof![
            fixed(DataType::Integer, 4),
            fixed(DataType::Enum, 4),
            fixed(DataType::Time, 4),
            fixed(DataType::Integer64, 8),
            fixed(DataType::Ipv4Addr, 4),
            fixed(DataType::Ipv6Addr, 16),
            fixed(DataType::Ifid, 8),
            fixed(DataType::Concat, 20),
            fixed(DataType::Tlv, 20),
            text,
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_can_be_read((def, value) in typed()) {
            let printed = def.print_value(&value);
            // Text is printed in quotes, and read without.
            if printed.starts_with('"') {
                prop_assert_eq!(printed, format!("{:?}", std::str::from_utf8(&value).unwrap()));
            } else {
                prop_assert_eq!(def.encode_value(&printed), Ok(value));
            }
        }

        #[test]
        fn networks_are_read_as_they_are_printed(address in any::<[u8; 16]>(), v6 in 0_u8..=128, v4 in 0_u8..=32) {
            let network = Ipv6Net::new(address.into(), v6).unwrap().trunc().to_string();
            let def = of_type(DataType::Ipv6Prefix, false);
            prop_assert_eq!(def.print_value(&def.encode_value(&network).unwrap()), network);
            let address: [u8; 4] = address[..4].try_into().unwrap();
            let network = Ipv4Net::new(address.into(), v4).unwrap().trunc().to_string();
            let def = of_type(DataType::Ipv4Prefix, false);
            prop_assert_eq!(def.print_value(&def.encode_value(&network).unwrap()), network);
        }

        #[test]
        fn printing_never_fails_and_stays_on_one_line(which in any::<prop::sample::Index>(), value in proptest::collection::vec(any::<u8>(), 0..=253)) {
            let def = which.get(dictionary().attributes());
            let printed = def.print_value(&value);
            prop_assert!(!printed.chars().any(char::is_control));
        }

        #[test]
        fn reading_never_panics(which in any::<prop::sample::Index>(), text in "\\PC{0,40}") {
            let def = which.get(dictionary().attributes());
            if let Ok(value) = def.encode_value(&text) {
                prop_assert!(!value.is_empty());
                def.print_value(&value);
                let _ = Attributes::new().push_def(def, &value);
            }
        }
    }
}
