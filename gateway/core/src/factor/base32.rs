//! Base32 (RFC 4648 §6) as authenticator apps and people use it: written without padding, read in either case, in groups,
//! with or without padding.

use crate::secret::Secret;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Why a text is not base32. It never repeats the text, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A character outside the alphabet, counted from 1.
    #[error("character {0} is none of A to Z and 2 to 7")]
    Character(usize),
    /// No number of octets gives a text of this length.
    #[error("its length is impossible: a character is missing or too many")]
    Length,
}

/// Upper case, without padding.
pub fn encode(octets: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(octets.len().div_ceil(5) * 8));
    for chunk in octets.chunks(5) {
        let bits = chunk.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet)) << (8 * (5 - chunk.len()));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let index = bits >> (35 - 5 * place) & 31;
            // Five bits always lie within the alphabet.
            text.extend(
                usize::try_from(index).ok().and_then(|index| ALPHABET.get(index)).map(|symbol| char::from(*symbol)),
            );
        }
    }
    text
}

/// Takes lower case, spaces, dashes and padding at the end. Left-over bits are dropped, as authenticator apps do: secrets of
/// 26 random characters exist.
pub fn decode(text: &str) -> Result<Secret, Fault> {
    let (mut octets, mut bits, mut held, mut symbols) =
        (Zeroizing::new(Vec::with_capacity(text.len())), 0u32, 0u32, 0usize);
    for (index, character) in text.trim_end_matches(['=', ' ', '-']).chars().enumerate() {
        let value = match character {
            ' ' | '-' => continue,
            'A'..='Z' => u32::from(character) - u32::from('A'),
            'a'..='z' => u32::from(character) - u32::from('a'),
            '2'..='7' => u32::from(character) - u32::from('2') + 26,
            _ => return Err(Fault::Character(index + 1)),
        };
        symbols += 1;
        held += 5;
        bits = bits << 5 | value;
        if held >= 8 {
            held -= 8;
            octets.extend(u8::try_from(bits >> held));
            bits &= (1 << held) - 1;
        }
    }
    match symbols % 8 {
        1 | 3 | 6 => Err(Fault::Length),
        _ => Ok(Secret::new(std::mem::take(&mut octets))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4648 §10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "MY======"),
        ("fo", "MZXQ===="),
        ("foo", "MZXW6==="),
        ("foob", "MZXW6YQ="),
        ("fooba", "MZXW6YTB"),
        ("foobar", "MZXW6YTBOI======"),
    ];

    #[test]
    fn rfc_4648_vectors() {
        for (plain, padded) in VECTORS {
            assert_eq!(*encode(plain.as_bytes()), padded.trim_end_matches('='));
            assert_eq!(decode(padded).unwrap().expose(), plain.as_bytes());
        }
    }

    #[test]
    fn people_group_and_do_not_shout() {
        assert_eq!(decode("mzxw 6ytb-oi").unwrap().expose(), b"foobar");
        assert_eq!(decode("MZXW6YTB OI== ====").unwrap().expose(), b"foobar");
    }

    #[test]
    fn faults_name_the_place_only() {
        assert_eq!(decode("MZ0W"), Err(Fault::Character(3)));
        assert_eq!(decode("MZ=W"), Err(Fault::Character(3)));
        assert_eq!(decode("MZä"), Err(Fault::Character(3)));
        for text in ["M", "MZX", "MZXW6Y"] {
            assert_eq!(decode(text), Err(Fault::Length), "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = encode(&octets);
            prop_assert!(decode(&text).unwrap().expose() == octets);
            prop_assert!(decode(&text.to_lowercase()).unwrap().expose() == octets);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = decode(&text);
        }
    }
}
