//! Two nodes that share a Redis are one gateway: one prompt for one sign-in, whichever node a packet reaches, and a node that
//! dies takes no sign-in with it.

use entra_cloud::{Cloud, Operation, Settings};
use gateway_core::radius::Code;
use std::time::Duration;
use tests::entra::{password, setup, upn};
use tests::setup::REPLY;
use tests::{Gateway, Redis, Request, Setup, SoftToken, eventually};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

fn pair(redis: &Redis, make: impl Fn() -> Setup) -> (Gateway, Gateway) {
    (make().sharing(redis, "a").start(), make().sharing(redis, "b").start())
}

fn rings(cloud: &Cloud, user: &str) {
    eventually("the phone rings", || (cloud.prompts(&upn(user)) == 1).then_some(()));
}

fn joins(gateway: &Gateway) {
    gateway.await_metrics("it joins", |metrics| {
        metrics.count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]) >= 1
    });
}

/// Longer than a node is waited for, and shorter than an attempt.
const TAKEN_OVER: Duration = Duration::from_secs(40);

#[test]
fn redis_a_repeat_that_reaches_another_node_joins_and_is_the_one_that_is_accepted() {
    for begin in ["held", "polled"] {
        let (cloud, redis) = (cloud(), Redis::start());
        let (a, b) = pair(&redis, || setup(&cloud, &["manual"]).of_entra("begin", begin));
        let (mut first, mut second) = (a.nas(), b.nas());
        let before = first.encode(&password("manual"));
        first.send(&before);
        rings(&cloud, "manual");
        let repeat = second.encode(&password("manual"));
        second.send(&repeat);
        joins(&b);
        cloud.person(&upn("manual")).approve();
        second
            .await_reply(&repeat, Duration::from_secs(15))
            .expect("the newest packet is answered")
            .expect(Code::ACCESS_ACCEPT);
        assert!(first.hears_nothing(), "the packet before is superseded");
        assert_eq!(cloud.prompts(&upn("manual")), 1);
        assert_eq!((a.metrics().ended("accept"), b.metrics().ended("accept")), (0, 1));
    }
}

#[test]
fn redis_one_sign_in_at_two_nodes_at_once_is_one_prompt() {
    let (cloud, redis) = (cloud(), Redis::start());
    let users: Vec<String> = (0..12).map(|index| format!("manual@d{index}.example")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let (a, b) = pair(&redis, || setup(&cloud, &names));
    let joined = || {
        let joined =
            |node: &Gateway| node.metrics().count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]);
        joined(&a) + joined(&b)
    };
    for (before, user) in names.iter().enumerate() {
        let (mut one, mut two) = (a.nas(), b.nas());
        let (at_a, at_b) = (one.encode(&password(user)), two.encode(&password(user)));
        one.send(&at_a);
        two.send(&at_b);
        eventually("the phone rings", || (cloud.prompts(user) == 1).then_some(()));
        eventually("the other joins", || (joined() > before as u64).then_some(()));
        cloud.person(user).approve();
        let answered = eventually("one of the two is answered", || {
            let soon = Duration::from_millis(200);
            one.await_reply(&at_a, soon).or_else(|| two.await_reply(&at_b, soon))
        });
        answered.expect(Code::ACCESS_ACCEPT);
        assert_eq!((cloud.prompts(user), joined()), (1, before as u64 + 1), "{user}");
    }
    assert_eq!(a.metrics().ended("accept") + b.metrics().ended("accept"), names.len() as u64);
}

#[test]
fn redis_a_challenge_of_one_node_is_answered_at_the_other_and_its_code_serves_once() {
    let redis = Redis::start();
    let (a, b) = pair(&redis, || Setup::new().user("alice", "wonderland").token(&SoftToken::totp("alice")));
    let first_leg = || Request::access("alice").password("wonderland");
    // The memory of codes has just begun: codes of steps that had begun by then are refused, on either node (A5).
    let challenge = a.nas().ask(&first_leg()).expect(Code::ACCESS_CHALLENGE);
    let answer = Request::access("alice").password(&SoftToken::totp("alice").code_now()).state(&challenge);
    assert_ne!(b.nas().ask(&answer).code(), Code::ACCESS_ACCEPT);
    // A token that was enrolled since has no such past.
    let enrolled = tests::token::now().as_secs() + 1;
    eventually("that time has come", || (tests::token::now().as_secs() > enrolled).then_some(()));
    let token = SoftToken::totp("alice").enrolled(enrolled);
    for node in [&a, &b] {
        node.write("tokens", &token.entry());
        eventually("the tokens are read again", || node.log().contains("was read again").then_some(()));
    }
    let elsewhere = first_leg().station("one");
    let challenge = a.nas().ask(&elsewhere).expect(Code::ACCESS_CHALLENGE);
    let code = token.code_now();
    let accept = b.nas().ask(&Request::access("alice").password(&code).station("one").state(&challenge));
    assert_eq!(accept.expect(Code::ACCESS_ACCEPT).attributes(), REPLY);
    let challenge = b.nas().ask(&first_leg().station("two")).expect(Code::ACCESS_CHALLENGE);
    let replay = a.nas().ask(&Request::access("alice").password(&code).station("two").state(&challenge));
    assert_ne!(replay.code(), Code::ACCESS_ACCEPT, "the code was used at the other node");
}

#[test]
fn redis_a_node_that_dies_while_the_phone_rings_takes_no_sign_in_with_it() {
    let (cloud, redis) = (cloud(), Redis::start());
    let (mut a, b) = pair(&redis, || setup(&cloud, &["manual"]).of_entra("begin", "polled"));
    let (mut first, mut second) = (a.nas(), b.nas());
    let before = first.encode(&password("manual"));
    first.send(&before);
    rings(&cloud, "manual");
    // The session is saved once the provider has been polled.
    eventually("the prompt is polled", || (cloud.requests(Operation::End) >= 1).then_some(()));
    a.kill();
    let repeat = second.encode(&password("manual"));
    second.send(&repeat);
    joins(&b);
    cloud.person(&upn("manual")).approve();
    let reply = second.await_reply(&repeat, TAKEN_OVER).expect("another node goes on");
    reply.expect(Code::ACCESS_ACCEPT);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
    assert_eq!(b.metrics().count("orthrus_mfa_prompts_taken_over_total", &[]), 1);
}

#[test]
fn redis_a_prompt_that_nobody_can_go_on_with_is_refused_clearly() {
    let (cloud, redis) = (cloud(), Redis::start());
    // A provider that answers when the user has: nobody else can ask what became of it.
    let (mut a, b) = pair(&redis, || setup(&cloud, &["manual"]).of_entra("begin", "held"));
    let (mut first, mut second) = (a.nas(), b.nas());
    let before = first.encode(&password("manual"));
    first.send(&before);
    rings(&cloud, "manual");
    a.kill();
    let repeat = second.encode(&password("manual"));
    second.send(&repeat);
    second.await_reply(&repeat, TAKEN_OVER).expect("a clear answer").expect(Code::ACCESS_REJECT);
    assert_eq!((b.metrics().refused("owner_died"), cloud.prompts(&upn("manual"))), (1, 1));
}

#[test]
fn redis_that_is_gone_is_done_without_and_is_taken_up_again() {
    let (cloud, mut redis) = (cloud(), Redis::start());
    let gateway = setup(&cloud, &["manual"]).sharing(&redis, "a").start();
    let mut nas = gateway.nas();
    let sent = nas.encode(&password("manual"));
    nas.send(&sent);
    rings(&cloud, "manual");
    redis.kill();
    cloud.person(&upn("manual")).approve();
    nas.await_reply(&sent, Duration::from_secs(15)).expect("the node goes on alone").expect(Code::ACCESS_ACCEPT);
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_store_lost", &[]), 1);
    assert!(metrics.count("orthrus_store_events_total", &[("event", "alone")]) >= 1);
    redis.start_again();
    gateway.await_metrics("the store is back", |metrics| metrics.count("orthrus_store_lost", &[]) == 0);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
}

#[test]
fn redis_a_node_that_was_paused_is_silent_about_what_others_went_on_with() {
    let (cloud, redis) = (cloud(), Redis::start());
    let (a, b) = pair(&redis, || setup(&cloud, &["manual"]).of_entra("begin", "polled"));
    let (mut first, mut second) = (a.nas(), b.nas());
    let before = first.encode(&password("manual"));
    first.send(&before);
    rings(&cloud, "manual");
    eventually("the prompt is polled", || (cloud.requests(Operation::End) >= 1).then_some(()));
    a.pause();
    let repeat = second.encode(&password("manual"));
    second.send(&repeat);
    joins(&b);
    cloud.person(&upn("manual")).approve();
    second.await_reply(&repeat, TAKEN_OVER).expect("the other node goes on").expect(Code::ACCESS_ACCEPT);
    a.go_on();
    a.await_metrics("its packet has ended", |metrics| metrics.count("orthrus_requests_in_progress", &[]) == 0);
    assert!(first.hears_nothing(), "it lost the attempt");
    assert_eq!((cloud.prompts(&upn("manual")), a.metrics().ended("accept")), (1, 0));
}

#[test]
fn redis_that_was_wiped_is_no_second_prompt_while_the_node_that_prompted_lives() {
    let (cloud, redis) = (cloud(), Redis::start());
    let (a, b) = pair(&redis, || setup(&cloud, &["manual"]));
    let (mut first, mut second) = (a.nas(), b.nas().patience(Duration::from_secs(30)));
    let before = first.encode(&password("manual"));
    first.send(&before);
    rings(&cloud, "manual");
    redis.cli(&["FLUSHALL"]);
    let repeat = second.encode(&password("manual"));
    // At first it is not answered, and goes out again as NASes do.
    eventually("it joins", || {
        second.send(&repeat);
        let joined = b.metrics().count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]);
        (joined >= 1).then_some(())
    });
    cloud.person(&upn("manual")).approve();
    second.await_reply(&repeat, Duration::from_secs(20)).expect("it is answered").expect(Code::ACCESS_ACCEPT);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
    let failovers = |node: &Gateway| node.metrics().count("orthrus_store_events_total", &[("event", "failover")]);
    assert!(failovers(&a) >= 1 && failovers(&b) >= 1);
}

#[test]
fn redis_nodes_know_each_other_and_each_others_certificates() {
    let (cloud, redis) = (cloud(), Redis::start());
    let (mut a, b) = pair(&redis, || setup(&cloud, &["manual"]));
    let nodes = |count: u64| {
        b.await_metrics("as many nodes", |metrics| {
            metrics.count("orthrus_cluster_nodes", &[("state", "ready")]) == count
        });
    };
    nodes(2);
    eventually("both certificates are registered", || {
        (redis.cli(&["HLEN", "orthrus:{certificates}:registered"]) == "2").then_some(())
    });
    assert!(a.stop().success());
    nodes(1);
    let twin = setup(&cloud, &["manual"]).sharing(&redis, "b").start();
    eventually("the younger of two with one name is not ready", || {
        let (status, body) = twin.get("/readyz");
        (status == 503 && body.contains("cluster.node_id")).then_some(())
    });
    assert_eq!(b.get("/readyz").0, 200, "the older one is");
}

#[test]
fn redis_refuse_is_silence_while_the_store_is_lost() {
    let (cloud, mut redis) = (cloud(), Redis::start());
    let gateway = setup(&cloud, &["approve"]).set("cluster.when_store_is_lost", "refuse").sharing(&redis, "a").start();
    assert_eq!(gateway.nas().ask(&password("approve")).code(), Code::ACCESS_ACCEPT);
    redis.kill();
    let mut nas = gateway.nas();
    let sent = nas.encode(&password("approve"));
    nas.send(&sent);
    eventually("the node is not ready", || (gateway.get("/readyz").0 == 503).then_some(()));
    assert!(nas.await_reply(&sent, Duration::from_secs(3)).is_none());
    redis.start_again();
    eventually("it is ready again", || (gateway.get("/readyz").0 == 200).then_some(()));
    let again = eventually("the NAS's next packet is answered", || {
        let next = nas.encode(&password("approve"));
        nas.send(&next);
        nas.await_reply(&next, Duration::from_secs(3))
    });
    assert_eq!(again.code(), Code::ACCESS_ACCEPT);
}

#[test]
fn redis_the_same_packet_at_two_nodes_is_one_prompt_and_one_reply() {
    let (cloud, redis) = (cloud(), Redis::start());
    let (a, b) = pair(&redis, || setup(&cloud, &["manual"]));
    // What a balancer does that has no memory: each retransmission goes to another node, from the NAS's own address and port.
    let packet = a.nas().encode(&password("manual")).bytes;
    let nas = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    nas.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    nas.send_to(&packet, a.address()).unwrap();
    rings(&cloud, "manual");
    nas.send_to(&packet, b.address()).unwrap();
    joins(&b);
    nas.send_to(&packet, a.address()).unwrap();
    cloud.person(&upn("manual")).approve();
    let mut replies = std::collections::HashSet::new();
    for _ in 0..2 {
        let mut buffer = [0; 4096];
        let (length, _) = nas.recv_from(&mut buffer).expect("both nodes answer");
        replies.insert(buffer[..length].to_vec());
    }
    let reply = replies.iter().next().unwrap();
    assert_eq!((replies.len(), reply[0]), (1, 2), "the same accept from either");
    nas.send_to(&packet, b.address()).unwrap();
    let mut buffer = [0; 4096];
    let (length, _) = nas.recv_from(&mut buffer).expect("a duplicate is answered");
    assert_eq!((&buffer[..length], cloud.prompts(&upn("manual"))), (reply.as_slice(), 1));
}

#[test]
fn redis_a_code_that_the_cloud_wants_is_asked_for_by_the_node_with_the_newest_packet() {
    let (cloud, redis) = (cloud(), Redis::start());
    let (a, b) = pair(&redis, || setup(&cloud, &["sms"]));
    let mut nas = a.nas();
    let challenge = nas.ask(&password("sms")).expect(Code::ACCESS_CHALLENGE);
    let code = cloud.person(&upn("sms")).sms_code();
    let answer = tests::entra::answer("sms", &code, &challenge);
    assert_eq!(b.nas().ask(&answer).code(), Code::ACCESS_ACCEPT);
    assert_eq!(cloud.prompts(&upn("sms")), 1);
}

#[test]
fn redis_with_all_shared_a_packet_is_checked_once_and_has_one_reply() {
    let redis = Redis::start();
    let policies = "[[policies]]\nname = \"everybody\"\nsecond_factor = \"off\"\nreply = { Class = \"staff\" }\n";
    let node = || Setup::new().user("alice", "wonderland").policies(policies).set("cluster.share", "all");
    let (a, b) = pair(&redis, node);
    let nas = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    nas.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let (length, _) = nas.recv_from(&mut buffer).expect("it is answered");
        buffer[..length].to_vec()
    };
    for password in ["wonderland", "a guess"] {
        let packet = a.nas().encode(&Request::access("alice").password(password)).bytes;
        nas.send_to(&packet, a.address()).unwrap();
        let reply = hear();
        // The store hears of the reply beside the NAS.
        eventually("the other node says the same", || {
            nas.send_to(&packet, b.address()).unwrap();
            nas.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut buffer = [0; 4096];
            let (length, _) = nas.recv_from(&mut buffer).ok()?;
            assert_eq!(&buffer[..length], reply.as_slice());
            Some(())
        });
        nas.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    }
    assert_eq!((a.metrics().ended("accept"), a.metrics().ended("reject")), (1, 1));
    assert_eq!((b.metrics().ended("accept"), b.metrics().ended("reject")), (0, 0), "it checked nothing");
}

#[test]
fn redis_is_not_asked_for_a_sign_in_without_a_second_factor() {
    let redis = Redis::start();
    let policies = "[[policies]]\nname = \"everybody\"\nsecond_factor = \"off\"\n";
    let node = Setup::new().user("alice", "wonderland").policies(policies).sharing(&redis, "a").start();
    let mut nas = node.nas();
    for _ in 0..1_000 {
        nas.ask(&Request::access("alice").password("wonderland")).expect(Code::ACCESS_ACCEPT);
    }
    // Whatever concerns a user is a script. Beside there are signs of life and, in the beginning, two for each of 256 groups.
    let statistics = redis.cli(&["INFO", "commandstats"]);
    let scripts = statistics.lines().filter(|line| line.starts_with("cmdstat_eval"));
    let calls = scripts.filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok());
    assert!(calls.sum::<u64>() < 1_000, "{statistics}");
    // What a node says of itself and of its memory is there; nothing is of a user or of a packet.
    assert!(redis.cli(&["DBSIZE"]) != "0");
    for pattern in ["*:user:*", "*:packet:*"] {
        assert_eq!(redis.cli(&["KEYS", pattern]), "");
    }
}

#[test]
fn redis_that_is_gone_leaves_no_code_that_another_node_may_have_taken() {
    let mut redis = Redis::start();
    let token = SoftToken::totp("alice");
    let node =
        Setup::new().user("alice", "wonderland").token(&token).set("attempts.tries", 1).sharing(&redis, "a").start();
    let first_leg = Request::access("alice").password("wonderland").station("one");
    let challenge = node.nas().ask(&first_leg).expect(Code::ACCESS_CHALLENGE);
    redis.kill();
    let answer = Request::access("alice").password(&token.code_now()).station("one").state(&challenge);
    assert_eq!(node.nas().ask(&answer).code(), Code::ACCESS_REJECT);
    let metrics = node.metrics();
    assert!(metrics.refused("code_while_store_lost") + metrics.refused("code_memory_lost") >= 1, "{}", metrics.text());
    assert_eq!(metrics.ended("accept"), 0);
    assert_eq!(node.get("/readyz").0, 200, "it serves what it can");
}

#[test]
fn redis_of_another_cluster_is_believed_nothing() {
    let redis = Redis::start();
    let (cloud, other) = (cloud(), cloud());
    let make = |cloud: &Cloud| setup(cloud, &["approve"]).set("cluster.when_store_is_lost", "refuse");
    let node = make(&cloud).sharing(&redis, "a").start();
    assert_eq!(node.nas().ask(&password("approve")).code(), Code::ACCESS_ACCEPT);
    let stranger =
        make(&other).sharing(&redis, "b").secret("cluster-key", "the key of another cluster, as long as the first");
    let stranger = stranger.start_unready();
    let mut nas = stranger.nas();
    let sent = nas.encode(&password("approve"));
    nas.send(&sent);
    assert!(nas.await_reply(&sent, Duration::from_secs(4)).is_none());
    let (status, body) = stranger.get("/readyz");
    assert_eq!(status, 503, "{body}");
    stranger.await_log("cluster.key_file");
    assert_eq!(other.prompts(&upn("approve")), 0);
}

/// `ORTHRUS_KILLS=200 cargo test -p tests --test redis_two_nodes redis_a_node_that_is_killed_at_any_moment` is the long run.
#[test]
fn redis_a_node_that_is_killed_at_any_moment_costs_no_second_prompt_and_no_silence() {
    let rounds: u64 = std::env::var("ORTHRUS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let (cloud, redis) = (cloud(), Redis::start());
    let users: Vec<String> = (0..rounds).map(|round| format!("manual@r{round}.example")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let make = || setup(&cloud, &names).of_entra("begin", "polled").set("cluster.dead_after", "1s");
    let (mut a, b) = pair(&redis, make);
    let (mut accepted, mut windows) = (0, 0);
    for user in &names {
        let mut first = a.nas();
        let before = first.encode(&password(user));
        first.send(&before);
        // From before the claim to a few polls later.
        tests::wait::pass(Duration::from_millis(rand::random::<u64>() % 2_500));
        let rang = cloud.prompts(user);
        if rang == 1 && rand::random() {
            cloud.person(user).approve();
            tests::wait::pass(Duration::from_millis(rand::random::<u64>() % 2_500));
        }
        a.kill();
        let answered = first.await_reply(&before, Duration::from_millis(1));
        let mut second = b.nas();
        let repeat = second.encode(&password(user));
        let reply = answered.unwrap_or_else(|| {
            eventually("the NAS is answered by the other node", || {
                second.send(&repeat);
                if cloud.prompts(user) == 1 {
                    cloud.person(user).approve();
                }
                second.await_reply(&repeat, Duration::from_millis(500))
            })
        });
        match reply.code() {
            Code::ACCESS_ACCEPT => accepted += 1,
            code => {
                assert_eq!(code, Code::ACCESS_REJECT);
                windows += 1;
            }
        }
        assert!(cloud.prompts(user) <= 1, "{user} was prompted twice");
        a.start_again();
    }
    let metrics = b.metrics();
    let counted = metrics.refused("owner_died") + metrics.refused("answer_died_with_owner");
    println!("{accepted} accepted, {windows} in a window of A4, of {rounds}");
    assert_eq!(windows, counted, "each is counted");
    assert!(accepted > 0);
}
