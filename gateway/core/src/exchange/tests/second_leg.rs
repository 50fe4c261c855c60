//! From the State to the outcome, and everything that may be wrong with a State or a code.

use super::super::*;
use super::world::*;
use crate::config::AfterSuccess;
use crate::event::Ending;
use crate::radius::Attributes;
use crate::secret::Secret;

const AGAIN: &str = "That code was not right. Enter the next code:";

#[test]
fn a_code_ends_in_the_same_accept_as_no_second_factor() {
    let mut plain = World::new(OFF);
    let mut world = World::new(REQUIRED);
    let End::Challenge(state, text) = world.sign_in(PASSWORD) else { panic!("no challenge") };
    assert_eq!((state.len(), text.as_str()), (48, "Enter the code from your authenticator app:"));
    world.wait_secs(40);
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), plain.sign_in(PASSWORD), "attributes octet for octet");
    assert_eq!(world.asked.last(), Some(&Asked::Code { session: b"asked".to_vec() }));

    let [first, second] = world.finished().try_into().unwrap();
    assert_eq!((first.ending, first.reason), (Ending::Challenge, None));
    assert_eq!((second.ending, second.reason), (Ending::Accept, None));
    assert_eq!(first.id, second.id, "one attempt, one id");
    assert_eq!(
        first.id,
        match world.asked[2] {
            Asked::Begin { id } => id,
            _ => panic!("no prompt"),
        }
    );
    assert_eq!((second.since_begun, second.took), (Duration::from_secs(40), Duration::ZERO));
    assert_eq!((&second.first_factor, &second.policy), (&first.first_factor, &first.policy));
    assert_eq!(second.second_factor.as_deref(), Some("code"));
}

#[test]
fn the_attributes_are_those_of_the_first_leg() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let mut changed = World::with(OFF, |config| config.policies[0].reply = Attributes::new().into());
    std::mem::swap(&mut world.setting, &mut changed.setting);
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted(), "an attempt keeps what it began with");
}

#[test]
fn a_wrong_code_gets_a_new_state_until_the_tries_are_spent() {
    let mut world = World::new(REQUIRED);
    let mut state = world.challenged();
    for _ in 0..2 {
        let End::Challenge(next, text) = world.answer(&state, "000000") else { panic!("no challenge") };
        assert_eq!(text, AGAIN);
        assert_ne!(next, state);
        let code = world.shown();
        assert_eq!(world.answer(&state, &code), refused(), "the State of the earlier try is spent");
        assert_eq!(world.reason(), Some(Reason::StateSpent));
        state = next;
    }
    assert_eq!(world.answer(&state, "000000"), refused());
    assert_eq!(world.reason(), Some(Reason::TriesSpent));
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), refused(), "the tries are spent, and the State with them");
    assert_eq!(world.reason(), Some(Reason::StateSpent));
    let state = world.challenged();
    assert_eq!(world.answer(&state, &code), accepted(), "from the password on it goes");
}

#[test]
fn the_last_of_the_tries_may_be_right() {
    let mut world = World::new(REQUIRED);
    let mut state = world.challenged();
    for _ in 0..2 {
        state = world.answer(&state, "000000").state();
    }
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted());
}

#[test]
fn with_a_single_try_the_reason_is_the_code() {
    let mut world = World::with(REQUIRED, |config| config.attempts.tries = 1);
    let state = world.challenged();
    assert_eq!(world.answer(&state, ""), refused());
    assert_eq!(world.reason(), Some(Reason::WrongCode));
}

#[test]
fn the_time_for_the_dialogue_does_not_grow_with_wrong_codes() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    world.wait_secs(170);
    let state = world.answer(&state, "000000").state();
    world.wait_secs(10);
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), refused());
    assert_eq!(world.reason(), Some(Reason::StateUnknown));
}

#[test]
fn a_code_serves_once() {
    let mut world = World::new(REQUIRED);
    let code = world.shown();
    let state = world.challenged();
    assert_eq!(world.answer(&state, &code), accepted());
    world.wait_secs(11);
    let state = world.challenged();
    let End::Challenge(state, text) = world.answer(&state, &code) else { panic!("no challenge") };
    assert_eq!(text, AGAIN);
    let failure = Some(Reason::CodeReplayed);
    let judged =
        |event: &Event| matches!(event, Event::Step { step: Step::Code { failure: f, .. }, .. } if *f == failure);
    assert!(world.events.iter().any(judged));
    world.wait_secs(30);
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted(), "the next one is fresh");
}

#[test]
fn one_code_at_two_stations_at_once_serves_one() {
    let mut world = World::new(REQUIRED);
    let code = world.shown();
    let mut runs = Vec::new();
    for station in [b"laptop", b"tablet"] {
        let packet = world.packet(PASSWORD).on_station(Some(station));
        let state = world.send(&packet).state();
        let packet = world.reply(&state, &code).on_station(Some(station));
        let mut run = world.start(&packet);
        // Both were judged right before either was committed.
        world.until(&mut run, "Settling");
        runs.push(run);
    }
    let second = runs.pop().unwrap();
    assert_eq!(world.finish(runs.pop().unwrap()), accepted());
    let End::Challenge(_, text) = world.finish(second) else { panic!("no challenge") };
    assert_eq!(text, AGAIN);
}

#[test]
fn a_code_that_was_used_meanwhile_may_be_the_last_try() {
    let mut world = World::with(REQUIRED, |config| config.attempts.tries = 1);
    let code = world.shown();
    let state = world.challenged();
    let packet = world.reply(&state, &code);
    let mut run = world.start(&packet);
    world.until(&mut run, "Settling");
    let used = crate::factor::CodeUse { token: crate::factor::TokenId([9; 16]), factor: u64::MAX - 1, forget: None };
    world.records.remember(&"alice@corp.example".into(), used);
    assert_eq!(world.finish(run), refused());
    assert_eq!(world.reason(), Some(Reason::CodeReplayed));
}

#[test]
fn a_state_belongs_to_one_user_client_and_station() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    let mut forged = state.clone();
    forged[20] ^= 1;
    let packet = world.reply(&state, &code);
    for (packet, reason) in [
        (Packet { state: Some(forged), ..packet.clone() }, Reason::StateForged),
        (Packet { state: Some(vec![]), ..packet.clone() }, Reason::StateForged),
        (packet.clone().by("bob"), Reason::StateOtherUser),
        (packet.clone().at("other"), Reason::StateOtherClient),
        (packet.clone().on_station(Some(b"tablet")), Reason::StateOtherStation),
        (Packet { password: None, ..packet.clone() }, Reason::UnsupportedProtocol),
    ] {
        assert_eq!(world.send(&packet), refused());
        assert_eq!(world.reason(), Some(reason));
    }
    assert!(!world.asked.iter().any(|asked| matches!(asked, Asked::Code { .. })), "nobody got to guess");
    assert_eq!(world.send(&packet.at("twin")), accepted(), "a member of the group may answer; strangers burnt nothing");
}

#[test]
fn answer_may_leave_the_station_out() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    // A wrong code, and then the right one under the next State: the attempt is found without its station each time.
    let packet = world.reply(&state, "000000").on_station(None);
    let End::Challenge(state, _) = world.send(&packet) else { panic!("no other try") };
    let code = world.shown();
    let packet = world.reply(&state, &code).on_station(None);
    assert_eq!(world.send(&packet), accepted());
    assert!(world.records.attempts.keys().all(|key| key.station.is_some()), "no attempt beside the first");
}

#[test]
fn a_state_of_another_cluster_is_forged() {
    let mut world = World::new(REQUIRED);
    let mut stranger = World::new(REQUIRED);
    let keyring = Keyring::new(&Secret::new(b"another key".to_vec()));
    let setting = Setting::new(stranger.setting.config.clone(), keyring, stranger.setting.owner.clone());
    stranger.setting = Arc::new(setting);
    let state = stranger.challenged();
    assert_eq!(world.answer(&state, "000000"), refused());
    assert_eq!(world.reason(), Some(Reason::StateForged));
}

#[test]
fn a_state_that_comes_late_is_unknown() {
    for (secs, end) in [(179, accepted()), (180, refused())] {
        let mut world = World::new(REQUIRED);
        let state = world.challenged();
        world.wait_secs(secs);
        let code = world.shown();
        assert_eq!(world.answer(&state, &code), end);
        assert_eq!(world.reason(), (secs == 180).then_some(Reason::StateUnknown));
    }
}

#[test]
fn a_state_serves_once() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted());
    world.wait_secs(30);
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), refused());
    assert_eq!(world.reason(), Some(Reason::StateSpent));
}

#[test]
fn of_two_packets_with_one_state_at_once_one_is_checked() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    let packet = world.reply(&state, &code);
    let mut run = world.start(&packet);
    world.until(&mut run, "CheckingCode");
    assert_eq!(world.answer(&state, &code), End::Silence);
    assert_eq!(world.reason(), Some(Reason::StateChecking));
    assert_eq!(world.sign_in(PASSWORD), End::Silence, "a repeat of the first leg waits for the outcome");
    assert_eq!(world.reason(), Some(Reason::RepeatWhilePending));
    assert_eq!(world.finish(run), accepted());
}

#[test]
fn an_exchange_that_died_while_it_checked_commits_nothing() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let packet = world.reply(&state, "000000");
    let mut dead = world.start(&packet);
    world.until(&mut dead, "CheckingCode");
    world.wait_secs(30);
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted(), "another packet takes the challenge over");
    world.code.push_back(CodeAnswer::Right(None));
    assert_eq!(world.finish(dead), End::Silence);
    assert_eq!(world.reason(), Some(Reason::Superseded));
}

#[test]
fn a_repeat_of_the_first_leg_gets_the_same_state_for_thirty_seconds() {
    let mut world = World::new(REQUIRED);
    let first = world.sign_in(PASSWORD);
    world.wait_secs(29);
    assert_eq!(world.sign_in("wrong"), refused(), "who has no password rides on nobody's challenge");
    assert_eq!(world.sign_in(PASSWORD), first, "octet for octet");
    let ids: Vec<_> = world.finished().iter().map(|line| line.id).collect();
    assert_eq!(ids[0], ids[2], "it joined the attempt");
    assert_eq!(world.prompts(), 1);

    world.wait_secs(1);
    let state = world.challenged();
    assert_ne!(state, first.clone().state());
    assert_eq!(world.prompts(), 2);
    let code = world.shown();
    assert_eq!(world.answer(&first.state(), &code), refused());
    assert_eq!(world.reason(), Some(Reason::StateSpent), "the old one is burnt");
    assert_eq!(world.answer(&state, &code), accepted());
}

#[test]
fn a_repeat_after_a_wrong_code_gets_the_newest_state() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let again = world.answer(&state, "000000");
    assert_eq!(world.sign_in(PASSWORD), again);
}

#[test]
fn a_repeat_after_success_is_discarded_and_later_a_new_sign_in() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted());
    world.wait_secs(9);
    assert_eq!(world.sign_in(PASSWORD), End::Silence);
    assert_eq!(world.reason(), Some(Reason::RepeatAfterSuccess));
    world.wait_secs(1);
    assert!(matches!(world.sign_in(PASSWORD), End::Challenge(..)));
}

#[test]
fn a_repeat_after_success_is_answered_where_the_rules_say_so() {
    let mut world = World::with(REQUIRED, |config| config.attempts.after_success = AfterSuccess::Answer);
    let state = world.challenged();
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted());
    let id = world.last().id;
    world.wait_secs(9);
    assert_eq!(world.sign_in("wrong"), refused(), "the password is asked again");
    assert_eq!(world.sign_in(PASSWORD), accepted());
    assert_eq!((world.last().id, world.prompts()), (id, 1));
    let packet = world.packet(PASSWORD).on_station(Some(b"tablet"));
    assert!(matches!(world.send(&packet), End::Challenge(..)), "another device is another sign-in");
    world.wait_secs(1);
    assert!(matches!(world.sign_in(PASSWORD), End::Challenge(..)));
}

#[test]
fn too_many_wrong_codes_lock_the_user_everywhere() {
    let mut world = World::with(REQUIRED, |config| config.limits.wrong_codes = 4);
    let mut state = world.challenged();
    for _ in 0..2 {
        state = world.answer(&state, "000000").state();
    }
    assert_eq!(world.answer(&state, "000000"), refused());
    let state = world.challenged();
    let state = world.answer(&state, "000000").state();
    let code = world.shown();
    for _ in 0..2 {
        assert_eq!(world.answer(&state, &code), refused());
        assert_eq!(world.reason(), Some(Reason::TooManyWrongCodes));
    }
    for packet in [world.packet(PASSWORD), world.packet(PASSWORD).at("other")] {
        assert_eq!(world.send(&packet), refused());
        assert_eq!(world.reason(), Some(Reason::TooManyWrongCodes));
    }
    let packet = world.packet(PASSWORD).by("bob");
    assert!(matches!(world.send(&packet), End::Challenge(..)), "nobody else is locked");
    world.wait_secs(900);
    let state = world.challenged();
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted());
}

#[test]
fn a_provider_that_cannot_judge_gives_the_state_back() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    world.code.push_back(CodeAnswer::Unavailable(Reason::SecondFactorUnavailable));
    let code = world.shown();
    let packet = world.reply(&state, &code);
    assert_eq!(world.send(&packet), End::Silence);
    assert_eq!(world.reason(), Some(Reason::SecondFactorUnavailable));
    assert_eq!(world.send(&packet), accepted(), "the retransmission is checked");
}

#[test]
fn unasked_provider_costs_no_guess() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    // More often than there are guesses.
    for _ in 0..30 {
        world.code.push_back(CodeAnswer::NotAsked(Reason::ProviderUnreachable));
        assert_eq!(world.answer(&state, &code), refused());
        assert_eq!(world.reason(), Some(Reason::ProviderUnreachable));
    }
    assert_eq!(world.answer(&state, &code), accepted());
}

#[test]
fn exhausted_node_refuses_nobody() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    let packet = world.reply(&state, &code);
    for _ in 0..30 {
        world.code.push_back(CodeAnswer::NotAsked(Reason::NodeExhausted));
        assert_eq!(world.send(&packet), End::Silence);
        assert_eq!(world.reason(), Some(Reason::NodeExhausted));
    }
    assert_eq!(world.send(&packet), accepted(), "it cost no guess, and the challenge waits");
}

#[test]
fn forged_state_is_nobody_elses() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let mut forged = state.clone();
    forged[40] ^= 1;
    let kind = |world: &mut World, state: Option<Vec<u8>>| {
        let packet = Packet { state, ..world.packet("000000") };
        world.start(&packet).exchange.unwrap().kind()
    };
    assert_eq!(kind(&mut world, None), Packets::Beginning);
    assert_eq!(kind(&mut world, Some(state)), Packets::Answer);
    assert_eq!(kind(&mut world, Some(forged)), Packets::Forged);
    assert_eq!(kind(&mut world, Some(vec![1; 48])), Packets::Forged);
    assert_eq!(kind(&mut world, Some(vec![])), Packets::Forged);
}

#[test]
fn unknown_outcome_ends_the_sign_in() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let code = world.shown();
    world.code.push_back(CodeAnswer::Unknown(Reason::OutcomeUnknown));
    assert_eq!(world.answer(&state, &code), refused());
    assert_eq!(world.reason(), Some(Reason::OutcomeUnknown));
    assert_eq!(world.answer(&state, &code), refused(), "the code is not sent again");
    assert_eq!(world.reason(), Some(Reason::StateSpent));
}

#[test]
fn an_outcome_that_the_store_did_not_take_is_never_spoken() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let packet = world.reply(&state, "000000");
    for (outcome, end) in [
        (Err(Reason::StoreUnavailable), End::Silence),
        (Ok(Outcome::Discarded(Reason::Superseded)), End::Silence),
        (Ok(Outcome::Refused(Reason::StateSpent)), refused()),
    ] {
        world.code.push_back(CodeAnswer::Right(None));
        let mut run = world.start(&packet);
        world.until(&mut run, "Settling");
        run.open = None;
        world.feed(&mut run, Input::Applied(outcome));
        assert_eq!(run.end, Some(end));
        world.wait_secs(30);
    }
}

#[test]
fn octets_that_are_no_attributes_are_never_sent() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    for challenge in world.records.challenges.values_mut() {
        let crate::attempt::record::Purpose::Code { authorization, .. } = &mut challenge.purpose else { continue };
        authorization.reply = [25, 7, b's'].into();
    }
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), refused());
    assert_eq!(world.reason(), Some(Reason::Unexpected));
}

#[test]
fn a_client_with_a_first_factor_takes_no_state_that_was_earned_without_one() {
    let mut world = World::new(REQUIRED);
    let packet = world.packet("").at("bare");
    let state = world.send(&packet).state();
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), refused(), "nobody proved a password to `vpn`");
    assert_eq!(world.reason(), Some(Reason::NoProof));
}
