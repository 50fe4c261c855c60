//! A new configuration, new users and new tokens while people sign in: nothing is lost, and what is wrong changes nothing.

use gateway_core::radius::Code;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tests::setup::user;
use tests::{Request, SECRET, Setup, SoftToken};

const OPEN: &str = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\nreply = { Class = \"generation 0\" }\n";

fn setup() -> Setup {
    Setup::new().user("alice", "correct horse").policies(OPEN)
}

#[test]
fn no_packet_is_lost_while_the_configuration_changes() {
    let gateway = setup().start();
    let (stop, signed_in) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut nas = gateway.nas();
                    while !stop.load(Ordering::Relaxed) {
                        nas.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_ACCEPT);
                        signed_in.fetch_add(1, Ordering::Relaxed);
                    }
                    nas.repetitions()
                })
            })
            .collect();
        for generation in 0..10 {
            let before = signed_in.load(Ordering::Relaxed);
            let [old, new] = [generation, generation + 1].map(|number| format!("generation {number}\""));
            gateway.edit_config(|config| config.replace(&old, &new));
            gateway.reload().unwrap();
            let accept = gateway.nas().ask(&Request::access("alice").password("correct horse"));
            assert_eq!(accept.attributes(), [format!("Class = \"generation {}\"", generation + 1)]);
            tests::eventually("the load goes on", || (signed_in.load(Ordering::Relaxed) > before + 20).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
        for nas in load {
            assert_eq!(nas.join().unwrap(), 0, "a packet had to be sent again");
        }
    });
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_radius_dropped_total", &[]), 0);
    assert!(metrics.sum("orthrus_config_last_reload_success", &[("what", "config")]) > 0.5);
}

#[test]
fn a_faulty_configuration_changes_nothing_and_says_why() {
    let gateway = setup().start();
    gateway.edit_config(|config| {
        config.replace("generation 0", "never").replace("second_factor = \"off\"", "second_factor = \"of\"\ncolour = 1")
    });
    let fault = gateway.reload().unwrap_err();
    for part in ["policies[0].second_factor", "if_enrolled", "policies[0].colour"] {
        assert!(fault.contains(part), "{part} is not in {fault}");
    }
    let accept = gateway.nas().ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), ["Class = \"generation 0\""]);
    let metrics = gateway.metrics();
    assert!(metrics.sum("orthrus_config_last_reload_success", &[("what", "config")]) < 0.5);

    gateway.edit_config(|config| config.replace("\"of\"\ncolour = 1", "\"off\""));
    gateway.reload().unwrap();
    let accept = gateway.nas().ask(&Request::access("alice").password("correct horse"));
    assert_eq!(accept.attributes(), ["Class = \"never\""]);
}

#[test]
fn a_secret_that_is_gone_changes_nothing() {
    let gateway = setup().start();
    std::fs::remove_file(gateway.path("secret-nas")).unwrap();
    assert!(gateway.reload().unwrap_err().contains("secret-nas"));
    gateway.nas().ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_ACCEPT);
    gateway.write("secret-nas", SECRET);
    gateway.reload().unwrap();
}

#[test]
fn users_come_and_go_without_a_signal() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let signs_in = |nas: &mut tests::Client, name: &str| {
        nas.ask(&Request::access(name).password("correct horse")).code() == Code::ACCESS_ACCEPT
    };
    assert!(signs_in(&mut nas, "alice") && !signs_in(&mut nas, "bob"));
    gateway.write("users", &user("bob", "correct horse", &[]));
    tests::eventually("bob may sign in", || signs_in(&mut nas, "bob").then_some(()));
    assert!(!signs_in(&mut nas, "alice"));

    gateway.write("users", "[[users]]\nname = \"carol\"\npasword_plain = \"8675309\"\n");
    let line = tests::eventually("the fault is told", || {
        gateway.log().lines().find(|line| line.contains("carol")).map(str::to_owned)
    });
    assert!(line.contains("pasword_plain") && !line.contains("8675309"), "{line}");
    assert!(signs_in(&mut nas, "bob"), "what is wrong changes nothing");
    gateway.await_metrics("the fault shows", |metrics| {
        metrics.sum("orthrus_config_last_reload_success", &[("what", "staff")]) < 0.5
    });
}

#[test]
fn an_attempt_keeps_the_attributes_that_it_earned() {
    let token = SoftToken::hotp("alice");
    let policy = "[[policies]]\nname = \"all\"\nreply = { Class = \"before\" }\n";
    let gateway = setup().token(&token).policies(policy).start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_CHALLENGE);
    gateway.edit_config(|config| config.replace("before", "after"));
    gateway.reload().unwrap();
    let accept = nas.ask(&Request::access("alice").password(&token.code(0)).state(&challenge));
    assert_eq!(accept.expect(Code::ACCESS_ACCEPT).attributes(), ["Class = \"before\""]);
}

#[test]
fn a_faulty_configuration_never_starts_and_every_fault_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup().set("attempts.tries", 0).set("attempts.deadline", "90").set("limits.colour", "red");
    setup.of_client(tests::NAS, "addresses", vec!["300.1.2.3"]).write(folder.path());
    for arguments in [&["serve", "--config", "orthrus.toml"][..], &["check-config", "orthrus.toml"]] {
        let output = tests::gateway::run(folder.path(), arguments, "");
        assert!(!output.status.success());
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        for part in ["attempts.tries", "attempts.deadline", "limits.colour", "clients", "300.1.2.3"] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
    }
}
