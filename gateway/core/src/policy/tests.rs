use super::*;
use crate::config::SecondFactorNeed;
use crate::radius::Attributes;
use std::sync::Arc;

fn policy(name: &str) -> Policy {
    Policy {
        name: name.into(),
        clients: vec![],
        groups: vec![],
        users: vec![],
        realms: vec![],
        source_networks: vec![],
        outcome: Outcome::Permit,
        second_factor: SecondFactorNeed::Off,
        second_factor_name: None,
        push_users: None,
        unregistered: None,
        reply: Attributes::new(),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn alice() -> Identity {
    Identity {
        given: "CORP\\Alice".into(),
        user: "alice".into(),
        realm: Some("corp.example".into()),
        canonical: "alice@corp.example".into(),
        upn: "alice@cloud.example".into(),
    }
}

/// Alice of Staff, by way of `vpn` at 192.0.2.10; `change` makes her somebody else.
fn told(policy: &Policy, change: impl FnOnce(&mut Facts<'_>)) -> Option<Failed> {
    let (identity, groups) = (alice(), texts(&["Staff", "Vertrieb Süd"]));
    let source = [192, 0, 2, 10].into();
    let mut facts = Facts { client: "vpn", source, identity: &identity, groups: &groups };
    change(&mut facts);
    failed(policy, &facts)
}

fn as_she_is(policy: &Policy) -> Option<Failed> {
    told(policy, |_| {})
}

fn decided(policies: &[Policy]) -> (&'static str, Option<&str>) {
    let (identity, groups) = (alice(), texts(&["Staff"]));
    let facts = Facts { client: "vpn", source: [192, 0, 2, 10].into(), identity: &identity, groups: &groups };
    match decide(policies, &facts) {
        Decision::Permit(policy) => ("permit", Some(&policy.name)),
        Decision::Deny(policy) => ("deny", Some(&policy.name)),
        Decision::NoMatch => ("no match", None),
    }
}

#[test]
fn a_policy_without_conditions_fits_everybody() {
    let identity = Identity::nobody(b"");
    let everybody = policy("everybody");
    let facts = |source| Facts { client: "", source, identity: &identity, groups: &[] };
    assert_eq!(failed(&everybody, &facts([0, 0, 0, 0].into())), None);
    assert_eq!(failed(&everybody, &facts("::".parse().unwrap())), None);
}

#[test]
fn the_first_that_fits_decides() {
    let deny = |name| Policy { outcome: Outcome::Deny, ..policy(name) };
    let far = Policy { clients: vec!["wlan".into()], ..policy("far") };
    assert_eq!(decided(&[]), ("no match", None));
    assert_eq!(decided(std::slice::from_ref(&far)), ("no match", None), "what no policy permits is refused");
    assert_eq!(decided(&[far.clone(), policy("a"), deny("b")]), ("permit", Some("a")));
    assert_eq!(decided(&[far.clone(), deny("b"), policy("a")]), ("deny", Some("b")));
    assert_eq!(decided(&[policy("a"), policy("b")]), ("permit", Some("a")));
    assert_eq!(decided(&[Policy { clients: vec!["wlan".into()], ..deny("far") }, policy("a")]), ("permit", Some("a")));
}

#[test]
fn every_condition_holds_or_is_named() {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    for (key, holds, fails) in [
        (
            "clients",
            Policy { clients: names(&["wlan", "vpn"]), ..policy("p") },
            Policy { clients: names(&["wlan", "VPN", "vpn2"]), ..policy("p") },
        ),
        (
            "source_networks",
            Policy { source_networks: nets(&["198.51.100.0/24", "192.0.2.0/28"]), ..policy("p") },
            Policy { source_networks: nets(&["192.0.2.0/29", "::/0"]), ..policy("p") },
        ),
        (
            "users",
            Policy { users: texts(&["bob@corp.example", "alice@corp.example"]), ..policy("p") },
            Policy { users: texts(&["alice", "alice@cloud.example", "CORP\\Alice"]), ..policy("p") },
        ),
        (
            "realms",
            Policy { realms: texts(&["other.example", "corp.example"]), ..policy("p") },
            Policy { realms: texts(&["example", "sub.corp.example"]), ..policy("p") },
        ),
        (
            "groups",
            Policy { groups: texts(&["admins", "staff"]), ..policy("p") },
            Policy { groups: texts(&["staf", "staffs", "Vertrieb"]), ..policy("p") },
        ),
    ] {
        assert_eq!(as_she_is(&holds), None, "{key}");
        assert_eq!(as_she_is(&fails), Some(key));
    }
}

#[test]
fn all_conditions_must_hold_and_the_first_that_does_not_is_named() {
    let narrow = Policy {
        clients: vec!["vpn".into()],
        source_networks: vec!["192.0.2.10/32".parse().unwrap()],
        users: texts(&["alice@corp.example"]),
        realms: texts(&["corp.example"]),
        groups: texts(&["Staff"]),
        ..policy("narrow")
    };
    assert_eq!(as_she_is(&narrow), None);
    assert_eq!(told(&narrow, |facts| facts.client = "wlan"), Some("clients"));
    assert_eq!(told(&narrow, |facts| facts.source = [192, 0, 2, 11].into()), Some("source_networks"));
    let bob = Identity { canonical: "bob@corp.example".into(), ..alice() };
    let failed = |identity: &Identity| {
        let groups = texts(&["Staff"]);
        failed(&narrow, &Facts { client: "vpn", source: [192, 0, 2, 10].into(), identity, groups: &groups })
    };
    assert_eq!(failed(&bob), Some("users"));
    assert_eq!(failed(&Identity { realm: None, ..alice() }), Some("realms"));
    assert_eq!(told(&narrow, |facts| facts.groups = &[]), Some("groups"));
}

#[test]
fn groups_are_compared_without_case_in_every_alphabet() {
    for (wanted, fits) in [
        ("Staff", true),
        ("STAFF", true),
        ("vertrieb süd", true),
        ("VERTRIEB SÜD", true),
        ("vertrieb sud", false),
        ("staff ", false),
    ] {
        let policy = Policy { groups: texts(&[wanted]), ..policy("p") };
        assert_eq!(as_she_is(&policy).is_none(), fits, "{wanted}");
    }
}

#[test]
fn who_has_no_realm_is_in_none() {
    let bare = Identity { realm: None, ..alice() };
    let facts = Facts { client: "vpn", source: [192, 0, 2, 10].into(), identity: &bare, groups: &[] };
    let of = |realms: &[&str]| Policy { realms: texts(realms), ..policy("p") };
    assert_eq!(failed(&of(&["corp.example"]), &facts), Some("realms"));
    assert_eq!(failed(&of(&[""]), &facts), Some("realms"));
    assert_eq!(failed(&of(&[]), &facts), None);
}

#[test]
fn networks_of_both_families_are_told_apart() {
    let all = Policy { source_networks: vec!["0.0.0.0/0".parse().unwrap()], ..policy("p") };
    assert_eq!(as_she_is(&all), None);
    assert_eq!(told(&all, |facts| facts.source = "2001:db8::1".parse().unwrap()), Some("source_networks"));
    let six = Policy { source_networks: vec!["2001:db8::/32".parse().unwrap()], ..policy("p") };
    assert_eq!(told(&six, |facts| facts.source = "2001:db8::1".parse().unwrap()), None);
    assert_eq!(told(&six, |facts| facts.source = "2001:db9::1".parse().unwrap()), Some("source_networks"));
    assert_eq!(as_she_is(&six), Some("source_networks"));
}

#[test]
fn five_hundred_policies_are_read_in_order() {
    let group = |number: usize| format!("group-{number}");
    let mut policies: Vec<_> =
        (0..500).map(|number| Policy { groups: vec![group(number)], ..policy(&format!("p{number}")) }).collect();
    let identity = alice();
    let by = |groups: &[String]| {
        let facts = Facts { client: "vpn", source: [192, 0, 2, 10].into(), identity: &identity, groups };
        match decide(&policies, &facts) {
            Decision::Permit(policy) => Some(policy.name.to_string()),
            Decision::Deny(_) | Decision::NoMatch => None,
        }
    };
    for number in 0..500 {
        assert_eq!(by(&[group(number)]), Some(format!("p{number}")));
        assert_eq!(by(&[group(499), group(number)]), Some(format!("p{number}")), "the order of the policies counts");
    }
    assert_eq!(by(&[group(500)]), None);
    policies.push(policy("rest"));
    assert_eq!(decided(&policies), ("permit", Some("rest")));
}
