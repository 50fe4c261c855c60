//! Who is patient: many guesses at once, prompts again and again, packets that ride on an approval.

use super::super::holds::Hold;
use super::super::records::Records;
use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn digest(octet: u8) -> PacketDigest {
    PacketDigest([octet; 16])
}

fn state(octet: u8) -> StateId {
    StateId([octet; 16])
}

/// Alice at a station of that number.
fn key(station: u8) -> AttemptKey {
    AttemptKey { group: "vpn".into(), user: "alice".into(), station: Some([station].into()) }
}

fn authorization() -> Authorization {
    Authorization { first_factor: Some("local".into()), policy: "all".into(), reply: [].into(), upn: "alice".into() }
}

#[derive(Default)]
struct World {
    records: Records,
    rules: Rules,
}

impl World {
    fn apply(&mut self, station: u8, change: Change, secs: u64) -> Outcome {
        let rules = Arc::new(self.rules.clone());
        Transition { key: key(station), change, rules }.apply(&mut self.records, at(secs))
    }

    fn claim(&mut self, station: u8, (prompts, codes): (bool, bool), mark: Option<u8>, secs: u64) -> Outcome {
        let change = Change::Claim {
            owner: Owner { node: "a".into(), incarnation: 1 },
            id: AttemptId([station; 16]),
            begun: at(secs),
            factor: "entra".into(),
            authorization: authorization(),
            packet: digest(mark.unwrap_or(station)),
            port: None,
            marks: Marks(mark.map(|mark| (44, [mark; 8])).into_iter().collect()),
            prompts,
            codes,
        };
        self.apply(station, change, secs)
    }

    /// A challenge is out for that station, under the State of its number.
    fn challenged(&mut self, station: u8, secs: u64) -> u64 {
        let Outcome::Claimed { epoch } = self.claim(station, (false, true), None, secs) else { panic!("not claimed") };
        let purpose = Purpose::Code { factor: "entra".into(), session: vec![], authorization: authorization() };
        let challenge = NewChallenge { state: state(station), wire: vec![station], purpose, message: "Code:".into() };
        assert_eq!(self.apply(station, Change::Issue { epoch, challenge }, secs), Outcome::Done);
        epoch
    }

    fn take(&mut self, station: u8, packet: u8, secs: u64) -> Outcome {
        let change = Change::Take { state: state(station), packet: digest(packet), client: "vpn".into() };
        self.apply(station, change, secs)
    }

    fn release(&mut self, station: u8, judged: bool, secs: u64) -> Outcome {
        self.apply(station, Change::Release { state: state(station), packet: digest(station), judged }, secs)
    }

    fn judged(&mut self, station: u8, epoch: u64, verdict: Settled, secs: u64) -> Outcome {
        let taken = Some((state(station), digest(station)));
        self.apply(station, Change::Settle { epoch, taken, verdict, code: None }, secs)
    }

    fn denied(&mut self, station: u8, reason: Reason, secs: u64) {
        let Outcome::Claimed { epoch } = self.claim(station, (true, false), None, secs) else { panic!("not claimed") };
        let verdict = Settled::Failed(reason);
        let settle = Change::Settle { epoch, taken: None, verdict, code: None };
        assert!(matches!(self.apply(station, settle, secs), Outcome::Committed { .. }));
    }
}

const WRONG: Settled = Settled::Failed(Reason::WrongCode);
const LOCKED: Outcome = Outcome::Refused(Reason::TooManyWrongCodes);

#[test]
fn guesses_at_once_are_paid_when_taken() {
    let mut world = World { rules: Rules { wrong_codes: 4, ..Rules::default() }, ..World::default() };
    let epochs: Vec<u64> = (1..=7).map(|station| world.challenged(station, 0)).collect();
    let taken = (1..=7).filter(|station| matches!(world.take(*station, *station, 1), Outcome::Taken(_)));
    assert_eq!(taken.collect::<Vec<_>>(), [1, 2, 3, 4], "the fifth is refused while four are being judged");
    assert_eq!(world.claim(8, (false, true), None, 1), LOCKED);
    assert_eq!(world.judged(1, epochs[0], WRONG, 2), Outcome::Done);
    assert_eq!(world.take(5, 5, 2), LOCKED);
}

#[test]
fn a_right_code_forgives_none_in_flight() {
    let mut world = World { rules: Rules { wrong_codes: 4, ..Rules::default() }, ..World::default() };
    let epochs: Vec<u64> = (1..=7).map(|station| world.challenged(station, 0)).collect();
    for station in 1..=4 {
        assert!(matches!(world.take(station, station, 1), Outcome::Taken(_)));
    }
    world.judged(1, epochs[0], WRONG, 2);
    assert_eq!(world.judged(2, epochs[1], Settled::Passed, 2), Outcome::Done);
    assert_eq!(world.records.users["alice"].wrong_codes, 2, "3 and 4 are being judged; 1 is forgiven");
    assert!(matches!(world.take(5, 5, 3), Outcome::Taken(_)));
    assert!(matches!(world.take(6, 6, 3), Outcome::Taken(_)));
    assert_eq!(world.take(7, 7, 3), LOCKED);
    assert_eq!(world.apply(1, Change::Lift, 3), Outcome::Holds(vec![Hold::WrongCodes { count: 4, until: at(901) }]));
    assert_eq!(world.take(7, 7, 3), LOCKED, "nor does an operator forgive what is being judged");
}

#[test]
fn only_an_unjudged_guess_is_given_back() {
    let mut world = World::default();
    world.challenged(1, 0);
    for _ in 0..20 {
        assert!(matches!(world.take(1, 1, 1), Outcome::Taken(_)));
        assert_eq!(world.release(1, false, 1), Outcome::Done);
    }
    assert_eq!(world.records.users["alice"].wrong_codes, 0);
    for _ in 0..3 {
        assert!(matches!(world.take(1, 1, 1), Outcome::Taken(_)));
        assert_eq!(world.release(1, true, 1), Outcome::Done);
    }
    assert_eq!(world.take(1, 1, 1), Outcome::Refused(Reason::TriesSpent), "tries count the same way");
    assert_eq!(world.records.users["alice"].wrong_codes, 3);
}

#[test]
fn a_check_that_died_stays_paid() {
    let mut world = World::default();
    world.challenged(1, 0);
    assert!(matches!(world.take(1, 1, 0), Outcome::Taken(_)));
    assert!(matches!(world.take(1, 9, 30), Outcome::Taken(_)));
    assert_eq!(world.records.users["alice"].wrong_codes, 2);
    assert_eq!(world.release(1, false, 31), Outcome::Discarded(Reason::Superseded), "the dead one gives nothing back");
}

#[test]
fn a_new_window_carries_what_is_judged() {
    let mut world = World { rules: Rules { wrong_codes: 2, ..Rules::default() }, ..World::default() };
    world.challenged(1, 0);
    assert!(matches!(world.take(1, 1, 179), Outcome::Taken(_)));
    world.rules.wrong_codes_window = Duration::from_secs(10);
    world.challenged(2, 189);
    assert!(matches!(world.take(2, 2, 189), Outcome::Taken(_)));
    assert_eq!(world.records.users["alice"].wrong_codes, 2);
    world.challenged(3, 199);
}

#[test]
fn the_oldest_challenge_burns() {
    let mut world = World::default();
    for station in 1..=9 {
        world.challenged(station, u64::from(station));
    }
    assert_eq!(world.take(1, 1, 10), Outcome::Refused(Reason::ChallengeBurnt));
    assert!(matches!(world.take(2, 2, 10), Outcome::Taken(_)));
    for round in 0..200_u8 {
        world.challenged(10 + round, 11);
    }
    assert!(world.records.attempts.len() <= 8 && world.records.challenges.len() <= 8);
    let user = &world.records.users["alice"];
    assert_eq!(usize::from(user.open.attempts), world.records.attempts.len());
    assert_eq!(usize::from(user.open.challenges), world.records.challenges.len());
    assert!(user.spent.len() <= 64);
    world.records.sweep(at(10_000), Duration::from_secs(900));
    assert!(world.records.is_empty());
}

#[test]
fn a_prompt_never_gives_way() {
    let mut world = World::default();
    assert!(matches!(world.claim(99, (true, false), None, 0), Outcome::Claimed { .. }));
    for station in 1..=20 {
        world.challenged(station, 1);
    }
    assert!(world.records.attempts.contains_key(&key(99)));
}

#[test]
fn a_denial_withholds_prompts_everywhere() {
    let mut world = World::default();
    world.denied(1, Reason::PromptDenied, 0);
    let until = Some(at(60));
    assert_eq!(world.claim(2, (true, false), None, 5), Outcome::Withheld { until });
    assert_eq!(world.claim(2, (true, true), None, 5), Outcome::ClaimedForCode { epoch: 2, until });
    assert!(!world.records.attempts[&key(2)].prompts);
    assert!(matches!(world.claim(3, (true, false), None, 60), Outcome::Claimed { .. }));
}

#[test]
fn pauses_grow_and_an_approval_ends_them() {
    let mut world = World::default();
    let mut now = 0;
    for (station, pause) in (10..).zip([60, 120, 300, 900]) {
        world.denied(station, Reason::ProviderNoResponse, now);
        let until = Some(at(now + pause));
        assert_eq!(world.claim(2, (true, false), None, now + pause - 1), Outcome::Withheld { until });
        now += pause;
    }
    world.denied(1, Reason::PromptUnanswered, now);
    let until = Some(at(now + 43_200));
    assert_eq!(world.claim(2, (true, false), None, now + 3_601), Outcome::Withheld { until }, "codes only");
    world.challenged(3, now + 3_602);
    assert!(matches!(world.take(3, 3, now + 3_602), Outcome::Taken(_)));
    // The sixth claim.
    assert_eq!(world.judged(3, 6, Settled::Passed, now + 3_602), Outcome::Done);
    assert!(matches!(world.claim(2, (true, false), None, now + 3_603), Outcome::Claimed { .. }));
}

#[test]
fn a_report_ends_prompts_until_lifted() {
    let mut world = World::default();
    world.denied(1, Reason::PromptReported, 0);
    assert_eq!(world.claim(2, (true, false), None, 1_000_000), Outcome::Withheld { until: None });
    let holds = vec![Hold::Prompts { refused: 1, until: None }];
    assert_eq!(world.apply(1, Change::Look, 1_000_000), Outcome::Holds(holds.clone()));
    world.records.sweep(at(1_000_000), Duration::from_secs(900));
    assert_eq!(world.apply(1, Change::Lift, 1_000_000), Outcome::Holds(holds));
    assert!(matches!(world.claim(2, (true, false), None, 1_000_000), Outcome::Claimed { .. }));
}

#[test]
fn what_disturbs_nobody_is_no_refusal() {
    for reason in [Reason::PromptUndelivered, Reason::OutcomeUnknown, Reason::OwnerDied, Reason::ProviderBusy] {
        let mut world = World::default();
        world.denied(1, reason, 0);
        assert!(matches!(world.claim(2, (true, false), None, 0), Outcome::Claimed { .. }), "{reason}");
    }
}

#[test]
fn another_session_does_not_ride_along() {
    let mut world = World::default();
    assert!(matches!(world.claim(1, (true, false), Some(1), 0), Outcome::Claimed { .. }));
    assert_eq!(world.claim(1, (true, false), Some(2), 3), Outcome::Refused(Reason::PromptPending));
    assert!(matches!(world.claim(1, (true, false), None, 4), Outcome::Joined { .. }), "a NAS that starts over");
    assert_eq!(world.claim(1, (true, false), Some(2), 5), Outcome::Refused(Reason::PromptPending));
    assert!(matches!(world.claim(1, (true, false), Some(1), 6), Outcome::Joined { .. }));
}

#[test]
fn another_session_collects_no_approval() {
    let mut world = World::default();
    assert!(matches!(world.claim(1, (true, false), Some(1), 0), Outcome::Claimed { .. }));
    world.apply(1, Change::Detach { packet: digest(1) }, 1);
    world.apply(1, Change::Settle { epoch: 1, taken: None, verdict: Settled::Passed, code: None }, 2);
    assert_eq!(world.claim(1, (true, false), Some(2), 3), Outcome::Refused(Reason::PromptPending));
    assert!(matches!(world.claim(1, (true, false), Some(1), 4), Outcome::Collected { .. }));
}

#[test]
fn end_leaves_nothing_open() {
    let mut world = World::default();
    let locked = Settled::Failed(Reason::LockedByOperator);
    let checked = world.challenged(1, 0);
    world.challenged(2, 0);
    assert!(matches!(world.take(1, 1, 1), Outcome::Taken(_)), "its code is being judged");
    let Outcome::Claimed { epoch } = world.claim(3, (true, false), None, 1) else { panic!("not claimed") };
    assert_eq!(world.apply(9, Change::End { reason: Reason::LockedByOperator }, 2), Outcome::Ended(3));
    assert_eq!(world.take(2, 2, 3), Outcome::Refused(Reason::ChallengeBurnt));
    assert_eq!(world.judged(1, checked, Settled::Passed, 3), Outcome::Discarded(Reason::Superseded));
    // The user approves all the same, and the packet that waits asks.
    let approve = Change::Settle { epoch, taken: None, verdict: Settled::Passed, code: None };
    assert_eq!(world.apply(3, approve, 3), Outcome::Discarded(Reason::Superseded));
    let collect = Change::Collect { epoch, packet: digest(3), challenge: None };
    let Outcome::Collected { verdict, .. } = world.apply(3, collect, 3) else { panic!("nothing to collect") };
    assert_eq!(verdict, locked);
    assert_eq!(world.apply(9, Change::End { reason: Reason::LockedByOperator }, 4), Outcome::Ended(0));
}

#[test]
fn end_takes_uncollected_approvals() {
    let mut world = World::default();
    let Outcome::Claimed { epoch } = world.claim(1, (true, false), None, 0) else { panic!("not claimed") };
    assert_eq!(world.apply(1, Change::Detach { packet: digest(1) }, 1), Outcome::Done);
    let approve = Change::Settle { epoch, taken: None, verdict: Settled::Passed, code: None };
    assert_eq!(world.apply(1, approve, 2), Outcome::Committed { to: None });
    assert_eq!(world.apply(9, Change::End { reason: Reason::UserDisabled }, 3), Outcome::Ended(1));
    let again = world.claim(1, (true, false), None, 4);
    assert!(!matches!(again, Outcome::Collected { verdict: Settled::Passed, .. }), "{again:?}");
}
