//! Invariant A1, an accept without proof, looked for by random answers in random order: back ends and a store that say
//! whatever they like, whenever they like.
//!
//! What finds nothing may be looking nowhere, so faults were planted once, and each of them fails here: a waiver for
//! everybody who is not known to be enrolled (`waived` with `!= Some(Enrolled)`), a first proof from any answer (`Refused`
//! treated as `Proved`), an accept of a committed failure (`settled` without its match on the verdict), an accept before
//! the commit (`settle` that goes straight to `settled`), and a client with a first factor let in by the second alone
//! (`accept` without its look at the client). No sequence reaches two more, because another wall stands before them; they
//! fail in the tables at the end: `accept` with `second` = `None`, and a `SecondProof` from any outcome.

use super::super::*;
use super::deadlines::{inputs, taken_code, taken_prompt};
use super::world::*;
use crate::attempt::record::{Purpose, Settled};
use crate::attempt::state::Kind;
use crate::config::SecondFactorNeed;
use crate::exchange::verdict::{FirstProof, SecondProof, accept};
use crate::factor::{Approval, Proved};
use crate::radius::Attributes;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use std::cell::Cell;

/// What was said so far that may count as a proof.
#[derive(Debug, Default)]
struct Said {
    first: bool,
    /// The record under the State names a first factor.
    remembered: bool,
    not_enrolled: bool,
    approved: bool,
    committed: bool,
    passed_already: bool,
    collected: bool,
}

impl Said {
    fn hear(&mut self, input: &Input) {
        match input {
            Input::FirstFactor(answer) => self.first |= matches!(answer, FirstFactorAnswer::Proved(_)),
            Input::Enrolment(answer) => self.not_enrolled |= *answer == Enrolment::NotEnrolled,
            Input::Begun(answer) => self.approved |= *answer == BeginAnswer::Approved(Approval::User),
            Input::Code(answer) => self.approved |= matches!(answer, CodeAnswer::Right(_)),
            Input::Applied(Ok(Outcome::Done)) => self.committed |= self.approved,
            Input::Applied(Ok(Outcome::PassedAlready { .. })) => self.passed_already = true,
            Input::Applied(Ok(Outcome::Collected { verdict: Settled::Passed, .. })) => self.collected = true,
            Input::Applied(Ok(Outcome::Taken(taken))) => {
                if let Purpose::Code { authorization, .. } | Purpose::Collect { authorization, .. } = &taken.purpose {
                    self.remembered |= authorization.first_factor.is_some();
                }
            }
            _ => {}
        }
    }

    /// Whether `need` is met at a client that leaves the first factor to us, or does not.
    fn suffices(&self, need: SecondFactorNeed, owes_first: bool, second_leg: bool) -> bool {
        let first = self.first || self.remembered;
        let second = self.committed || self.passed_already || self.collected;
        // The policy was asked on this leg only if the first factor, or the lack of one, led there.
        let asked = !second_leg || self.first;
        let waived = match need {
            SecondFactorNeed::Off => true,
            SecondFactorNeed::IfEnrolled => self.not_enrolled,
            SecondFactorNeed::Required => false,
        };
        (second && (first || !owes_first)) || (asked && first && waived)
    }
}

/// From where an input is drawn.
#[derive(Clone, Copy, Debug)]
enum Draw {
    /// From those that fit and do not end the exchange by themselves, or it would seldom get far.
    Onward,
    /// From those that fit.
    Fitting,
    /// From all.
    Any,
}

impl Draw {
    fn takes(self, stages: &[&str], input: &Input, stage: &str) -> bool {
        let ends = matches!(
            input,
            Input::Wake
                | Input::FirstFactor(FirstFactorAnswer::Refused(_) | FirstFactorAnswer::Unavailable(_))
                | Input::Enrolment(Enrolment::Unavailable(_))
                | Input::Begun(BeginAnswer::Unavailable(_))
                | Input::Code(CodeAnswer::Unavailable(_))
                | Input::Applied(Ok(Outcome::Refused(_) | Outcome::Discarded(_)) | Err(_))
        );
        match self {
            Self::Onward => stages.contains(&stage) && !ends,
            Self::Fitting => stages.contains(&stage),
            Self::Any => true,
        }
    }
}

/// One packet, and what it is answered with.
#[derive(Clone, Debug)]
struct Play {
    need: SecondFactorNeed,
    client: &'static str,
    second_leg: bool,
    /// The second factor prompts a person.
    prompts: bool,
    /// Which input, and from how many it is drawn.
    moves: Vec<(Draw, prop::sample::Index)>,
}

fn plays() -> impl Strategy<Value = Play> {
    let need =
        prop::sample::select(vec![SecondFactorNeed::Off, SecondFactorNeed::IfEnrolled, SecondFactorNeed::Required]);
    let client = prop::sample::select(vec!["vpn", "bare", "mute"]);
    let draw = prop_oneof![6 => Just(Draw::Onward), 3 => Just(Draw::Fitting), 1 => Just(Draw::Any)];
    let moves = prop::collection::vec((draw, any::<prop::sample::Index>()), 1..10);
    (need, client, any::<(bool, bool)>(), moves).prop_map(|(need, client, (second_leg, prompts), moves)| Play {
        need,
        client,
        second_leg,
        prompts,
        moves,
    })
}

/// Every input, the lies about a first factor that nobody passed among them.
fn lies() -> Vec<(&'static [&'static str], Input)> {
    let mut lies = inputs();
    lies.push((&["Taking"], Input::Applied(Ok(taken_code(None, false)))));
    lies.push((&["Taking"], Input::Applied(Ok(taken_code(None, true)))));
    lies.push((&["Taking"], Input::Applied(Ok(taken_prompt(Some("staff"))))));
    lies.push((&["Taking"], Input::Applied(Ok(taken_prompt(None)))));
    lies
}

/// Whether it ended in an accept, which is only so if enough was said.
fn perform(play: &Play) -> Result<bool, TestCaseError> {
    let mut world = World::with(REQUIRED, |config| {
        config.policies[0].second_factor = play.need;
        config.policies[0].second_factor_name = Some("code".into());
        if play.prompts {
            config.second_factors[0].kind = phone();
        }
    });
    let mut packet = world.packet(PASSWORD).at(play.client);
    if play.second_leg {
        let keyring = &world.setting.keyring;
        let state = crate::attempt::state::State {
            kind: if play.prompts { Kind::Collect } else { Kind::Code },
            slot: keyring.slot("alice@corp.example"),
            incarnation: 7,
            thread: 3,
            id: crate::attempt::state::StateId([5; 16]),
        };
        packet.state = Some(keyring.seal(&state).to_vec());
    }
    let owes_first = play.client != "bare";
    let mut said = Said::default();
    let mut run = world.start(&packet);
    for (draw, index) in &play.moves {
        if run.end.is_some() {
            break;
        }
        let stage = run.stage();
        let mut choices = lies();
        choices.retain(|(stages, input)| draw.takes(stages, input, &stage));
        let at = index.index(choices.len());
        let (_, input) = choices.swap_remove(at);
        said.hear(&input);
        run.open = None;
        if world.try_feed(&mut run, input).is_err() {
            prop_assert_eq!(run.end, None, "an exchange that is at its wits' end says nothing");
            return Ok(false);
        }
    }
    let accepted = matches!(run.end, Some(End::Accept(_)));
    let enough = said.suffices(play.need, owes_first, play.second_leg);
    prop_assert!(!accepted || enough, "an accept after no more than {:?}", said);
    Ok(accepted)
}

#[test]
fn nobody_is_accepted_without_proof() {
    let accepts = Cell::new(0);
    let mut runner = TestRunner::new(Cases { cases: 4_000, failure_persistence: None, ..Cases::default() });
    let result = runner.run(&plays(), |play| {
        accepts.set(accepts.get() + usize::from(perform(&play)?));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(accepts.get() > 100, "{} accepts are too few to say anything", accepts.get());
}

#[test]
fn an_accept_takes_both_proofs() {
    let world = World::new(IF_ENROLLED);
    let clients = &world.setting.config.clients;
    let client = |name: &str| clients.iter().find(|client| &*client.name == name).unwrap();
    let policy = &world.setting.config.policies[0];
    let first = FirstProof::answered("staff".into(), &Proved::default());
    let committed = || SecondProof::committed(&Outcome::Done);
    let waived = || SecondProof::waived(policy, Some(Enrolment::NotEnrolled));
    assert!(committed().is_some() && waived().is_some());
    for (name, first, second, enough) in [
        ("vpn", None, None, false),
        ("vpn", None, waived(), false),
        ("vpn", None, committed(), false),
        ("vpn", Some(&first), None, false),
        ("vpn", Some(&first), waived(), true),
        ("vpn", Some(&first), committed(), true),
        ("bare", None, None, false),
        ("bare", None, waived(), false),
        ("bare", None, committed(), true),
        ("bare", Some(&first), None, false),
    ] {
        let text = format!("{name} {first:?} {second:?}");
        let verdict = accept(client(name), first, second, Attributes::new());
        assert_eq!(verdict.map(|verdict| verdict.code()).err(), (!enough).then_some(Reason::NoProof), "{text}");
    }
}

#[test]
fn only_the_word_that_it_is_committed_makes_a_second_proof() {
    let outcomes =
        lies().into_iter().filter_map(|(_, input)| if let Input::Applied(Ok(o)) = input { Some(o) } else { None });
    for outcome in outcomes {
        assert_eq!(SecondProof::committed(&outcome).is_some(), outcome == Outcome::Done, "{outcome:?}");
        let passed = matches!(outcome, Outcome::PassedAlready { .. });
        assert_eq!(SecondProof::repeated(&outcome).is_some(), passed, "{outcome:?}");
        let collected = matches!(outcome, Outcome::Collected { verdict: Settled::Passed, .. });
        assert_eq!(SecondProof::collected(&outcome).is_some(), collected, "{outcome:?}");
    }
    for (policies, waives) in [(OFF, [true; 4]), (IF_ENROLLED, [false, true, false, false]), (REQUIRED, [false; 4])] {
        let world = World::new(policies);
        let unavailable = Enrolment::Unavailable(Reason::SecondFactorUnavailable);
        let said = [None, Some(Enrolment::NotEnrolled), Some(Enrolment::Enrolled), Some(unavailable)];
        let waived = said.map(|said| SecondProof::waived(&world.setting.config.policies[0], said).is_some());
        assert_eq!(waived, waives, "{policies}");
    }
}
