//! Refusals: when they leave, and what the user reads.

use gateway_core::radius::Code;
use std::time::{Duration, Instant};
use tests::{Request, Setup, SoftToken};

const DELAY: Duration = Duration::from_millis(700);

fn setup() -> Setup {
    Setup::new().user("alice", "correct horse").token(&SoftToken::hotp("alice")).set("attempts.reject_delay", "700ms")
}

fn wrong() -> Request {
    Request::access("alice").password("wrong")
}

#[test]
fn a_refusal_waits_and_nothing_else_does() {
    let gateway = setup().start();
    let mut nas = gateway.nas().patience(Duration::from_secs(10));
    let began = Instant::now();
    nas.ask(&wrong()).expect(Code::ACCESS_REJECT);
    assert!(began.elapsed() >= DELAY, "refused after {:?}", began.elapsed());

    // While refusals wait, a sign-in goes through: its challenge is here before them.
    let refused = nas.encode(&wrong());
    nas.send(&refused);
    let mut other = gateway.nas();
    let challenge = other.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_CHALLENGE);
    gateway.await_metrics("it is decided", |metrics| metrics.ended("reject") == 2);
    let began = Instant::now();
    other.ask(&Request::access("alice").password("000000").state(&challenge)).expect(Code::ACCESS_CHALLENGE);
    let accept = nas.await_reply(&refused, Duration::from_secs(10)).unwrap();
    assert_eq!(accept.code(), Code::ACCESS_REJECT);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_repeat_meanwhile_gets_nothing_and_afterwards_the_same_octets() {
    let gateway = setup().start();
    let mut nas = gateway.nas().impatient();
    let sent = nas.encode(&wrong());
    for _ in 0..5 {
        nas.send(&sent);
    }
    let first = nas.await_reply(&sent, Duration::from_secs(10)).unwrap().expect(Code::ACCESS_REJECT);
    nas.listen_out();
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_radius_duplicates_total", &[("kind", "in_flight_local")]), 4);
    assert_eq!(nas.repeated_replies(), 0, "one packet, one reply");
    nas.send(&sent);
    tests::eventually("the reply comes again", || {
        nas.hears_nothing();
        (nas.repeated_replies() == 1).then_some(())
    });
    assert_eq!(metrics.ended("reject"), 1);
    drop(first);
}

#[test]
fn refusals_that_wait_are_bounded_and_the_rest_leaves_at_once() {
    let gateway = setup().set("attempts.reject_delay", "5s").set("limits.delayed_rejects", 3).start();
    let mut guessers: Vec<_> = (0..5).map(|_| gateway.nas()).collect();
    let sent: Vec<_> = guessers.iter_mut().map(|nas| nas.encode(&wrong())).collect();
    let began = Instant::now();
    for (nas, sent) in guessers.iter().zip(&sent) {
        nas.send(sent);
    }
    gateway.await_metrics("two did not find room", |metrics| {
        metrics.count("orthrus_limit_hits_total", &[("limit", "delayed_rejects")]) == 2
    });
    let mut late = 0;
    for (nas, sent) in guessers.iter_mut().zip(&sent) {
        nas.await_reply(sent, Duration::from_secs(20)).unwrap().expect(Code::ACCESS_REJECT);
        late += usize::from(began.elapsed() >= Duration::from_secs(5));
    }
    assert!(late >= 3, "{late} waited");
}

#[test]
fn a_node_that_stops_sends_what_waits() {
    let mut gateway = setup().set("attempts.reject_delay", "3s").start();
    let mut nas = gateway.nas().impatient();
    let sent = nas.encode(&wrong());
    nas.send(&sent);
    gateway.await_metrics("it is decided", |metrics| metrics.ended("reject") == 1);
    let stopping = std::thread::spawn(move || gateway.stop());
    nas.await_reply(&sent, Duration::from_secs(20)).unwrap().expect(Code::ACCESS_REJECT);
    assert!(stopping.join().unwrap().success());
}

#[test]
fn each_cause_has_the_operators_words_or_those_for_all() {
    let mut words = toml::Table::new();
    words.insert("not_enrolled".into(), "Bitte zuerst einen zweiten Faktor registrieren.".into());
    for spent in ["wrong_code", "tries_spent"] {
        words.insert(spent.into(), "".into());
    }
    let gateway = setup()
        .user("bob", "correct horse")
        .set("attempts.reject_message", "Anmeldung abgelehnt.")
        .set("attempts.reject_messages", words)
        .set("attempts.tries", 1)
        .set("attempts.reject_delay", "0s")
        .start();
    let mut nas = gateway.nas();
    let mut read = |request: &Request| nas.ask(request).expect(Code::ACCESS_REJECT).attributes();
    assert_eq!(read(&wrong()), ["Reply-Message = \"Anmeldung abgelehnt.\""]);
    assert_eq!(read(&Request::access("nobody").password("wrong")), ["Reply-Message = \"Anmeldung abgelehnt.\""]);
    let bob = read(&Request::access("bob").password("correct horse"));
    assert_eq!(bob, ["Reply-Message = \"Bitte zuerst einen zweiten Faktor registrieren.\""]);
    let mut nas = gateway.nas();
    let challenge = nas.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_CHALLENGE);
    let reject = nas.ask(&Request::access("alice").password("000000").state(&challenge)).expect(Code::ACCESS_REJECT);
    assert!(reject.attributes().is_empty(), "an empty text is none");

    let told = gateway.run(&["check-config", "orthrus.toml"], "");
    let told = String::from_utf8([told.stdout, told.stderr].concat()).unwrap();
    assert!(told.contains("attempts.reject_messages") && told.contains("wrong_code"), "{told}");
}
