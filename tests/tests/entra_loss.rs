//! A thousand push sign-ins over a network that loses, doubles and reorders a fifth of the packets in both directions, with NASes
//! that give a packet up after ten seconds and send a new one from another port. All of them end right, and each phone rings
//! once.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tests::entra::{password, setup, upn};
use tests::{Faults, Relay, Restless, SECRET};

const SIGN_INS: usize = 1_000;
const AT_A_TIME: usize = 250;

/// Who says no: every tenth.
fn denies(number: usize) -> bool {
    number % 10 == 3
}

fn user(number: usize) -> String {
    format!("{}{number}", if denies(number) { "deny" } else { "approve" })
}

/// When the user looks at the phone: before the NAS gives its packet up, after, and long after.
fn takes(number: usize) -> Duration {
    Duration::from_millis([500, 4_000, 9_500, 10_500, 14_000, 23_000][number % 6])
}

#[test]
fn a_thousand_pushes_end_right_over_a_bad_network_and_each_phone_rings_once() {
    let cloud = Cloud::start(Settings::default());
    let names: Vec<String> = (0..SIGN_INS).map(user).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    // These NASes hide what is a repeat: only with the same verdict for a while is no sign-in lost.
    let gateway = setup(&cloud, &users)
        .set("attempts.repeat_window", "30s")
        .set("attempts.after_success", "answer")
        .of_entra("begin", "polled")
        .start();
    for number in 0..SIGN_INS {
        cloud.person(&upn(&user(number))).takes(takes(number));
    }
    let faults = Faults { lost: 0.2, doubled: 0.2, late: 0.2, by: Duration::from_millis(120) };
    let relay = Relay::start(gateway.address(), 21, faults);
    let (packets, next) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    if number >= SIGN_INS {
                        return;
                    }
                    let mut nas = Restless::new(relay.address(), SECRET, Duration::from_secs(10));
                    let reply = nas.ask(&password(&user(number)));
                    if denies(number) {
                        reply.expect(Code::ACCESS_REJECT);
                    } else {
                        assert_eq!(reply.expect(Code::ACCESS_ACCEPT).attributes(), tests::setup::REPLY);
                    }
                    packets.fetch_add(nas.packets(), Ordering::Relaxed);
                }
            });
        }
    });
    for number in 0..SIGN_INS {
        assert_eq!(cloud.prompts(&upn(&user(number))), 1, "prompts of {}", user(number));
    }
    let metrics = gateway.metrics();
    let joined = metrics.count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]);
    let packets = packets.into_inner();
    assert!(joined > 300 && packets > 1_300, "{joined} joined of {packets} packets: was there anything to join?");
    assert_eq!(metrics.count("orthrus_mfa_requests_total", &[("method", "prompt"), ("result", "sent")]), 1_000);
    let tally = relay.tally();
    assert!(tally.lost.load(Ordering::Relaxed) > 500 && tally.late.load(Ordering::Relaxed) > 500, "{tally:?}");
}
