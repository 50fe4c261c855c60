//! What fails behind a balancer: nodes that are killed, paused and restarted, and the store that they share, while people sign in.
//! Each test prints its figures (`--nocapture`).
//!
//! `ORTHRUS_LONG=1` takes the long way: defaults instead of short heartbeats, and more of everything.

use entra_cloud::{Cloud, Operation, Settings};
use gateway_core::radius::Code;
use std::time::Duration;
use tests::entra::{password, setup, upn};
use tests::fleet::{Fleet, Tally};
use tests::sentinel::Sentinels;
use tests::{Balancer, Client, Gateway, Redis, Release, SECRET, Setup, eventually, wait};

fn long() -> bool {
    std::env::var_os("ORTHRUS_LONG").is_some()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A short heartbeat, unless it takes the long way.
fn hurried(setup: Setup) -> Setup {
    if long() { setup } else { setup.set("cluster.dead_after", "1s") }
}

fn received(node: &Gateway) -> u64 {
    node.metrics().count("orthrus_radius_requests_total", &[])
}

fn seconds() -> Duration {
    Duration::from_millis(rand::random::<u64>() % 2_500)
}

#[test]
fn nginx_the_prompting_node_is_killed_at_any_moment() {
    let rounds = number("ORTHRUS_KILLS", if long() { 200 } else { 20 });
    let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
    let users: Vec<String> = (0..rounds).map(|round| format!("manual@r{round}.example")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let node = |name| hurried(setup(&cloud, &names).of_entra("begin", "polled")).sharing(&redis, name).start();
    let mut nodes: Vec<Gateway> = ["a", "b", "c"].into_iter().map(node).collect();
    let balancer = Balancer::start(&nodes.iter().map(Gateway::address).collect::<Vec<_>>());
    let (mut accepted, mut before_the_repeat, mut died) = (0, 0, [0, 0]);
    for user in &names {
        let counts: Vec<u64> = nodes.iter().map(received).collect();
        let mut nas = Client::new(balancer.address(), SECRET).through_balancer();
        let packet = nas.encode(&password(user));
        nas.send(&packet);
        // From before the claim to a few polls later.
        wait::pass(seconds());
        if cloud.prompts(user) == 1 && rand::random() {
            cloud.person(user).approve();
            wait::pass(seconds());
        }
        let owner = eventually("one node has it", || {
            nodes.iter().zip(&counts).position(|(node, count)| received(node) > *count).or_else(|| {
                // nginx drops a datagram when it has just found all nodes dead, one after another.
                nas.await_reply(&packet, Duration::from_millis(500));
                nas.send(&packet);
                None
            })
        });
        let windows = ["owner_died", "answer_died_with_owner"];
        let others = |nodes: &[Gateway]| {
            let alive = nodes.iter().enumerate().filter(|(index, _)| *index != owner).map(|(_, node)| node.metrics());
            let counts = alive.map(|metrics| windows.map(|window| metrics.refused(window)));
            counts.fold([0, 0], |[a, b], [more_a, more_b]| [a + more_a, b + more_b])
        };
        let before = others(&nodes);
        nodes[owner].kill();
        let answered = nas.await_reply(&packet, Duration::from_millis(1));
        before_the_repeat += u64::from(answered.is_some());
        let reply = answered.unwrap_or_else(|| {
            eventually("the NAS is answered by another node", || {
                nas.send(&packet);
                if cloud.prompts(user) == 1 {
                    cloud.person(user).approve();
                }
                nas.await_reply(&packet, Duration::from_millis(500))
            })
        });
        let after = others(&nodes);
        match reply.code() {
            Code::ACCESS_ACCEPT => {
                accepted += 1;
                assert_eq!(after, before, "nothing was refused");
            }
            code => {
                assert_eq!(code, Code::ACCESS_REJECT);
                let in_window: u64 = after.iter().zip(before).map(|(after, before)| after - before).sum();
                assert!(in_window >= 1, "{user} was refused outside the windows of A4");
                for (place, count) in died.iter_mut().enumerate() {
                    *count += u64::from(after[place] > before[place]);
                }
            }
        }
        assert!(cloud.prompts(user) <= 1, "{user} was prompted twice");
        nodes[owner].start_again();
    }
    println!(
        "{rounds} kills: {accepted} accepted ({before_the_repeat} before the kill), {} refused in window (a) of A4, {} in (b), none \
         prompted twice",
        died[0], died[1]
    );
    assert!(accepted > 0);
}

#[test]
fn nginx_a_paused_node_does_not_speak_for_what_others_went_on_with() {
    let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
    let node = |name| hurried(setup(&cloud, &["manual"]).of_entra("begin", "polled")).sharing(&redis, name).start();
    let nodes: Vec<Gateway> = ["a", "b", "c"].into_iter().map(node).collect();
    let balancer = Balancer::start(&nodes.iter().map(Gateway::address).collect::<Vec<_>>());
    let mut nas = Client::new(balancer.address(), SECRET).patience(Duration::from_secs(60)).through_balancer();
    let packet = nas.encode(&password("manual"));
    nas.send(&packet);
    eventually("the prompt is polled", || (cloud.requests(Operation::End) >= 1).then_some(()));
    let owner = nodes.iter().position(|node| received(node) == 1).expect("one node has it");
    nodes[owner].pause();
    cloud.person(&upn("manual")).approve();
    nas.try_ask(&packet).expect("another node goes on").expect(Code::ACCESS_ACCEPT);
    nodes[owner].go_on();
    // What it was in the middle of comes to its end, in silence.
    nodes[owner].await_metrics("it has nothing in progress", |metrics| {
        metrics.count("orthrus_requests_in_progress", &[]) == 0 && metrics.count("orthrus_mfa_pending", &[]) == 0
    });
    let metrics = nodes[owner].metrics();
    assert_eq!((metrics.ended("accept"), metrics.ended("reject")), (0, 0), "it is silent");
    assert_eq!(cloud.prompts(&upn("manual")), 1);
}

/// So many people a second, for so many seconds.
fn people(rate: f64, seconds: f64) -> usize {
    // Small numbers.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are positive and small")]
    let people = (rate * seconds) as usize;
    people
}

fn told(what: &str, tally: &Tally) {
    println!("{what}: {} sign-ins, lost {}, {tally:?}", tally.sign_ins(), tally.lost());
}

#[test]
fn nginx_a_rolling_restart_loses_nobody() {
    let rate = f64::from(u32::try_from(number("ORTHRUS_RATE", if long() { 200 } else { 50 })).unwrap_or(50));
    let redis = Redis::start();
    let mut fleet = Fleet::start(people(rate, 20.0), redis.address(), |setup| setup);
    let tally = fleet.sign_in_during(rate, |nodes, _| {
        wait::pass(Duration::from_secs(2));
        for node in nodes {
            // It drains: what it has begun ends first.
            node.stop();
            node.start_again();
        }
    });
    told(&format!("rolling restart of three nodes at {rate} a second"), &tally);
    assert_eq!((tally.lost(), tally.doubled), (0, 0), "{tally:?}");
}

/// The version of records that the release before writes.
const PREVIOUS: u8 = 2;

/// The version that a node writes records as.
fn writes(node: &Gateway, version: u8) {
    node.await_metrics(&format!("it writes version {version}"), |metrics| {
        metrics.count("orthrus_store_records_version", &[]) == u64::from(version)
    });
}

/// Nobody was lost, or asked twice, or had a record that a node could not read.
fn upgraded(what: &str, fleet: &Fleet, tally: &Tally) {
    told(what, tally);
    let unread = |node: &Gateway| node.metrics().count("orthrus_store_events_total", &[("event", "other_version")]);
    let unread: u64 = fleet.nodes.iter().map(unread).sum();
    assert_eq!((tally.lost(), tally.doubled, unread), (0, 0, 0), "{tally:?}");
}

#[test]
fn nginx_a_rolling_upgrade_from_the_previous_version_of_records_loses_nobody() {
    let rate = f64::from(u32::try_from(number("ORTHRUS_RATE", if long() { 200 } else { 50 })).unwrap_or(50));
    let redis = Redis::start();
    let mut fleet = Fleet::start_as(Release::Previous, people(rate, 20.0), redis.address(), |setup| setup);
    let tally = fleet.sign_in_during(rate, |nodes, _| {
        wait::pass(Duration::from_secs(2));
        for node in 0..nodes.len() {
            nodes[node].stop();
            nodes[node].start_again_as(Release::This);
            // For as long as one of them reads no other, all write the previous version.
            let version = if node + 1 < nodes.len() { PREVIOUS } else { PREVIOUS + 1 };
            nodes[..=node].iter().for_each(|node| writes(node, version));
        }
    });
    upgraded(&format!("rolling upgrade of three nodes at {rate} a second"), &fleet, &tally);
}

#[test]
fn nginx_the_way_back_to_the_previous_release_is_open_with_newest_records() {
    let rate = f64::from(u32::try_from(number("ORTHRUS_RATE", if long() { 200 } else { 50 })).unwrap_or(50));
    let redis = Redis::start();
    let setup = |setup: Setup| setup.set("cluster.newest_records", i64::from(PREVIOUS));
    let mut fleet = Fleet::start(people(rate, 20.0), redis.address(), setup);
    let tally = fleet.sign_in_during(rate, |nodes, _| {
        wait::pass(Duration::from_secs(2));
        for node in nodes {
            writes(node, PREVIOUS);
            node.stop();
            node.start_again_as(Release::Previous);
        }
    });
    upgraded(&format!("rolling return of three nodes at {rate} a second"), &fleet, &tally);
}

/// In `local` mode a node that has lost the store may prompt whom another has prompted.
fn none_doubled(mode: &str, tally: &Tally) {
    assert_eq!(tally.unanswered, 0, "{mode}: {tally:?}");
    assert!(tally.doubled == 0 || mode == "local", "{mode}: {tally:?}");
}

/// One trouble with the store, `mode` being what nodes do while it is lost.
fn trouble(mode: &str, what: &str, trouble: impl FnOnce(&mut Redis, &mut Vec<Gateway>, &[tests::cut::Cut])) -> Tally {
    let mut redis = Redis::start();
    let mut fleet = Fleet::start(people(20.0, if long() { 40.0 } else { 12.0 }), redis.address(), |setup| {
        setup.set("cluster.when_store_is_lost", mode)
    });
    let tally = fleet.sign_in_during(20.0, |nodes, cables| {
        wait::pass(Duration::from_secs(4));
        trouble(&mut redis, nodes, cables);
    });
    told(&format!("{what}, {mode}"), &tally);
    tally
}

fn cut(what: &mut Redis, _: &mut Vec<Gateway>, cables: &[tests::cut::Cut]) {
    let _ = what;
    cables[0].cut();
    wait::pass(Duration::from_secs(if long() { 20 } else { 4 }));
    cables[0].mend();
}

#[test]
fn nginx_a_store_that_is_restarted_or_wiped_doubles_no_prompt() {
    for mode in if long() { &["refuse", "local"][..] } else { &["refuse"] } {
        let restarted = trouble(mode, "Redis restarted", |redis, _, _| {
            redis.kill();
            redis.start_again();
        });
        none_doubled(mode, &restarted);
        let wiped = trouble(mode, "Redis wiped", |redis, _, _| assert_eq!(redis.cli(&["flushall"]), "OK"));
        none_doubled(mode, &wiped);
    }
}

#[test]
fn nginx_a_store_that_fails_over_doubles_no_prompt() {
    for mode in if long() { &["refuse", "local"][..] } else { &["refuse"] } {
        let mut sentinels = Sentinels::start();
        let mut fleet = Fleet::start(people(20.0, if long() { 40.0 } else { 12.0 }), sentinels.primary(), |setup| {
            setup.set("cluster.when_store_is_lost", *mode).behind(&sentinels)
        });
        let tally = fleet.sign_in_during(20.0, |_, _| {
            wait::pass(Duration::from_secs(4));
            sentinels.fail_over();
        });
        told(&format!("Redis failed over, {mode}"), &tally);
        none_doubled(mode, &tally);
    }
}

#[test]
fn nginx_a_node_that_is_cut_off_from_the_store_doubles_no_prompt_unless_it_may_go_on_alone() {
    let refuse = trouble("refuse", "one node cut off", cut);
    none_doubled("refuse", &refuse);
    let local = trouble("local", "one node cut off", cut);
    none_doubled("local", &local);
}
