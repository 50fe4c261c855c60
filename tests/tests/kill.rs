//! A crash (kill -9) in the middle of many sign-ins: a code that opened the door once does not open it again, and nobody is
//! locked out (DESIGN A5: counters are durable before the accept).

use gateway_core::radius::Code;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tests::{Client, Gateway, Request, Setup, SoftToken};

const USERS: usize = 24;
const PASSWORD: &str = "correct horse";
const CRASHES: u64 = 3;

fn user(number: usize) -> String {
    format!("user{number}")
}

/// One sign-in; `None` if the gateway died under it.
fn sign_in(nas: &mut Client, user: &str, code: &str) -> Option<Code> {
    let first = nas.encode(&Request::access(user).password(PASSWORD));
    nas.send(&first);
    let challenge = nas.await_reply(&first, Duration::from_secs(1))?.expect(Code::ACCESS_CHALLENGE);
    let second = nas.encode(&Request::access(user).password(code).state(&challenge));
    nas.send(&second);
    Some(nas.await_reply(&second, Duration::from_secs(1))?.code())
}

/// Everybody signs in again and again until the gateway is killed; remembers each code that was accepted.
fn load(
    gateway: &mut Gateway,
    next: &mut BTreeMap<String, u64>,
    accepted: &Mutex<Vec<(String, u64)>>,
    crash_after: u64,
) {
    let (count, address) = (AtomicU64::new(0), gateway.address());
    std::thread::scope(|scope| {
        for (user, next) in next.iter_mut() {
            let (count, accepted) = (&count, &accepted);
            scope.spawn(move || {
                let token = SoftToken::hotp(user);
                let mut nas = Client::new(address, tests::SECRET);
                while let Some(code) = sign_in(&mut nas, user, &token.code(*next)) {
                    assert_eq!(code, Code::ACCESS_ACCEPT, "{user} {next}");
                    accepted.lock().unwrap().push((user.clone(), *next));
                    count.fetch_add(1, Ordering::Relaxed);
                    *next += 1;
                }
                // Whether this code was used is not known any more.
                *next += 1;
            });
        }
        tests::eventually("many have signed in", || (count.load(Ordering::Relaxed) >= crash_after).then_some(()));
        gateway.kill();
    });
}

#[test]
fn no_code_that_was_accepted_is_accepted_again_after_a_crash() {
    let setup = Setup::new().set("attempts.repeat_window", "0s").set("attempts.tries", 10);
    let setup = setup.set("limits.wrong_codes", 1000);
    let mut gateway = (0..USERS)
        .map(user)
        .fold(setup, |setup, user| setup.user(&user, PASSWORD).token(&SoftToken::hotp(&user)))
        .start();
    let mut next: BTreeMap<String, u64> = (0..USERS).map(|number| (user(number), 0)).collect();
    let accepted = Mutex::new(Vec::new());
    for crash in 1..=CRASHES {
        load(&mut gateway, &mut next, &accepted, 60 * crash + 17);
        gateway.start_again();
        let mut nas = gateway.nas();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (user, counter) in accepted.lock().unwrap().iter() {
            last.insert(user.clone(), *counter);
        }
        for (user, counter) in last {
            let code = sign_in(&mut nas, &user, &SoftToken::hotp(&user).code(counter));
            assert_eq!(code, Some(Code::ACCESS_CHALLENGE), "the code {counter} of {user} was used before the crash");
        }
        for (user, next) in &mut next {
            let code = sign_in(&mut nas, user, &SoftToken::hotp(user).code(*next));
            assert_eq!(code, Some(Code::ACCESS_ACCEPT), "{user} is not locked out");
            *next += 1;
        }
    }
    assert!(accepted.into_inner().unwrap().len() > 200);
}
