//! Nodes that share a Redis share the sessions that accounting reports: one node hears the Start and another the Stop, each
//! counts for `max_sessions`, and any of them can end a session.

use gateway_core::radius::{Code, attribute};
use std::net::SocketAddr;
use tests::accounting::{INTERIM, ON, START, STOP, listens, nas, records};
use tests::dae::{DaeNas, Manner};
use tests::sentinel::Sentinels;
use tests::{Gateway, NAS, Redis, Request, SECRET, Setup, eventually};
use toml::Table;

const ALONE: &str = "[[policies]]\nname = \"all\"\nsecond_factor = \"off\"\n";

struct Node {
    gateway: Gateway,
    accounting: SocketAddr,
}

fn node(redis: &Redis, name: &str, dae_port: u16) -> Node {
    node_with(|setup| setup.sharing(redis, name), dae_port)
}

fn node_with(shares: impl Fn(Setup) -> Setup, dae_port: u16) -> Node {
    let mut dae = Table::new();
    dae.insert("port".into(), i64::from(dae_port).into());
    let setup = Setup::new().user("alice", "wonderland").policies(ALONE);
    let setup = shares(setup).of_client(NAS, "dynamic_authorization", dae).set("accounting.max_sessions", 1);
    let (setup, accounting) = listens(setup.set("accounting.folder", "accounting"));
    Node { gateway: setup.start(), accounting }
}

impl Node {
    fn told(&self, status: u32, session: &str) {
        let report = Request::accounting(status, session).with(attribute::USER_NAME, b"alice");
        nas(self.accounting).ask(&report).expect(Code::ACCOUNTING_RESPONSE);
    }

    fn knows(&self, sessions: u64) {
        self.gateway.await_metrics("it knows the sessions of all", |metrics| {
            metrics.count("orthrus_accounting_sessions", &[]) == sessions
        });
    }

    fn heard(&self) -> u64 {
        self.gateway.metrics().count("orthrus_accounting_sessions_heard_total", &[])
    }

    fn lets_in(&self) -> bool {
        self.gateway.nas().ask(&Request::access("Alice").password("wonderland")).code() == Code::ACCESS_ACCEPT
    }
}

#[test]
fn redis_a_session_that_one_node_was_told_of_counts_at_all_and_any_other_may_end_it() {
    let redis = Redis::start();
    let phone = DaeNas::start(SECRET, Manner::Obeys);
    let (a, b) = (node(&redis, "a", phone.port()), node(&redis, "b", phone.port()));
    assert!(a.lets_in() && b.lets_in());
    phone.begin(a.accounting, "Alice", "s-1");
    b.knows(1);
    assert!(!b.lets_in() && !a.lets_in());
    assert_eq!(b.gateway.metrics().refused("session_limit"), 1);
    let output = b.gateway.run(&["disconnect", "--user", "alice", "--config", "orthrus.toml"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!phone.has("s-1"));
    // The Stop goes to the one, and the Interim-Update that it overtook to the other.
    b.told(STOP, "s-1");
    a.told(INTERIM, "s-1");
    a.knows(0);
    b.knows(0);
    assert!(a.lets_in() && b.lets_in());
    a.told(START, "s-2");
    b.knows(1);
    b.told(ON, "boot");
    a.knows(0);
    assert!(a.heard() >= 2, "{}", a.heard());
}

#[test]
fn redis_sessions_outlive_a_node_and_the_store() {
    let mut redis = Redis::start();
    let (mut a, mut b) = (node(&redis, "a", 3799), node(&redis, "b", 3799));
    a.told(START, "s-1");
    b.knows(1);
    // Its disk is gone with it.
    b.gateway.kill();
    std::fs::remove_dir_all(b.gateway.path("accounting")).unwrap();
    a.told(STOP, "s-1");
    a.told(START, "s-2");
    b.gateway.start_again();
    b.knows(1);
    assert!(!b.lets_in());
    // It comes back empty, and meanwhile a session ends and another begins.
    redis.kill();
    a.gateway.await_metrics("it is lost", |metrics| metrics.count("orthrus_store_lost", &[]) == 1);
    a.told(STOP, "s-2");
    a.told(START, "s-3");
    redis.start_again();
    redis.cli(&["FLUSHALL"]);
    eventually("it has heard of both", || {
        let output = b.gateway.run(&["sessions", "--config", "orthrus.toml"], "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.contains("s-3") && !text.contains("s-2")).then_some(())
    });
    // What is told last, when a node goes, is told as well.
    a.told(STOP, "s-3");
    a.gateway.stop();
    b.knows(0);
}

#[test]
fn redis_a_record_that_comes_again_at_another_node_is_answered_and_not_written_again() {
    let redis = Redis::start();
    let (a, b) = (node(&redis, "a", 3799), node(&redis, "b", 3799));
    let stamped = |status, session, time: u32| {
        let report = Request::accounting(status, session).with(attribute::USER_NAME, b"alice");
        report.with(attribute::EVENT_TIMESTAMP, &time.to_be_bytes())
    };
    for (number, status) in [(1, START), (2, INTERIM), (3, STOP)] {
        let record = stamped(status, "s-1", 1_700_000_000 + number);
        let before = b.heard();
        nas(a.accounting).ask(&record).expect(Code::ACCOUNTING_RESPONSE);
        eventually("it was heard", || (b.heard() > before).then_some(()));
        // Not the same octets: its Acct-Delay-Time has grown.
        let again = record.with(attribute::ACCT_DELAY_TIME, &3_u32.to_be_bytes());
        nas(b.accounting).ask(&again).expect(Code::ACCOUNTING_RESPONSE);
    }
    assert_eq!(b.gateway.metrics().count("orthrus_accounting_duplicates_total", &[]), 3);
    let written = |node: &Node| records(&node.gateway.path("accounting")).len();
    assert_eq!((written(&a), written(&b)), (3, 0));
}

#[test]
fn redis_sessions_outlive_a_primary() {
    let mut sentinels = Sentinels::start();
    let node = |name| node_with(|setup| setup.sharing_at(sentinels.primary(), name).behind(&sentinels), 3799);
    let (a, b) = (node("a"), node("b"));
    a.told(START, "s-1");
    b.knows(1);
    a.told(START, "s-2");
    b.knows(2);
    sentinels.fail_over();
    // Perhaps nobody has reached the new primary yet.
    b.told(STOP, "s-1");
    a.told(START, "s-3");
    a.told(START, "s-4");
    a.knows(3);
    b.knows(3);
    a.told(STOP, "s-2");
    b.knows(2);
}
