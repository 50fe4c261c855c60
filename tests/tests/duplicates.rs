//! The same packet again (RFC 5080 §2.2.2), and new packets for a sign-in that is under way or has just succeeded.

use gateway_core::radius::{Code, attribute};
use tests::{Client, Request, Setup, SoftToken};

fn setup() -> Setup {
    Setup::new().user("alice", "correct horse").token(&SoftToken::hotp("alice"))
}

fn password() -> Request {
    Request::access("alice").password("correct horse").station("198.51.100.7")
}

/// Sends a packet again and waits for the reply to come again. The client itself ends the test if it differs.
fn again(nas: &mut Client, sent: &tests::client::Sent) {
    let before = nas.repeated_replies();
    nas.send(sent);
    tests::eventually("the reply comes again", || {
        nas.hears_nothing();
        (nas.repeated_replies() > before).then_some(())
    });
}

#[test]
fn the_same_packet_gets_the_same_octets_and_is_decided_once() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let first = nas.encode(&password());
    let challenge = nas.try_ask(&first).unwrap().expect(Code::ACCESS_CHALLENGE);
    again(&mut nas, &first);
    let second = nas.encode(
        &Request::access("alice").password(&SoftToken::hotp("alice").code(0)).state(&challenge).station("198.51.100.7"),
    );
    nas.try_ask(&second).unwrap().expect(Code::ACCESS_ACCEPT);
    // A code serves once; if this were decided again, it would be refused.
    again(&mut nas, &second);
    again(&mut nas, &first);
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_radius_duplicates_total", &[("kind", "replayed")]), 3);
    assert_eq!((metrics.ended("accept"), metrics.ended("challenge")), (1, 1));
}

#[test]
fn a_packet_in_progress_is_not_begun_again() {
    let gateway = Setup::new().slow_user("slow", "m=65536,t=8,p=1").start();
    let mut nas = gateway.nas();
    let sent = nas.encode(&Request::access("slow").password("whatever"));
    for _ in 0..4 {
        nas.send(&sent);
    }
    let reply = nas.try_ask(&sent).unwrap();
    assert_eq!(reply.code(), Code::ACCESS_REJECT);
    nas.listen_out();
    let metrics = gateway.metrics();
    assert_eq!(metrics.ended("reject"), 1);
    let discarded = metrics.count("orthrus_radius_duplicates_total", &[("kind", "in_flight_local")]);
    assert!(discarded >= 3, "{discarded} discarded");
}

#[test]
fn a_new_packet_under_the_same_identifier_replaces_the_old_one() {
    let gateway = Setup::new().slow_user("slow", "m=65536,t=8,p=1").user("alice", "correct horse").start();
    let mut nas = gateway.nas();
    let old = nas.encode_as(&Request::access("slow").password("whatever"), 9);
    let new = nas.encode_as(&Request::access("alice").password("wrong"), 9);
    nas.send(&old);
    // The new one is decided for itself, while the old one is still in progress.
    nas.try_ask(&new).unwrap().expect(Code::ACCESS_REJECT);
    // And the reply to the old one is not sent any more: the NAS would take it for an answer to the new one.
    gateway.await_dropped("superseded", 1);
    assert!(nas.hears_nothing());
    again(&mut nas, &new);
}

#[test]
fn a_repeat_of_the_password_gets_the_same_challenge() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let first = nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    // A new packet, perhaps from another port, as NASes do that give up on an answer.
    let second = nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    let third = gateway.nas().ask(&password()).expect(Code::ACCESS_CHALLENGE);
    assert_eq!((first.state(), first.state()), (second.state(), third.state()));
    let code = Request::access("alice").password(&SoftToken::hotp("alice").code(0)).station("198.51.100.7");
    nas.ask(&code.state(&first)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_later_repeat_of_the_password_burns_the_challenge() {
    let gateway = setup().set("attempts.challenge_repeat", "0s").start();
    let mut nas = gateway.nas();
    let old = nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    let new = nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    assert_ne!(old.state(), new.state());
    let code = Request::access("alice").password(&SoftToken::hotp("alice").code(0)).station("198.51.100.7");
    nas.ask(&code.clone().state(&old)).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("state_spent"), 1);
    nas.ask(&code.state(&new)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_wrong_password_never_rides_on_an_open_challenge() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    let wrong = Request::access("alice").password("wrong").station("198.51.100.7");
    let reject = nas.ask(&wrong).expect(Code::ACCESS_REJECT);
    assert!(reject.all(attribute::STATE).is_empty());
}

#[test]
fn a_repeat_after_success_is_discarded() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    let code = Request::access("alice").password(&SoftToken::hotp("alice").code(0)).station("198.51.100.7");
    nas.ask(&code.state(&challenge)).expect(Code::ACCESS_ACCEPT);
    let repeat = nas.encode(&password());
    nas.send(&repeat);
    gateway.await_metrics("the repeat is discarded", |metrics| metrics.refused("repeat_after_success") == 1);
    assert!(nas.hears_nothing());
}

#[test]
fn a_repeat_after_success_is_answered_where_the_operator_wants_it() {
    let gateway = setup().set("attempts.after_success", "answer").start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&password()).expect(Code::ACCESS_CHALLENGE);
    let code = Request::access("alice").password(&SoftToken::hotp("alice").code(0)).station("198.51.100.7");
    let accept = nas.ask(&code.state(&challenge)).expect(Code::ACCESS_ACCEPT);
    let repeat = nas.ask(&password()).expect(Code::ACCESS_ACCEPT);
    assert_eq!(repeat.attributes(), accept.attributes());
    // Only for who knows the password, and only at the same station.
    nas.ask(&Request::access("alice").password("wrong").station("198.51.100.7")).expect(Code::ACCESS_REJECT);
    let elsewhere = Request::access("alice").password("correct horse").station("203.0.113.9");
    nas.ask(&elsewhere).expect(Code::ACCESS_CHALLENGE);
}
