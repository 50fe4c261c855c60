use super::super::record::UserRecord;
use super::super::records::Records;
use super::*;
use crate::factor::TokenId;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn rules() -> Rules {
    Rules {
        deadline: Duration::from_secs(90),
        tries: 3,
        challenge_lifetime: Duration::from_secs(180),
        challenge_repeat: Duration::from_secs(30),
        repeat_window: Duration::from_secs(10),
        answer_repeats: false,
        wrong_codes: 4,
        wrong_codes_window: Duration::from_secs(900),
        ..Rules::default()
    }
}

fn key() -> AttemptKey {
    AttemptKey { group: "vpn".into(), user: "alice".into(), station: Some([1].into()) }
}

fn authorization(policy: &str) -> Authorization {
    Authorization { first_factor: Some("local".into()), policy: policy.into(), reply: [].into(), upn: "alice".into() }
}

fn claim_for(id: u8, begun: Timestamp, factor: &str, policy: &str) -> Change {
    let owner = Owner { node: "a".into(), incarnation: 1 };
    let authorization = authorization(policy);
    let (id, factor) = (AttemptId([id; 16]), factor.into());
    Change::Claim {
        owner,
        id,
        begun,
        factor,
        authorization,
        packet: P0,
        port: None,
        marks: Marks::default(),
        prompts: false,
        codes: false,
    }
}

fn challenge(state: u8) -> NewChallenge {
    let purpose = Purpose::Code { factor: "oath".into(), session: vec![], authorization: authorization("staff") };
    NewChallenge { state: StateId([state; 16]), wire: vec![state], purpose, message: "Code:".into() }
}

fn code(factor: u64) -> CodeUse {
    CodeUse { token: TokenId([9; 16]), factor, forget: Some(at(10_000)) }
}

/// One node's records, and the transitions in the words of a test.
struct World {
    records: Records,
    rules: Rules,
}

/// The packet of a first leg.
const P0: PacketDigest = PacketDigest([0; 16]);
const P1: PacketDigest = PacketDigest([1; 16]);
const P2: PacketDigest = PacketDigest([2; 16]);

impl World {
    fn new() -> Self {
        Self { records: Records::default(), rules: rules() }
    }

    fn apply_for(&mut self, key: AttemptKey, change: Change, secs: u64) -> Outcome {
        Transition { key, change, rules: Arc::new(self.rules.clone()) }.apply(&mut self.records, at(secs))
    }

    fn apply(&mut self, change: Change, secs: u64) -> Outcome {
        self.apply_for(key(), change, secs)
    }

    fn claim(&mut self, id: u8, secs: u64) -> Outcome {
        self.apply(claim_for(id, at(secs), "oath", "staff"), secs)
    }

    fn issue(&mut self, epoch: u64, state: u8, secs: u64) -> Outcome {
        self.apply(Change::Issue { epoch, challenge: challenge(state) }, secs)
    }

    fn take(&mut self, state: u8, packet: PacketDigest, secs: u64) -> Outcome {
        self.apply(Change::Take { state: StateId([state; 16]), packet, client: "vpn".into() }, secs)
    }

    fn pass(&mut self, epoch: u64, state: u8, packet: PacketDigest, factor: u64, secs: u64) -> Outcome {
        let taken = Some((StateId([state; 16]), packet));
        self.apply(Change::Settle { epoch, taken, verdict: Settled::Passed, code: Some(code(factor)) }, secs)
    }

    fn challenged(state: u8) -> Self {
        let mut world = Self::new();
        assert_eq!(world.claim(1, 0), Outcome::Claimed { epoch: 1 });
        assert_eq!(world.issue(1, state, 0), Outcome::Done);
        world
    }
}

#[test]
fn a_code_settles_the_attempt_once() {
    let mut world = World::challenged(5);
    let Outcome::Taken(taken) = world.take(5, P1, 7) else { panic!("not taken") };
    assert_eq!((taken.epoch, taken.last_try, taken.begun), (1, false, at(0)));
    assert_eq!(world.take(5, P2, 7), Outcome::Discarded(Reason::StateChecking), "two packets, one State");
    assert_eq!(world.pass(1, 5, P2, 40, 8), Outcome::Discarded(Reason::Superseded), "not the packet that took it");
    assert_eq!(world.pass(1, 5, P1, 40, 8), Outcome::Done);
    assert_eq!(world.pass(1, 5, P1, 41, 8), Outcome::Discarded(Reason::Superseded), "settled once");
    assert_eq!(world.take(5, P1, 9), Outcome::Refused(Reason::StateSpent), "replayed after success");
}

#[test]
fn a_used_code_and_every_older_one_is_refused() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    assert_eq!(world.pass(1, 5, P1, 40, 1), Outcome::Done);
    assert_eq!(world.claim(2, 30), Outcome::Claimed { epoch: 2 });
    world.issue(2, 6, 30);
    let Outcome::Taken(taken) = world.take(6, P1, 31) else { panic!("not taken") };
    assert_eq!(taken.used.next(TokenId([9; 16])), 41);
    assert_eq!(world.pass(2, 6, P1, 40, 31), Outcome::Refused(Reason::CodeReplayed));
    assert_eq!(world.pass(2, 6, P1, 39, 31), Outcome::Refused(Reason::CodeReplayed));
    assert_eq!(world.pass(2, 6, P1, 41, 31), Outcome::Done, "a replayed code leaves the challenge to the exchange");
}

#[test]
fn only_user_client_and_station_of_the_first_leg_may_answer() {
    let mut world = World::challenged(5);
    let take = Change::Take { state: StateId([5; 16]), packet: P1, client: "vpn".into() };
    let with = |change: fn(&mut AttemptKey)| {
        let mut other = key();
        change(&mut other);
        other
    };
    for (other, reason) in [
        (with(|k| k.user = "bob".into()), Reason::StateOtherUser),
        (with(|k| k.group = "wlan".into()), Reason::StateOtherClient),
        (with(|k| k.station = Some([2].into())), Reason::StateOtherStation),
    ] {
        assert_eq!(world.apply_for(other, take.clone(), 1), Outcome::Refused(reason));
    }
    assert!(matches!(world.take(5, P1, 1), Outcome::Taken(_)), "a stranger's try burns nothing");
}

#[test]
fn absent_station_contradicts_nothing() {
    // The second packet leaves it out: whatever follows is done under the key of the attempt.
    let mut world = World::challenged(5);
    let take = Change::Take { state: StateId([5; 16]), packet: P1, client: "vpn".into() };
    let bare = AttemptKey { station: None, ..key() };
    let Outcome::Taken(taken) = world.apply_for(bare, take.clone(), 1) else { panic!("not taken") };
    assert_eq!((taken.key, taken.epoch, taken.last_try), (key(), 1, false));
    assert_eq!(world.pass(1, 5, P1, 40, 1), Outcome::Done);
    // The first one did.
    let mut world = World::challenged(5);
    let attempt = world.records.challenges.get_mut(&StateId([5; 16])).unwrap();
    attempt.key.station = None;
    assert!(matches!(world.apply_for(key(), take, 1), Outcome::Taken(_)));
}

#[test]
fn a_late_or_invented_state_is_unknown() {
    let mut world = World::challenged(5);
    assert_eq!(world.take(6, P1, 1), Outcome::Refused(Reason::StateUnknown));
    assert!(matches!(world.take(5, P1, 179), Outcome::Taken(_)));
    let mut world = World::challenged(5);
    assert_eq!(world.take(5, P1, 180), Outcome::Refused(Reason::StateUnknown));
}

#[test]
fn a_repeat_of_the_first_leg_gets_the_same_challenge_and_later_a_new_one() {
    let mut world = World::challenged(5);
    let Outcome::ChallengedAlready { wire, id, .. } = world.claim(2, 29) else { panic!("not the same") };
    assert_eq!((wire, id), (vec![5], AttemptId([1; 16])));
    assert_eq!(world.claim(2, 30), Outcome::Claimed { epoch: 2 });
    assert_eq!(world.take(5, P1, 30), Outcome::Refused(Reason::StateSpent), "the old State is burnt");
    assert_eq!(world.issue(1, 6, 30), Outcome::Discarded(Reason::Superseded), "the old owner is fenced");
    assert_eq!(world.issue(2, 6, 30), Outcome::Done);
}

#[test]
fn the_repeats_own_authorization_counts() {
    let mut world = World::challenged(5);
    let claim = claim_for(2, at(3), "oath", "guests");
    assert!(matches!(world.apply(claim, 3), Outcome::ChallengedAlready { .. }));
    let Outcome::Taken(taken) = world.take(5, P1, 4) else { panic!("not taken") };
    let Purpose::Code { authorization, .. } = taken.purpose else { panic!("not a code") };
    assert_eq!(&*authorization.policy, "guests");
}

#[test]
fn while_a_code_is_checked_repeats_are_discarded() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    assert_eq!(world.claim(2, 2), Outcome::Discarded(Reason::RepeatWhilePending));
    let release = Change::Release { state: StateId([5; 16]), packet: P1, judged: false };
    assert_eq!(world.apply(release.clone(), 2), Outcome::Done);
    assert_eq!(world.apply(release, 2), Outcome::Discarded(Reason::Superseded));
    assert!(matches!(world.take(5, P2, 3), Outcome::Taken(_)), "released: the next packet may try");
    assert!(matches!(world.take(5, P1, 33), Outcome::Taken(_)), "its exchange died: taken over");
    assert_eq!(world.pass(1, 5, P2, 40, 34), Outcome::Discarded(Reason::Superseded), "the dead one is fenced");
}

#[test]
fn a_claim_that_never_prompted_lapses() {
    let mut world = World::new();
    assert_eq!(world.claim(1, 0), Outcome::Claimed { epoch: 1 });
    assert_eq!(world.claim(2, 1), Outcome::Discarded(Reason::RepeatWhilePending));
    assert_eq!(world.claim(2, 2), Outcome::Claimed { epoch: 2 });
    assert_eq!(world.issue(1, 5, 2), Outcome::Discarded(Reason::Superseded));
}

#[test]
fn repeats_after_success_follow_the_rule() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    world.pass(1, 5, P1, 40, 1);
    assert_eq!(world.claim(2, 10), Outcome::Discarded(Reason::RepeatAfterSuccess));
    world.rules.answer_repeats = true;
    assert_eq!(world.claim(2, 10), Outcome::PassedAlready { id: AttemptId([1; 16]) });
    assert_eq!(world.claim(2, 11), Outcome::Claimed { epoch: 2 }, "the window is over");

    let stationless = AttemptKey { station: None, ..key() };
    let mut world = World::new();
    world.rules.answer_repeats = true;
    let claim = claim_for(1, at(0), "oath", "staff");
    assert_eq!(world.apply_for(stationless.clone(), claim.clone(), 0), Outcome::Claimed { epoch: 1 });
    let settle = Change::Settle { epoch: 1, taken: None, verdict: Settled::Passed, code: None };
    assert_eq!(world.apply_for(stationless.clone(), settle, 0), Outcome::Done);
    let repeat = world.apply_for(stationless, claim, 1);
    assert_eq!(repeat, Outcome::Discarded(Reason::RepeatAfterSuccess), "nobody knows that it is the same device");
}

#[test]
fn after_a_failure_the_user_may_begin_at_once() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    let verdict = Settled::Failed(Reason::TriesSpent);
    let settle = Change::Settle { epoch: 1, taken: Some((StateId([5; 16]), P1)), verdict, code: None };
    assert_eq!(world.apply(settle, 1), Outcome::Done);
    assert_eq!(world.claim(2, 1), Outcome::Claimed { epoch: 2 });
}

#[test]
fn each_try_gets_a_new_state_and_the_last_is_known() {
    let mut world = World::challenged(5);
    for (old, new) in [(5, 6), (6, 7)] {
        let Outcome::Taken(taken) = world.take(old, P1, 1) else { panic!("not taken") };
        assert!(!taken.last_try);
        let retry = Change::Retry { state: StateId([old; 16]), packet: P1, challenge: challenge(new) };
        assert_eq!(world.apply(retry.clone(), 1), Outcome::Done);
        assert_eq!(world.apply(retry, 1), Outcome::Discarded(Reason::Superseded));
        assert_eq!(world.take(old, P2, 1), Outcome::Refused(Reason::StateSpent));
    }
    let Outcome::Taken(taken) = world.take(7, P1, 2) else { panic!("not taken") };
    assert!(taken.last_try);
}

#[test]
fn wrong_codes_lock_the_user_for_the_window_over_all_attempts() {
    let mut world = World::new();
    for round in 0..4_u8 {
        let epoch = u64::from(round) + 1;
        assert_eq!(world.claim(round, 0), Outcome::Claimed { epoch });
        world.issue(epoch, round, 0);
        world.take(round, P1, 0);
        let verdict = Settled::Failed(Reason::WrongCode);
        let taken = Some((StateId([round; 16]), P1));
        assert_eq!(world.apply(Change::Settle { epoch, taken, verdict, code: None }, 0), Outcome::Done);
    }
    assert_eq!(world.claim(9, 1), Outcome::Refused(Reason::TooManyWrongCodes));
    assert_eq!(world.claim(9, 900), Outcome::Claimed { epoch: 5 });
}

#[test]
fn a_challenge_that_was_out_when_the_lock_fell_is_refused_too() {
    let mut world = World::challenged(5);
    world
        .records
        .users
        .insert("alice".into(), UserRecord { wrong_codes: 4, window_began: at(0), ..UserRecord::default() });
    assert_eq!(world.take(5, P1, 1), Outcome::Refused(Reason::TooManyWrongCodes));
}

#[test]
fn a_first_factor_round_serves_once_and_needs_no_attempt() {
    let mut world = World::new();
    let purpose = Purpose::Round { factor: "upstream".into(), session: vec![3] };
    let challenge = NewChallenge { purpose: purpose.clone(), ..challenge(8) };
    assert_eq!(world.apply(Change::IssueRound { id: AttemptId([4; 16]), begun: at(0), challenge }, 0), Outcome::Done);
    let Outcome::Taken(taken) = world.take(8, P1, 1) else { panic!("not taken") };
    assert_eq!((taken.purpose, taken.id), (purpose, AttemptId([4; 16])));
    assert_eq!(world.apply(Change::FinishRound { state: StateId([8; 16]), packet: P1 }, 1), Outcome::Done);
    assert_eq!(world.take(8, P2, 2), Outcome::Refused(Reason::StateSpent));
    assert!(world.records.attempts.is_empty());
}

#[test]
fn sweeping_forgets_what_is_over_and_names_who_never_answered() {
    let window = rules().wrong_codes_window;
    let mut world = World::challenged(5);
    assert_eq!(world.records.sweep(at(189), window), []);
    let unanswered = world.records.sweep(at(190), window);
    assert_eq!(
        unanswered,
        [Unanswered { reason: Reason::ChallengeUnanswered, key: key(), id: AttemptId([1; 16]), begun: at(0) }]
    );
    assert!(world.records.is_empty());

    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    world.pass(1, 5, P1, 40, 1);
    assert_eq!(world.records.sweep(at(9_999), window), [], "it was answered");
    assert_eq!(world.records.len(), 1, "the used code outlives the attempt");
    world.records.sweep(at(10_000), window);
    assert!(world.records.is_empty());
}

#[test]
fn a_counter_token_is_never_forgotten() {
    let mut records = Records::default();
    records.remember(&"alice".into(), CodeUse { token: TokenId([1; 16]), factor: 7, forget: None });
    records.remember(&"alice".into(), CodeUse { token: TokenId([1; 16]), factor: 3, forget: None });
    records.sweep(at(u64::from(u32::MAX)), Duration::ZERO);
    assert_eq!(records.used("alice").next(TokenId([1; 16])), 8, "and never runs backwards");
}

#[test]
fn what_passed_or_is_asked_with_another_factor_is_no_repeat() {
    let mut world = World::challenged(5);
    assert_eq!(world.apply(claim_for(2, at(1), "entra", "admins"), 1), Outcome::Claimed { epoch: 2 });
    assert_eq!(world.take(5, P1, 1), Outcome::Refused(Reason::StateSpent), "the other factor's State is burnt");

    let mut world = World::challenged(5);
    world.rules.answer_repeats = true;
    world.take(5, P1, 1);
    world.pass(1, 5, P1, 40, 1);
    assert_eq!(world.apply(claim_for(2, at(2), "entra", "admins"), 2), Outcome::Claimed { epoch: 2 });
}

#[test]
fn a_repeat_that_proved_nothing_is_never_answered() {
    let mut world = World::challenged(5);
    world.rules.answer_repeats = true;
    world.take(5, P1, 1);
    world.pass(1, 5, P1, 40, 1);
    let Change::Claim { owner, id, begun, factor, authorization, packet, port, marks, prompts, codes } =
        claim_for(2, at(2), "oath", "staff")
    else {
        panic!("a claim")
    };
    let authorization = Authorization { first_factor: None, ..authorization };
    let claim = Change::Claim { owner, id, begun, factor, authorization, packet, port, marks, prompts, codes };
    assert_eq!(world.apply(claim, 2), Outcome::Discarded(Reason::RepeatAfterSuccess));
}

#[test]
fn the_same_packet_takes_its_challenge_again() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    assert!(matches!(world.take(5, P1, 2), Outcome::Taken(_)), "its exchange died, and the NAS asks again");
    assert_eq!(world.take(5, P2, 2), Outcome::Discarded(Reason::StateChecking));
}

#[test]
fn what_could_not_be_made_durable_is_undone_unless_the_user_went_on() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    let undo = |world: &World| world.records.before(&key(), StateId([5; 16]), code(40)).unwrap();
    let first = undo(&world);
    assert_eq!(world.pass(1, 5, P1, 40, 1), Outcome::Done);
    world.records.undo(first);
    assert!(matches!(world.take(5, P1, 2), Outcome::Taken(_)));
    let second = undo(&world);
    assert_eq!(world.pass(1, 5, P1, 40, 2), Outcome::Done, "the code was not used");
    assert_eq!(world.claim(2, 60), Outcome::Claimed { epoch: 2 });
    world.records.undo(second);
    assert_eq!(world.issue(2, 6, 60), Outcome::Done, "the newer attempt is untouched");
    assert_eq!(world.take(5, P1, 60), Outcome::Refused(Reason::StateSpent));
}

#[test]
fn a_clock_set_back_locks_nobody_out() {
    let mut world = World::challenged(5);
    world.take(5, P1, 100);
    world.pass(1, 5, P1, 40, 100);
    assert_eq!(world.claim(2, 50), Outcome::Claimed { epoch: 2 });
    assert_eq!(world.claim(3, 20), Outcome::Claimed { epoch: 3 }, "nor does a claim of the future");
}

#[test]
fn an_undo_never_lets_a_later_code_serve_again() {
    let mut world = World::challenged(5);
    world.take(5, P1, 1);
    let undo = world.records.before(&key(), StateId([5; 16]), code(40)).unwrap();
    assert_eq!(world.pass(1, 5, P1, 40, 1), Outcome::Done);
    assert_eq!(world.claim(2, 60), Outcome::Claimed { epoch: 2 });
    world.issue(2, 6, 60);
    world.take(6, P1, 60);
    assert_eq!(world.pass(2, 6, P1, 41, 60), Outcome::Done);
    world.records.undo(undo);
    assert_eq!(world.records.used("alice").next(TokenId([9; 16])), 42);
}
