//! pyrad as a second, independent client: it shares no code with us or with FreeRADIUS, and checks our signatures.

use gateway_core::radius::Code;
use serde_json::{Value, json};
use tests::{Gateway, SECRET, Setup, SoftToken, pyrad};

fn gateway() -> Gateway {
    Setup::new().user("alice", "correct horse").token(&SoftToken::totp("alice")).start()
}

fn ask(gateway: &Gateway, request: &Value) -> Value {
    let reply = pyrad::ask(gateway.address(), SECRET, request);
    assert_eq!(reply["verified"], true, "the Message-Authenticator of {reply}");
    reply
}

#[test]
fn pyrad_signs_in_by_password_and_code() {
    let gateway = gateway();
    let challenge = ask(&gateway, &json!({ "User-Name": "alice", "User-Password": "correct horse" }));
    assert_eq!(challenge["code"], u8::from(Code::ACCESS_CHALLENGE));
    assert_eq!(challenge["attributes"]["Reply-Message"][0], "Enter the code from your authenticator app:");
    let answer = json!({
        "User-Name": "alice",
        "User-Password": SoftToken::totp("alice").code_now(),
        "State": challenge["attributes"]["State"][0],
    });
    let accept = ask(&gateway, &answer);
    assert_eq!(accept["code"], u8::from(Code::ACCESS_ACCEPT), "{accept}");
    assert_eq!(accept["attributes"]["Class"][0], "7374616666");
    assert_eq!(accept["attributes"]["Session-Timeout"][0], 3600);
}

#[test]
fn pyrad_gets_an_accept_by_password_alone_where_the_policy_says_so() {
    let policy = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\nreply = { Class = \"staff\" }\n";
    let gateway = Setup::new().user("alice", "correct horse").policies(policy).start();
    let accept = ask(&gateway, &json!({ "User-Name": "alice", "User-Password": "correct horse" }));
    assert_eq!(accept["code"], u8::from(Code::ACCESS_ACCEPT), "{accept}");
    assert_eq!(accept["attributes"]["Class"][0], "7374616666");
}

#[test]
fn pyrad_gets_a_reject_for_a_wrong_password() {
    let gateway = gateway();
    let reject = ask(&gateway, &json!({ "User-Name": "alice", "User-Password": "wrong" }));
    assert_eq!(reject["code"], u8::from(Code::ACCESS_REJECT));
    assert_eq!(reject["attributes"]["Reply-Message"][0], "Sign-in refused.");
}

#[test]
fn pyrad_gets_every_proxy_state_back_untouched_and_in_order() {
    let gateway = gateway();
    let proxies = json!(["00ff10", "626568696e64", "00ff10"]);
    for password in ["wrong", "correct horse"] {
        let request = json!({ "User-Name": "alice", "User-Password": password, "Proxy-State": proxies });
        assert_eq!(ask(&gateway, &request)["attributes"]["Proxy-State"], proxies, "{password}");
    }
}
