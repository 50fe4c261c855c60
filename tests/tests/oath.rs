//! Codes of local tokens: TOTP and HOTP, each code once, also across crashes and lost memory (DESIGN A5).

use gateway_core::radius::Code;
use tests::{Client, Gateway, Reply, Request, Setup, SoftToken};

const PASSWORD: &str = "correct horse";

/// Without `repeat_window`, so that the same user can sign in again at once.
fn setup(token: &SoftToken) -> Setup {
    Setup::new().user(token.user(), PASSWORD).token(token).set("attempts.repeat_window", "0s")
}

fn challenge(nas: &mut Client, user: &str) -> Reply {
    nas.ask(&Request::access(user).password(PASSWORD)).expect(Code::ACCESS_CHALLENGE)
}

/// A whole sign-in with a code that must not count. Returns what the metrics call the cause.
fn refused(gateway: &Gateway, user: &str, code: &str, reason: &str) {
    let judged = || gateway.metrics().count("orthrus_mfa_requests_total", &[("provider", "code"), ("result", reason)]);
    let before = judged();
    gateway.nas().sign_in(user, PASSWORD, code).expect(Code::ACCESS_CHALLENGE);
    assert_eq!(judged(), before + 1, "refused for {reason}");
}

#[test]
fn a_time_based_code_counts_once_also_after_a_crash() {
    let token = SoftToken::totp("alice");
    let mut gateway = setup(&token).start();
    let code = token.code_now();
    gateway.nas().sign_in("alice", PASSWORD, &code).expect(Code::ACCESS_ACCEPT);
    refused(&gateway, "alice", &code, "code_replayed");
    gateway.kill();
    gateway.start_again();
    refused(&gateway, "alice", &code, "code_replayed");
}

#[test]
fn a_counter_based_code_counts_once_also_after_a_crash() {
    let token = SoftToken::hotp("alice");
    let mut gateway = setup(&token).start();
    let mut nas = gateway.nas();
    nas.sign_in("alice", PASSWORD, &token.code(0)).expect(Code::ACCESS_ACCEPT);
    nas.sign_in("alice", PASSWORD, &token.code(1)).expect(Code::ACCESS_ACCEPT);
    refused(&gateway, "alice", &token.code(1), "code_replayed");
    gateway.kill();
    gateway.start_again();
    refused(&gateway, "alice", &token.code(0), "code_replayed");
    refused(&gateway, "alice", &token.code(1), "code_replayed");
    // A button pressed in a pocket: codes may be skipped, and then do not come back.
    nas.sign_in("alice", PASSWORD, &token.code(4)).expect(Code::ACCESS_ACCEPT);
    refused(&gateway, "alice", &token.code(3), "code_replayed");
}

#[test]
fn codes_of_other_times_and_other_people_are_wrong() {
    let (alice, bob) = (SoftToken::totp("alice"), SoftToken::totp("bob"));
    let gateway = setup(&alice).user("bob", PASSWORD).token(&bob).set("attempts.tries", 9).start();
    let step = tests::token::now().as_secs() / 30;
    refused(&gateway, "alice", &alice.code(step - 20), "wrong_code");
    refused(&gateway, "alice", &bob.code(step), "wrong_code");
    for nonsense in ["", "12345", "1234567", "abcdef", "\u{0}\u{ff}"] {
        refused(&gateway, "bob", nonsense, "wrong_code");
    }
}

#[test]
fn each_try_has_a_state_of_its_own_and_the_last_one_ends_it() {
    let token = SoftToken::hotp("alice");
    let gateway = setup(&token).start();
    let mut nas = gateway.nas();
    let answer = |code: &str, challenge: &Reply| Request::access("alice").password(code).state(challenge);
    let first = challenge(&mut nas, "alice");
    let second = nas.ask(&answer(&token.wrong_code(0), &first)).expect(Code::ACCESS_CHALLENGE);
    assert_ne!(first.state(), second.state());
    assert_eq!(second.message(), "That code was not right. Enter the next code:");
    nas.ask(&answer(&token.code(0), &first)).expect(Code::ACCESS_REJECT);
    let third = nas.ask(&answer(&token.wrong_code(0), &second)).expect(Code::ACCESS_CHALLENGE);
    let reject = nas.ask(&answer(&token.wrong_code(0), &third)).expect(Code::ACCESS_REJECT);
    assert_eq!(reject.message(), "Sign-in refused.");
    assert_eq!(gateway.metrics().refused("tries_spent"), 1);
    // The right code under the spent State: too late.
    nas.ask(&answer(&token.code(0), &third)).expect(Code::ACCESS_REJECT);
    nas.sign_in("alice", PASSWORD, &token.code(0)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn guessing_ends_for_the_user_who_is_guessed_at() {
    let token = SoftToken::hotp("alice");
    let limits = |setup: Setup| setup.set("limits.wrong_codes", 4).set("attempts.tries", 2);
    let gateway = limits(setup(&token)).user("bob", PASSWORD).token(&SoftToken::hotp("bob")).start();
    let mut nas = gateway.nas();
    for _ in 0..2 {
        let first = challenge(&mut nas, "alice");
        let wrong = Request::access("alice").password(&token.wrong_code(0));
        let second = nas.ask(&wrong.clone().state(&first)).expect(Code::ACCESS_CHALLENGE);
        nas.ask(&wrong.state(&second)).expect(Code::ACCESS_REJECT);
    }
    nas.ask(&Request::access("alice").password(PASSWORD)).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("too_many_wrong_codes"), 1);
    nas.sign_in("bob", PASSWORD, &SoftToken::hotp("bob").code(0)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_node_that_lost_its_memory_refuses_codes_that_could_have_been_used() {
    let now = tests::token::now().as_secs();
    let (time, counter) = (SoftToken::totp("alice"), SoftToken::hotp("bob"));
    let gateway = setup(&time).user("bob", PASSWORD).token(&counter).without_memory().start();
    refused(&gateway, "alice", &time.code(now / 30), "code_memory_lost");
    refused(&gateway, "bob", &counter.code(0), "code_memory_lost");
}

#[test]
fn a_node_whose_state_dir_was_wiped_refuses_the_code_that_it_took_before() {
    let token = SoftToken::totp("alice");
    let mut gateway = setup(&token).start();
    let code = token.code_now();
    gateway.nas().sign_in("alice", PASSWORD, &code).expect(Code::ACCESS_ACCEPT);
    gateway.kill();
    std::fs::remove_dir_all(gateway.path("state")).unwrap();
    gateway.start_again();
    refused(&gateway, "alice", &code, "code_memory_lost");
}

#[test]
fn oathtool_makes_codes_of_a_token_that_orthrus_user_enrolled() {
    let gateway = Setup::new().start();
    let run = |arguments: &[&str], input: &str| {
        let output = gateway.run(&[&["user", "--config", "orthrus.toml"], arguments].concat(), input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["add", "carol", "--password-stdin"], "s3cret phrase\n");
    let shown = run(&["totp", "carol"], "");
    let uri = shown.lines().find(|line| line.starts_with("otpauth://totp/")).expect("the URI is shown");
    let secret = uri.split(['?', '&']).find_map(|part| part.strip_prefix("secret=")).expect("it holds the secret");
    let code = std::process::Command::new("oathtool").args(["--totp", "--base32", secret]).output();
    let code = code.unwrap_or_else(|error| panic!("oathtool: {error}; tests/run installs it"));
    let code = String::from_utf8(code.stdout).unwrap();

    let mut nas = gateway.nas();
    // The gateway takes up both files by itself.
    let challenge = tests::eventually("carol may sign in", || {
        let reply = nas.ask(&Request::access("carol").password("s3cret phrase"));
        (reply.code() == Code::ACCESS_CHALLENGE).then_some(reply)
    });
    nas.ask(&Request::access("carol").password(code.trim()).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}
