//! Values hidden with the shared secret: User-Password (RFC 2865 §5.2), and the salted form of Tunnel-Password (RFC 2868
//! §3.5) and the MPPE keys (RFC 2548 §2.4.2). A stream of MD5 digests; it hides from an onlooker and protects from nobody
//! who can alter packets, which is what Message-Authenticator is for.

use super::{SharedSecret, TooLong};
use crate::secret::Secret;
use zeroize::Zeroizing;

/// The longest password that User-Password carries, in octets.
pub(super) const LONGEST_PASSWORD: usize = 128;

/// The longest value that a salted attribute carries: 253 less a tag, the salt and its length octet, in whole blocks.
pub(super) const LONGEST_SALTED: usize = 239;

/// Hides a password for User-Password. Octets of zero at its end do not survive: they are the padding.
///
/// # Errors
///
/// The password is longer than 128 octets.
pub fn hide_password(password: &[u8], secret: &SharedSecret, authenticator: &[u8; 16]) -> Result<Vec<u8>, TooLong> {
    TooLong::check("password", password.len(), LONGEST_PASSWORD)?;
    // At its full size from the start: growing would leave a copy of the password behind.
    let octets = password.len().next_multiple_of(16).max(16);
    let mut hidden = Vec::with_capacity(octets);
    hidden.extend_from_slice(password);
    hidden.resize(octets, 0);
    hide(&mut hidden, secret, &[authenticator]);
    Ok(hidden)
}

/// The password in a User-Password, without the padding. The wrong secret yields a wrong password, not an error.
pub fn reveal_password(hidden: &[u8], secret: &SharedSecret, authenticator: &[u8; 16]) -> Secret {
    let mut clear = reveal(hidden, secret, &[authenticator]);
    let length = clear.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    clear.truncate(length);
    Secret::new(clear)
}

/// Hides a value for Tunnel-Password, MS-MPPE-Send-Key and their kin, without a tag. The top bit of the salt is set here;
/// within one packet every salt must be different.
///
/// # Errors
///
/// The value is longer than 239 octets.
pub fn hide_salted(
    value: &[u8],
    salt: [u8; 2],
    secret: &SharedSecret,
    authenticator: &[u8; 16],
) -> Result<Vec<u8>, TooLong> {
    TooLong::check("hidden value", value.len(), LONGEST_SALTED)?;
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let salt = [salt[0] | 0x80, salt[1]];
    let mut hidden = Vec::with_capacity(LONGEST_SALTED + 1);
    hidden.push(length);
    hidden.extend_from_slice(value);
    hidden.resize(hidden.len().next_multiple_of(16), 0);
    hide(&mut hidden, secret, &[authenticator, &salt]);
    Ok([&salt[..], &hidden].concat())
}

/// The value in an attribute made by [`hide_salted`]; `None` if its lengths do not add up, as with the wrong secret.
pub fn reveal_salted(hidden: &[u8], secret: &SharedSecret, authenticator: &[u8; 16]) -> Option<Secret> {
    let (salt, hidden) = hidden.split_first_chunk::<2>()?;
    let clear = Zeroizing::new(reveal(hidden, secret, &[authenticator, salt]));
    let (length, value) = clear.split_first()?;
    let (value, padding) = value.split_at_checked(usize::from(*length))?;
    (padding.len() < 16 && hidden.len().is_multiple_of(16)).then(|| Secret::new(value.to_vec()))
}

/// The longest value that Ascend's way of hiding carries.
pub(super) const LONGEST_ASCEND: usize = 16;

/// Hides a value as Ascend-Send-Secret is hidden: under MD5(authenticator, secret), in 16 octets whatever its length.
///
/// # Errors
///
/// The value is longer than 16 octets.
pub(super) fn hide_ascend(value: &[u8], secret: &SharedSecret, authenticator: &[u8; 16]) -> Result<Vec<u8>, TooLong> {
    TooLong::check("hidden value", value.len(), LONGEST_ASCEND)?;
    let mut hidden = secret.digest_before_secret(authenticator);
    hidden.iter_mut().zip(value).for_each(|(octet, clear)| *octet ^= clear);
    Ok(hidden.to_vec())
}

/// Each block is covered by MD5(secret, block before it); the first by MD5(secret, `seed`).
fn hide(clear: &mut [u8], secret: &SharedSecret, seed: &[&[u8]]) {
    let mut cover = secret.digest_after_secret(seed);
    for block in clear.chunks_mut(16) {
        block.iter_mut().zip(cover).for_each(|(octet, cover)| *octet ^= cover);
        cover = secret.digest_after_secret(&[block]);
    }
}

fn reveal(hidden: &[u8], secret: &SharedSecret, seed: &[&[u8]]) -> Vec<u8> {
    let mut clear = Vec::with_capacity(hidden.len());
    let mut cover = secret.digest_after_secret(seed);
    for block in hidden.chunks(16) {
        clear.extend(block.iter().zip(cover).map(|(octet, cover)| octet ^ cover));
        cover = secret.digest_after_secret(&[block]);
    }
    clear
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shared(secret: &[u8]) -> SharedSecret {
        SharedSecret::new(Secret::new(secret.to_vec()))
    }

    #[test]
    fn lengths_have_limits() {
        let secret = shared(b"s");
        assert_eq!(hide_password(b"", &secret, &[0; 16]).unwrap().len(), 16);
        assert_eq!(hide_password(&[b'p'; 16], &secret, &[0; 16]).unwrap().len(), 16);
        assert_eq!(hide_password(&[b'p'; 128], &secret, &[0; 16]).unwrap().len(), 128);
        let refused = hide_password(&[b'p'; 129], &secret, &[0; 16]).unwrap_err();
        assert_eq!(refused.to_string(), "password of 129 octets; at most 128 fit");
        assert_eq!(hide_salted(&[1; 239], [0, 0], &secret, &[0; 16]).unwrap().len(), 242);
        assert!(hide_salted(&[1; 240], [0, 0], &secret, &[0; 16]).is_err());
    }

    #[test]
    fn nothing_is_revealed_from_half_an_attribute() {
        let secret = shared(b"s");
        assert!(reveal_salted(b"", &secret, &[0; 16]).is_none());
        assert!(reveal_salted(&[0x80, 1], &secret, &[0; 16]).is_none());
        assert!(reveal_salted(&[0x80, 1, 2, 3], &secret, &[0; 16]).is_none());
        assert!(reveal_password(b"", &secret, &[0; 16]).is_empty());
    }

    proptest! {
        #[test]
        fn a_password_comes_back(
            password in proptest::collection::vec(1_u8.., 0..=128),
            secret in proptest::collection::vec(any::<u8>(), 1..80),
            authenticator in any::<[u8; 16]>(),
        ) {
            let secret = shared(&secret);
            let hidden = hide_password(&password, &secret, &authenticator).unwrap();
            let revealed = reveal_password(&hidden, &secret, &authenticator);
            prop_assert_eq!(revealed.expose(), &password);
        }

        #[test]
        fn a_salted_value_comes_back(
            value in proptest::collection::vec(any::<u8>(), 0..=239),
            salt in any::<[u8; 2]>(),
            authenticator in any::<[u8; 16]>(),
        ) {
            let secret = shared(b"testing123");
            let hidden = hide_salted(&value, salt, &secret, &authenticator).unwrap();
            prop_assert!(hidden[0] & 0x80 != 0);
            let revealed = reveal_salted(&hidden, &secret, &authenticator).unwrap();
            prop_assert_eq!(revealed.expose(), &value);
        }

        #[test]
        fn any_octets_can_be_revealed(hidden in proptest::collection::vec(any::<u8>(), 0..=253)) {
            let secret = shared(b"testing123");
            reveal_password(&hidden, &secret, &[3; 16]);
            reveal_salted(&hidden, &secret, &[3; 16]);
        }
    }
}
