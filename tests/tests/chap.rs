//! CHAP, MS-CHAPv2 and password changes, asked for by programs and arithmetic that are not ours.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use serde_json::{Value, json};
use tests::entra::{setup, upn};
use tests::mschap::{self, Asked};
use tests::radclient::sign_in;
use tests::{Gateway, NAS, Setup, SoftToken, eventually};

const OFF: &str = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\nreply = { Class = \"staff\" }\n";

/// Nobody needs a second factor, and users bring the forms of passwords that MS-CHAPv2 needs.
fn open() -> Setup {
    Setup::new().policies(OFF).of_first_factor("allow_nt_hashes", true)
}

fn mschapv2(gateway: &Gateway, user: &str, password: &str) -> Value {
    start(gateway, user, password, json!({})).told()
}

fn start(gateway: &Gateway, user: &str, password: &str, more: Value) -> Asked {
    let mut request = json!({ "protocol": "mschapv2", "user": user, "password": password, "station": "laptop" });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    mschap::ask(gateway.address(), &request)
}

fn change(gateway: &Gateway, user: &str, old: &str, new: &str) -> Value {
    start(gateway, user, old, json!({ "new_password": new })).told()
}

#[track_caller]
fn assert_accepted(told: &Value) {
    assert_eq!(told["code"], u8::from(Code::ACCESS_ACCEPT), "{told}");
    assert_eq!(told["success"], true, "MS-CHAP2-Success proves that we know the password: {told}");
    assert_eq!(told["identifier"], 77, "the identifier is the client's");
    assert_eq!(told["keys"], json!([true, true]), "the keys are those that the client derives");
    assert_eq!(told["salts"], true, "two salts, both with the first bit set");
    assert_eq!(told["encryption"], json!([1, 4]), "allowed, 128 bits");
}

#[track_caller]
fn assert_refused(told: &Value, error: &str) {
    assert_eq!(told["code"], u8::from(Code::ACCESS_REJECT), "{told}");
    assert_eq!(told["error"]["identifier"], 77);
    let text = told["error"]["text"].as_str().unwrap();
    assert!(text.starts_with(error) && text.contains(" C=") && text.contains(" V=3"), "{told}");
    assert!(told.get("keys").is_none() && told.get("success").is_none(), "{told}");
}

#[test]
fn radclient_chap_is_accepted_and_refused() {
    let gateway = open().user("alice", "correct horse").start();
    let accept = sign_in(gateway.address(), &["User-Name = alice", "CHAP-Password = \"correct horse\""]);
    assert_eq!(
        (accept.reply(), accept.value("Class")),
        (Some("Access-Accept"), Some("0x7374616666")),
        "{}",
        accept.text
    );
    let reject = sign_in(gateway.address(), &["User-Name = alice", "CHAP-Password = wrong"]);
    assert_eq!(reject.reply(), Some("Access-Reject"), "{}", reject.text);
    assert_eq!(gateway.await_sign_in_lines(2)[1]["reason"], "wrong_password");
}

#[test]
fn pyrad_chap_with_a_challenge_of_its_own() {
    let gateway = open().user("alice", "correct horse").start();
    let ask = |password: &str| {
        let request = json!({ "protocol": "chap", "user": "alice", "password": password });
        mschap::ask(gateway.address(), &request).told()["code"].clone()
    };
    assert_eq!(ask("correct horse"), u8::from(Code::ACCESS_ACCEPT));
    assert_eq!(ask("correct Horse"), u8::from(Code::ACCESS_REJECT));
}

#[test]
fn pyrad_mschapv2_proves_both_sides_and_gives_keys() {
    let gateway = open()
        .user("alice", "correct horse")
        .users("[[users]]\nname = \"bob\"\nnt_hash = \"44ebba8d5312b8d611474411f56989ae\"\n")
        .start();
    assert_accepted(&mschapv2(&gateway, "alice", "correct horse"));
    assert_accepted(&mschapv2(&gateway, "bob", "clientPass"));
    assert_refused(&mschapv2(&gateway, "bob", "clientpass"), "E=691 R=1 ");
    assert_refused(&mschapv2(&gateway, "mallory", "clientPass"), "E=691 R=1 ");
    let pap = sign_in(gateway.address(), &["User-Name = bob", "User-Password = clientPass"]);
    assert_eq!(pap.reply(), Some("Access-Accept"), "{}", pap.text);
}

#[test]
fn pyrad_mschapv2_says_why_to_who_knows_the_password() {
    let user = |name: &str, rest: &str| format!("[[users]]\nname = \"{name}\"\npassword_plain = \"right\"\n{rest}\n");
    let gateway = open()
        .users(&user("disabled", "disabled = true"))
        .users(&user("locked", "locked = true"))
        .users(&user("expired", "password_expires = \"2020-01-01T00:00Z\""))
        .users(&user("asleep", "logon_hours = [\"Mon 00:00-00:01 UTC\"]"))
        .users("[[users]]\nname = \"hashed\"\npassword = \"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\"\n")
        .start();
    for (name, error, reason) in [
        ("disabled", "E=647 R=0 ", "user_disabled"),
        ("locked", "E=647 R=0 ", "user_locked"),
        ("expired", "E=648 R=0 ", "password_expired"),
        ("asleep", "E=646 R=0 ", "outside_logon_hours"),
        ("hashed", "E=691 R=1 ", "no_secret_for_protocol"),
    ] {
        assert_refused(&mschapv2(&gateway, name, "right"), error);
        gateway.await_log(&format!("\"reason\":\"{reason}\""));
        assert_refused(&mschapv2(&gateway, name, "guess"), "E=691 R=1 ");
    }
}

#[test]
fn pyrad_mschapv2_cannot_carry_a_code_and_says_so() {
    let gateway = Setup::new().user("alice", "correct horse").token(&SoftToken::totp("alice")).start();
    let told = mschapv2(&gateway, "alice", "correct horse");
    assert_refused(&told, "E=691 R=1 ");
    assert!(told["message"].as_str().unwrap().starts_with("This connection cannot ask for your code."), "{told}");
    gateway.await_log("\"reason\":\"protocol_without_code\"");
}

#[test]
fn pyrad_mschapv2_who_joins_a_prompt_gets_keys_of_its_own() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["manual"]).start();
    let first = start(&gateway, "manual", "correct horse", json!({ "patience": 30, "id": 1 }));
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    let second = start(&gateway, "manual", "correct horse", json!({ "patience": 30, "id": 2 }));
    gateway.await_metrics("it joins", |metrics| {
        metrics.count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]) == 1
    });
    cloud.person(&upn("manual")).approve();
    assert_accepted(&second.told());
    assert_eq!(cloud.prompts(&upn("manual")), 1);
    drop(first);
}

#[test]
fn pyrad_a_password_is_changed_by_who_knows_the_old_one() {
    let hash = "44ebba8d5312b8d611474411f56989ae";
    let gateway = open()
        .of_first_factor("change_passwords", true)
        .users(&format!(
            "# People\n[[users]]\nname = \"alice\" # sales\npassword = \"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\"\n\
             nt_hash = \"{hash}\"\npassword_expires = \"2020-01-01T00:00Z\"\n"
        ))
        .user("bob", "pass")
        .start();
    assert_refused(&mschapv2(&gateway, "alice", "clientPass"), "E=648 R=0 ");
    assert_refused(&change(&gateway, "alice", "clientpass", "a new password"), "E=691 R=1 ");
    assert_refused(&change(&gateway, "alice", "clientPass", "short"), "E=709 R=0 ");
    assert_refused(&change(&gateway, "alice", "clientPass", "clientPass"), "E=648 R=0 ");
    let before = std::fs::read_to_string(gateway.path("users")).unwrap();
    assert!(before.contains(hash), "nothing was changed so far");

    assert_accepted(&change(&gateway, "alice", "clientPass", "a new password"));
    let after = std::fs::read_to_string(gateway.path("users")).unwrap();
    assert!(!after.contains(hash) && !after.contains("password_expires") && after.contains("# sales"), "{after}");
    assert_accepted(&mschapv2(&gateway, "alice", "a new password"));
    assert_refused(&mschapv2(&gateway, "alice", "clientPass"), "E=691 R=1 ");
    let pap = sign_in(gateway.address(), &["User-Name = alice", "User-Password = \"a new password\""]);
    assert_eq!(pap.reply(), Some("Access-Accept"), "{}", pap.text);
    assert_accepted(&change(&gateway, "bob", "pass", "a new password"));
    let metrics = gateway.metrics();
    let changed = [("first_factor", "staff"), ("result", "changed")];
    assert_eq!(metrics.count("orthrus_password_changes_total", &changed), 2);
}

#[test]
fn pyrad_a_password_is_not_changed_where_that_is_not_allowed_or_cannot_be() {
    let gateway = open().user("bob", "pass").start();
    assert_refused(&change(&gateway, "bob", "pass", "a new password"), "E=709 R=0 ");
    assert_accepted(&mschapv2(&gateway, "bob", "pass"));

    let gateway = open().of_first_factor("change_passwords", true).user("bob", "pass").start();
    // Somebody has reset the password, and the gateway has not read it yet, or the file is gone.
    let users = gateway.path("users");
    std::fs::remove_file(&users).unwrap();
    assert_refused(&change(&gateway, "bob", "pass", "a new password"), "E=709 R=0 ");
    gateway.await_log("\"error\":\"");
    assert!(!users.exists(), "no file is made up");
}

#[test]
fn pyrad_a_second_factor_comes_before_the_change() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["approve", "deny"]).of_first_factor("change_passwords", true).start();
    assert_refused(&change(&gateway, "deny", "correct horse", "a new password"), "E=691 R=1 ");
    assert_accepted(&change(&gateway, "approve", "correct horse", "a new password"));
    let users = std::fs::read_to_string(gateway.path("users")).unwrap();
    assert_eq!(users.matches("a new password").count(), 1, "{users}");
}

#[test]
fn radclient_brings_password_and_code_in_one_line() {
    let token = SoftToken::totp("alice");
    let gateway = Setup::new()
        .of_client(NAS, "challenge", false)
        .of_client(NAS, "appended_code", "after")
        .user("alice", "correct, horse")
        .token(&token)
        .start();
    let ask = |line: &str| {
        let password = format!("User-Password = \"{line}\"");
        sign_in(gateway.address(), &["User-Name = alice", "Calling-Station-Id = laptop", &password])
    };
    let wrong = ask("correct, horse,000000");
    assert_eq!(wrong.reply(), Some("Access-Reject"), "{}", wrong.text);
    gateway.await_log("\"reason\":\"wrong_code\"");
    let without = ask("correct, horse");
    assert_eq!(without.reply(), Some("Access-Reject"), "{}", without.text);
    gateway.await_log("\"reason\":\"challenge_impossible\"");
    let accept = ask(&format!("correct, horse,{}", token.code_now()));
    assert_eq!(accept.reply(), Some("Access-Accept"), "{}", accept.text);
}

#[test]
fn radclient_chooses_a_push_or_a_text_message_in_the_line() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["pushtotp", "sms"])
        .of_client(NAS, "challenge", false)
        .of_client(NAS, "appended_code", "before")
        .of_client(NAS, "appended_code_separator", "/")
        .start();
    let ask = |user: &str, line: &str| {
        let (user, line) = (format!("User-Name = {user}"), format!("User-Password = \"{line}\""));
        sign_in(gateway.address(), &[&user, "Calling-Station-Id = laptop", &line])
    };
    let push = ask("pushtotp", "push/correct horse");
    assert_eq!(push.reply(), Some("Access-Accept"), "{}", push.text);
    let sent = ask("sms", "sms/correct horse");
    assert_eq!(sent.reply(), Some("Access-Reject"), "{}", sent.text);
    assert!(sent.value("Reply-Message").unwrap().contains("A code is on its way to you."), "{}", sent.text);
    let code = cloud.person(&upn("sms")).sms_code();
    let accept = ask("sms", &format!("{code}/correct horse"));
    assert_eq!(accept.reply(), Some("Access-Accept"), "{}", accept.text);
    assert_eq!(cloud.prompts(&upn("sms")), 1);
}
