//! Users are shut out at once: by an operator's order, at every node, or by an edit of the users file.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use serde_json::Value;
use std::time::Duration;
use tests::entra::{self, password, upn};
use tests::{Client, Gateway, Redis, Reply, Request, Setup, SoftToken, eventually};

const OFF: &str = "[[policies]]\nname = \"all\"\nsecond_factor = \"off\"\n";
const PASSWORD: &str = "wonderland";

fn order(gateway: &Gateway, arguments: &[&str]) -> (bool, Value) {
    let output = gateway.run(&[arguments, &["--json", "--config", "orthrus.toml"]].concat(), "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}")))
}

/// Locks `user`, and says how many attempts that ended.
fn lock(gateway: &Gateway, user: &str) -> u64 {
    let (well, answer) = order(gateway, &["lock", user]);
    assert!(well, "{answer}");
    answer["locked"]["ended"].as_u64().expect("the store was reached")
}

fn unlock(gateway: &Gateway, user: &str) {
    let (well, answer) = order(gateway, &["unlock", user]);
    assert!(well, "{answer}");
}

fn locked(gateway: &Gateway) -> Vec<String> {
    let (_, answer) = order(gateway, &["lock"]);
    let listed = answer["locks"]["locked"].as_array().expect("a list").iter();
    listed.map(|one| one["user"].as_str().expect("a name").to_owned()).collect()
}

fn ask(nas: &mut Client, user: &str) -> Reply {
    nas.ask(&Request::access(user).password(PASSWORD))
}

#[test]
fn locked_user_is_refused() {
    let setup = Setup::new().user("alice", PASSWORD).user("bob", PASSWORD).policies(OFF).set("audit.folder", "audit");
    let mut gateway = setup.start();
    let mut nas = gateway.nas();
    ask(&mut nas, "alice").expect(Code::ACCESS_ACCEPT);
    assert_eq!(lock(&gateway, "ALICE"), 0);
    let refused = ask(&mut nas, "Alice").expect(Code::ACCESS_REJECT);
    let wrong = nas.ask(&Request::access("bob").password("a guess")).expect(Code::ACCESS_REJECT);
    assert_eq!(refused.attributes(), wrong.attributes(), "it tells nothing");
    ask(&mut nas, "bob").expect(Code::ACCESS_ACCEPT);
    assert_eq!(gateway.metrics().refused("locked_by_operator"), 1);
    // Nobody is unlocked by a death of the node.
    gateway.kill();
    gateway.start_again();
    let mut nas = gateway.nas();
    assert_eq!(locked(&gateway), ["alice"]);
    ask(&mut nas, "alice").expect(Code::ACCESS_REJECT);
    unlock(&gateway, "alice");
    ask(&mut nas, "alice").expect(Code::ACCESS_ACCEPT);
    assert!(locked(&gateway).is_empty());
    let audit = std::fs::read_to_string(gateway.path("audit").join("audit.jsonl")).expect("there is an audit");
    for command in ["lock user=ALICE", "unlock user=alice"] {
        assert!(audit.contains(command), "{command}: {audit}");
    }
}

#[test]
fn password_that_is_being_looked_at_opens_nothing() {
    let gateway = Setup::new().slow_user("slow", "m=65536,t=40,p=1").policies(OFF).start();
    let mut nas = gateway.nas();
    let sent = nas.encode(&Request::access("slow").password(PASSWORD));
    nas.send(&sent);
    gateway.await_metrics("it is looked at", |metrics| metrics.count("orthrus_requests_in_progress", &[]) == 1);
    lock(&gateway, "slow");
    nas.await_reply(&sent, Duration::from_secs(20)).expect("it is refused").expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("locked_by_operator"), 1);
}

#[test]
fn open_challenge_ends() {
    let token = SoftToken::hotp("alice");
    let gateway = Setup::new().user("alice", PASSWORD).token(&token).start();
    let mut nas = gateway.nas();
    let challenge = ask(&mut nas, "alice").expect(Code::ACCESS_CHALLENGE);
    assert_eq!(lock(&gateway, "alice"), 1);
    let answer = |code: &str, to: &Reply| Request::access("alice").password(code).state(to);
    nas.ask(&answer(&token.code(0), &challenge)).expect(Code::ACCESS_REJECT);
    unlock(&gateway, "alice");
    nas.ask(&answer(&token.code(0), &challenge)).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("challenge_burnt"), 1);
    let challenge = ask(&mut nas, "alice").expect(Code::ACCESS_CHALLENGE);
    nas.ask(&answer(&token.code(0), &challenge)).expect(Code::ACCESS_ACCEPT);
}

/// The disk may be full when somebody is to be shut out.
#[test]
fn disk_that_fails_leaves_nothing_open() {
    let token = SoftToken::hotp("alice");
    let gateway = Setup::new().user("alice", PASSWORD).token(&token).start();
    let mut nas = gateway.nas();
    let challenge = ask(&mut nas, "alice").expect(Code::ACCESS_CHALLENGE);
    // The new file cannot be made.
    std::fs::create_dir(gateway.path("state").join("locked-users.new")).expect("the folder is ours");
    let output = gateway.run(&["lock", "alice", "--config", "orthrus.toml"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("alice is locked, but state_dir cannot be written"), "{said}");
    // Unlocked again, so that only what was open is shut.
    gateway.run(&["unlock", "alice", "--config", "orthrus.toml"], "");
    nas.ask(&Request::access("alice").password(&token.code(0)).state(&challenge)).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("challenge_burnt"), 1);
}

#[test]
fn prompt_that_is_out_ends() {
    let cloud = Cloud::start(Settings::default());
    let gateway = entra::setup(&cloud, &["manual"]).start();
    let mut nas = gateway.nas();
    let sent = nas.encode(&password("manual"));
    nas.send(&sent);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    assert_eq!(lock(&gateway, &upn("manual")), 1);
    nas.await_reply(&sent, Duration::from_secs(15)).expect("it is refused at once").expect(Code::ACCESS_REJECT);
    cloud.person(&upn("manual")).approve();
    nas.ask(&password("manual")).expect(Code::ACCESS_REJECT);
    assert_eq!((gateway.metrics().refused("locked_by_operator"), cloud.prompts(&upn("manual"))), (2, 1));
}

#[test]
fn redis_other_nodes_follow() {
    let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
    let start = |node: &str| entra::setup(&cloud, &["manual"]).sharing(&redis, node).start();
    let (a, b) = (start("a"), start("b"));
    let mut nas = a.nas();
    let sent = nas.encode(&password("manual"));
    nas.send(&sent);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    // At the node that neither has the packet nor drives the prompt.
    assert_eq!(lock(&b, &upn("manual")), 1);
    nas.await_reply(&sent, Duration::from_secs(15)).expect("it is refused at once").expect(Code::ACCESS_REJECT);
    cloud.person(&upn("manual")).approve();
    eventually("node a knows", || (locked(&a) == [upn("manual")]).then_some(()));
    nas.ask(&password("manual")).expect(Code::ACCESS_REJECT);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
    // Who comes later knows it too, and a store that was emptied is told again.
    redis.cli(&["FLUSHALL"]);
    let c = start("c");
    eventually("node c knows", || (locked(&c) == [upn("manual")]).then_some(()));
    unlock(&c, &upn("manual"));
    eventually("all follow", || (locked(&a).is_empty() && locked(&b).is_empty()).then_some(()));
}

#[test]
fn redis_lost_store_is_told() {
    let mut redis = Redis::start();
    let start = |node: &str| Setup::new().user("alice", PASSWORD).policies(OFF).sharing(&redis, node).start();
    let (a, b) = (start("a"), start("b"));
    redis.kill();
    a.await_metrics("it is missed", |metrics| metrics.count("orthrus_store_lost", &[]) == 1);
    let (well, answer) = order(&a, &["lock", "alice"]);
    assert!(!well && answer["locked"]["ended"].is_null(), "{answer}");
    ask(&mut a.nas(), "alice").expect(Code::ACCESS_REJECT);
    redis.start_again();
    eventually("node b follows", || (locked(&b) == ["alice"]).then_some(()));
    ask(&mut b.nas(), "alice").expect(Code::ACCESS_REJECT);
}

#[test]
fn disabled_user_answers_no_challenge() {
    let (alice, bob) = (SoftToken::hotp("alice"), SoftToken::hotp("bob"));
    let setup = Setup::new().user("alice", PASSWORD).user("bob", PASSWORD).token(&alice).token(&bob);
    let gateway = setup.start();
    let mut nas = gateway.nas();
    let [of_alice, of_bob] = ["alice", "bob"].map(|user| ask(&mut nas, user).expect(Code::ACCESS_CHALLENGE));
    let entry =
        |user: &str, more: &str| format!("[[users]]\nname = \"{user}\"\npassword_plain = \"{PASSWORD}\"\n{more}");
    gateway.write("users", &(entry("alice", "disabled = true\n") + &entry("bob", "")));
    gateway.await_log("may no longer sign in");
    let mut answer =
        |token: &SoftToken, user: &str, to: &Reply| nas.ask(&Request::access(user).password(&token.code(0)).state(to));
    answer(&alice, "alice", &of_alice).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("challenge_burnt"), 1);
    answer(&bob, "bob", &of_bob).expect(Code::ACCESS_ACCEPT);
}
