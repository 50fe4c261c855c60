//! The store compared with the pure transitions: the same random sequences, the same outcomes, the same records.
//!
//! Each sequence is one user's, and each of its transitions goes to one of two nodes, whose copies are so wrong half the time.
//! 10,000 sequences run with the other tests; `ORTHRUS_SEQUENCES=100000 cargo test -p cluster redis_compared` is the long run.

use super::*;
use gateway_core::attempt::record::{Marks, Purpose};
use gateway_core::attempt::state::StateId;
use gateway_core::attempt::transition::NewChallenge;
use gateway_core::factor::{CodeWanted, TokenId};
use gateway_core::reason::Reason;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The pure transitions on records of one user, and what a store knows beside them.
#[derive(Default)]
struct Model {
    records: Records,
    /// The highest epoch, while there is a record.
    epoch: Option<u64>,
}

impl Model {
    fn apply(&mut self, transition: &Transition, now: Timestamp) -> Outcome {
        self.records.sweep(now, WINDOW);
        let floor = self.epoch.unwrap_or(now.as_micros());
        self.records.epoch_floor = floor;
        let outcome = transition.apply(&mut self.records, now);
        self.records.epoch_floor = 0;
        self.epoch = (!self.records.is_empty()).then(|| floor.max(self.records.highest_epoch()));
        outcome
    }
}

/// Sequences that go deep more often than blind chance would.
struct Sequence {
    rng: StdRng,
    user: String,
    epoch: u64,
    now: Timestamp,
}

impl Sequence {
    fn packet(&mut self) -> PacketDigest {
        PacketDigest([self.rng.random_range(1..4); 16])
    }

    fn state(&mut self) -> StateId {
        StateId([self.rng.random_range(1..4); 16])
    }

    fn refusal(&mut self) -> Reason {
        match self.rng.random_range(0..8) {
            0 => Reason::PromptReported,
            1..4 => Reason::PromptDenied,
            _ => Reason::WrongCode,
        }
    }

    fn epoch(&mut self) -> u64 {
        if self.rng.random_ratio(1, 8) { self.epoch.saturating_sub(1) } else { self.epoch }
    }

    fn challenge(&mut self) -> NewChallenge {
        let purpose = match self.rng.random_range(0..5) {
            0 => Purpose::Round { factor: "staff".into(), session: vec![1] },
            1 | 2 => Purpose::Collect {
                epoch: self.epoch,
                client: "vpn-1".into(),
                factor: "entra".into(),
                authorization: authorization(),
            },
            _ => Purpose::Code { factor: "oath".into(), session: vec![2], authorization: authorization() },
        };
        NewChallenge { state: self.state(), wire: vec![3; 48], purpose, message: "Code:".into() }
    }

    fn change(&mut self) -> Change {
        let factor = if self.rng.random_ratio(1, 6) { "oath" } else { "entra" };
        let node = if self.rng.random() { "a" } else { "b" };
        match self.rng.random_range(0..24) {
            0..5 => Change::Claim {
                owner: owner(node),
                id: AttemptId([self.rng.random(); 16]),
                begun: self.now,
                factor: factor.into(),
                authorization: authorization(),
                packet: self.packet(),
                port: self.rng.random_ratio(1, 4).then_some(5),
                marks: Marks(
                    (self.rng.random_ratio(1, 3)).then(|| (44, [self.rng.random_range(1..3); 8])).into_iter().collect(),
                ),
                prompts: factor == "entra",
                codes: self.rng.random(),
            },
            5 => Change::Abandon { epoch: self.epoch() },
            6..8 => Change::Await { epoch: self.epoch(), session: [1, 2, 3].into() },
            8..10 => Change::Collect { epoch: self.epoch(), packet: self.packet(), challenge: None },
            10 => Change::Collect { epoch: self.epoch(), packet: self.packet(), challenge: Some(self.challenge()) },
            11 => Change::Detach { packet: self.packet() },
            12..14 => Change::Issue { epoch: self.epoch(), challenge: self.challenge() },
            14 => Change::IssueRound { id: AttemptId([7; 16]), begun: self.now, challenge: self.challenge() },
            15..18 => Change::Take { state: self.state(), packet: self.packet(), client: "vpn-1".into() },
            18 => Change::Release { state: self.state(), packet: self.packet(), judged: self.rng.random() },
            19 => Change::Retry { state: self.state(), packet: self.packet(), challenge: self.challenge() },
            20..22 => {
                let taken = self.rng.random::<bool>().then(|| (self.state(), self.packet()));
                let forget = self.rng.random_ratio(2, 3).then(|| self.now.after(Duration::from_secs(120)));
                let code = (taken.is_some() && self.rng.random()).then(|| CodeUse {
                    token: TokenId([1; 16]),
                    factor: self.rng.random_range(1..9),
                    forget,
                });
                let verdict = if self.rng.random() { Settled::Passed } else { Settled::Failed(self.refusal()) };
                Change::Settle { epoch: self.epoch(), taken, verdict, code }
            }
            22 if self.rng.random() => Change::Offer {
                epoch: self.epoch(),
                wanted: CodeWanted { session: vec![8], prompt: Some("Code?".to_owned()) },
            },
            22 if self.rng.random_ratio(1, 4) => Change::Lift,
            22 => Change::FinishRound { state: self.state(), packet: self.packet() },
            _ => Change::TakeOver { epoch: self.epoch(), dead: owner(node), owner: owner("c"), packet: self.packet() },
        }
    }

    fn next(&mut self) -> Transition {
        let wait = match self.rng.random_range(0..10) {
            0..7 => self.rng.random_range(0..2_000),
            7 | 8 => self.rng.random_range(0..40_000),
            _ => self.rng.random_range(0..400_000),
        };
        self.now = self.now.after(Duration::from_millis(wait));
        let mut key = key(&self.user);
        if self.rng.random_ratio(1, 8) {
            key.station = None;
        } else if self.rng.random_ratio(1, 3) {
            key.station = Some([self.rng.random_range(1..6)].into());
        }
        if self.rng.random_ratio(1, 16) {
            key.group = "other".into();
        }
        Transition { key, change: self.change(), rules: rules() }
    }
}

/// Since when the memory is complete is the store's to say.
fn comparable(mut outcome: Outcome) -> Outcome {
    if let Outcome::Taken(taken) = &mut outcome {
        (taken.used.since, taken.used.counters_since) = (Timestamp::default(), Timestamp::default());
    }
    outcome
}

async fn run(seed: u64, nodes: &[Node; 2], link: &redis::aio::MultiplexedConnection) -> usize {
    let rng = StdRng::seed_from_u64(seed);
    let now = Timestamp::from_secs(1_800_000_000);
    let mut sequence = Sequence { rng, user: format!("user-{seed}"), epoch: 0, now };
    let mut model = Model::default();
    let length = sequence.rng.random_range(4..20);
    for step in 0..length {
        let transition = sequence.next();
        let node = &nodes[usize::from(sequence.rng.random::<bool>())];
        let expected = comparable(model.apply(&transition, sequence.now));
        let outcome = node.store.send(transition.clone(), Some(sequence.now)).await.unwrap();
        assert_eq!(outcome.map(comparable), Ok(expected.clone()), "seed {seed}, step {step}: {transition:?}");
        if let Outcome::Claimed { epoch }
        | Outcome::ClaimedForCode { epoch, .. }
        | Outcome::Joined { epoch, .. }
        | Outcome::TakenOver { epoch, .. } = expected
        {
            sequence.epoch = epoch;
        }
    }
    let shared = &nodes[0].store.shared;
    let user: Arc<str> = sequence.user.as_str().into();
    let key = shared.keys.user(&shared.keys.name(&user));
    let value: Option<Vec<u8>> = cmd("GET").arg(&key).query_async(&mut link.clone()).await.unwrap();
    let known = shared.open(&key, &user, value.as_deref()).unwrap();
    assert_eq!(known.records, model.records, "seed {seed}: the records");
    assert_eq!(known.identity.map(|_| known.head.epoch), model.epoch, "seed {seed}: the epoch");
    length
}

#[tokio::test]
async fn redis_compared_with_the_pure_transitions() {
    let sequences: u64 = std::env::var("ORTHRUS_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let server = Server::start(&[]);
    // A machine that is busy with other tests must not look like a store that is lost.
    let patient = || Settings { timeout: Duration::from_secs(5), ..server.settings() };
    let nodes = [Node::with("a", patient()), Node::with("b", patient())];
    // Older versions leave out what the newest remembers.
    for node in &nodes {
        let newest = async |node: &Node| node.store.shared.members.records() == crate::sealed::NEWEST;
        node.until("it writes the newest version", newest).await;
    }
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(10)))
        .set_response_timeout(Some(Duration::from_secs(10)));
    let link = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let mut steps = 0;
    let seeds: Vec<u64> = (0..sequences).collect();
    for seeds in seeds.chunks(256) {
        let all = seeds.iter().map(|seed| run(*seed, &nodes, &link));
        steps += futures_util::future::join_all(all).await.into_iter().sum::<usize>();
    }
    let conflicts: u64 = nodes.iter().map(|node| node.store.shared.stats.conflicts.get()).sum();
    println!("{sequences} sequences, {steps} transitions, {conflicts} run again on what another node had written");
    assert!(conflicts > sequences, "the two nodes met often");
    for node in &nodes {
        let stats = &node.store.shared.stats;
        assert_eq!((stats.errors.get(), stats.tampered.get(), stats.failovers.get()), (0, 0, 0));
    }
}
