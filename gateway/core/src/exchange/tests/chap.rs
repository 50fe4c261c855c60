//! CHAP and MS-CHAPv2: proofs that carry no code, and replies that belong to their packet.

use super::super::*;
use super::world::*;
use crate::factor::mschap::{NtHash, tests as vectors};
use crate::factor::{BeginAnswer, CodeWanted, NewPassword, Proved};
use crate::secret::Secret;

fn proved() -> Proved {
    Proved { session: Some(Arc::new(vectors::example_session())), ..Proved::default() }
}

fn changing() -> Proved {
    let (old, new) = (NtHash::nobodys(), Secret::new(b"new password".to_vec()));
    Proved { change: Some(NewPassword { old, new }), ..proved() }
}

/// Alice by MS-CHAPv2, whose proof the first factor judges as told.
fn send(world: &mut World, answer: FirstFactorAnswer) -> End {
    world.first.push_back(answer);
    let packet = Packet { ms_chap: true, ..world.packet(PASSWORD) };
    world.send(&packet)
}

fn error(end: &End) -> &str {
    let End::MsChapError(text) = end else { panic!("no MS-CHAP-Error but {end:?}") };
    text
}

#[test]
fn an_accept_carries_what_the_proof_earned() {
    let mut world = World::new(OFF);
    assert_eq!(send(&mut world, FirstFactorAnswer::Proved(proved())), End::AcceptWithSession(REPLY.to_vec()));
    assert_eq!(world.sign_in(PASSWORD), accepted(), "and a password earns no keys");
}

#[test]
fn reasons_have_their_numbers_and_nobody_learns_which_factor_failed() {
    for (reason, number) in [
        (Reason::WrongPassword, "E=691 R=1 "),
        (Reason::UnknownUser, "E=691 R=1 "),
        (Reason::NoSecretForProtocol, "E=691 R=1 "),
        (Reason::UserDisabled, "E=647 R=0 "),
        (Reason::UserLocked, "E=647 R=0 "),
        (Reason::PasswordExpired, "E=648 R=0 "),
        (Reason::OutsideLogonHours, "E=646 R=0 "),
        (Reason::PasswordNotChanged, "E=709 R=0 "),
    ] {
        let mut world = World::new(REQUIRED);
        let end = send(&mut world, FirstFactorAnswer::Refused(reason));
        assert!(error(&end).starts_with(number) && error(&end).ends_with(" V=3 M=Sign-in refused."), "{end:?}");
        assert_eq!(world.reason(), Some(reason));
    }
    let mut world = World::new(REQUIRED);
    world.begin.push_back(BeginAnswer::Denied(Reason::PromptDenied));
    let end = send(&mut world, FirstFactorAnswer::Proved(proved()));
    assert!(error(&end).starts_with("E=691 R=1 "), "as a wrong password: {end:?}");
}

#[test]
fn a_user_who_has_only_codes_is_told_so() {
    let mut world = World::new(REQUIRED);
    world.begin.push_back(BeginAnswer::CodeWanted(CodeWanted::default()));
    let end = send(&mut world, FirstFactorAnswer::Proved(proved()));
    assert!(error(&end).contains("M=This connection cannot ask for your code."), "{end:?}");
    assert_eq!(world.reason(), Some(Reason::ProtocolWithoutCode));
    assert!(matches!(world.sign_in(PASSWORD), End::Challenge(..)), "the attempt is over, and PAP can ask");
}

#[test]
fn a_password_is_changed_after_everything_else_and_before_the_accept() {
    let mut world = World::new(REQUIRED);
    world.begin.push_back(BeginAnswer::Denied(Reason::PromptDenied));
    let end = send(&mut world, FirstFactorAnswer::Proved(changing()));
    assert!(matches!(end, End::MsChapError(_)));
    assert!(
        !world.asked.contains(&Asked::Change { new: b"new password".to_vec() }),
        "the second factor was not passed"
    );

    world.begin.push_back(BeginAnswer::Approved(crate::factor::Approval::User));
    let end = send(&mut world, FirstFactorAnswer::Proved(changing()));
    assert_eq!(end, End::AcceptWithSession(REPLY.to_vec()));
    assert_eq!(world.asked.last(), Some(&Asked::Change { new: b"new password".to_vec() }));

    let mut world = World::new(OFF);
    world.change = Err(Reason::PasswordNotChanged);
    let end = send(&mut world, FirstFactorAnswer::Proved(changing()));
    assert!(error(&end).starts_with("E=709 R=0 "), "{end:?}");
    assert_eq!(world.reason(), Some(Reason::PasswordNotChanged));
    for lack in [Reason::PasswordQueueFull, Reason::NodeExhausted] {
        world.change = Err(lack);
        assert_eq!(send(&mut world, FirstFactorAnswer::Proved(changing())), End::Silence);
        assert_eq!(world.reason(), Some(lack));
    }
}

#[test]
fn a_challenge_is_not_answered_by_chap() {
    let mut world = World::new(REQUIRED);
    let state = world.challenged();
    let reply = Packet { ms_chap: true, ..world.reply(&state, "123456") };
    assert!(matches!(world.send(&reply), End::MsChapError(_)));
    assert_eq!(world.reason(), Some(Reason::ProtocolWithoutCode));
}
