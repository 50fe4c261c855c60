//! MS-CHAPv2 (RFC 2759) as RADIUS carries it (RFC 2548), with the keys of the connection (RFC 3079) and the change of a password
//! that has expired. What is stored of a user is the NT hash, which is as good as the password for whoever steals it.
//!
//! All of this is old: DES, MD4, RC4. Nothing here is chosen; VPN servers speak it.

use crate::radius::{Attributes, Packet, SharedSecret, TooLong, hide_salted};
use crate::secret::{Secret, equal};
use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::Md4;
use rc4::{Rc4, StreamCipher};
use sha1::{Digest, Sha1};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Microsoft's number as a vendor (RFC 2548 §2).
const MICROSOFT: u32 = 311;
const MS_CHAP_RESPONSE: u8 = 1;
const MS_CHAP_ERROR: u8 = 2;
const MS_CHAP_NT_ENC_PW: u8 = 6;
const MS_MPPE_ENCRYPTION_POLICY: u8 = 7;
const MS_MPPE_ENCRYPTION_TYPES: u8 = 8;
const MS_CHAP_CHALLENGE: u8 = 11;
const MS_MPPE_SEND_KEY: u8 = 16;
const MS_MPPE_RECV_KEY: u8 = 17;
const MS_CHAP2_RESPONSE: u8 = 25;
const MS_CHAP2_SUCCESS: u8 = 26;
const MS_CHAP2_CPW: u8 = 27;

/// The new password, padding and length under RC4 (RFC 2759 §8.9).
const ENCRYPTED_PASSWORD: usize = 516;

/// The NT hash of a password (RFC 2759 §8.3): MD4 over UTF-16.
#[derive(Clone, PartialEq, Eq)]
pub struct NtHash(Zeroizing<[u8; 16]>);

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl NtHash {
    /// Of no password that anybody knows.
    pub fn nobodys() -> Self {
        Self(Zeroizing::new([0; 16]))
    }

    /// Of a password; `None` if it is no text in UTF-8, which no client could have typed.
    pub fn of(password: &Secret) -> Option<Self> {
        let text = std::str::from_utf8(password.expose()).ok()?;
        // With room for all of it from the start: a vector that grows leaves copies behind.
        let mut wide = Zeroizing::new(Vec::with_capacity(text.len() * 2));
        text.encode_utf16().for_each(|unit| wide.extend_from_slice(&unit.to_le_bytes()));
        Some(Self(Zeroizing::new(Md4::digest(&*wide).into())))
    }

    /// From 32 hexadecimal digits, as it stands in a users file.
    pub fn from_hex(text: &Secret) -> Option<Self> {
        let digits: &[u8; 32] = text.expose().try_into().ok()?;
        let mut octets = Zeroizing::new([0; 16]);
        for (to, pair) in octets.iter_mut().zip(digits.chunks(2)) {
            let digit = |place: usize| pair.get(place).and_then(|digit| char::from(*digit).to_digit(16));
            *to = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Self(octets))
    }

    /// The same as text.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(&*self.0, false))
    }

    /// Challenge response (RFC 2759 §8.5): three times DES.
    fn respond(&self, challenge: [u8; 8]) -> [u8; 24] {
        let mut padded = Zeroizing::new([0; 21]);
        padded.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        let mut response = [0; 24];
        for (seven, to) in padded.chunks(7).zip(response.chunks_mut(8)) {
            to.copy_from_slice(&des(seven, challenge));
        }
        response
    }
}

/// DES under seven octets, whose bits are spread over eight.
fn des(seven: &[u8], block: [u8; 8]) -> [u8; 8] {
    let mut bits = seven.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let mut key: [u8; 8] = std::array::from_fn(|place| u8::try_from(bits >> (49 - 7 * place) & 0x7f).unwrap_or(0) << 1);
    let mut block = block.into();
    Des::new(&key.into()).encrypt_block(&mut block);
    key.zeroize();
    bits.zeroize();
    block.into()
}

fn hex(octets: &[u8], capitals: bool) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        for digit in [octet >> 4, octet & 0xf] {
            let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
            text.push(if capitals { digit.to_ascii_uppercase() } else { digit });
        }
        text
    })
}

/// What a packet brings as its proof.
#[derive(Debug)]
pub struct MsChap2 {
    /// The number of the exchange between client and NAS, which replies carry.
    pub identifier: u8,
    challenge: [u8; 16],
    peer: [u8; 16],
    response: [u8; 24],
    /// User-Name without the domain before a backslash: what the client has reckoned with (RFC 2759 §8.2).
    name: Box<[u8]>,
    /// The new password under the old one's hash, if this changes a password.
    change: Option<Box<Change>>,
}

/// A password change (RFC 2548 §2.3.4, §2.1.6), still under the hash of the old password.
struct Change {
    hash: [u8; 16],
    password: [u8; ENCRYPTED_PASSWORD],
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Whether the packet speaks MS-CHAP in any version, well or badly.
pub fn is_spoken(packet: &Packet<'_>) -> bool {
    [MS_CHAP_RESPONSE, MS_CHAP2_RESPONSE, MS_CHAP2_CPW]
        .iter()
        .any(|kind| packet.vendor(MICROSOFT, *kind).next().is_some())
}

impl MsChap2 {
    /// Reads MS-CHAP-Challenge with MS-CHAP2-Response, or with MS-CHAP2-CPW and MS-CHAP-NT-Enc-PW. `None` if they are not
    /// there, or not whole.
    pub fn read(packet: &Packet<'_>, user_name: &[u8]) -> Option<Self> {
        let challenge = packet.vendor(MICROSOFT, MS_CHAP_CHALLENGE).next()?.try_into().ok()?;
        let name = user_name.rsplit(|octet| *octet == b'\\').next().unwrap_or(user_name).into();
        let read = |octets: &[u8], identifier, change| {
            let (peer, rest) = octets.split_first_chunk::<16>()?;
            let response = rest.get(8..32)?.try_into().ok()?;
            Some(Self { identifier, challenge, peer: *peer, response, name, change })
        };
        if let Some(value) = packet.vendor(MICROSOFT, MS_CHAP2_CPW).next() {
            // Code, identifier, encrypted hash, then as in a response, and flags.
            let octets: &[u8; 68] = value.try_into().ok()?;
            let (_, rest) = octets.split_first()?;
            let (identifier, rest) = rest.split_first()?;
            let (hash, rest) = rest.split_first_chunk::<16>()?;
            let change = Change { hash: *hash, password: encrypted_password(packet)? };
            return read(rest, *identifier, Some(Box::new(change)));
        }
        // Identifier, flags, then the challenge of the client.
        let octets: &[u8; 50] = packet.vendor(MICROSOFT, MS_CHAP2_RESPONSE).next()?.try_into().ok()?;
        read(octets.get(2..)?, *octets.first()?, None)
    }

    /// Whether it changes the password.
    pub fn changes_password(&self) -> bool {
        self.change.is_some()
    }

    /// The first octets of SHA-1 over both challenges and the name (RFC 2759 §8.2).
    fn challenge_hash(&self) -> [u8; 8] {
        let digest = Sha1::new().chain_update(self.peer).chain_update(self.challenge).chain_update(&self.name);
        first(&digest.finalize())
    }

    /// What follows if the response was made with this password; `None` if it was not.
    pub fn proved(&self, hash: &NtHash) -> Option<Session> {
        let challenge = self.challenge_hash();
        if !equal(&hash.respond(challenge), &self.response) {
            return None;
        }
        let twice = Zeroizing::new(<[u8; 16]>::from(Md4::digest(*hash.0)));
        let mut success = vec![self.identifier];
        success.extend_from_slice(authenticator_response(&twice, &self.response, challenge).as_bytes());
        let master = master_key(&twice, &self.response);
        Some(Session { success, send: start_key(&master, true), receive: start_key(&master, false) })
    }

    /// The new password and its hash, if this changes the password and `old` is the hash of the one that it replaces. The
    /// response is proved with the new one (RFC 2759 §7).
    ///
    /// # Errors
    ///
    /// The old password was another one, or the new one is not whole.
    pub fn new_password(&self, old: &NtHash) -> Result<(Secret, NtHash), NoChange> {
        let change = self.change.as_ref().ok_or(NoChange::Unreadable)?;
        let mut clear = Zeroizing::new(change.password);
        Rc4::new_from_slice(&*old.0).map_err(|_| NoChange::Unreadable)?.apply_keystream(&mut *clear);
        // The password stands at the end, before its length.
        let (text, length) = clear.split_last_chunk::<4>().ok_or(NoChange::Unreadable)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NoChange::WrongPassword)?;
        // Under another key than the right one, the length is chance.
        let from =
            text.len().checked_sub(length).filter(|_| length.is_multiple_of(2)).ok_or(NoChange::WrongPassword)?;
        let wide = text.get(from..).ok_or(NoChange::WrongPassword)?;
        let hash = NtHash(Zeroizing::new(Md4::digest(wide).into()));
        // The old hash under the new one (RFC 2759 §8.12) proves that who sent it knows both.
        let sealed: Zeroizing<[u8; 16]> = {
            let (left, right) = old.0.split_at(8);
            let (low, high) = hash.0.split_at(7);
            let high = high.get(..7).unwrap_or_default();
            let block = |half: &[u8]| first(half);
            let halves = [des(low, block(left)), des(high, block(right))];
            let mut sealed = Zeroizing::new([0; 16]);
            sealed.iter_mut().zip(halves.as_flattened()).for_each(|(to, from)| *to = *from);
            sealed
        };
        if !equal(&*sealed, &change.hash) {
            return Err(NoChange::WrongPassword);
        }
        let mut units = Zeroizing::new(Vec::with_capacity(wide.len() / 2));
        units.extend(wide.chunks_exact(2).map(|pair| u16::from_le_bytes(first(pair))));
        let text = Zeroizing::new(String::from_utf16(&units).map_err(|_| NoChange::Unreadable)?);
        Ok((Secret::new(text.as_bytes().to_vec()), hash))
    }

    /// The value of MS-CHAP-Error (RFC 2548 §2.1.5, RFC 2759 §6): why, whether another try makes sense, and with which
    /// challenge.
    pub fn error(identifier: u8, code: u16, retry: bool, challenge: &[u8; 16], message: &str) -> Vec<u8> {
        let retry = u8::from(retry);
        let mut text = format!("E={code} R={retry} C={} V=3", hex(challenge, true));
        if !message.is_empty() {
            text.push_str(" M=");
            text.push_str(message);
        }
        // An attribute holds 247 octets; the message is the end, and may be cut.
        while text.len() > LONGEST_ERROR {
            text.pop();
        }
        [&[identifier][..], text.as_bytes()].concat()
    }
}

/// What of MS-CHAP-Error an attribute of a vendor holds beside the identifier.
const LONGEST_ERROR: usize = 246;

/// Adds MS-CHAP-Error.
///
/// # Errors
///
/// It is longer than an attribute.
pub fn push_error(attributes: &mut Attributes, value: &[u8]) -> Result<(), TooLong> {
    attributes.push_vendor(MICROSOFT, MS_CHAP_ERROR, value)
}

/// Why a password is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChange {
    /// The old password is another one.
    WrongPassword,
    /// There is no new password, or it is no text.
    Unreadable,
}

/// The pieces of MS-CHAP-NT-Enc-PW (RFC 2548 §2.1.6) in the order of their numbers.
fn encrypted_password(packet: &Packet<'_>) -> Option<[u8; ENCRYPTED_PASSWORD]> {
    let mut pieces: Vec<(u16, &[u8])> = Vec::with_capacity(3);
    for value in packet.vendor(MICROSOFT, MS_CHAP_NT_ENC_PW) {
        let (_, rest) = value.split_first_chunk::<2>()?;
        let (sequence, piece) = rest.split_first_chunk::<2>()?;
        pieces.push((u16::from_be_bytes(*sequence), piece));
    }
    pieces.sort_by_key(|(sequence, _)| *sequence);
    let twice = pieces.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    let octets: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
    if twice || octets != ENCRYPTED_PASSWORD {
        return None;
    }
    let mut whole = [0; ENCRYPTED_PASSWORD];
    whole.iter_mut().zip(pieces.iter().flat_map(|(_, piece)| piece.iter())).for_each(|(to, from)| *to = *from);
    Some(whole)
}

/// The first octets; zero where there are fewer.
fn first<const N: usize>(octets: &[u8]) -> [u8; N] {
    std::array::from_fn(|place| octets.get(place).copied().unwrap_or_default())
}

/// RFC 2759 §8.7.
fn authenticator_response(twice: &[u8; 16], response: &[u8; 24], challenge: [u8; 8]) -> String {
    let digest = Sha1::new()
        .chain_update(twice)
        .chain_update(response)
        .chain_update(b"Magic server to client signing constant")
        .finalize();
    let digest = Sha1::new()
        .chain_update(digest)
        .chain_update(challenge)
        .chain_update(b"Pad to make it do more than one iteration")
        .finalize();
    format!("S={}", hex(&digest, true))
}

/// RFC 3079 §3.4.
fn master_key(twice: &[u8; 16], response: &[u8; 24]) -> Zeroizing<[u8; 16]> {
    let digest = Sha1::new().chain_update(twice).chain_update(response).chain_update(b"This is the MPPE Master Key");
    Zeroizing::new(first(&digest.finalize()))
}

/// The first key of the server's sending or receiving side, 128 bits (RFC 3079 §3.4).
fn start_key(master: &[u8; 16], send: bool) -> Secret {
    const FROM_CLIENT: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
    const TO_CLIENT: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";
    let digest = Sha1::new()
        .chain_update(master)
        .chain_update([0; 40])
        .chain_update(if send { TO_CLIENT } else { FROM_CLIENT })
        .chain_update([0xf2; 40])
        .finalize();
    Secret::new(first::<16>(&digest).to_vec())
}

/// What an accept carries for the packet that brought the proof, and for no other: another packet of the same sign-in has
/// another challenge, and so other keys.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    /// The value of MS-CHAP2-Success: the server knows the password too.
    success: Vec<u8>,
    send: Secret,
    receive: Secret,
}

impl Session {
    /// The most octets that [`Session::attributes`] adds.
    pub const LENGTH: usize = 8 + 43 + 2 * (8 + 34) + 2 * (8 + 4);

    /// `base` with MS-CHAP2-Success, the keys hidden for the reply to the request with this authenticator, and, unless `base` says
    /// it, that encryption is allowed and has 128 bits (RFC 2548 §2.4).
    ///
    /// # Errors
    ///
    /// None in truth: the values are short.
    pub fn attributes(
        &self,
        base: &Attributes,
        secret: &SharedSecret,
        authenticator: &[u8; 16],
        salt: u16,
    ) -> Result<Attributes, TooLong> {
        let mut all = base.clone();
        let said = |kind: u8| base.vendor(MICROSOFT, kind).next().is_some();
        let (policy, types) = (said(MS_MPPE_ENCRYPTION_POLICY), said(MS_MPPE_ENCRYPTION_TYPES));
        all.push_vendor(MICROSOFT, MS_CHAP2_SUCCESS, &self.success)?;
        if !policy {
            all.push_vendor(MICROSOFT, MS_MPPE_ENCRYPTION_POLICY, &1_u32.to_be_bytes())?;
        }
        if !types {
            all.push_vendor(MICROSOFT, MS_MPPE_ENCRYPTION_TYPES, &4_u32.to_be_bytes())?;
        }
        for (kind, key, salt) in [(MS_MPPE_SEND_KEY, &self.send, salt), (MS_MPPE_RECV_KEY, &self.receive, salt ^ 1)] {
            let hidden = hide_salted(key.expose(), salt.to_be_bytes(), secret, authenticator)?;
            all.push_vendor(MICROSOFT, kind, &hidden)?;
        }
        Ok(all)
    }
}

#[cfg(test)]
pub(crate) mod tests;
