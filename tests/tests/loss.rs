//! A thousand sign-ins over a network that loses, doubles and reorders a fifth of the packets in both directions. All of
//! them end right, and nobody is asked twice.

use gateway_core::radius::Code;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tests::{Client, Faults, Relay, Request, SECRET, Setup, SoftToken};

const SIGN_INS: usize = 1_000;
const NASES: usize = 25;

/// How a sign-in goes, by its number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Story {
    /// Password and code are right.
    Right,
    /// A wrong code, then the right one.
    SecondTry,
    /// The password is wrong.
    WrongPassword,
    /// All three codes are wrong.
    WrongCodes,
    /// There is no such user.
    Stranger,
}

fn story(number: usize) -> Story {
    match number % 10 {
        1 => Story::SecondTry,
        3 => Story::WrongPassword,
        5 => Story::WrongCodes,
        7 => Story::Stranger,
        _ => Story::Right,
    }
}

fn user(number: usize) -> String {
    format!("user{number}")
}

fn sign_in(nas: &mut Client, number: usize) {
    let user = user(number);
    let token = SoftToken::hotp(&user);
    let story = story(number);
    let password = if story == Story::WrongPassword { "wrong" } else { "correct horse" };
    let first = Request::access(&user).password(password).station(&format!("station {number}"));
    let answer = |code: &str| Request::access(&user).password(code).station(&format!("station {number}"));
    let reply = nas.ask(&first);
    if matches!(story, Story::WrongPassword | Story::Stranger) {
        reply.expect(Code::ACCESS_REJECT);
        return;
    }
    let mut challenge = reply.expect(Code::ACCESS_CHALLENGE);
    let wrong = match story {
        Story::SecondTry => 1,
        Story::WrongCodes => 3,
        _ => 0,
    };
    for turn in 1..=wrong {
        let reply = nas.ask(&answer(&token.wrong_code(0)).state(&challenge));
        if turn == 3 {
            reply.expect(Code::ACCESS_REJECT);
            return;
        }
        challenge = reply.expect(Code::ACCESS_CHALLENGE);
    }
    let accept = nas.ask(&answer(&token.code(0)).state(&challenge)).expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), tests::setup::REPLY);
}

#[test]
fn a_thousand_sign_ins_end_right_over_a_bad_network() {
    let mut setup = Setup::new();
    for number in (0..SIGN_INS).filter(|number| story(*number) != Story::Stranger) {
        setup = setup.user(&user(number), "correct horse").token(&SoftToken::hotp(&user(number)));
    }
    let gateway = setup.start();
    let faults = Faults { lost: 0.2, doubled: 0.2, late: 0.2, by: Duration::from_millis(120) };
    let relay = Relay::start(gateway.address(), 20, faults);
    let (repetitions, repeated_replies) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for nas in 0..NASES {
            let (relay, repetitions, repeated_replies) = (&relay, &repetitions, &repeated_replies);
            scope.spawn(move || {
                let mut client = Client::new(relay.address(), SECRET).impatient();
                // Fewer packets than there are identifiers, so that late ones are still known for what they are.
                for number in (nas..SIGN_INS).step_by(NASES) {
                    sign_in(&mut client, number);
                }
                client.listen_out();
                repetitions.fetch_add(client.repetitions(), Ordering::Relaxed);
                repeated_replies.fetch_add(client.repeated_replies(), Ordering::Relaxed);
            });
        }
    });

    let count = |stories: &[Story]| (0..SIGN_INS).filter(|number| stories.contains(&story(*number))).count() as u64;
    let metrics = gateway.metrics();
    // Each packet was decided once, however often it came: the counts are exact.
    assert_eq!(metrics.ended("accept"), count(&[Story::Right, Story::SecondTry]));
    assert_eq!(metrics.refused("wrong_password"), count(&[Story::WrongPassword]));
    assert_eq!(metrics.refused("unknown_user"), count(&[Story::Stranger]));
    assert_eq!(metrics.refused("tries_spent"), count(&[Story::WrongCodes]));
    let prompts = count(&[Story::Right]) + 2 * count(&[Story::SecondTry]) + 3 * count(&[Story::WrongCodes]);
    assert_eq!(metrics.ended("challenge"), prompts);
    assert_eq!(metrics.ended("silence"), 0);
    assert_eq!(metrics.count("orthrus_radius_dropped_total", &[]), 0);

    // And the network was as bad as it should have been.
    let duplicates = metrics.count("orthrus_radius_duplicates_total", &[]);
    let tally = relay.tally();
    assert!(tally.lost.load(Ordering::Relaxed) > 500 && tally.late.load(Ordering::Relaxed) > 500, "{tally:?}");
    assert!(duplicates > 300 && repetitions.into_inner() > 300 && repeated_replies.into_inner() > 300);
}
