//! Ascend's data filters (`abinary`): 32 octets, written as `ip in forward tcp dstport = 80` or `generic in drop 0 ffff… 0800…`, in
//! the words of Ascend's manuals. Filters for IPX are written in hexadecimal.

use std::net::Ipv4Addr;

const OCTETS: usize = 32;

/// Error text for a word that is none.
const EXPECTED: &str = "a filter such as \"ip in forward tcp dstport = 80\", or 32 octets such as 0x0101…";

const COMPARISONS: [&str; 4] = ["<", "=", ">", "!="];

const PORTS: [(&str, u16); 18] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("telnet", 23),
    ("smtp", 25),
    ("nameserver", 42),
    ("domain", 53),
    ("tftp", 69),
    ("gopher", 70),
    ("finger", 79),
    ("www", 80),
    ("kerberos", 88),
    ("hostname", 101),
    ("nntp", 119),
    ("ntp", 123),
    ("exec", 512),
    ("login", 513),
    ("cmd", 514),
    ("talk", 517),
];

const PROTOCOLS: [(&str, u8); 4] = [("tcp", 6), ("udp", 17), ("ospf", 89), ("icmp", 1)];

/// The octets of a filter, or what was expected.
pub(super) fn encode(text: &str) -> Result<Vec<u8>, &'static str> {
    read(&text.to_ascii_lowercase()).map(|octets| octets.to_vec()).ok_or(EXPECTED)
}

fn read(text: &str) -> Option<[u8; OCTETS]> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, direction, action, rest @ ..] = &*words else { return None };
    let mut filter = Filter([0; OCTETS]);
    filter.set(1, &[u8::from(one_of(["drop", "forward"], action)?)]);
    filter.set(2, &[u8::from(one_of(["out", "in"], direction)?)]);
    match *kind {
        "ip" => {
            filter.set(0, &[1]);
            filter.ip(rest)?;
        }
        "generic" => filter.generic(rest)?,
        _ => return None,
    }
    Some(filter.0)
}

/// Returns whether the word is the second of two.
fn one_of(words: [&str; 2], word: &str) -> Option<bool> {
    words.contains(&word).then(|| words[1] == word)
}

struct Filter([u8; OCTETS]);

impl Filter {
    fn set(&mut self, at: usize, octets: &[u8]) {
        self.0.iter_mut().skip(at).zip(octets).for_each(|(place, octet)| *place = *octet);
    }

    fn ip(&mut self, words: &[&str]) -> Option<()> {
        let mut rest = words;
        let mut seen = Vec::new();
        while let [word, more @ ..] = rest {
            let what = if PORTS_AND_ADDRESSES.contains(word) { *word } else { "protocol" };
            if seen.contains(&what) {
                return None;
            }
            seen.push(what);
            rest = match (*word, more) {
                ("srcip", [address, more @ ..]) => self.address(address, 4, 12).map(|()| more)?,
                ("dstip", [address, more @ ..]) => self.address(address, 8, 13).map(|()| more)?,
                ("srcport", [sign, port, more @ ..]) => self.port(sign, port, 16, 20).map(|()| more)?,
                ("dstport", [sign, port, more @ ..]) => self.port(sign, port, 18, 21).map(|()| more)?,
                ("est", more) => {
                    self.set(15, &[1]);
                    more
                }
                (name, more) => {
                    let known = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
                    self.set(14, &[known.or_else(|| super::definition::decimal(name).ok())?]);
                    more
                }
            };
        }
        Some(())
    }

    /// An address with the length of its network, or with that of its class.
    fn address(&mut self, text: &str, at: usize, length_at: usize) -> Option<()> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(super::definition::decimal::<u8>(length).ok()?)),
            None => (text, None),
        };
        let address: Ipv4Addr = address.parse().ok()?;
        let length = length.unwrap_or(match address.octets()[0] {
            _ if address.is_unspecified() => 0,
            0..=127 => 8,
            128..=191 => 16,
            192..=223 => 24,
            224.. => 32,
        });
        self.set(at, &address.octets());
        self.set(length_at, &[length]);
        (length <= 32).then_some(())
    }

    fn port(&mut self, sign: &str, port: &str, at: usize, sign_at: usize) -> Option<()> {
        let sign = COMPARISONS.iter().position(|known| *known == sign)?;
        let known = PORTS.iter().find(|(known, _)| *known == port).map(|(_, number)| *number);
        let port = known.or_else(|| super::definition::decimal(port).ok())?;
        self.set(at, &port.to_be_bytes());
        self.set(sign_at, &[u8::try_from(sign + 1).ok()?]);
        Some(())
    }

    fn generic(&mut self, words: &[&str]) -> Option<()> {
        let [offset, mask, value, options @ ..] = words else { return None };
        self.set(4, &super::definition::decimal::<u16>(offset).ok()?.to_be_bytes());
        self.set(6, &[0, 6]);
        self.set(10, &six(mask)?);
        self.set(16, &six(value)?);
        if options.len() > 2 {
            return None;
        }
        for option in options {
            match *option {
                "!=" => self.set(22, &[1]),
                "==" => self.set(22, &[0]),
                "more" => self.set(8, &[0, 1]),
                _ => return None,
            }
        }
        Some(())
    }
}

const PORTS_AND_ADDRESSES: [&str; 5] = ["srcip", "dstip", "srcport", "dstport", "est"];

/// Six octets in hexadecimal.
fn six(text: &str) -> Option<[u8; 6]> {
    super::value::read_hex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(head: &[u8]) -> Vec<u8> {
        let mut octets = head.to_vec();
        octets.resize(OCTETS, 0);
        octets
    }

    #[test]
    fn filters_have_32_octets() {
        assert_eq!(encode("ip in forward").unwrap(), octets(&[1, 1, 1]));
        assert_eq!(encode("ip out drop").unwrap(), octets(&[1]));
        assert_eq!(
            encode("ip in forward srcip 10.0.0.0/8 dstip 192.0.2.1/32 tcp est srcport > 1023 dstport = www").unwrap(),
            octets(&[1, 1, 1, 0, 10, 0, 0, 0, 192, 0, 2, 1, 8, 32, 6, 1, 3, 255, 0, 80, 3, 2])
        );
        assert_eq!(encode("ip in forward dstip 192.0.2.1").unwrap()[13], 24, "the length of its class");
        assert_eq!(
            encode("generic in drop 12 ffff00000000 080000000000 != more").unwrap(),
            octets(&[0, 0, 1, 0, 0, 12, 0, 6, 0, 1, 255, 255, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1])
        );
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "",
            "ip in",
            "ip sideways forward",
            "ip in perhaps",
            "ipx in forward",
            "ip in forward srcip",
            "ip in forward srcip 10.0.0.0/33",
            "ip in forward dstport 80",
            "ip in forward dstport = 65536",
            "ip in forward tcp udp",
            "ip in forward est est",
            "ip in forward carrier-pigeon",
            "generic in drop 12 ffff 0800",
            "generic in drop 12 ffff00000000 080000000000 perhaps",
        ] {
            assert_eq!(encode(text), Err(EXPECTED), "{text}");
        }
    }
}
