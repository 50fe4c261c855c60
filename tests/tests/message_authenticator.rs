//! Who must sign (RFC 3579 §3.2, CVE-2024-3596): `require_message_authenticator`, `limit_proxy_state`, and two secrets at
//! once.

use gateway_core::radius::{Code, attribute};
use std::net::{IpAddr, Ipv4Addr};
use tests::{Client, Gateway, NAS, Request, SECRET, Setup, eventually};

const OPEN: &str = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\n";

fn setup(require: &str) -> Setup {
    Setup::new().user("alice", "correct horse").policies(OPEN).of_client(NAS, "require_message_authenticator", require)
}

fn request() -> Request {
    Request::access("alice").password("correct horse")
}

fn is_dropped(gateway: &Gateway, nas: &mut Client, request: &Request, reason: &str) {
    let before = gateway.metrics().dropped(reason);
    let sent = nas.encode(request);
    nas.send(&sent);
    gateway.await_dropped(reason, before + 1);
    assert!(nas.hears_nothing(), "an answer to what was dropped for {reason}");
}

#[test]
fn yes_drops_what_is_not_signed() {
    let gateway = setup("yes").start();
    let mut nas = gateway.nas();
    is_dropped(&gateway, &mut nas, &request().unsigned(), "missing_message_authenticator");
    nas.ask(&request()).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn no_answers_what_is_not_signed_and_signs_the_answer() {
    let gateway = setup("no").start();
    let mut nas = gateway.nas();
    // The client insists on Message-Authenticator as the first attribute of every reply.
    nas.ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
    nas.ask(&request()).expect(Code::ACCESS_ACCEPT);
    nas.ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn auto_locks_with_the_first_signature_and_only_an_operator_unlocks() {
    let mut gateway = setup("auto").start();
    let mut nas = gateway.nas();
    nas.ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
    nas.ask(&request()).expect(Code::ACCESS_ACCEPT);
    is_dropped(&gateway, &mut nas, &request().unsigned(), "missing_message_authenticator");

    let written = gateway.path("state/signing-sources");
    eventually("what was learned is written down", || std::fs::read_to_string(&written).ok().filter(|t| !t.is_empty()));
    gateway.kill();
    gateway.start_again();
    is_dropped(&gateway, &mut nas, &request().unsigned(), "missing_message_authenticator");
    gateway.reload().unwrap();
    is_dropped(&gateway, &mut nas, &request().unsigned(), "missing_message_authenticator");

    gateway.write("state/signing-sources", "");
    gateway.reload().unwrap();
    nas.ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn auto_learns_each_source_by_itself_and_nothing_from_a_wrong_signature() {
    let gateway = setup("auto").of_client(NAS, "addresses", vec!["127.0.0.0/8"]).start();
    let other = |last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    let mut forger = Client::at(other(8), gateway.address(), "not-the-secret");
    is_dropped(&gateway, &mut forger, &request(), "bad_message_authenticator");
    Client::at(other(8), gateway.address(), SECRET).ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
    Client::at(other(9), gateway.address(), SECRET).ask(&request()).expect(Code::ACCESS_ACCEPT);
    Client::at(other(8), gateway.address(), SECRET).ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
    let mut learned = Client::at(other(9), gateway.address(), SECRET);
    is_dropped(&gateway, &mut learned, &request().unsigned(), "missing_message_authenticator");
}

#[test]
fn a_wrong_signature_is_dropped_whatever_the_client_must_send() {
    for require in ["yes", "no", "auto"] {
        let gateway = setup(require).start();
        let mut forger = Client::new(gateway.address(), "not-the-secret");
        is_dropped(&gateway, &mut forger, &request(), "bad_message_authenticator");
    }
}

#[test]
fn proxy_state_without_a_signature_is_dropped_unless_allowed() {
    let proxied = request().with(attribute::PROXY_STATE, b"\x00chosen by an attacker");
    let gateway = setup("no").start();
    let mut nas = gateway.nas();
    is_dropped(&gateway, &mut nas, &proxied.clone().unsigned(), "proxy_state_unprotected");
    let reply = nas.ask(&proxied).expect(Code::ACCESS_ACCEPT);
    assert_eq!(reply.all(attribute::PROXY_STATE), [b"\x00chosen by an attacker"]);

    let lax = setup("no").of_client(NAS, "limit_proxy_state", false).start();
    lax.nas().ask(&proxied.unsigned()).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn two_secrets_serve_at_once_until_the_old_one_is_removed() {
    let old = "the-secret-before-with-33-characters";
    let gateway = setup("no").secret("old", old).of_client(NAS, "previous_secret_file", "old").start();
    let (mut new, mut before) = (gateway.nas(), Client::new(gateway.address(), old));
    for _ in 0..2 {
        // The reply is signed with the secret of the request, or the client would not believe it.
        new.ask(&request()).expect(Code::ACCESS_ACCEPT);
        before.ask(&request()).expect(Code::ACCESS_ACCEPT);
        // Without a signature the password tells which secret it was.
        new.ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
        before.ask(&request().unsigned()).expect(Code::ACCESS_ACCEPT);
    }
    gateway.edit_config(|config| config.replace("previous_secret_file = \"old\"", ""));
    gateway.reload().unwrap();
    is_dropped(&gateway, &mut before, &request(), "bad_message_authenticator");
    new.ask(&request()).expect(Code::ACCESS_ACCEPT);
    // Under the wrong secret the password is noise; one check, one reject, which the old secret cannot verify.
    let sent = before.encode(&request().unsigned());
    before.send(&sent);
    eventually("it is refused", || (gateway.metrics().refused("wrong_password") == 1).then_some(()));
}
