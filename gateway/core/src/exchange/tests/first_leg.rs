//! From the password to an accept, a reject or a challenge.

use super::super::*;
use super::world::*;
use crate::event::Ending;
use crate::factor::Approval;

#[test]
fn a_password_alone_is_enough_where_the_policy_waives_the_code() {
    let mut world = World::new(OFF);
    assert_eq!(world.sign_in(PASSWORD), accepted());
    assert_eq!(world.asked, [Asked::First { session: None }]);
    assert!(world.records.is_empty(), "a sign-in without a second factor costs the store nothing");
    let line = world.last();
    assert_eq!((line.ending, line.reason), (Ending::Accept, None));
    assert_eq!((line.first_factor.as_deref(), line.policy.as_deref()), (Some("staff"), Some("everybody")));
    assert_eq!((line.second_factor.as_deref(), &*line.user, &*line.client), (None, "alice", "vpn"));
}

#[test]
fn who_does_not_pass_the_first_factor_is_refused_and_never_prompted() {
    for (user, password, reason) in [
        ("alice", "wrong", Reason::WrongPassword),
        ("mallory", PASSWORD, Reason::UnknownUser),
        ("", PASSWORD, Reason::MissingUserName),
        ("al\0ice", PASSWORD, Reason::BadIdentity),
        ("alice", "", Reason::EmptyPassword),
    ] {
        let mut world = World::new(REQUIRED);
        let packet = world.packet(password).by(user);
        assert_eq!(world.send(&packet), refused());
        assert_eq!(world.reason(), Some(reason));
        let asked = usize::from(matches!(reason, Reason::WrongPassword | Reason::UnknownUser));
        assert_eq!(world.asked.len(), asked, "{reason:?}: the back end hears only of what it can judge");
        assert!(world.records.is_empty(), "a wrong password owns nobody's attempt");
    }
}

#[test]
fn a_name_that_is_no_text_is_refused_and_told() {
    let mut world = World::new(REQUIRED);
    let packet = Packet { user: vec![0xff, 0xfe], ..world.packet(PASSWORD) };
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::BadIdentity));
    assert_eq!(&*world.last().user, "\u{fffd}\u{fffd}");
}

#[test]
fn a_packet_without_a_password_is_refused() {
    let mut world = World::new(REQUIRED);
    let packet = Packet { password: None, ..world.packet("") };
    assert_eq!(world.send(&packet), refused());
    assert_eq!((world.reason(), world.asked.len()), (Some(Reason::UnsupportedProtocol), 0));
}

#[test]
fn an_unavailable_first_factor_is_silence_and_the_packet_may_come_again() {
    let mut world = World::new(OFF);
    world.first.push_back(FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable));
    let packet = world.packet(PASSWORD);
    assert_eq!(world.send(&packet), End::Silence);
    assert_eq!(world.reason(), Some(Reason::FirstFactorUnavailable));
    assert_eq!(world.send(&packet), accepted());
}

#[test]
fn a_policy_denies_with_its_own_text() {
    let denied =
        "[[policies]]\nname = 'nobody'\noutcome = 'deny'\ngroups = ['staff']\nreply = { Reply-Message = 'Ask Bob.' }\n";
    let mut world = World::new(&format!("{denied}{OFF}"));
    assert_eq!(world.sign_in(PASSWORD), End::Reject("Ask Bob.".into()));
    assert_eq!((world.reason(), world.last().policy.as_deref()), (Some(Reason::DeniedByPolicy), Some("nobody")));
    assert_eq!(world.sign_in("wrong"), refused(), "who has not proved who they are does not learn of policies");
}

#[test]
fn a_policy_that_denies_without_text_gets_the_usual_one() {
    let mut world = World::new("[[policies]]\nname = 'nobody'\noutcome = 'deny'\n");
    assert_eq!(world.sign_in(PASSWORD), refused());
}

#[test]
fn what_no_policy_permits_is_refused() {
    let mut world = World::new("[[policies]]\nname = 'admins'\ngroups = ['admins']\n");
    assert_eq!(world.sign_in(PASSWORD), refused());
    assert_eq!((world.reason(), world.last().policy.as_deref()), (Some(Reason::NoPolicy), None));
}

#[test]
fn a_roll_out_asks_only_those_who_are_enrolled() {
    let mut world = World::new(IF_ENROLLED);
    world.enrolment = Enrolment::NotEnrolled;
    assert_eq!(world.sign_in(PASSWORD), accepted());
    assert_eq!(world.prompts(), 0);
    world.enrolment = Enrolment::Enrolled;
    assert!(matches!(world.sign_in(PASSWORD), End::Challenge(..)));
    world.enrolment = Enrolment::Unavailable(Reason::SecondFactorUnavailable);
    assert_eq!(world.sign_in(PASSWORD), End::Silence, "who cannot be asked about is not let in");
    assert_eq!(world.reason(), Some(Reason::SecondFactorUnavailable));
}

#[test]
fn who_needs_a_code_and_has_no_token_is_refused() {
    let mut world = World::new(REQUIRED);
    world.enrolment = Enrolment::NotEnrolled;
    assert_eq!(world.sign_in(PASSWORD), refused());
    assert_eq!(world.reason(), Some(Reason::NotEnrolled));
    assert!(world.records.is_empty());
}

#[test]
fn a_client_that_cannot_ask_is_refused_a_code() {
    let mut world = World::new(REQUIRED);
    let packet = world.packet(PASSWORD).at("mute");
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::ChallengeImpossible));
    world.begin.push_back(BeginAnswer::Approved(Approval::User));
    let packet = world.packet(PASSWORD).at("mute");
    assert_eq!(world.send(&packet), accepted(), "a factor that needs no code serves it");
}

#[test]
fn a_client_that_checks_passwords_itself_leaves_the_code_to_us() {
    let mut world = World::new(REQUIRED);
    for password in [Some(String::new()), None] {
        let packet = Packet { password, ..world.packet("") }.at("bare");
        let state = world.send(&packet).state();
        let code = world.shown();
        let packet = world.reply(&state, &code).at("bare");
        assert_eq!(world.send(&packet), accepted());
        assert_eq!(world.last().first_factor, None);
        world.wait_secs(60);
    }
    assert!(!world.asked.iter().any(|asked| matches!(asked, Asked::First { .. })));
}

#[test]
fn a_client_without_first_factor_is_never_let_in_by_a_policy_that_waives_the_second() {
    // The check of the configuration refuses this open door; the exchange refuses it again.
    let waive = |need| {
        World::with(REQUIRED, move |config| {
            config.policies[0].second_factor = need;
            config.policies[0].second_factor_name = Some("code".into());
        })
    };
    for need in [crate::config::SecondFactorNeed::Off, crate::config::SecondFactorNeed::IfEnrolled] {
        let mut world = waive(need);
        world.enrolment = Enrolment::NotEnrolled;
        let packet = world.packet(PASSWORD).at("bare");
        assert_eq!(world.send(&packet), refused());
        assert_eq!(world.reason(), Some(Reason::NoProof));
        let packet = world.packet(PASSWORD);
        assert_eq!(world.send(&packet), accepted(), "the same policy serves a client with a first factor");
    }
}

#[test]
fn a_policy_without_the_factor_that_it_requires_proves_nothing() {
    let mut world = World::with(REQUIRED, |config| config.policies[0].second_factor_name = None);
    assert_eq!(world.sign_in(PASSWORD), refused());
    assert_eq!(world.reason(), Some(Reason::NoProof));
}

#[test]
fn a_provider_may_approve_at_once() {
    let mut world = World::new(REQUIRED);
    world.begin.push_back(BeginAnswer::Approved(Approval::User));
    assert_eq!(world.sign_in(PASSWORD), accepted());
    assert_eq!(world.sign_in(PASSWORD), End::Silence);
    assert_eq!((world.reason(), world.prompts()), (Some(Reason::RepeatAfterSuccess), 1));
}

#[test]
fn a_provider_may_deny_at_once() {
    let mut world = World::new(REQUIRED);
    world.begin.push_back(BeginAnswer::Denied(Reason::NotEnrolled));
    assert_eq!(world.sign_in(PASSWORD), refused());
    assert_eq!(world.reason(), Some(Reason::NotEnrolled));
    assert!(matches!(world.sign_in(PASSWORD), End::Challenge(..)), "the user may begin again");
}

#[test]
fn a_provider_that_cannot_be_asked_leaves_a_claim_that_lapses() {
    let mut world = World::new(REQUIRED);
    world.begin.push_back(BeginAnswer::Unavailable(Reason::SecondFactorUnavailable));
    let packet = world.packet(PASSWORD);
    assert_eq!(world.send(&packet), End::Silence);
    assert_eq!(world.reason(), Some(Reason::SecondFactorUnavailable));
    world.wait_secs(1);
    assert_eq!(world.send(&packet), End::Silence);
    assert_eq!(world.reason(), Some(Reason::RepeatWhilePending));
    world.wait_secs(1);
    assert!(matches!(world.send(&packet), End::Challenge(..)));
}

#[test]
fn the_provider_may_know_a_better_prompt() {
    let mut world = World::new(REQUIRED);
    let prompt = Some("Code of token 7:".to_owned());
    world.begin.push_back(BeginAnswer::CodeWanted(crate::factor::CodeWanted { session: vec![1], prompt }));
    let End::Challenge(state, text) = world.sign_in(PASSWORD) else { panic!("no challenge") };
    assert_eq!(text, "Code of token 7:");
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted());
    assert_eq!(world.asked.last(), Some(&Asked::Code { session: vec![1] }));
}

#[test]
fn a_claim_that_took_longer_than_a_second_never_prompts() {
    for (millis, prompts) in [(1_000, 1), (1_001, 0)] {
        let mut world = World::new(REQUIRED);
        let packet = world.packet(PASSWORD);
        let mut run = world.start(&packet);
        world.until(&mut run, "Claiming");
        let open = run.open.take().unwrap();
        let claimed = world.input(open);
        world.wait(Duration::from_millis(millis));
        world.feed(&mut run, claimed);
        let end = world.finish(run);
        assert_eq!((end == End::Silence, world.prompts()), (prompts == 0, prompts), "{millis} ms");
        assert_eq!(world.reason(), (prompts == 0).then_some(Reason::ClaimTooOld));
    }
}

#[test]
fn a_store_that_fails_is_silence() {
    let mut world = World::new(REQUIRED);
    let packet = world.packet(PASSWORD);
    for stage in ["Claiming", "Issuing"] {
        let mut run = world.start(&packet);
        world.until(&mut run, stage);
        run.open = None;
        world.feed(&mut run, Input::Applied(Err(Reason::StoreUnavailable)));
        assert_eq!(run.end, Some(End::Silence));
        assert_eq!(world.reason(), Some(Reason::StoreUnavailable));
    }
}

#[test]
fn every_spelling_of_a_name_is_one_attempt() {
    let mut world = World::new(REQUIRED);
    let first = world.challenged();
    for name in ["ALICE", "CORP\\alice", "alice@Corp.Example"] {
        let packet = world.packet(PASSWORD).by(name);
        assert_eq!(world.send(&packet).state(), first, "{name}");
    }
    assert_eq!(world.prompts(), 1);
}

#[test]
fn a_client_that_cannot_ask_never_joins_a_challenge() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let packet = world.packet(PASSWORD).at("mute");
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::ChallengeImpossible));
    let code = world.shown();
    assert_eq!(world.answer(&state, &code), accepted(), "the one that is out is not harmed");
}
