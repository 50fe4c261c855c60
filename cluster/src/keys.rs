//! Every key of a shared store, what it holds and how long it lives: one table.
//!
//! | key | value | lives |
//! |---|---|---|
//! | `{prefix}:{group}:user:{user}` | all records of one user, sealed ([`sealed`](crate::sealed)) | until the last of them is over, or for ever where a counter of a HOTP token is among them |
//! | `{prefix}:{group}:memory` | since when the memory of used codes is complete in this group, and the primary it was complete on; sealed | for ever |
//! | `{prefix}:{group}:packet:{packet}` | who has a packet in progress, or the reply it got, sealed; of packets that answer a challenge, and of all with `share = "all"` | the reply and 30 s; in progress at most 10 min |
//! | `{prefix}:{nodes}:live` | a hash: for each node in one of its lives (incarnation) when it last gave a sign of life, by the clock of the store, and what it said of itself, sealed | a field `cluster.dead_after`, renewed five times in it |
//! | `{prefix}:{certificates}:registered` | a hash: for each thumbprint the public certificate and who has it, sealed | until retired |
//! | `{prefix}:{sessions}:reports` | a hash: for each session of accounting the newest report of it, sealed; and `life`, which is another one once the store was emptied | `accounting.session_timeout` after the last report |
//! | `{prefix}:{sessions}:changes` | a sorted set: those sessions by when they were reported last, by the clock of the store in µs; fields of the hash go when they go from here | with the hash |
//! | `{prefix}:{limits}:reports`, `:changes` | a hash and a sorted set like those of sessions: batches of wrong passwords that nodes counted, sealed, 4,096 at most | `limits.wrong_passwords_window` after the last batch |
//! | `{prefix}:{locks}:reports`, `:changes` | the same of users whom operators locked or unlocked: the newest order about each, sealed, 40,000 at most | 10 years after the last order |
//! | channel `{prefix}:changed:{user}` | told when an outcome or a new owner was written for the user | |
//!
//! `{group}` is the first octet of the slot tag HMAC(names key, canonical user) in hexadecimal, and stands in braces in the key
//! too: Redis Cluster puts all keys with the same braces into one slot, so that a script may touch a user's records and the
//! group's memory at once. `{user}` is 16 octets of another HMAC of the canonical name: the store shows no names.

use gateway_core::accounting::report;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::Duration;

/// How many groups there are.
pub const GROUPS: usize = 256;
/// A node gives so many signs of life in the time after which it counts as dead without one.
pub const SIGNS: u32 = 5;
/// A reply is known for this long after it was sent.
pub const REPLY_LIVES: Duration = Duration::from_secs(30);
/// Nothing is in progress for longer: an attempt's deadline is at most this.
pub const PACKET_LIVES: Duration = Duration::from_secs(600);
/// A key outlives the last of its records by this much, so that whoever told a packet to wait finds out what became of it.
pub const USER_OUTLIVES: Duration = Duration::from_secs(20);

/// Names keys.
#[derive(Clone)]
pub struct Keys {
    prefix: String,
    group: Hmac<Sha256>,
    user: Hmac<Sha256>,
    packet: Hmac<Sha256>,
    session: Hmac<Sha256>,
}

/// What the store calls one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName {
    /// Whose memory of used codes it belongs to.
    pub group: u8,
    /// The name, without the user's.
    pub digest: [u8; 16],
}

fn keyed(key: &[u8], purpose: &[u8]) -> Hmac<Sha256> {
    // A key of any length will do, so that the error cannot happen; a zero key would only make every name foreign.
    let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    let derived = mac(key).chain_update(purpose).finalize().into_bytes();
    mac(&derived)
}

/// Octets as hexadecimal digits.
pub(crate) fn hex(octets: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let nibbles = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble))).collect()
}

impl Keys {
    /// Keys that begin with `prefix`; users are named under `key`.
    pub fn new(prefix: &str, key: &[u8]) -> Self {
        // The group is the first octet of the slot tag that States carry.
        Self {
            prefix: prefix.into(),
            group: keyed(key, b"orthrus slot v1"),
            user: keyed(key, b"orthrus user v1"),
            packet: keyed(key, b"orthrus packet v1"),
            session: keyed(key, b"orthrus session v1"),
        }
    }

    /// What `canonical` is called.
    pub fn name(&self, canonical: &str) -> UserName {
        let group = self.group.clone().chain_update(canonical).finalize().into_bytes();
        let user = self.user.clone().chain_update(canonical).finalize().into_bytes();
        let mut digest = [0; 16];
        digest.iter_mut().zip(user).for_each(|(to, from)| *to = from);
        UserName { group: group.first().copied().unwrap_or_default(), digest }
    }

    /// The records of a user.
    pub fn user(&self, name: &UserName) -> String {
        format!("{}:{{{}}}:user:{}", self.prefix, hex(&[name.group]), hex(&name.digest))
    }

    /// What is known of a packet.
    pub fn packet(&self, digest: &[u8; 16]) -> String {
        let name = self.packet.clone().chain_update(digest).finalize().into_bytes();
        let group = name.first().copied().unwrap_or_default();
        format!("{}:{{{}}}:packet:{}", self.prefix, hex(&[group]), hex(name.get(..16).unwrap_or_default()))
    }

    /// What is told of a user.
    pub fn channel(&self, name: &UserName) -> String {
        format!("{}:changed:{}", self.prefix, hex(&name.digest))
    }

    /// The memory of used codes of a group.
    pub fn memory(&self, group: u8) -> String {
        format!("{}:{{{}}}:memory", self.prefix, hex(&[group]))
    }

    /// Who is alive.
    pub fn nodes(&self) -> String {
        format!("{}:{{nodes}}:live", self.prefix)
    }

    /// The reports of sessions, and when each came: a script may touch both.
    pub fn sessions(&self) -> [String; 2] {
        ["reports", "changes"].map(|what| format!("{}:{{sessions}}:{what}", self.prefix))
    }

    /// Batches of wrong passwords, and when each came.
    pub fn wrong_passwords(&self) -> [String; 2] {
        ["reports", "changes"].map(|what| format!("{}:{{limits}}:{what}", self.prefix))
    }

    /// Orders that lock users, and when each came.
    pub fn locks(&self) -> [String; 2] {
        ["reports", "changes"].map(|what| format!("{}:{{locks}}:{what}", self.prefix))
    }

    /// The field of a session in them.
    pub fn session(&self, session: &report::Key) -> String {
        // Only one of the two varies in length without its length being told.
        let client = (session.client.len() as u64).to_be_bytes();
        let name = self.session.clone().chain_update(client).chain_update(&*session.client);
        let name = name.chain_update(&session.acct_session_id).finalize().into_bytes();
        hex(name.get(..16).unwrap_or_default())
    }

    /// The certificates of all nodes.
    pub fn certificates(&self) -> String {
        format!("{}:{{certificates}}:registered", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fixed_and_show_no_user() {
        let keys = Keys::new("orthrus", &[7; 32]);
        let alice = keys.name("alice@corp.example");
        let key = keys.user(&alice);
        assert!(!key.contains("alice") && !key.contains("corp"), "{key}");
        assert_eq!(key, keys.user(&Keys::new("orthrus", &[7; 32]).name("alice@corp.example")));
        let braces = |key: &str| key[key.find('{').unwrap()..key.find('}').unwrap()].to_owned();
        assert_eq!(braces(&key), braces(&keys.memory(alice.group)), "a script may touch both");
        assert_ne!(keys.name("alice@corp.example"), keys.name("bob@corp.example"));
        assert_ne!(keys.name("alice@corp.example"), Keys::new("orthrus", &[8; 32]).name("alice@corp.example"));
    }

    #[test]
    fn the_group_is_the_slot_tag_of_the_state() {
        use gateway_core::{attempt::state::Keyring, secret::Secret};
        let (keys, keyring) = (Keys::new("o", &[7; 32]), Keyring::new(&Secret::new(vec![7; 32])));
        for user in ["alice", "bob", "carol"] {
            assert_eq!(keys.name(user).group, keyring.slot(user).0[0]);
        }
    }
}
