//! The State attribute (RFC 2865 §5.24) that names a challenge: 48 octets, one codec.
//!
//! ```text
//!  0       1       2       3           7                15          17                33               48
//!  +-------+-------+-------+-----------+----------------+-----------+-----------------+----------------+
//!  | mask  |version| kind  | slot tag  | incarnation    | thread    | 128 random bits | MAC            |
//!  +-------+-------+-------+-----------+----------------+-----------+-----------------+----------------+
//! ```
//!
//! State is octets, but some NASes keep it as a C string and bring back what stands before the first zero (ocserv with
//! radcli). So none is sent: every octet behind the mask is XORed with it, and the mask is the lowest octet above zero that
//! occurs nowhere behind it.
//!
//! The MAC (HMAC-SHA-256, the first 120 bits, under the cluster key) lets a forged State be refused before the store is asked. The
//! slot tag is where the records of the user lie, so a State of another user shows at once. Incarnation and thread say
//! who issued it: what only that thread can go on with (an EAP conversation) is forwarded there.

use crate::secret::{Secret, equal};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Length on the wire in octets.
pub const LENGTH: usize = 48;
const VERSION: u8 = 1;
/// Octets of what is sealed, and of the MAC over it; the mask is one more.
const SEALED: usize = 32;
const MAC: usize = LENGTH - 1 - SEALED;

/// What the packet that brings the State back continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A second factor that waits for a code.
    Code,
    /// A first factor that wants another round.
    FirstFactor,
    /// A prompt whose outcome is to be collected.
    Collect,
}

impl Kind {
    const fn octet(self) -> u8 {
        match self {
            Self::Code => 1,
            Self::FirstFactor => 2,
            Self::Collect => 3,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Code),
            2 => Some(Self::FirstFactor),
            3 => Some(Self::Collect),
            _ => None,
        }
    }
}

/// Where the records of one user lie: a keyed digest of the canonical name, so that the store shows no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot(pub [u8; 4]);

/// The random part of a State: what names the challenge in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateId(pub [u8; 16]);

/// A State, opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What it continues.
    pub kind: Kind,
    /// Where the user's records lie.
    pub slot: Slot,
    /// The incarnation of the node that issued it.
    pub incarnation: u64,
    /// The thread of that node.
    pub thread: u16,
    /// The name of the challenge.
    pub id: StateId,
}

/// The cluster key in the forms that this module needs.
#[derive(Clone)]
pub struct Keyring {
    state: Hmac<Sha256>,
    /// Opens as well, while the key is being changed.
    second: Option<Hmac<Sha256>>,
    slot: Hmac<Sha256>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[keyring]")
    }
}

/// HMAC takes a key of any length, so the error of the general trait cannot happen; a zero key would only make every State
/// of this node foreign to the others, never let one in that should not.
fn keyed(key: &[u8], purpose: &[u8]) -> Hmac<Sha256> {
    let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    let derived = mac(key).chain_update(purpose).finalize().into_bytes();
    mac(&derived)
}

/// The first `N` octets of the MAC.
fn first<const N: usize>(mac: Hmac<Sha256>) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
    out
}

/// The lowest octet above zero that occurs in neither. There always is one: together they have 47 octets.
fn mask(sealed: &[u8], mac: &[u8]) -> u8 {
    (1..=u8::MAX).find(|mask| !sealed.contains(mask) && !mac.contains(mask)).unwrap_or(u8::MAX)
}

impl Keyring {
    /// Derives the working keys from the cluster key.
    pub fn new(key: &Secret) -> Self {
        Self::changing(key, None, None)
    }

    /// The same while the key is being changed: `second` opens as well, and `names` makes the slot tags, which must stay.
    pub fn changing(key: &Secret, second: Option<&Secret>, names: Option<&Secret>) -> Self {
        let state = |key: &Secret| keyed(key.expose(), b"orthrus state v1");
        Self {
            state: state(key),
            second: second.map(state),
            slot: keyed(names.unwrap_or(key).expose(), b"orthrus slot v1"),
        }
    }

    /// Where the records of `user` (canonical) lie.
    pub fn slot(&self, user: &str) -> Slot {
        Slot(first(self.slot.clone().chain_update(user.as_bytes())))
    }

    fn mac(&self, sealed: &[u8]) -> [u8; MAC] {
        first(self.state.clone().chain_update(sealed))
    }

    /// The State as it goes on the wire.
    pub fn seal(&self, state: &State) -> [u8; LENGTH] {
        let mut sealed = [0; SEALED];
        let fields = [VERSION, state.kind.octet()]
            .into_iter()
            .chain(state.slot.0)
            .chain(state.incarnation.to_be_bytes())
            .chain(state.thread.to_be_bytes())
            .chain(state.id.0);
        sealed.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        let mac = self.mac(&sealed);
        let mask = mask(&sealed, &mac);
        let mut out = [mask; LENGTH];
        out.iter_mut().skip(1).zip(sealed.iter().chain(&mac)).for_each(|(to, from)| *to ^= from);
        out
    }

    /// Opens what a NAS sent as State; `None` if this cluster did not make it.
    pub fn open(&self, wire: &[u8]) -> Option<State> {
        let mut wire: [u8; LENGTH] = wire.try_into().ok()?;
        let (sent_mask, masked) = wire.split_first_mut()?;
        masked.iter_mut().for_each(|octet| *octet ^= *sent_mask);
        let (sealed, mac) = masked.split_first_chunk::<SEALED>()?;
        let seals = |by: &Hmac<Sha256>| equal(&first::<MAC>(by.clone().chain_update(sealed)), mac);
        if !(seals(&self.state) || self.second.as_ref().is_some_and(seals)) || *sent_mask != mask(sealed, mac) {
            return None;
        }
        let ([version, kind], rest) = sealed.split_first_chunk::<2>()?;
        let (slot, rest) = rest.split_first_chunk::<4>()?;
        let (incarnation, rest) = rest.split_first_chunk::<8>()?;
        let (thread, id) = rest.split_first_chunk::<2>()?;
        if *version != VERSION {
            return None;
        }
        Some(State {
            kind: Kind::from_octet(*kind)?,
            slot: Slot(*slot),
            incarnation: u64::from_be_bytes(*incarnation),
            thread: u16::from_be_bytes(*thread),
            id: StateId(id.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keyring(key: &[u8]) -> Keyring {
        Keyring::new(&Secret::new(key.to_vec()))
    }

    fn state() -> State {
        State { kind: Kind::Code, slot: Slot([1, 2, 3, 4]), incarnation: 5, thread: 6, id: StateId([7; 16]) }
    }

    #[test]
    fn sealed_form_is_fixed() {
        let wire = keyring(b"key").seal(&state());
        let [mask, masked @ ..] = wire;
        assert!(!masked.contains(&0));
        let hex: String = masked.iter().map(|octet| format!("{:02x}", octet ^ mask)).collect();
        assert!(hex.starts_with("0101010203040000000000000005000607070707070707070707070707070707"), "{hex}");
        assert_eq!(keyring(b"key").open(&wire), Some(state()));
        for kind in [Kind::FirstFactor, Kind::Collect] {
            let other = State { kind, ..state() };
            assert_eq!(keyring(b"key").open(&keyring(b"key").seal(&other)), Some(other));
        }
    }

    #[test]
    fn any_changed_octet_another_key_or_length_is_forged() {
        let ours = keyring(b"key");
        let wire = ours.seal(&state());
        for at in 0..LENGTH {
            let mut forged = wire;
            forged[at] ^= 1;
            assert_eq!(ours.open(&forged), None, "octet {at}");
        }
        assert_eq!(keyring(b"other").open(&wire), None);
        assert_eq!(ours.open(&wire[..47]), None);
        assert_eq!(ours.open(&[wire.as_slice(), &[0]].concat()), None);
    }

    #[test]
    fn while_the_key_is_changed_either_opens_and_slots_stay() {
        let (old, new) = (Secret::new(b"old".to_vec()), Secret::new(b"new".to_vec()));
        let before = Keyring::changing(&old, Some(&new), Some(&old));
        let after = Keyring::changing(&new, Some(&old), Some(&old));
        assert_eq!(before.open(&after.seal(&state())), Some(state()));
        assert_eq!(after.open(&before.seal(&state())), Some(state()));
        assert_eq!(before.slot("alice"), after.slot("alice"));
        assert_eq!(Keyring::new(&old).slot("alice"), after.slot("alice"));
        assert_eq!(Keyring::new(&old).open(&after.seal(&state())), None);
    }

    proptest! {
        #[test]
        fn no_octet_is_zero(id in any::<[u8; 16]>(), slot in any::<[u8; 4]>(), incarnation: u64, thread: u16) {
            let state = State { slot: Slot(slot), incarnation, thread, id: StateId(id), ..state() };
            let wire = keyring(b"key").seal(&state);
            prop_assert!(!wire.contains(&0));
            prop_assert_eq!(keyring(b"key").open(&wire), Some(state));
        }

        #[test]
        fn random_octets_never_open(wire in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(keyring(b"key").open(&wire), None);
        }
    }
}
