use super::super::record::Phase;
use super::super::record::{Owner, PacketDigest};
use super::super::records::Records;
use super::*;
use crate::factor::CodeWanted;
use crate::identity::Rules as Names;
use proptest::prelude::*;

const P: PacketDigest = PacketDigest([1; 16]);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + secs)
}

fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        deadline: Duration::from_secs(90),
        tries: 3,
        challenge_lifetime: Duration::from_secs(180),
        challenge_repeat: Duration::from_secs(30),
        repeat_window: Duration::from_secs(10),
        answer_repeats: false,
        wrong_codes: 4,
        wrong_codes_window: Duration::from_secs(900),
        ..Rules::default()
    })
}

fn key() -> AttemptKey {
    AttemptKey { group: "vpn".into(), user: "alice".into(), station: Some([1].into()) }
}

fn session() -> Arc<[u8]> {
    b"session".as_slice().into()
}

/// One node, one prompt, and an edge that answers the store's part at once.
struct World {
    records: Records,
    driver: Driver,
    now: Timestamp,
    pending: usize,
    wake: Option<Timestamp>,
    begins: usize,
    polls: Vec<Timestamp>,
    offers: Vec<CodeWanted>,
    events: Vec<Event>,
    ended: bool,
    given_up: Option<Reason>,
    /// The store cannot be reached.
    down: bool,
}

impl World {
    fn new() -> Self {
        let mut records = Records::default();
        let authorization = super::super::record::Authorization {
            first_factor: Some("staff".into()),
            policy: "all".into(),
            reply: [].into(),
            upn: "alice".into(),
        };
        let change = Change::Claim {
            owner: Owner { node: "a".into(), incarnation: 1 },
            id: AttemptId([7; 16]),
            begun: at(0),
            factor: "entra".into(),
            authorization,
            packet: P,
            port: None,
            marks: Default::default(),
            prompts: true,
            codes: false,
        };
        let claimed = Transition { key: key(), change, rules: rules() }.apply(&mut records, at(0));
        assert_eq!(claimed, Outcome::Claimed { epoch: 1 });
        let prompt = Prompt {
            key: key(),
            epoch: 1,
            rules: rules(),
            factor: "entra".into(),
            user: Arc::new(Names::default().read(b"alice").unwrap()),
            id: AttemptId([7; 16]),
            begun: at(0),
            terms: Terms { code: true, ..Terms::default() },
            deadline: at(90),
            session: None,
        };
        Self {
            records,
            driver: Driver::new(Box::new(prompt), at(0)),
            now: at(0),
            pending: 1,
            wake: None,
            begins: 0,
            polls: Vec::new(),
            offers: Vec::new(),
            events: Vec::new(),
            ended: false,
            given_up: None,
            down: false,
        }
    }

    fn started() -> Self {
        let mut world = Self::new();
        world.feed(Input::Start);
        world
    }

    fn waiting() -> Self {
        let mut world = Self::started();
        world.feed(Input::Begun(BeginAnswer::Waiting { session: session() }));
        world
    }

    /// One whose node died after it had saved the session; this one goes on.
    fn taken_over() -> Self {
        let mut world = Self::new();
        world.records.attempts.values_mut().for_each(|attempt| attempt.phase = Phase::Waiting { session: session() });
        let prompt = Prompt { session: Some(session()), ..world.driver.prompt().clone() };
        world.driver = Driver::new(Box::new(prompt), at(0));
        world.feed(Input::Start);
        world
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let load = Load { pending: self.pending, limit: 50_000 };
            for effect in self.driver.step(input, load, self.now) {
                match effect {
                    Effect::Begin(_) => self.begins += 1,
                    Effect::Poll(question) => {
                        assert_eq!((&*question.session, question.id), (b"session".as_slice(), AttemptId([7; 16])));
                        self.polls.push(self.now);
                    }
                    Effect::Apply(_) if self.down => inputs.push(Input::Applied(Err(Reason::StoreUnavailable))),
                    Effect::Apply(change) => {
                        inputs.push(Input::Applied(Ok(change.apply(&mut self.records, self.now))));
                    }
                    Effect::WakeAt(at) => self.wake = Some(at),
                    Effect::Offer(wanted) => self.offers.push(wanted),
                    Effect::End => assert!(!std::mem::replace(&mut self.ended, true), "two ends"),
                    Effect::NotBegun(reason) => assert!(self.given_up.replace(reason).is_none(), "two ends"),
                    Effect::Emit(event) => self.events.push(event),
                }
            }
        }
    }

    /// Lets the time pass that the driver asked for.
    fn wake(&mut self) {
        self.now = self.wake.take().expect("it asked for a time");
        self.feed(Input::Wake);
    }

    fn collect(&mut self, packet: PacketDigest) -> Outcome {
        let change = Change::Collect { epoch: 1, packet, challenge: None };
        Transition { key: key(), change, rules: rules() }.apply(&mut self.records, self.now)
    }

    fn verdict(&mut self) -> Option<Settled> {
        match self.collect(P) {
            Outcome::Collected { verdict, .. } => Some(verdict),
            _ => None,
        }
    }
}

#[test]
fn exhausted_node_leaves_no_attempt() {
    let mut world = World::started();
    world.down = true;
    world.feed(Input::Begun(BeginAnswer::Unavailable(Reason::NodeExhausted)));
    assert_eq!((world.given_up, world.records.attempts.len()), (None, 1), "the store must have it first");
    world.down = false;
    world.wake();
    assert_eq!((world.given_up, world.ended), (Some(Reason::NodeExhausted), false));
    assert!(world.records.attempts.is_empty());
    assert!(world.records.users.values().all(|user| user.prompted_by.is_none()), "the next may prompt");
}

#[test]
fn a_held_call_is_the_whole_prompt() {
    for (answer, verdict) in [
        (BeginAnswer::Approved(Approval::User), Settled::Passed),
        (BeginAnswer::Approved(Approval::Unregistered), Settled::Passed),
        (BeginAnswer::Denied(Reason::NotEnrolled), Settled::Failed(Reason::NotEnrolled)),
        (BeginAnswer::Unavailable(Reason::SecondFactorUnavailable), Settled::Failed(Reason::SecondFactorUnavailable)),
    ] {
        let mut world = World::started();
        world.now = at(12);
        world.feed(Input::Begun(answer));
        assert_eq!((world.verdict(), world.ended, world.begins), (Some(verdict), true, 1));
    }
}

#[test]
fn polls_come_every_two_seconds_until_the_user_answers() {
    let mut world = World::waiting();
    for _ in 0..3 {
        world.wake();
        world.feed(Input::Polled(PollAnswer::Waiting));
    }
    assert_eq!(world.polls, [at(2), at(4), at(6)]);
    assert_eq!(world.verdict(), None);
    world.wake();
    world.feed(Input::Polled(PollAnswer::Unavailable(Reason::SecondFactorUnavailable)));
    assert!(!world.ended, "a poll that failed is asked again");
    world.wake();
    world.feed(Input::Polled(PollAnswer::Approved));
    assert_eq!((world.verdict(), world.ended, world.begins), (Some(Settled::Passed), true, 1));
}

#[test]
fn the_budget_of_polls_is_shared_and_the_last_one_comes_just_before_the_end() {
    for (pending, first) in [(1, 2), (2_000, 2), (5_000, 5), (10_000, 10), (50_000, 10)] {
        let mut world = World::new();
        world.pending = pending;
        world.feed(Input::Start);
        world.feed(Input::Begun(BeginAnswer::Waiting { session: session() }));
        assert_eq!(world.wake, Some(at(first)), "{pending} pending");
        while !world.ended {
            world.wake();
            world.feed(Input::Polled(PollAnswer::Waiting));
        }
        assert_eq!(world.polls.last(), Some(&at(90).before(LAST_POLL)));
        assert_eq!(world.now, at(90));
        assert_eq!(world.verdict(), Some(Settled::Failed(Reason::PromptUnanswered)));
    }
}

#[test]
fn whatever_is_open_at_the_deadline_ends_as_unanswered() {
    let hangs = |world: &mut World| {
        world.now = at(90);
        world.feed(Input::Wake);
        assert_eq!((world.verdict(), world.ended), (Some(Settled::Failed(Reason::PromptUnanswered)), true));
        // A late approval counts for nothing.
        world.feed(Input::Begun(BeginAnswer::Approved(Approval::User)));
        world.feed(Input::Polled(PollAnswer::Approved));
        assert_eq!(world.verdict(), Some(Settled::Failed(Reason::PromptUnanswered)));
    };
    hangs(&mut World::started());
    let mut polling = World::waiting();
    polling.wake();
    hangs(&mut polling);
}

#[test]
fn a_code_stays_on_offer_until_it_is_asked_for() {
    let mut world = World::started();
    let wanted = CodeWanted { session: vec![5], prompt: None };
    world.feed(Input::Begun(BeginAnswer::CodeWanted(wanted.clone())));
    assert_eq!((&world.offers, world.ended), (&vec![wanted], false));
    world.wake();
    assert!(world.ended);
    let mut mute = World::new();
    mute.driver.prompt.terms.code = false;
    mute.feed(Input::Start);
    mute.feed(Input::Begun(BeginAnswer::CodeWanted(CodeWanted::default())));
    assert_eq!(mute.verdict(), Some(Settled::Failed(Reason::ChallengeImpossible)));
}

#[test]
fn too_many_prompts_are_refused_before_anybody_is_asked() {
    let mut world = World::new();
    world.pending = 50_001;
    world.feed(Input::Start);
    assert_eq!((world.begins, world.verdict()), (0, Some(Settled::Failed(Reason::PromptsFull))));
}

#[test]
fn a_store_that_fails_is_asked_again() {
    let mut world = World::started();
    world.down = true;
    world.feed(Input::Begun(BeginAnswer::Waiting { session: session() }));
    assert_eq!(world.wake, Some(at(2)), "without its record this node goes on");
    world.wake();
    world.feed(Input::Polled(PollAnswer::Approved));
    assert!(!world.ended);
    world.down = false;
    world.wake();
    assert_eq!((world.verdict(), world.ended), (Some(Settled::Passed), true));
    let mut lost = World::started();
    lost.down = true;
    lost.feed(Input::Begun(BeginAnswer::Approved(Approval::User)));
    while !lost.ended {
        lost.wake();
    }
    assert!(lost.now <= at(91), "it does not try for ever");
}

#[test]
fn a_refusal_that_nobody_waits_for_is_told() {
    let mut world = World::started();
    let change = Change::Detach { packet: P };
    assert_eq!(Transition { key: key(), change, rules: rules() }.apply(&mut world.records, at(1)), Outcome::Done);
    world.feed(Input::Begun(BeginAnswer::Denied(Reason::PromptUnanswered)));
    let told = |event: &Event| matches!(event, Event::Unanswered { reason: Reason::PromptUnanswered, .. });
    assert!(world.events.iter().any(told));
}

proptest! {
    /// Whatever answers come in whatever order: one Begin, one end, and an approval only from an approving answer.
    #[test]
    fn any_sequence_ends_once_and_begins_once(steps in proptest::collection::vec((0_u8..8, 0_u64..40), 1..60)) {
        let mut world = World::started();
        let mut approved = false;
        for (step, seconds) in steps {
            world.now = world.now.after(Duration::from_secs(seconds));
            let live = !world.ended;
            match step {
                0 => world.feed(Input::Begun(BeginAnswer::Waiting { session: session() })),
                1 => { approved |= live; world.feed(Input::Begun(BeginAnswer::Approved(Approval::User))) }
                2 => world.feed(Input::Begun(BeginAnswer::Denied(Reason::NotEnrolled))),
                3 => world.feed(Input::Polled(PollAnswer::Waiting)),
                4 => { approved |= live; world.feed(Input::Polled(PollAnswer::Approved)) }
                5 => world.feed(Input::Polled(PollAnswer::Denied(Reason::NotEnrolled))),
                6 => world.feed(Input::Start),
                _ => world.feed(Input::Wake),
            }
        }
        prop_assert_eq!(world.begins, 1);
        if world.verdict() == Some(Settled::Passed) {
            prop_assert!(approved);
        }
    }
}

#[test]
fn a_prompt_of_a_dead_node_is_polled_and_never_begun() {
    let mut world = World::taken_over();
    assert_eq!((world.begins, world.polls.len()), (0, 1), "at once: the user may have answered meanwhile");
    world.feed(Input::Polled(PollAnswer::Waiting));
    assert_eq!(world.wake, Some(at(2)));
    world.feed(Input::Polled(PollAnswer::Approved));
    world.feed(Input::Wake);
    world.feed(Input::Polled(PollAnswer::Approved));
    assert!(world.ended);
    assert!(matches!(
        world.records.attempts.values().next().unwrap().phase,
        Phase::Settled { verdict: Settled::Passed, .. }
    ));
}

#[test]
fn an_answer_that_died_with_its_node_is_a_refusal_of_its_own() {
    let mut world = World::taken_over();
    world.feed(Input::Polled(PollAnswer::Denied(Reason::SessionExpired)));
    let verdict = Settled::Failed(Reason::AnswerDiedWithOwner);
    assert!(
        matches!(&world.records.attempts.values().next().unwrap().phase, Phase::Settled { verdict: v, .. } if *v == verdict)
    );
}

#[test]
fn failed_polls_are_told_as_such() {
    let lost = PollAnswer::Unavailable(Reason::OutcomeUnknown);
    // To the end.
    let mut world = World::waiting();
    while !world.ended {
        world.wake();
        world.feed(Input::Polled(lost.clone()));
    }
    assert_eq!(world.verdict(), Some(Settled::Failed(Reason::OutcomeUnknown)));
    // The deciding answer alone: the provider has forgotten the session since.
    let mut world = World::waiting();
    for answer in [lost.clone(), PollAnswer::Denied(Reason::SessionExpired)] {
        world.wake();
        world.feed(Input::Polled(answer));
    }
    assert_eq!(world.verdict(), Some(Settled::Failed(Reason::OutcomeUnknown)));
    // One that was made up for.
    let mut world = World::waiting();
    for answer in [lost, PollAnswer::Waiting, PollAnswer::Denied(Reason::SessionExpired)] {
        world.wake();
        world.feed(Input::Polled(answer));
    }
    assert_eq!(world.verdict(), Some(Settled::Failed(Reason::SessionExpired)));
}
