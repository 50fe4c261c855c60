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

/// An accept shows a word of its policy and the name of its client: where one is older than the other, a packet was answered by
/// half of each configuration.
#[test]
fn no_packet_is_answered_by_halves_of_two_configurations() {
    let open = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\n\
                reply = { Class = \"nas\", Filter-Id = \"{client.name}\" }\n";
    // Nobody sends a signal: the file is watched.
    let gateway = setup().policies(open).watched().start();
    let generation = |nas: &mut tests::Client| -> u64 {
        let accept = nas.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_ACCEPT);
        let words = accept.attributes().join(" ").replace("Class = ", "").replace("Filter-Id = ", "");
        let (class, client) = words.split_once(' ').unwrap();
        assert_eq!(class, client);
        class.trim_matches('"').trim_start_matches("nas").trim_start_matches('-').parse().unwrap_or(0)
    };
    let (stop, signed_in) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut nas, mut last) = (gateway.nas(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        let new = generation(&mut nas);
                        assert!(new >= last, "{new} after {last}");
                        last = new;
                        signed_in.fetch_add(1, Ordering::Relaxed);
                    }
                    (nas.repetitions(), last)
                })
            })
            .collect();
        for number in 1..=3 {
            let old = if number == 1 { "\"nas\"".to_owned() } else { format!("\"nas-{}\"", number - 1) };
            gateway.edit_config(|config| config.replace(&old, &format!("\"nas-{number}\"")));
            tests::eventually("it is in force", || (generation(&mut gateway.nas()) == number).then_some(()));
            let before = signed_in.load(Ordering::Relaxed);
            tests::eventually("the load goes on", || (signed_in.load(Ordering::Relaxed) > before + 20).then_some(()));
        }
        stop.store(true, Ordering::Relaxed);
        for nas in load {
            assert_eq!(nas.join().unwrap(), (0, 3), "a packet had to be sent again, or the old stayed");
        }
    });
    assert_eq!(gateway.metrics().count("orthrus_radius_dropped_total", &[]), 0);
}

#[test]
fn a_changed_file_is_put_in_force_by_itself_and_a_faulty_one_is_not() {
    let gateway = setup().watched().start();
    let mut nas = gateway.nas();
    let class = |nas: &mut tests::Client| {
        nas.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_ACCEPT).attributes()
    };
    let reloads = |gateway: &tests::Gateway| gateway.log().matches("the new configuration is in force").count();
    gateway.edit_config(|config| config.replace("generation 0", "generation 1"));
    tests::eventually("it is in force", || (class(&mut nas) == ["Class = \"generation 1\""]).then_some(()));

    gateway.edit_config(|config| config.replace("generation 1", "never").replace("\"off\"", "\"of\""));
    gateway.await_metrics("the fault shows", |metrics| {
        metrics.sum("orthrus_config_last_reload_success", &[("what", "config")]) < 0.5
    });
    assert_eq!(class(&mut nas), ["Class = \"generation 1\""]);
    gateway.await_log("policies[0].second_factor");

    // Written in place, as an editor may do it.
    let text = std::fs::read_to_string(gateway.path("orthrus.toml")).unwrap();
    std::fs::write(gateway.path("orthrus.toml"), text.replace("never", "generation 2").replace("\"of\"", "\"off\""))
        .unwrap();
    tests::eventually("it is in force", || (class(&mut nas) == ["Class = \"generation 2\""]).then_some(()));
    tests::eventually("each change is put in force once", || (reloads(&gateway) == 2).then_some(()));

    // A file that the configuration names.
    gateway.write("secret-nas", "another-secret-of-thirty-characters");
    tests::eventually("the new secret is in force", || (reloads(&gateway) == 3).then_some(()));
    let mut nas = tests::Client::new(gateway.address(), "another-secret-of-thirty-characters");
    assert_eq!(class(&mut nas), ["Class = \"generation 2\""]);
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
