//! Attempts that prompt a person.

use super::super::records::Records;
use super::*;
use proptest::prelude::*;

const P1: PacketDigest = PacketDigest([1; 16]);
const P2: PacketDigest = PacketDigest([2; 16]);
const P3: PacketDigest = PacketDigest([3; 16]);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn key() -> AttemptKey {
    AttemptKey { group: "vpn".into(), user: "alice".into(), station: Some([1].into()) }
}

fn elsewhere() -> AttemptKey {
    AttemptKey { station: Some([2].into()), ..key() }
}

fn authorization() -> Authorization {
    Authorization { first_factor: Some("local".into()), policy: "all".into(), reply: [].into(), upn: "alice".into() }
}

struct World {
    records: Records,
    rules: Rules,
}

impl World {
    fn new() -> Self {
        let rules = Rules {
            deadline: Duration::from_secs(90),
            tries: 3,
            challenge_lifetime: Duration::from_secs(180),
            challenge_repeat: Duration::from_secs(30),
            repeat_window: Duration::from_secs(10),
            answer_repeats: false,
            wrong_codes: 4,
            wrong_codes_window: Duration::from_secs(900),
            prompts: PromptRules { pauses: Vec::new(), codes_only_after: 0, ..PromptRules::default() },
            ..Rules::default()
        };
        Self { records: Records::default(), rules }
    }

    fn apply_for(&mut self, key: AttemptKey, change: Change, secs: u64) -> Outcome {
        Transition { key, change, rules: Arc::new(self.rules.clone()) }.apply(&mut self.records, at(secs))
    }

    fn apply(&mut self, change: Change, secs: u64) -> Outcome {
        self.apply_for(key(), change, secs)
    }

    fn claim_with(&mut self, key: AttemptKey, packet: PacketDigest, port: Option<u32>, secs: u64) -> Outcome {
        let change = Change::Claim {
            owner: owner(),
            id: AttemptId([9; 16]),
            begun: at(secs),
            factor: "entra".into(),
            authorization: authorization(),
            packet,
            port,
            marks: Default::default(),
            prompts: true,
            codes: false,
        };
        self.apply_for(key, change, secs)
    }

    fn claim(&mut self, packet: PacketDigest, secs: u64) -> Outcome {
        self.claim_with(key(), packet, None, secs)
    }

    fn settle(&mut self, epoch: u64, verdict: Settled, secs: u64) -> Outcome {
        self.apply(Change::Settle { epoch, taken: None, verdict, code: None }, secs)
    }

    fn collect(&mut self, packet: PacketDigest, secs: u64) -> Outcome {
        self.apply(Change::Collect { epoch: 1, packet, challenge: None }, secs)
    }

    fn postpone(&mut self, packet: PacketDigest, state: u8, secs: u64) -> Outcome {
        let purpose = Purpose::Collect {
            epoch: 1,
            client: "vpn-1".into(),
            factor: "entra".into(),
            authorization: authorization(),
        };
        let state = StateId([state; 16]);
        let challenge = NewChallenge { state, wire: vec![7], purpose, message: "Approve:".into() };
        self.apply(Change::Collect { epoch: 1, packet, challenge: Some(challenge) }, secs)
    }

    fn take(&mut self, state: u8, packet: PacketDigest, secs: u64) -> Outcome {
        self.apply(Change::Take { state: StateId([state; 16]), packet, client: "vpn-1".into() }, secs)
    }

    /// P1 has claimed and waits.
    fn prompted() -> Self {
        let mut world = Self::new();
        assert_eq!(world.claim(P1, 0), Outcome::Claimed { epoch: 1 });
        world
    }
}

fn collected(verdict: Settled) -> Outcome {
    Outcome::Collected { id: AttemptId([9; 16]), begun: at(0), verdict }
}

fn owner() -> Owner {
    Owner { node: "a".into(), incarnation: 1 }
}

fn other() -> Owner {
    Owner { node: "b".into(), incarnation: 2 }
}

fn joined() -> Outcome {
    Outcome::Joined { id: AttemptId([9; 16]), begun: at(0), epoch: 1, deadline: at(90), owner: owner() }
}

#[test]
fn an_approval_is_the_newest_packets_and_nobody_elses() {
    let mut world = World::prompted();
    assert_eq!(world.claim(P2, 10), joined(), "however long ago the claim was");
    assert_eq!(world.collect(P1, 11), Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.collect(P2, 11), Outcome::Pending { owner: owner() });
    assert_eq!(world.settle(1, Settled::Passed, 12), Outcome::Committed { to: Some(P2) });
    assert_eq!(world.collect(P1, 12), Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.collect(P2, 12), collected(Settled::Passed));
    assert_eq!(world.collect(P2, 13), collected(Settled::Passed), "the same packet, the same verdict");
    assert_eq!(world.settle(1, Settled::Failed(Reason::PromptUnanswered), 14), Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.claim(P3, 15), Outcome::Discarded(Reason::RepeatAfterSuccess));
    assert_eq!(world.claim(P2, 15), collected(Settled::Passed), "its exchange died before it could speak");
}

#[test]
fn after_success_answer_gives_repeats_the_same_verdict() {
    let mut world = World::prompted();
    world.rules.answer_repeats = true;
    world.settle(1, Settled::Passed, 12);
    assert_eq!(world.claim(P3, 15), Outcome::PassedAlready { id: AttemptId([9; 16]) });
    assert_eq!(world.claim(P3, 22), Outcome::Claimed { epoch: 2 });
}

#[test]
fn without_station_or_from_another_port_nobody_joins() {
    let nowhere = AttemptKey { station: None, ..key() };
    let mut world = World::new();
    world.claim_with(nowhere.clone(), P1, None, 0);
    assert_eq!(world.claim_with(nowhere.clone(), P2, None, 5), Outcome::Discarded(Reason::RepeatWhilePending));
    assert!(matches!(world.claim_with(nowhere, P1, None, 5), Outcome::Joined { .. }), "the same packet is no other");
    let mut world = World::new();
    world.claim_with(key(), P1, Some(1), 0);
    assert_eq!(world.claim_with(key(), P2, Some(2), 5), Outcome::Refused(Reason::PromptPending));
    assert_eq!(world.claim_with(key(), P2, None, 5), joined());
    assert_eq!(world.claim_with(key(), P2, Some(1), 5), joined());
}

#[test]
fn one_prompt_per_user() {
    let mut world = World::prompted();
    assert_eq!(world.claim_with(elsewhere(), P2, None, 5), Outcome::Refused(Reason::PromptPending));
    world.settle(1, Settled::Failed(Reason::PromptUnanswered), 20);
    assert_eq!(world.claim_with(elsewhere(), P2, None, 29), Outcome::Withheld { until: Some(at(30)) });
    assert_eq!(world.claim_with(elsewhere(), P2, None, 30), Outcome::Claimed { epoch: 2 });
    assert_eq!(world.claim(P3, 40), Outcome::Refused(Reason::PromptPending));
    assert_eq!(world.claim(P3, 120), Outcome::Claimed { epoch: 3 }, "a prompt ends with its deadline");
    let other = AttemptKey { user: "bob".into(), ..key() };
    assert_eq!(world.claim_with(other, P2, None, 121), Outcome::Claimed { epoch: 4 });
}

#[test]
fn a_claim_that_prompted_nobody_is_given_back() {
    let mut world = World::prompted();
    assert_eq!(world.apply(Change::Abandon { epoch: 1 }, 2), Outcome::Done);
    assert_eq!(world.claim_with(elsewhere(), P2, None, 3), Outcome::Claimed { epoch: 2 });
}

#[test]
fn an_approval_that_nobody_waits_for_is_collected_once_before_the_deadline() {
    let mut world = World::prompted();
    assert_eq!(world.apply(Change::Detach { packet: P1 }, 20), Outcome::Done);
    assert_eq!(world.settle(1, Settled::Passed, 30), Outcome::Committed { to: None });
    assert_eq!(world.collect(P1, 31), Outcome::Discarded(Reason::Superseded), "P1 gave up");
    assert_eq!(world.claim(P2, 60), collected(Settled::Passed));
    assert_eq!(world.claim(P3, 61), Outcome::Claimed { epoch: 2 }, "once, and then a sign-in is a new one");

    let mut late = World::prompted();
    late.apply(Change::Detach { packet: P1 }, 20);
    late.settle(1, Settled::Passed, 30);
    assert_eq!(late.claim(P2, 90), Outcome::Claimed { epoch: 2 }, "it dies with the deadline");
    let mut swept = World::prompted();
    swept.apply(Change::Detach { packet: P1 }, 20);
    swept.settle(1, Settled::Passed, 30);
    let told = swept.records.sweep(at(200), Duration::from_secs(900));
    assert_eq!(told.iter().map(|ended| ended.reason).collect::<Vec<_>>(), [Reason::ApprovalUncollected]);
}

#[test]
fn an_approval_is_not_collected_by_who_proved_nothing() {
    let mut world = World::prompted();
    world.apply(Change::Detach { packet: P1 }, 20);
    world.settle(1, Settled::Passed, 30);
    let change = Change::Claim {
        owner: owner(),
        id: AttemptId([8; 16]),
        begun: at(40),
        factor: "entra".into(),
        authorization: Authorization { first_factor: None, ..authorization() },
        packet: P2,
        port: None,
        marks: Default::default(),
        prompts: true,
        codes: false,
    };
    assert_eq!(world.apply(change, 40), Outcome::Claimed { epoch: 2 });
}

#[test]
fn a_repeat_of_a_refused_sign_in_prompts_nobody() {
    let mut world = World::prompted();
    let refused = Settled::Failed(Reason::PromptUnanswered);
    assert_eq!(world.settle(1, refused, 12), Outcome::Committed { to: Some(P1) });
    assert_eq!(world.claim(P2, 15), collected(refused), "the NAS lost the refusal");
    assert_eq!(world.claim(P3, 23), Outcome::Claimed { epoch: 2 });
}

#[test]
fn one_transition_decides_between_challenge_and_outcome() {
    let mut world = World::prompted();
    world.settle(1, Settled::Passed, 24);
    assert_eq!(world.postpone(P1, 5, 25), collected(Settled::Passed));
    assert!(world.records.challenges.is_empty());

    let mut world = World::prompted();
    assert_eq!(world.postpone(P1, 5, 25), Outcome::Done);
    assert_eq!(world.settle(1, Settled::Passed, 26), Outcome::Committed { to: None }, "P1 has its answer");
    let Outcome::Taken(taken) = world.take(5, P2, 40) else { panic!("not taken") };
    assert!(matches!(taken.purpose, Purpose::Collect { epoch: 1, .. }));
    assert_eq!(world.collect(P2, 40), collected(Settled::Passed));
    assert_eq!(world.apply(Change::FinishRound { state: StateId([5; 16]), packet: P2 }, 40), Outcome::Done);
    assert_eq!(world.take(5, P3, 41), Outcome::Refused(Reason::StateSpent));
}

#[test]
fn each_round_burns_the_state_before() {
    let mut world = World::prompted();
    world.postpone(P1, 5, 25);
    assert!(matches!(world.take(5, P2, 30), Outcome::Taken(_)));
    assert_eq!(world.postpone(P2, 6, 55), Outcome::Done);
    assert_eq!(world.take(5, P3, 56), Outcome::Refused(Reason::StateSpent));
    assert!(matches!(world.take(6, P3, 60), Outcome::Taken(_)));
    assert_eq!(world.settle(1, Settled::Passed, 70), Outcome::Committed { to: Some(P3) });
    // A repeat of the first leg burns it too: it does not know the challenge.
    let mut world = World::prompted();
    world.postpone(P1, 5, 25);
    assert_eq!(world.claim(P2, 30), joined());
    assert_eq!(world.take(5, P3, 31), Outcome::Refused(Reason::StateSpent));
}

#[test]
fn only_the_client_that_was_asked_may_come_back() {
    let mut world = World::prompted();
    world.postpone(P1, 5, 25);
    let state = StateId([5; 16]);
    let take = |client: &str| Change::Take { state, packet: P2, client: client.into() };
    assert_eq!(world.apply(take("vpn-2"), 30), Outcome::Refused(Reason::StateOtherClient));
    assert_eq!(world.apply_for(elsewhere(), take("vpn-1"), 30), Outcome::Refused(Reason::StateOtherStation));
    assert!(matches!(world.apply(take("vpn-1"), 30), Outcome::Taken(_)));
    // A repeat of that packet waits instead.
    assert!(matches!(world.take(5, P3, 40), Outcome::Taken(_)));
    assert_eq!(world.collect(P2, 41), Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.collect(P3, 41), Outcome::Pending { owner: owner() });
    assert_eq!(world.take(5, P3, 90), Outcome::Refused(Reason::StateUnknown), "it dies with the attempt");
}

#[test]
fn a_late_approval_never_serves_a_later_attempt() {
    let mut world = World::prompted();
    assert_eq!(world.claim(P2, 95), Outcome::Claimed { epoch: 2 });
    assert_eq!(world.settle(1, Settled::Passed, 96), Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.collect(P2, 96), Outcome::Discarded(Reason::Superseded));
    let change = Change::Collect { epoch: 2, packet: P2, challenge: None };
    assert_eq!(world.apply(change, 96), Outcome::Pending { owner: owner() });
}

#[test]
fn a_code_after_all_frees_the_user_for_another_prompt() {
    let mut world = World::prompted();
    let purpose = Purpose::Code { factor: "entra".into(), session: vec![], authorization: authorization() };
    let challenge = NewChallenge { state: StateId([4; 16]), wire: vec![4], purpose, message: "Code:".into() };
    assert_eq!(world.apply(Change::Issue { epoch: 1, challenge }, 2), Outcome::Done);
    assert_eq!(world.claim_with(elsewhere(), P2, None, 5), Outcome::Claimed { epoch: 2 });
    assert!(matches!(world.take(4, P3, 9), Outcome::Taken(_)));
    let settle = Change::Settle {
        epoch: 1,
        taken: Some((StateId([4; 16]), P3)),
        verdict: Settled::Failed(Reason::WrongCode),
        code: None,
    };
    assert_eq!(world.apply(settle, 10), Outcome::Done);
    assert_eq!(
        world.claim(P1, 12),
        Outcome::Refused(Reason::PromptPending),
        "a wrong code may be followed by another try"
    );
}

proptest! {
    /// Whatever comes in whatever order: one approval lets in one packet, and every other one gets nothing of it.
    #[test]
    fn an_approval_lets_in_one_packet(steps in proptest::collection::vec((0_u8..8, 0_u8..4, 0_u64..20), 1..80)) {
        let mut world = World::new();
        let (mut secs, mut epoch, mut approvals) = (0, 0, 0);
        let mut let_in = std::collections::BTreeMap::<u64, std::collections::BTreeSet<u8>>::new();
        for (step, packet, wait) in steps {
            secs += wait;
            let digest = PacketDigest([packet; 16]);
            let outcome = match step {
                0 | 1 => world.claim(digest, secs),
                2 => world.settle(epoch, Settled::Passed, secs),
                3 => world.settle(epoch, Settled::Failed(Reason::PromptUnanswered), secs),
                4 => world.apply(Change::Collect { epoch, packet: digest, challenge: None }, secs),
                5 => world.apply(Change::Detach { packet: digest }, secs),
                6 => world.postpone(digest, packet, secs),
                _ => world.take(packet, digest, secs),
            };
            match outcome {
                Outcome::Claimed { epoch: new } => {
                    prop_assert!(new > epoch);
                    epoch = new;
                }
                Outcome::Committed { .. } if step == 2 => approvals += 1,
                Outcome::Collected { verdict: Settled::Passed, .. } => {
                    let_in.entry(epoch).or_default().insert(packet);
                }
                _ => {}
            }
        }
        prop_assert!(let_in.len() <= approvals);
        for packets in let_in.values() {
            prop_assert_eq!(packets.len(), 1);
        }
    }
}

fn take_over(packet: PacketDigest, epoch: u64, dead: Owner) -> Change {
    Change::TakeOver { epoch, dead, owner: other(), packet }
}

#[test]
fn a_saved_session_goes_on_under_a_higher_epoch_and_the_dead_one_is_fenced() {
    let mut world = World::prompted();
    world.apply(Change::Await { epoch: 1, session: [7].into() }, 1);
    assert_eq!(world.claim(P2, 10), joined());
    let superseded = Outcome::Discarded(Reason::Superseded);
    assert_eq!(world.apply(take_over(P1, 1, owner()), 11), superseded, "only the newest packet is worth it");
    assert_eq!(world.apply(take_over(P2, 1, other()), 11), superseded, "somebody else drives it");
    let (id, session) = (AttemptId([9; 16]), [7].into());
    let taken = Outcome::TakenOver { epoch: 2, id, begun: at(0), deadline: at(90), session };
    assert_eq!(world.apply(take_over(P2, 1, owner()), 11), taken);
    assert_eq!(world.apply(take_over(P2, 1, owner()), 11), superseded, "once");
    assert_eq!(world.settle(1, Settled::Failed(Reason::PromptUnanswered), 12), superseded, "the dead one came back");
    assert_eq!(world.settle(2, Settled::Passed, 13), Outcome::Committed { to: Some(P2) });
}

#[test]
fn a_prompt_without_a_session_is_refused_when_its_node_dies() {
    let mut world = World::prompted();
    assert_eq!(world.apply(take_over(P1, 1, owner()), 8), Outcome::Committed { to: Some(P1) });
    assert_eq!(world.collect(P1, 8), collected(Settled::Failed(Reason::OwnerDied)));
    assert_eq!(world.settle(1, Settled::Passed, 9), Outcome::Discarded(Reason::Superseded));
}

#[test]
fn who_was_told_to_come_back_collects_from_the_new_owner() {
    let mut world = World::prompted();
    world.apply(Change::Await { epoch: 1, session: [7].into() }, 1);
    assert_eq!(world.postpone(P1, 5, 20), Outcome::Done);
    assert!(matches!(world.take(5, P2, 30), Outcome::Taken(_)));
    assert!(matches!(world.apply(take_over(P2, 1, owner()), 31), Outcome::TakenOver { epoch: 2, .. }));
    let Outcome::Taken(taken) = world.take(5, P3, 33) else { panic!("not taken") };
    assert_eq!(taken.epoch, 2);
    assert_eq!(world.settle(2, Settled::Passed, 35), Outcome::Committed { to: Some(P3) });
}

#[test]
fn a_forgotten_attempt_begins_above_the_floor() {
    let mut world = World::new();
    world.records.epoch_floor = 70;
    assert_eq!(world.claim(P1, 0), Outcome::Claimed { epoch: 71 });
    assert_eq!(world.settle(1, Settled::Passed, 1), Outcome::Discarded(Reason::Superseded));
}

#[test]
fn an_epoch_never_comes_again() {
    let mut world = World::new();
    let Outcome::Claimed { epoch } = world.claim(P1, 0) else { panic!("no claim") };
    // The owner stands still until its record is forgotten; then somebody else begins.
    world.records.sweep(at(200), Duration::from_secs(900));
    assert!(world.records.attempts.is_empty());
    let Outcome::Claimed { epoch: later } = world.claim(P2, 200) else { panic!("no claim") };
    assert!(later > epoch, "{later}");
    let late = world.settle(epoch, Settled::Failed(Reason::PromptUnanswered), 201);
    assert_eq!(late, Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.settle(later, Settled::Passed, 202), Outcome::Committed { to: Some(P2) });
    // Nor after a claim that was given back, or a take-over.
    let mut world = World::prompted();
    assert_eq!(world.apply(Change::Await { epoch: 1, session: [7].into() }, 1), Outcome::Done);
    assert!(matches!(world.apply(take_over(P1, 1, owner()), 20), Outcome::TakenOver { epoch: 2, .. }));
    world.records.sweep(at(200), Duration::from_secs(900));
    let Outcome::Claimed { epoch } = world.claim(P2, 200) else { panic!("no claim") };
    assert_eq!(world.apply(Change::Abandon { epoch }, 201), Outcome::Done);
    assert_eq!((epoch, world.claim(P3, 202)), (3, Outcome::Claimed { epoch: 4 }));
}

#[test]
fn outcomes_that_are_spoken_must_last() {
    let mut world = World::prompted();
    let collect = Change::Collect { epoch: 1, packet: P1, challenge: None };
    assert!(!collect.must_last(&world.collect(P1, 1)), "nothing is said yet");
    assert_eq!(world.settle(1, Settled::Passed, 2), Outcome::Committed { to: Some(P1) });
    // It changes nothing, and what it reads may be on no replica yet.
    assert!(collect.must_last(&world.collect(P1, 3)));
    let settle = |verdict| Change::Settle { epoch: 1, taken: Some((StateId([1; 16]), P1)), verdict, code: None };
    for verdict in [Settled::Passed, Settled::Failed(Reason::TriesSpent)] {
        assert!(settle(verdict).must_last(&Outcome::Done), "a code of the cloud, too: {verdict:?}");
    }
    assert!(!settle(Settled::Passed).must_last(&Outcome::Discarded(Reason::Superseded)));
}

#[test]
fn a_code_that_is_wanted_is_asked_of_the_newest_packet_only() {
    let wanted = CodeWanted { session: vec![4], prompt: None };
    let mut world = World::prompted();
    assert_eq!(world.claim(P2, 1), joined());
    assert_eq!(world.apply(Change::Offer { epoch: 1, wanted: wanted.clone() }, 2), Outcome::Done);
    assert_eq!(world.collect(P1, 3), Outcome::Discarded(Reason::Superseded));
    assert_eq!(world.collect(P2, 3), Outcome::Offered(wanted.clone()));
    assert_eq!(world.claim(P3, 4), joined(), "a repeat may still come");
    assert_eq!(world.apply(take_over(P3, 1, owner()), 20), Outcome::Offered(wanted), "nobody needs to drive it");
    let purpose = Purpose::Code { factor: "entra".into(), session: vec![4], authorization: authorization() };
    let challenge = NewChallenge { state: StateId([5; 16]), wire: vec![7], purpose, message: "Code:".into() };
    assert_eq!(world.apply(Change::Issue { epoch: 1, challenge }, 21), Outcome::Done);
    assert!(matches!(world.take(5, P1, 30), Outcome::Taken(_)));
}
