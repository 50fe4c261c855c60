//! Real `radclient` (FreeRADIUS) against a real gateway: what an operator tries first.

use tests::radclient::{radclient, sign_in};
use tests::{NAS, SECRET, Setup, SoftToken};

fn setup() -> Setup {
    Setup::new()
        .user_in("alice", "correct horse", &["staff"])
        .user_in("robot", "no second factor", &["robots"])
        .token(&SoftToken::totp("alice"))
        .policies(
            r#"
            [[policies]]
            name = "robots"
            groups = ["robots"]
            second_factor = "off"
            reply = { Class = "robots", Filter-Id = ["lab", "printers"], Session-Timeout = "600" }
            [[policies]]
            name = "staff"
            reply = { Class = "staff", Framed-IP-Address = "10.9.8.7", Cisco-AVPair = "shell:priv-lvl=1" }
            "#,
        )
}

#[test]
fn radclient_gets_an_accept_with_the_attributes_of_the_policy() {
    let gateway = setup().start();
    let printed = sign_in(gateway.address(), &["User-Name = robot", "User-Password = \"no second factor\""]);
    assert_eq!(printed.reply(), Some("Access-Accept"), "{}", printed.text);
    assert!(printed.success);
    assert_eq!(printed.value("Class"), Some("0x726f626f7473"), "{}", printed.text);
    assert_eq!(printed.value("Session-Timeout"), Some("600"));
    assert!(printed.text.contains("Filter-Id = \"lab\"") && printed.text.contains("Filter-Id = \"printers\""));
}

#[test]
fn radclient_gets_a_reject_for_a_wrong_password_and_for_an_unknown_user() {
    let gateway = setup().start();
    for user in ["robot", "nobody"] {
        let printed = sign_in(gateway.address(), &[&format!("User-Name = {user}"), "User-Password = wrong"]);
        assert_eq!(printed.reply(), Some("Access-Reject"), "{}", printed.text);
        assert!(!printed.success);
        assert_eq!(printed.value("Reply-Message"), Some("\"Sign-in refused.\""), "the same words for every cause");
        assert_eq!(printed.value("Class"), None);
    }
    let metrics = gateway.metrics();
    assert_eq!((metrics.refused("wrong_password"), metrics.refused("unknown_user")), (1, 1));
}

#[test]
fn radclient_answers_a_challenge_and_gets_the_attributes_of_the_policy() {
    let gateway = setup().start();
    let password = ["User-Name = alice", "User-Password = \"correct horse\""];
    let challenge = sign_in(gateway.address(), &password);
    assert_eq!(challenge.reply(), Some("Access-Challenge"), "{}", challenge.text);
    assert_eq!(challenge.value("Reply-Message"), Some("\"Enter the code from your authenticator app:\""));
    assert_eq!(challenge.value("Class"), None, "a challenge gives nothing away that a careless NAS could use");
    let state = challenge.value("State").expect("a challenge has a State").to_owned();

    let code = SoftToken::totp("alice").code_now();
    let answer = ["User-Name = alice".to_owned(), format!("User-Password = {code}"), format!("State = {state}")];
    let accept = sign_in(gateway.address(), &answer.each_ref().map(String::as_str));
    assert_eq!(accept.reply(), Some("Access-Accept"), "{}", accept.text);
    assert_eq!(accept.value("Class"), Some("0x7374616666"));
    assert_eq!(accept.value("Framed-IP-Address"), Some("10.9.8.7"));
    assert_eq!(accept.value("Cisco-AVPair"), Some("\"shell:priv-lvl=1\""));
}

#[test]
fn radclient_is_told_by_status_server_that_the_gateway_lives() {
    let gateway = setup().start();
    let printed = radclient(gateway.address(), "status", SECRET, &["Message-Authenticator = 0x00"]);
    assert_eq!(printed.reply(), Some("Access-Accept"), "{}", printed.text);
    assert_eq!(gateway.metrics().ended("accept"), 0, "it is no sign-in");
}

#[test]
fn radclient_with_a_wrong_secret_gets_nothing() {
    let gateway = setup().start();
    let attributes = ["User-Name = robot", "User-Password = \"no second factor\"", "Message-Authenticator = 0x00"];
    let printed = radclient(gateway.address(), "auth", "not-the-secret", &attributes);
    assert_eq!(printed.reply(), None, "{}", printed.text);
    gateway.await_dropped("bad_message_authenticator", 1);
}

#[test]
fn radclient_without_message_authenticator_is_dropped_unless_its_client_may() {
    let unsigned = ["User-Name = robot", "User-Password = \"no second factor\""];
    let strict = setup().start();
    let printed = radclient(strict.address(), "auth", SECRET, &unsigned);
    assert_eq!(printed.reply(), None, "{}", printed.text);
    strict.await_dropped("missing_message_authenticator", 1);

    let lax = setup().of_client(NAS, "require_message_authenticator", "no").start();
    let printed = radclient(lax.address(), "auth", SECRET, &unsigned);
    assert_eq!(printed.reply(), Some("Access-Accept"), "{}", printed.text);
}
