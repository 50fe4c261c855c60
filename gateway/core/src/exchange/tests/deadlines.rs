//! Every stage against every input: what fits leads on, the deadline ends in silence, and anything else is an error without
//! a reply.

use super::super::*;
use super::world::*;
use crate::attempt::record::{Authorization, Progress, Purpose, Settled};
use crate::attempt::transition::Taken;
use crate::factor::{Approval, CodeWanted, Proved, UsedCodes};

const STAGES: [&str; 16] = [
    "Fresh",
    "CheckingFirstFactor",
    "IssuingRound",
    "AskingEnrolment",
    "Claiming",
    "Beginning",
    "Issuing",
    "Awaiting",
    "Collecting",
    "TakingOver",
    "Postponing",
    "Taking",
    "CheckingCode",
    "Retrying",
    "Settling",
    "Over",
];

/// An exchange that has come to `stage`.
fn at(stage: &str) -> (World, Run) {
    let prompts = ["Awaiting", "Collecting", "TakingOver", "Postponing"].contains(&stage);
    let mut world = World::with(REQUIRED, |config| {
        if prompts {
            config.second_factors[0].kind = phone();
        }
    });
    if stage == "IssuingRound" {
        world.first.push_back(need_more(b"r1", "More:"));
    }
    let packet = match stage {
        "Taking" | "CheckingCode" | "Settling" | "Retrying" => {
            let state = world.challenged();
            let code = if stage == "Retrying" { "000000".to_owned() } else { world.shown() };
            world.reply(&state, &code)
        }
        _ => world.packet(PASSWORD),
    };
    let mut run = world.open(&packet);
    if stage != "Fresh" {
        world.feed(&mut run, Input::Start);
        world.until(&mut run, if prompts { "Awaiting" } else { stage });
    }
    match stage {
        "Collecting" => world.feed(&mut run, Input::News(News::Look)),
        "TakingOver" => world.feed(&mut run, Input::News(News::OwnerDied(owner()))),
        "Postponing" => world.feed(&mut run, Input::Wake),
        _ => {}
    }
    assert_eq!(run.stage(), stage);
    world.events.clear();
    (world, run)
}

fn taken(purpose: Purpose, last_try: bool) -> Outcome {
    Outcome::Taken(Box::new(Taken {
        key: AttemptKey { group: "vpn".into(), user: "alice@corp.example".into(), station: None },
        id: AttemptId([1; 16]),
        begun: Timestamp::default(),
        epoch: 1,
        purpose,
        deadline: Timestamp::from_secs(2_000_000_000),
        last_try,
        used: UsedCodes::default(),
    }))
}

pub(super) fn taken_code(first_factor: Option<&str>, last_try: bool) -> Outcome {
    let first_factor = first_factor.map(Into::into);
    let authorization =
        Authorization { first_factor, policy: "everybody".into(), reply: REPLY.into(), upn: "alice".into() };
    taken(Purpose::Code { factor: "code".into(), session: vec![], authorization }, last_try)
}

pub(super) fn taken_prompt(first_factor: Option<&str>) -> Outcome {
    let first_factor = first_factor.map(Into::into);
    let authorization =
        Authorization { first_factor, policy: "everybody".into(), reply: REPLY.into(), upn: "alice".into() };
    taken(Purpose::Collect { epoch: 1, client: "vpn".into(), factor: "code".into(), authorization }, false)
}

pub(super) fn taken_round() -> Outcome {
    taken(Purpose::Round { factor: "staff".into(), session: vec![] }, false)
}

fn owner() -> Owner {
    Owner { node: "b".into(), incarnation: 3 }
}

/// One input of every kind, and each with the name of the stages that it fits.
pub(super) fn inputs() -> Vec<(&'static [&'static str], Input)> {
    const FIRST: &[&str] = &["CheckingFirstFactor"];
    const ENROLMENT: &[&str] = &["AskingEnrolment"];
    const BEGUN: &[&str] = &["Beginning"];
    const CODE: &[&str] = &["CheckingCode"];
    // A claim takes any outcome: one that it cannot have ends in silence.
    const CLAIM: &[&str] = &["Claiming", "Collecting", "Postponing"];
    const TAKEN: &[&str] = &["Claiming", "Collecting", "Postponing", "Taking"];
    const DONE: &[&str] = &["Claiming", "Collecting", "Postponing", "IssuingRound", "Issuing", "Retrying", "Settling"];
    const OVER: &[&str] = &["Claiming", "Collecting", "TakingOver", "Postponing"];
    const STORE: &[&str] = &[
        "Claiming",
        "Collecting",
        "TakingOver",
        "Postponing",
        "Taking",
        "IssuingRound",
        "Issuing",
        "Retrying",
        "Settling",
    ];
    let (id, begun) = (AttemptId([1; 16]), Timestamp::default());
    let collected = |verdict| Input::Applied(Ok(Outcome::Collected { id, begun, verdict }));
    let joined = Outcome::Joined { id, begun, epoch: 1, deadline: Timestamp::from_secs(2_000_000_000), owner: owner() };
    let taken_over =
        Outcome::TakenOver { epoch: 2, id, begun, deadline: Timestamp::from_secs(2_000_000_000), session: [7].into() };
    let again = || Outcome::ChallengedAlready { id: AttemptId([1; 16]), wire: vec![8; 48], message: "Code:".into() };
    let wanted = CodeWanted::default();
    vec![
        (&["Fresh"], Input::Start),
        (&STAGES, Input::Wake),
        (&STAGES, Input::News(News::Look)),
        (&STAGES, Input::News(News::Changed)),
        (&STAGES, Input::News(News::OwnerDied(owner()))),
        (&STAGES, Input::News(News::Superseded)),
        (&STAGES, Input::News(News::CodeWanted(CodeWanted::default()))),
        (FIRST, Input::FirstFactor(FirstFactorAnswer::Proved(Proved::default()))),
        (FIRST, Input::FirstFactor(FirstFactorAnswer::Refused(Reason::WrongPassword))),
        (FIRST, Input::FirstFactor(FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable))),
        (FIRST, Input::FirstFactor(need_more(b"r", "More:"))),
        (ENROLMENT, Input::Enrolment(Enrolment::Enrolled)),
        (ENROLMENT, Input::Enrolment(Enrolment::NotEnrolled)),
        (ENROLMENT, Input::Enrolment(Enrolment::Unavailable(Reason::SecondFactorUnavailable))),
        (BEGUN, Input::Begun(BeginAnswer::Approved(Approval::User))),
        (BEGUN, Input::Begun(BeginAnswer::Denied(Reason::NotEnrolled))),
        (BEGUN, Input::Begun(BeginAnswer::CodeWanted(wanted))),
        (BEGUN, Input::Begun(BeginAnswer::Unavailable(Reason::SecondFactorUnavailable))),
        (CODE, Input::Code(CodeAnswer::Right(None))),
        (CODE, Input::Code(CodeAnswer::Wrong(Reason::WrongCode))),
        (CODE, Input::Code(CodeAnswer::Unavailable(Reason::SecondFactorUnavailable))),
        (CLAIM, Input::Applied(Ok(Outcome::Claimed { epoch: 1 }))),
        (CLAIM, Input::Applied(Ok(again()))),
        (CLAIM, Input::Applied(Ok(Outcome::PassedAlready { id: AttemptId([1; 16]) }))),
        (CLAIM, collected(Settled::Passed)),
        (CLAIM, collected(Settled::Failed(Reason::WrongCode))),
        (CLAIM, Input::Applied(Ok(joined))),
        (CLAIM, Input::Applied(Ok(Outcome::Pending { owner: owner() }))),
        (OVER, Input::Applied(Ok(Outcome::Committed { to: None }))),
        (OVER, Input::Applied(Ok(taken_over))),
        (OVER, Input::Applied(Ok(Outcome::Offered(CodeWanted::default())))),
        (TAKEN, Input::Applied(Ok(taken_code(Some("staff"), false)))),
        (TAKEN, Input::Applied(Ok(taken_code(Some("staff"), true)))),
        (TAKEN, Input::Applied(Ok(taken_round()))),
        (DONE, Input::Applied(Ok(Outcome::Done))),
        (STORE, Input::Applied(Ok(Outcome::Refused(Reason::StateUnknown)))),
        (STORE, Input::Applied(Ok(Outcome::Refused(Reason::CodeReplayed)))),
        (STORE, Input::Applied(Ok(Outcome::Discarded(Reason::Superseded)))),
        (STORE, Input::Applied(Err(Reason::StoreUnavailable))),
    ]
}

#[test]
fn every_stage_takes_what_fits_and_nothing_else() {
    for stage in STAGES {
        for index in 0..inputs().len() {
            let (mut world, mut run) = at(stage);
            let (stages, input) = inputs().swap_remove(index);
            let (name, text) = (input.name(), format!("{input:?}"));
            run.open = None;
            let (before, end) = (world.records.clone(), run.end.clone());
            let result = world.try_feed(&mut run, input);
            if !stages.contains(&stage) {
                let unexpected = Unexpected { stage, input: name };
                assert_eq!(result, Err(unexpected), "{stage} with {text}");
                assert_eq!(unexpected.to_string(), format!("{name} does not fit the stage {stage}"));
                assert_eq!((run.end, world.events.len()), (end, 0), "{stage} with {text}: nothing was sent or told");
                assert_eq!(world.records, before);
                continue;
            }
            assert_eq!(result, Ok(()), "{stage} with {text}");
            // An accept comes of the store's word alone: that this outcome is committed, or the one before it, or that of the
            // prompt for this packet.
            let word = matches!((stage, text.as_str()), ("Settling", "Applied(Ok(Done))"))
                || (stage == "Claiming" && text.starts_with("Applied(Ok(PassedAlready"))
                || (text.contains("Collected") && text.contains("Passed"));
            assert_eq!(matches!(run.end, Some(End::Accept(_))), word, "{stage} with {text}");
            assert_eq!(world.finished().len(), usize::from(run.end != end), "{stage} with {text}: one line");
            if stage == "Claiming" && (name == "Applied") && (text.contains("Done") || text.contains("Taken")) {
                assert_eq!((run.end, world.reason()), (Some(End::Silence), Some(Reason::Unexpected)));
            }
        }
    }
}

#[test]
fn the_deadline_is_silence_and_never_interrupts_a_commit() {
    for stage in STAGES {
        let (mut world, mut run) = at(stage);
        world.wait(PACKET_DEADLINE);
        let before = run.end.clone();
        world.feed(&mut run, Input::Wake);
        match stage {
            "Settling" => {
                assert_eq!((run.end.as_ref(), world.events.len()), (None, 0));
                assert_eq!(world.finish(run), accepted(), "what is committed is spoken");
            }
            "Claiming" => {
                assert_eq!((run.end.as_ref(), world.events.len()), (None, 0));
                assert_eq!(world.finish(run), End::Silence, "and gives up what it got too late");
                assert_eq!(world.reason(), Some(Reason::ClaimTooOld));
                assert!(world.records.attempts.is_empty());
            }
            "TakingOver" => assert_eq!((run.end, world.events.len()), (None, 0)),
            "Over" => assert_eq!((run.end, world.events.len()), (before, 0)),
            "Awaiting" => assert_eq!(run.stage(), "Postponing"),
            _ => {
                assert_eq!(run.end, Some(End::Silence), "{stage}");
                assert_eq!(world.reason(), Some(Reason::DeadlinePassed));
                assert_eq!(world.last().took, PACKET_DEADLINE);
            }
        }
        let checked = |progress: &Progress| matches!(progress, Progress::Checking { .. });
        let held = world.records.challenges.values().any(|challenge| checked(&challenge.progress));
        assert!(!held, "{stage}: what was taken is given back");
    }
}

#[test]
fn a_round_at_its_deadline_gives_the_state_back() {
    let mut world = World::new(OFF);
    world.first.push_back(need_more(b"r1", "More:"));
    let state = world.sign_in(PASSWORD).state();
    let packet = world.reply(&state, "s3cr3t");
    let mut run = world.start(&packet);
    world.until(&mut run, "CheckingFirstFactor");
    world.feed(&mut run, Input::Wake);
    assert_eq!(run.end, Some(End::Silence));
    world.first.push_back(proved());
    assert_eq!(world.send(&packet), accepted());
}

#[test]
fn a_prompt_that_is_taken_over_at_the_deadline_of_its_packet_is_driven_on() {
    let (mut world, mut run) = at("TakingOver");
    world.driven.clear();
    world.feed(&mut run, Input::Wake);
    let (id, begun, session) = (AttemptId([1; 16]), Timestamp::default(), [7].into());
    let deadline = world.now.after(PACKET_DEADLINE);
    world.feed(&mut run, Input::Applied(Ok(Outcome::TakenOver { epoch: 2, id, begun, deadline, session })));
    assert_eq!(world.driven.len(), 1);
    assert_eq!(world.driven[0].session.as_deref(), Some([7].as_slice()));
    assert_eq!(run.stage(), "Awaiting");
}

#[test]
fn an_answer_after_the_end_is_unexpected() {
    let (mut world, mut run) = at("CheckingCode");
    world.feed(&mut run, Input::Wake);
    let result = world.try_feed(&mut run, Input::Code(CodeAnswer::Right(None)));
    assert_eq!(result, Err(Unexpected { stage: "Over", input: "Code" }));
}

#[test]
fn a_state_that_was_on_its_way_at_the_deadline_is_given_back() {
    let (mut world, mut run) = at("Taking");
    let Some(Open::Apply(take)) = run.open.take() else { panic!("no transition") };
    assert!(matches!(take.apply(&mut world.records, world.now), Outcome::Taken(_)), "the answer is lost");
    world.feed(&mut run, Input::Wake);
    assert_eq!(run.end, Some(End::Silence));
    let (state, code) = (world.records.challenges.values().next().unwrap().wire.clone(), world.shown());
    assert_eq!(world.answer(&state, &code), accepted());
}

#[test]
fn a_dead_nodes_prompt_is_driven_on_with_its_session_and_nobody_is_prompted() {
    let (mut world, mut run) = at("TakingOver");
    let session: std::sync::Arc<[u8]> = [7].into();
    let (id, begun, deadline) = (AttemptId([1; 16]), Timestamp::default(), Timestamp::from_secs(2_000_000_000));
    let outcome = Outcome::TakenOver { epoch: 2, id, begun, deadline, session: session.clone() };
    world.driven.clear();
    world.feed(&mut run, Input::Applied(Ok(outcome)));
    let prompt = world.driven.first().expect("it is driven");
    assert_eq!((prompt.epoch, prompt.session.clone(), prompt.deadline), (2, Some(session), deadline));
    assert_eq!(run.stage(), "Awaiting");
}
