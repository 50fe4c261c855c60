//! What nodes say to each other, and how it lies on the stream.
//!
//! ```text
//!  0           4       6               14
//!  +-----------+-------+---------------+----------------+
//!  | length    | kind  | number        | body (postcard)|
//!  +-----------+-------+---------------+----------------+
//! ```
//!
//! `length` counts what follows it. A question has a kind below [`ANSWER`] and a number of the asker's; its answer has a kind from
//! [`ANSWER`] on and the same number. Both sides ask. A question of a kind that is not known is answered by
//! [`Refusal::UnknownMessage`], an answer that nobody waits for is passed over: so a newer release may ask more.
//!
//! Head, `Hello` and `Welcome` stay as they are for ever. Everything else may change with the version that they agree on.

use gateway_core::attempt::record::Owner;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The versions that this release speaks, the oldest and the newest.
pub const VERSIONS: (u16, u16) = (1, 1);

/// Kinds from here on are answers.
pub const ANSWER: u16 = 0x8000;

/// The longest frame behind its length: a RADIUS packet of 4,096 octets, two addresses and the head, with room for later.
pub const LONGEST: usize = 8_192;

/// The longest first frame, of somebody who is not known yet.
pub const LONGEST_HELLO: usize = 512;

/// Kind and number.
const HEAD: usize = 10;

/// The kinds.
pub mod kind {
    use super::ANSWER;
    /// Who I am, which versions I speak.
    pub const HELLO: u16 = 1;
    /// Are you there?
    pub const PING: u16 = 2;
    /// A RADIUS packet that only you can go on with.
    pub const PACKET: u16 = 3;
    /// Who I am, which version we speak.
    pub const WELCOME: u16 = ANSWER | 1;
    /// I am.
    pub const PONG: u16 = ANSWER | 2;
    /// What became of the packet.
    pub const REPLY: u16 = ANSWER | 3;
    /// Why a question is not answered.
    pub const REFUSAL: u16 = ANSWER | 4;
}

/// The first word of the node that connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version that it speaks.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
    /// Its name, and which of its lives it is. The latter stands sealed in the store, so that who knows it has the cluster's key.
    pub owner: Owner,
    /// Whom it means to speak to.
    pub to: Owner,
}

/// The first word of the node that was connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The newest version that both speak.
    pub version: u16,
    /// Its name, and which of its lives it is.
    pub owner: Owner,
}

/// A RADIUS packet for another node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Who sent it: the RADIUS client is found by this address.
    pub source: SocketAddr,
    /// The address of the node that received it.
    pub local: SocketAddr,
    /// How long the node that received it will wait for what becomes of it, in ms.
    pub patience: u32,
    /// How long ago it was received, in ms: the clocks of nodes differ.
    pub age: u32,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// Not the octets: they hold what hides a password.
impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({} octets from {} to {})", self.octets.len(), self.source, self.local)
    }
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is to be answered with these octets.
    Octets {
        /// The reply, signed.
        octets: Vec<u8>,
        /// It may leave after so many ms, not sooner.
        after: u32,
    },
    /// It was not answered: the same packet counts as new.
    Forgotten,
    /// It was not answered and never will be.
    Discarded,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The kind is not known here.
    UnknownMessage,
    /// The body is not what the kind says.
    Malformed,
    /// No more questions at a time.
    Busy,
    /// The packet is of no client that is known here, or not signed by it.
    Unproved,
    /// No version in common.
    OtherVersion,
    /// The asker is no node that is known alive, or means another node.
    NoMember,
    /// What a newer release says.
    #[serde(other)]
    Other,
}

/// A frame, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u16,
    /// Which question it is or answers.
    pub number: u64,
    /// The body.
    pub body: Vec<u8>,
}

impl Frame {
    /// The body as what it should be. Octets behind it are of a later release.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        postcard::from_bytes(&self.body).ok()
    }
}

/// A frame as it goes out. `None`: it would be longer than frames are.
pub fn frame(kind: u16, number: u64, body: &impl Serialize) -> Option<Vec<u8>> {
    let mut out = vec![0; 4];
    out.extend(kind.to_be_bytes());
    out.extend(number.to_be_bytes());
    let out = postcard::to_extend(body, out).ok()?;
    let length = out.len().checked_sub(4).filter(|length| *length <= LONGEST)?;
    let mut out = out;
    let head = u32::try_from(length).ok()?.to_be_bytes();
    out.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    Some(out)
}

/// Reads one frame of at most `longest` octets. Nothing is allocated for one that is longer.
///
/// # Errors
///
/// The stream has ended or failed; `InvalidData`: what came is no frame.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), longest: usize) -> io::Result<Frame> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    let Some(rest) = length.checked_sub(HEAD).filter(|_| length <= longest) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} octets")));
    };
    let kind = stream.read_u16().await?;
    let number = stream.read_u64().await?;
    let mut body = vec![0; rest];
    stream.read_exact(&mut body).await?;
    Ok(Frame { kind, number, body })
}

/// The newest version that both speak.
pub fn common((oldest, newest): (u16, u16)) -> Option<u16> {
    let version = newest.min(VERSIONS.1);
    (version >= oldest.max(VERSIONS.0)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(node: &str) -> Owner {
        Owner { node: node.into(), incarnation: 7 }
    }

    #[tokio::test]
    async fn what_is_written_is_read_again() {
        let packet = Packet {
            source: "192.0.2.1:1024".parse().unwrap(),
            local: "[2001:db8::5]:1812".parse().unwrap(),
            patience: 30_000,
            age: 3,
            octets: vec![1; 4096],
        };
        let out = frame(kind::PACKET, 42, &packet).unwrap();
        let frame = read(&mut out.as_slice(), LONGEST).await.unwrap();
        assert_eq!((frame.kind, frame.number, frame.read::<Packet>()), (kind::PACKET, 42, Some(packet)));
    }

    /// The first words stay readable for every release.
    #[test]
    fn the_first_words_are_as_they_were() {
        let hello = Hello { oldest: 1, newest: 1, owner: owner("a"), to: owner("b") };
        assert_eq!(
            frame(kind::HELLO, 0, &hello).unwrap(),
            [0, 0, 0, 18, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, b'a', 7, 1, b'b', 7]
        );
        let welcome = frame(kind::WELCOME, 0, &Welcome { version: 1, owner: owner("b") }).unwrap();
        assert_eq!(welcome, [0, 0, 0, 14, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, b'b', 7]);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused_without_room_for_it() {
        for octets in
            [[0xff; 64], [0; 64], *b"GET / HTTP/1.1\r\nHost: orthrus\r\n\r\nGET / HTTP/1.1\r\nHost: orthrus\r\n"]
        {
            let error = read(&mut octets.as_slice(), LONGEST).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let mut short = [0, 0, 0x1f, 0, 1, 2].as_slice();
        assert_eq!(read(&mut short, LONGEST).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(frame(kind::REPLY, 1, &Reply::Octets { octets: vec![0; LONGEST], after: 0 }).is_none());
    }

    #[test]
    fn the_newest_version_in_common_is_spoken() {
        assert_eq!(common((1, 1)), Some(1));
        assert_eq!(common((1, 9)), Some(1));
        assert_eq!(common((2, 9)), None);
        assert_eq!(common((0, 0)), None);
        assert_eq!(common((9, 1)), None);
    }

    #[test]
    fn a_reason_of_a_newer_release_is_another_one() {
        let frame = Frame { kind: kind::REFUSAL, number: 1, body: vec![99] };
        assert!(frame.read::<Refusal>().is_none_or(|refusal| refusal == Refusal::Other));
        let frame = Frame { kind: kind::PACKET, number: 1, body: vec![0xff; 64] };
        assert_eq!(frame.read::<Packet>(), None);
    }
}
