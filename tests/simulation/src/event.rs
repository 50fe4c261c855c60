//! What happens, and when: a queue of events by time, and by the order in which they were foreseen.

use gateway_core::attempt::driver;
use gateway_core::attempt::record::{AttemptId, AttemptKey, Owner, PacketDigest};
use gateway_core::attempt::transition::{Outcome, Transition};
use gateway_core::exchange::Input;
use gateway_core::factor::CodeUse;
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// Who waits for the store's answer.
#[derive(Debug)]
pub(crate) enum Back {
    Exchange(usize),
    Driver(usize),
    Offer(AttemptKey, u64),
    Nobody,
}

/// Something that happens. What names a node and a life happens to that node in that life, and not if it is over.
#[derive(Debug)]
pub(crate) enum Event {
    // At the VPN servers, and with people.
    SignIn {
        sign_in: usize,
    },
    Retransmit {
        sign_in: usize,
        serial: u32,
    },
    UserActs {
        sign_in: usize,
        serial: u32,
    },
    Replied {
        packet: usize,
        octets: Arc<[u8]>,
    },
    Stray {
        packet: usize,
    },
    /// Somebody who knows the password asks for many challenges of one user, to answer them all at once.
    Volley {
        user: usize,
    },
    // At the nodes.
    Arrive {
        node: usize,
        packet: usize,
    },
    Exchange {
        node: usize,
        life: u32,
        run: usize,
        input: Box<Input>,
    },
    Wake {
        node: usize,
        life: u32,
        run: usize,
        wake: u32,
    },
    Heard {
        node: usize,
        life: u32,
        run: usize,
    },
    Driver {
        node: usize,
        life: u32,
        driver: usize,
        input: Box<driver::Input>,
    },
    DriverWake {
        node: usize,
        life: u32,
        driver: usize,
        wake: u32,
    },
    Applied {
        node: usize,
        life: u32,
        back: Back,
        outcome: Result<Outcome, Reason>,
        believed: Option<(u32, Box<Transition>)>,
    },
    PacketSeen {
        node: usize,
        life: u32,
        run: usize,
        seen: crate::store::PacketSeen,
    },
    // At the store.
    Apply {
        node: usize,
        life: u32,
        transition: Box<Transition>,
        /// The attempt that whoever sends it knows.
        of: AttemptId,
        back: Back,
    },
    Journal {
        node: usize,
        life: u32,
        key: AttemptKey,
        code: CodeUse,
    },
    AskPacket {
        node: usize,
        life: u32,
        run: usize,
    },
    PacketEnded {
        digest: PacketDigest,
        owner: Option<Owner>,
        reply: Option<Arc<[u8]>>,
    },
    Look {
        node: usize,
        life: u32,
    },
    // At the provider.
    Rings {
        prompt: usize,
    },
    Taps {
        prompt: usize,
    },
    GivesUp {
        prompt: usize,
    },
    Poll {
        node: usize,
        life: u32,
        driver: usize,
        session: Arc<[u8]>,
    },
    // What breaks.
    Crash {
        node: usize,
    },
    Restart {
        node: usize,
    },
    Pause {
        node: usize,
        long: bool,
    },
    Resume {
        node: usize,
    },
    FailOver,
    Outage,
}

impl Event {
    /// The node that it happens to, and in which of its lives.
    pub(crate) fn node(&self) -> Option<(usize, Option<u32>)> {
        match self {
            Self::Arrive { node, .. } => Some((*node, None)),
            Self::Exchange { node, life, .. }
            | Self::Wake { node, life, .. }
            | Self::Heard { node, life, .. }
            | Self::Driver { node, life, .. }
            | Self::DriverWake { node, life, .. }
            | Self::Applied { node, life, .. }
            | Self::PacketSeen { node, life, .. }
            | Self::Look { node, life } => Some((*node, Some(*life))),
            _ => None,
        }
    }
}

struct Scheduled {
    at: Timestamp,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest, because the heap gives that first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// What is to happen.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Scheduled>,
    order: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Timestamp, event: Event) {
        self.order += 1;
        self.heap.push(Scheduled { at, order: self.order, event });
    }

    pub(crate) fn pop(&mut self) -> Option<(Timestamp, Event)> {
        self.heap.pop().map(|Scheduled { at, event, .. }| (at, event))
    }
}
