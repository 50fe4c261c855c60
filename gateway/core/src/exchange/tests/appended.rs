//! Password and code in one line, at a client that cannot show a question.

use super::super::*;
use super::world::*;
use crate::factor::appended::Way;

#[test]
fn a_code_beside_the_password_signs_in_with_one_packet() {
    let mut world = World::new(REQUIRED);
    let code = world.shown();
    assert_eq!(world.line(&code), accepted());
    let asked = [&Asked::First { session: None }, &Asked::Enrolment];
    assert_eq!(world.asked.iter().take(2).collect::<Vec<_>>(), asked);
    assert_eq!(world.asked.len(), 4, "one password check, one prompt, one code: {:?}", world.asked);
    assert_eq!(world.last().second_factor.as_deref(), Some("code"));
    world.wait_secs(20);
    assert_eq!(world.line(&code), refused(), "a used code is used");
    assert_eq!(world.reason(), Some(Reason::CodeReplayed));
}

#[test]
fn a_wrong_password_says_nothing_of_the_code() {
    let mut world = World::new(REQUIRED);
    let code = world.shown();
    let packet = world.packet(&format!("wrong,{code}")).at("line");
    assert_eq!(world.send(&packet), refused());
    assert_eq!((world.reason(), world.asked.len()), (Some(Reason::WrongPassword), 1));
    let packet = world.packet(&format!(",{code}")).at("line");
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::EmptyPassword));
    let packet = world.packet(&format!("{PASSWORD},{code}"));
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::WrongPassword), "elsewhere it is all password");
}

#[test]
fn a_wrong_code_is_the_end_and_the_next_sign_in_may_follow_at_once() {
    let mut world = World::new(REQUIRED);
    let code = world.shown();
    let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    assert_eq!(world.line(&wrong), refused());
    assert_eq!(world.reason(), Some(Reason::WrongCode));
    assert_eq!(world.line(&code), accepted());
}

#[test]
fn wrong_codes_are_counted_as_anywhere_else() {
    let mut world = World::with(REQUIRED, |config| config.limits.wrong_codes = 2);
    for _ in 0..2 {
        assert_eq!(world.line("000000"), refused());
        assert_eq!(world.reason(), Some(Reason::WrongCode));
    }
    let code = world.shown();
    assert_eq!(world.line(&code), refused());
    assert_eq!(world.reason(), Some(Reason::TooManyWrongCodes));
}

#[test]
fn a_code_by_text_message_is_brought_by_the_next_sign_in() {
    let mut world = World::new(REQUIRED);
    let told = End::Reject("A code is on its way to you. Sign in again with your password and the code.".into());
    assert_eq!(world.line("sms"), told);
    assert_eq!(world.reason(), Some(Reason::CodeSent));
    world.wait_secs(5);
    assert_eq!(world.line("sms"), told, "an impatient user is not sent another one");
    assert_eq!(world.prompts(), 1);
    world.wait_secs(90);
    let code = world.shown();
    assert_eq!(world.line(&code), accepted());
    assert_eq!(world.prompts(), 1, "the code answers the question that was put");
}

#[test]
fn where_there_is_only_a_code_and_none_in_the_line_nobody_can_ask() {
    for beside in ["push", "phone"] {
        let mut world = World::new(REQUIRED);
        assert_eq!(world.line(beside), refused());
        assert_eq!(world.reason(), Some(Reason::ChallengeImpossible));
    }
    let mut world = World::new(REQUIRED);
    let packet = world.packet(PASSWORD).at("line");
    assert_eq!(world.send(&packet), refused());
    assert_eq!(world.reason(), Some(Reason::ChallengeImpossible));
}

#[test]
fn a_prompt_hears_how_the_user_wants_to_be_asked() {
    for (beside, way, code) in
        [("push", Way::Push, false), ("phone", Way::Phone, false), ("sms", Way::Sms, true), ("123456", Way::Code, true)]
    {
        let mut world = World::with(REQUIRED, |config| config.second_factors[0].kind = phone());
        let packet = world.packet(&format!("{PASSWORD},{beside}")).at("line");
        let mut run = world.start(&packet);
        world.until(&mut run, "Awaiting");
        let terms = world.driven.pop().unwrap().terms;
        assert_eq!((terms.way, terms.code), (Some(way), code), "{beside}");
    }
}

#[test]
fn a_code_that_a_prompt_wants_is_taken_from_the_line() {
    let mut world = World::with(REQUIRED, |config| config.second_factors[0].kind = phone());
    let code = world.shown();
    let packet = world.packet(&format!("{PASSWORD},{code}")).at("line");
    let mut run = world.start(&packet);
    world.until(&mut run, "Awaiting");
    world.feed(&mut run, Input::News(News::CodeWanted(CodeWanted::default())));
    assert_eq!(world.finish(run), accepted());
    assert_eq!(world.answered, [1], "its driver may end");
}

#[test]
fn a_repeat_elsewhere_while_the_code_is_checked_is_not_answered() {
    let mut world = World::new(REQUIRED);
    let code = world.shown();
    let packet = world.packet(&format!("{PASSWORD},{code}")).at("line");
    let mut first = world.start(&packet);
    world.until(&mut first, "CheckingCode");
    assert_eq!(world.send(&packet), End::Silence);
    assert_eq!(world.finish(first), accepted());
}
