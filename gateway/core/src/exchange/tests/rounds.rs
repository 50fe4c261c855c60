//! A first factor of several rounds, and the seam between its last one and the second factor.

use super::super::*;
use super::world::*;
use crate::attempt::state::Kind;

#[test]
fn rounds_lead_to_the_second_factor_and_to_the_same_accept() {
    let mut world = World::new(REQUIRED);
    world.first.extend([need_more(b"r1", "New password:"), need_more(b"r2", "Once more:"), proved()]);
    let End::Challenge(first, text) = world.sign_in("expired") else { panic!("no round") };
    assert_eq!(text, "New password:");
    assert_eq!(world.setting.keyring.open(&first).unwrap().kind, Kind::FirstFactor);
    assert!(world.records.attempts.is_empty(), "there is no attempt before the password is proved");
    world.wait_secs(5);
    let End::Challenge(second, text) = world.answer(&first, "s3cr3t-one") else { panic!("no round") };
    assert_eq!(text, "Once more:");
    assert_ne!(first, second);
    world.wait_secs(5);
    let third = world.answer(&second, "s3cr3t-two").state();
    assert_eq!(world.setting.keyring.open(&third).unwrap().kind, Kind::Code);
    let code = world.shown();
    assert_eq!(world.answer(&third, &code), accepted());

    let asked: Vec<_> = world.asked.iter().filter(|asked| matches!(asked, Asked::First { .. })).cloned().collect();
    let session = |octets: &[u8]| Asked::First { session: Some(octets.to_vec()) };
    assert_eq!(asked, [Asked::First { session: None }, session(b"r1"), session(b"r2")]);
    assert_eq!(world.prompts(), 1);
    let lines = world.finished();
    assert!(lines.iter().all(|line| line.id == lines[0].id), "one sign-in, one id");
    assert!(lines.iter().all(|line| line.first_factor.as_deref() == Some("staff")));

    for state in [&first, &second, &third] {
        assert_eq!(world.answer(state, &code), refused());
        assert_eq!(world.reason(), Some(Reason::StateSpent));
    }
}

#[test]
fn a_last_round_may_be_all_that_a_policy_wants() {
    let mut world = World::new(OFF);
    world.first.extend([need_more(b"r1", "More:"), proved()]);
    let state = world.sign_in(PASSWORD).state();
    assert_eq!(world.answer(&state, ""), accepted(), "what an empty answer means is the back end's to say");
}

#[test]
fn a_round_that_cannot_be_judged_gives_the_state_back() {
    let mut world = World::new(OFF);
    let unavailable = FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable);
    world.first.extend([need_more(b"r1", "More:"), unavailable, proved()]);
    let state = world.sign_in(PASSWORD).state();
    let packet = world.reply(&state, "s3cr3t");
    assert_eq!(world.send(&packet), End::Silence);
    assert_eq!(world.reason(), Some(Reason::FirstFactorUnavailable));
    assert_eq!(world.send(&packet), accepted());
}

#[test]
fn a_round_that_is_refused_spends_the_state() {
    let mut world = World::new(OFF);
    world.first.extend([need_more(b"r1", "More:"), FirstFactorAnswer::Refused(Reason::WrongPassword), proved()]);
    let state = world.sign_in(PASSWORD).state();
    assert_eq!(world.answer(&state, "s3cr3t"), refused());
    assert_eq!(world.reason(), Some(Reason::WrongPassword));
    assert_eq!(world.answer(&state, "s3cr3t"), refused());
    assert_eq!(world.reason(), Some(Reason::StateSpent));
    assert_eq!(world.first.len(), 1, "the back end was not asked again");
}

#[test]
fn two_packets_answer_one_round_once() {
    let mut world = World::new(OFF);
    world.first.extend([need_more(b"r1", "More:"), proved(), proved()]);
    let state = world.sign_in(PASSWORD).state();
    let packet = world.reply(&state, "s3cr3t");
    let mut run = world.start(&packet);
    world.until(&mut run, "CheckingFirstFactor");
    assert_eq!(world.answer(&state, "s3cr3t"), End::Silence);
    assert_eq!(world.reason(), Some(Reason::StateChecking));
    assert_eq!(world.finish(run), accepted());
}

#[test]
fn a_client_that_cannot_ask_gets_no_round() {
    let mut world = World::new(REQUIRED);
    world.first.push_back(need_more(b"r1", "More:"));
    let packet = world.packet(PASSWORD).at("mute");
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::ChallengeImpossible));
    assert!(world.records.is_empty());
}

#[test]
fn a_policy_denies_after_the_last_round_too() {
    let mut world = World::new("[[policies]]\nname = 'nobody'\noutcome = 'deny'\n");
    world.first.extend([need_more(b"r1", "More:"), proved()]);
    let state = world.sign_in(PASSWORD).state();
    assert_eq!(world.answer(&state, "s3cr3t"), refused());
    assert_eq!(world.reason(), Some(Reason::DeniedByPolicy));
}
