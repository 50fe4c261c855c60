//! What a seed draws before anything happens: how many nodes, how bad the network is, what breaks when.

use crate::random::Random;
use crate::setup::USERS;
use std::time::Duration;

/// What each packet is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancer {
    /// A NAS stays with one node as long as it is up.
    Sticky,
    /// Each packet goes anywhere, copies of one too.
    Random,
    /// Two tries at one node, then the next.
    FailOver,
}

/// What a run is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// The store outlives the nodes, and takes its time.
    pub(crate) shared: bool,
    /// `cluster.share = "all"`: nodes share packets too.
    pub(crate) share_packets: bool,
    /// Which of the configurations.
    pub(crate) config: usize,
    pub(crate) users: usize,
    pub(crate) sign_ins: u64,
    /// In a thousand: lost, doubled, late.
    pub(crate) loss: u64,
    pub(crate) double: u64,
    pub(crate) late: u64,
    pub(crate) balancer: Balancer,
    pub(crate) interval: Duration,
    /// How often a packet is sent before the NAS takes a new identifier, and how often it does that.
    pub(crate) tries: u64,
    pub(crate) renewals: u64,
    /// The provider answers when the user has; otherwise it is polled.
    pub(crate) held: bool,
    pub(crate) crashes: u64,
    pub(crate) pauses: u64,
    pub(crate) fail_overs: u64,
    pub(crate) outages: u64,
    /// How far clocks are off at most.
    pub(crate) skew: Duration,
    /// Somebody knows a password and guesses codes, many at once.
    pub(crate) guesses: bool,
    /// Somebody knows a password and sits behind the same address as its owner.
    pub(crate) rides: bool,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random, seed: u64) -> Self {
        // Of their own, so that who does not meet them is as before.
        let mut attackers = Random::new(!seed);
        let nodes = random.pick(&[1, 2, 2, 3, 3, 4]);
        let shared = nodes > 1;
        let calm = random.chance(150);
        let trouble = |random: &mut Random, often: u64, most: u64| match random.chance(often) && !calm {
            true => random.range(1, most),
            false => 0,
        };
        Self {
            nodes,
            shared,
            share_packets: shared && random.chance(500),
            config: random.pick(&[0, 0, 0, 1, 1, 2]),
            users: random.index(USERS) + 1,
            sign_ins: random.range(3, 8),
            loss: if calm { 0 } else { random.pick(&[0, 20, 100, 250]) },
            double: if calm { 0 } else { random.pick(&[0, 50, 300]) },
            late: if calm { 0 } else { random.pick(&[0, 20, 150]) },
            balancer: random.pick(&[Balancer::Sticky, Balancer::Random, Balancer::Random, Balancer::FailOver]),
            interval: Duration::from_millis(random.range(1_500, 7_000)),
            tries: random.range(2, 8),
            renewals: random.range(0, 5),
            held: random.chance(400),
            crashes: trouble(random, 450, 4),
            pauses: trouble(random, 300, 3),
            fail_overs: if shared { trouble(random, 200, 3) } else { 0 },
            outages: if shared { trouble(random, 150, 2) } else { 0 },
            skew: if shared && random.chance(300) { Duration::from_millis(400) } else { Duration::ZERO },
            guesses: attackers.chance(150),
            rides: attackers.chance(200),
        }
    }
}
