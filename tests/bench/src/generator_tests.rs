use super::*;
use crate::ceiling::answer;
use crate::people::FIXED_CODE;
use crate::server;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};

fn plan(target: SocketAddr, scenario: Scenario, pace: Pace, patient: bool) -> Plan {
    Plan {
        target,
        demands: Demands { secret: server::secret(), message_authenticator: true },
        scenario,
        codes: Codes::Fixed(FIXED_CODE),
        pace,
        users: 50,
        counter: 0,
        ports: 2,
        warm_up: Duration::ZERO,
        measure: Duration::from_millis(300),
        // Where an answer is expected a busy machine gets the time for it.
        patience: if patient { Duration::from_secs(5) } else { Duration::from_millis(20) },
        tries: 2,
        pin: None,
        server: Some(Pid::this()),
    }
}

/// Runs a load on a server that does with each request what `serve` says: no octets, no reply.
fn against(
    scenario: Scenario,
    pace: Pace,
    patient: bool,
    serve: impl Fn(u64, &[u8]) -> Option<Vec<u8>> + Sync,
) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let target = socket.local_addr().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 4096];
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(reply) = serve(number, &buffer[..length]) {
                    let _ = socket.send_to(&reply, peer);
                }
                number += 1;
            }
        });
        let outcome = run(&plan(target, scenario, pace, patient));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap()
    })
}

#[test]
fn every_scenario_runs_to_its_end() {
    for scenario in Scenario::ALL {
        for pace in [Pace::Closed(10), Pace::Open(500)] {
            let outcome = against(scenario, pace, true, |_, octets| answer(octets, scenario, &server::secret()));
            assert!(outcome.sign_ins > 5, "{scenario:?} {pace:?}: {}", outcome.sign_ins);
            assert!(outcome.faults.is_empty(), "{scenario:?} {pace:?}: {:?}", outcome.faults);
            assert!(outcome.used.is_some_and(|used| used.total > Duration::ZERO));
            assert!(outcome.latency.len() == outcome.requests);
            let each = match scenario {
                Scenario::Challenge | Scenario::Accounting => 2,
                Scenario::Duplicates => 10,
                _ => 1,
            };
            assert!(outcome.requests >= each * outcome.sign_ins, "{scenario:?}: {}", outcome.requests);
        }
    }
}

#[test]
fn a_lost_reply_is_asked_for_again() {
    let outcome = against(Scenario::Accept, Pace::Closed(5), false, |number, octets| {
        (number % 7 != 0).then(|| answer(octets, Scenario::Accept, &server::secret())).flatten()
    });
    assert!(outcome.retransmissions > 0 && outcome.sign_ins > 20);
}

#[test]
fn silence_is_a_time_out_and_the_load_goes_on() {
    let outcome = against(Scenario::Accept, Pace::Closed(5), false, |_, _| None);
    assert!(outcome.faults.get(&Fault::TimeOut).is_some_and(|count| *count >= 10), "{:?}", outcome.faults);
    assert_eq!((outcome.sign_ins, outcome.requests), (0, 0));
}

#[test]
fn a_wrong_answer_is_no_sign_in() {
    let reject = |_: u64, octets: &[u8]| answer(octets, Scenario::Reject, &server::secret());
    let outcome = against(Scenario::Accept, Pace::Closed(5), false, reject);
    assert_eq!(outcome.sign_ins, 0);
    assert!(outcome.faults.contains_key(&Fault::UnexpectedReject));
    let forged = |_: u64, octets: &[u8]| {
        let mut reply = answer(octets, Scenario::Accept, &server::secret())?;
        reply[10] ^= 1;
        Some(reply)
    };
    let outcome = against(Scenario::Accept, Pace::Closed(5), false, forged);
    assert_eq!(outcome.sign_ins, 0);
    assert!(outcome.faults.contains_key(&Fault::ResponseAuthenticator));
}

#[test]
fn a_rate_that_cannot_be_held_is_told() {
    let outcome = against(Scenario::Accept, Pace::Open(10_000), false, |_, _| None);
    assert!(outcome.faults.contains_key(&Fault::NotStarted), "{:?}", outcome.faults);
}
