use super::*;
use crate::config::SecondFactorNeed;
use crate::radius::dictionary;
use std::sync::Arc;

fn policy(name: &str) -> Policy {
    Policy {
        name: name.into(),
        conditions: Conditions::default(),
        outcome: Outcome::Permit,
        second_factor: SecondFactorNeed::Off,
        second_factor_name: None,
        push_users: None,
        unregistered: None,
        reply: Reply::default(),
    }
}

fn with(name: &str, conditions: Conditions) -> Policy {
    Policy { conditions, ..policy(name) }
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
fn told(policy: &Policy, change: impl FnOnce(&mut Facts<'_>)) -> Option<&str> {
    let (identity, groups) = (alice(), texts(&["Staff", "Vertrieb Süd"]));
    let source = [192, 0, 2, 10].into();
    let mut facts = Facts { source, groups: &groups, ..of(&identity) };
    change(&mut facts);
    let found = failed(policy, &facts);
    let decided = !matches!(
        decide(std::slice::from_ref(policy), &Index::new(std::slice::from_ref(policy)), &facts),
        Decision::NoMatch
    );
    assert_eq!(found.is_none(), decided, "the index and the list must agree");
    found
}

fn of(identity: &Identity) -> Facts<'_> {
    Facts {
        client: "vpn",
        source: [192, 0, 2, 10].into(),
        first_factor: Some("staff"),
        protocol: "pap",
        identity,
        groups: &[],
        attributes: None,
        now: Timestamp::from_secs(1_767_596_400),
    }
}

fn as_she_is(policy: &Policy) -> Option<&str> {
    told(policy, |_| {})
}

fn decided(policies: &[Policy]) -> (&'static str, Option<&str>) {
    let (identity, groups) = (alice(), texts(&["Staff"]));
    let facts = Facts { groups: &groups, ..of(&identity) };
    match decide(policies, &Index::new(policies), &facts) {
        Decision::Permit(policy) => ("permit", Some(&policy.name)),
        Decision::Deny(policy) => ("deny", Some(&policy.name)),
        Decision::NoMatch => ("no match", None),
    }
}

#[test]
fn a_policy_without_conditions_fits_everybody() {
    let identity = Identity::nobody(b"");
    let everybody = policy("everybody");
    let facts = |source| Facts { client: "", source, ..of(&identity) };
    assert_eq!(failed(&everybody, &facts([0, 0, 0, 0].into())), None);
    assert_eq!(failed(&everybody, &facts("::".parse().unwrap())), None);
}

#[test]
fn the_first_that_fits_decides() {
    let deny = |name| Policy { outcome: Outcome::Deny, ..policy(name) };
    let far = with("far", Conditions { clients: vec!["wlan".into()], ..Conditions::default() });
    assert_eq!(decided(&[]), ("no match", None));
    assert_eq!(decided(std::slice::from_ref(&far)), ("no match", None), "what no policy permits is refused");
    assert_eq!(decided(&[far.clone(), policy("a"), deny("b")]), ("permit", Some("a")));
    assert_eq!(decided(&[far.clone(), deny("b"), policy("a")]), ("deny", Some("b")));
    assert_eq!(decided(&[policy("a"), policy("b")]), ("permit", Some("a")));
    assert_eq!(decided(&[Policy { outcome: Outcome::Deny, ..far.clone() }, policy("a")]), ("permit", Some("a")));
}

#[test]
fn every_condition_holds_or_is_named() {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    for (key, holds, fails) in [
        (
            "clients",
            with("p", Conditions { clients: names(&["wlan", "vpn"]), ..Conditions::default() }),
            with("p", Conditions { clients: names(&["wlan", "VPN", "vpn2"]), ..Conditions::default() }),
        ),
        (
            "source_networks",
            with(
                "p",
                Conditions { source_networks: nets(&["198.51.100.0/24", "192.0.2.0/28"]), ..Conditions::default() },
            ),
            with("p", Conditions { source_networks: nets(&["192.0.2.0/29", "::/0"]), ..Conditions::default() }),
        ),
        (
            "users",
            with(
                "p",
                Conditions { users: texts(&["bob@corp.example", "alice@corp.example"]), ..Conditions::default() },
            ),
            with(
                "p",
                Conditions { users: texts(&["alice", "alice@cloud.example", "CORP\\Alice"]), ..Conditions::default() },
            ),
        ),
        (
            "realms",
            with("p", Conditions { realms: texts(&["other.example", "corp.example"]), ..Conditions::default() }),
            with("p", Conditions { realms: texts(&["example", "sub.corp.example"]), ..Conditions::default() }),
        ),
        (
            "groups",
            with("p", Conditions { groups: texts(&["admins", "staff"]), ..Conditions::default() }),
            with("p", Conditions { groups: texts(&["staf", "staffs", "Vertrieb"]), ..Conditions::default() }),
        ),
    ] {
        assert_eq!(as_she_is(&holds), None, "{key}");
        assert_eq!(as_she_is(&fails), Some(key));
    }
}

#[test]
fn all_conditions_must_hold_and_the_first_that_does_not_is_named() {
    let narrow = Conditions {
        clients: vec!["vpn".into()],
        source_networks: vec!["192.0.2.10/32".parse().unwrap()],
        users: texts(&["alice@corp.example"]),
        realms: texts(&["corp.example"]),
        groups: texts(&["staff"]),
        ..Conditions::default()
    };
    let narrow = with("narrow", narrow);
    assert_eq!(as_she_is(&narrow), None);
    assert_eq!(told(&narrow, |facts| facts.client = "wlan"), Some("clients"));
    assert_eq!(told(&narrow, |facts| facts.source = [192, 0, 2, 11].into()), Some("source_networks"));
    let bob = Identity { canonical: "bob@corp.example".into(), ..alice() };
    let failed = |identity: &Identity| {
        let groups = texts(&["Staff"]);
        failed(&narrow, &Facts { groups: &groups, ..of(identity) }).map(str::to_owned)
    };
    assert_eq!(failed(&bob).as_deref(), Some("users"));
    assert_eq!(failed(&Identity { realm: None, ..alice() }).as_deref(), Some("realms"));
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
        let policy = with("p", Conditions { groups: vec![wanted.to_lowercase()], ..Conditions::default() });
        assert_eq!(as_she_is(&policy).is_none(), fits, "{wanted}");
    }
}

#[test]
fn who_has_no_realm_is_in_none() {
    let bare = Identity { realm: None, ..alice() };
    let facts = of(&bare);
    let of = |realms: &[&str]| with("p", Conditions { realms: texts(realms), ..Conditions::default() });
    assert_eq!(failed(&of(&["corp.example"]), &facts), Some("realms"));
    assert_eq!(failed(&of(&[""]), &facts), Some("realms"));
    assert_eq!(failed(&of(&[]), &facts), None);
}

#[test]
fn networks_of_both_families_are_told_apart() {
    let all = with("p", Conditions { source_networks: vec!["0.0.0.0/0".parse().unwrap()], ..Conditions::default() });
    assert_eq!(as_she_is(&all), None);
    assert_eq!(told(&all, |facts| facts.source = "2001:db8::1".parse().unwrap()), Some("source_networks"));
    let six =
        with("p", Conditions { source_networks: vec!["2001:db8::/32".parse().unwrap()], ..Conditions::default() });
    assert_eq!(told(&six, |facts| facts.source = "2001:db8::1".parse().unwrap()), None);
    assert_eq!(told(&six, |facts| facts.source = "2001:db9::1".parse().unwrap()), Some("source_networks"));
    assert_eq!(as_she_is(&six), Some("source_networks"));
}

#[test]
fn five_hundred_policies_are_read_in_order() {
    let group = |number: usize| format!("group-{number}");
    let mut policies: Vec<_> = (0..500)
        .map(|number| with(&format!("p{number}"), Conditions { groups: vec![group(number)], ..Conditions::default() }))
        .collect();
    let index = Index::new(&policies);
    let identity = alice();
    let by = |groups: &[String]| {
        let facts = Facts { groups, ..of(&identity) };
        match decide(&policies, &index, &facts) {
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

fn said(attributes: &[(u8, &[u8])]) -> Attributes {
    let mut list = Attributes::new();
    attributes.iter().for_each(|(kind, value)| list.push(*kind, value).unwrap());
    list
}

fn claim(name: &str, test: Test) -> Policy {
    let (def, tag) = dictionary().find_tagged(name).unwrap();
    let key = format!("attributes.{name}").into();
    let claims = vec![Claim { key, def: Arc::new(def.into_owned()), tag, test }];
    with("p", Conditions { claims, ..Conditions::default() })
}

fn equals(name: &str, text: &str) -> Policy {
    let matcher = Matcher::equals(&dictionary().find_tagged(name).unwrap().0, text).unwrap();
    claim(name, Test::AnyOf(vec![matcher]))
}

fn fits(policy: &Policy, attributes: &Attributes) -> bool {
    let identity = alice();
    failed(policy, &Facts { attributes: Some(attributes), ..of(&identity) }).is_none()
}

#[test]
fn who_is_left_out_is_left_out() {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    let left_out = |conditions| with("p", conditions);
    let clients = left_out(Conditions { not_clients: names(&["wlan"]), ..Conditions::default() });
    assert_eq!(as_she_is(&clients), None);
    assert_eq!(told(&clients, |facts| facts.client = "wlan"), Some("not_clients"));
    let nets = vec!["192.0.2.0/24".parse().unwrap()];
    let nets = left_out(Conditions { not_source_networks: nets, ..Conditions::default() });
    assert_eq!(as_she_is(&nets), Some("not_source_networks"));
    assert_eq!(told(&nets, |facts| facts.source = "2001:db8::1".parse().unwrap()), None);
    let users = left_out(Conditions { not_users: texts(&["alice@corp.example"]), ..Conditions::default() });
    assert_eq!(as_she_is(&users), Some("not_users"));
    let groups = left_out(Conditions { not_groups: texts(&["vertrieb süd"]), ..Conditions::default() });
    assert_eq!(as_she_is(&groups), Some("not_groups"));
    assert_eq!(told(&groups, |facts| facts.groups = &[]), None);
    let untold = |facts: &mut Facts<'_>| (facts.groups, facts.first_factor) = (&[], None);
    assert_eq!(
        told(&groups, untold),
        Some("not_groups"),
        "whose groups are unknown is not taken for one who is in none"
    );
}

#[test]
fn factors_protocols_and_times() {
    let factor = with("p", Conditions { first_factors: vec!["staff".into()], ..Conditions::default() });
    assert_eq!(as_she_is(&factor), None);
    assert_eq!(told(&factor, |facts| facts.first_factor = Some("guests")), Some("first_factors"));
    assert_eq!(told(&factor, |facts| facts.first_factor = None), Some("first_factors"));
    let protocol = with("p", Conditions { protocols: texts(&["chap", "eap-*"]), ..Conditions::default() });
    assert_eq!(as_she_is(&protocol), Some("protocols"));
    for spoken in ["chap", "eap-tls"] {
        assert_eq!(told(&protocol, |facts| facts.protocol = spoken), None, "{spoken}");
    }
    let times = vec![Hours::parse("Mon-Fri 08:00-18:00 Europe/Berlin").unwrap()];
    let times = with("p", Conditions { times, ..Conditions::default() });
    assert_eq!(as_she_is(&times), None);
    let before = instant("2026-01-05T07:59:59+01:00").unwrap();
    assert_eq!(told(&times, |facts| facts.now = before), Some("times"));
}

#[test]
fn attributes_are_compared_by_what_they_mean() {
    let mut packet = said(&[
        (61, &[0, 0, 0, 5]),
        (30, b"VPN.Example"),
        (31, b"198.51.100.42"),
        (25, b"one"),
        (25, b"two"),
        (64, &[1, 0, 0, 13]),
        (81, b"\x02blue"),
        (6, &[0, 2]),
    ]);
    packet.push_vendor(9, 1, b"profile=admins").unwrap();
    let pattern = |name: &str, text: &str| claim(name, Test::AnyOf(vec![Matcher::pattern(text).unwrap()]));
    let prefix = |name: &str, text: &str| claim(name, Test::AnyOf(vec![Matcher::Prefix(text.into())]));
    for (policy, holds) in [
        (equals("NAS-Port-Type", "virtual"), true),
        (equals("NAS-Port-Type", "5"), true),
        (equals("NAS-Port-Type", "Async"), false),
        (equals("Called-Station-Id", "vpn.example"), true),
        (equals("Called-Station-Id", "vpn.example."), false),
        (equals("Class", "two"), true),
        (equals("Class", "TWO"), false),
        (equals("Cisco-AVPair", "PROFILE=admins"), true),
        (equals("Tunnel-Type", "VLAN"), true),
        (equals("Tunnel-Type:1", "VLAN"), true),
        (equals("Tunnel-Type:2", "VLAN"), false),
        (equals("Tunnel-Private-Group-ID", "blue"), true),
        (equals("Tunnel-Private-Group-ID:2", "blue"), true),
        (equals("Service-Type", "2"), false),
        (equals("NAS-Identifier", "x"), false),
        (prefix("Calling-Station-Id", "198.51.100."), true),
        (prefix("Calling-Station-Id", "198.51.101."), false),
        (prefix("NAS-Port-Type", "virt"), true),
        (pattern("Called-Station-Id", "(?i)vpn\\..*"), true),
        (pattern("Called-Station-Id", "vpn\\..*"), false),
        (pattern("Called-Station-Id", "VPN"), false),
        (pattern("Class", "one|three"), true),
        (pattern("Service-Type", "0x0002"), true),
        (claim("Cisco-AVPair", Test::Present(true)), true),
        (claim("Cisco-AVPair", Test::Present(false)), false),
        (claim("Framed-Protocol", Test::Present(false)), true),
        (claim("Framed-Protocol", Test::Present(true)), false),
    ] {
        let claim = &policy.conditions.claims[0];
        assert_eq!(fits(&policy, &packet), holds, "{} {:?}", claim.key, claim.test);
    }
    assert_eq!(as_she_is(&equals("Class", "one")), Some("attributes.Class"), "no packet, no attribute");
}

#[test]
fn the_nas_may_say_where_it_is() {
    let nas_addresses = vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let policy = with("p", Conditions { nas_addresses, ..Conditions::default() });
    let six: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert!(fits(&policy, &said(&[(4, &[203, 0, 113, 9])])));
    assert!(fits(&policy, &said(&[(95, &six.octets())])));
    assert!(!fits(&policy, &said(&[(4, &[203, 0, 114, 9])])));
    assert!(!fits(&policy, &said(&[(4, b"short")])) && !fits(&policy, &said(&[])));
    assert_eq!(as_she_is(&policy), Some("nas_addresses"));
}

#[test]
fn patterns_are_bounded() {
    for wrong in ["(", "a)|(b", "[", &"x".repeat(257), "(a{1000}){1000}", "\\1", "(?=x)"] {
        assert!(Matcher::pattern(wrong).is_err(), "{wrong}");
    }
    // What makes a backtracking engine think for years is over before this test is.
    let evil = claim("Class", Test::AnyOf(vec![Matcher::pattern("(a|a)*(a|a)*(a|a)*b").unwrap()]));
    assert!(!fits(&evil, &said(&[(25, &[b'a'; 253])])));
}

mod agreement {
    use super::*;
    use proptest::prelude::*;

    fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(proptest::sample::select(names), 0..3).prop_map(|names| texts(&names))
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let names =
            (some(&["vpn", "wlan"]), some(&["alice@corp.example", "bob@corp.example"]), some(&["corp.example", "x"]));
        let nets = some(&["192.0.2.0/24", "192.0.2.10/32", "198.51.100.0/24"]);
        (names, some(&["staff", "admins", "süd"]), some(&["staff", "guests"]), nets).prop_map(
            |((clients, users, realms), groups, not_groups, nets)| {
                let source_networks = nets.iter().map(|net| net.parse().unwrap()).collect();
                let clients = clients.iter().map(|name| name.as_str().into()).collect();
                let conditions =
                    Conditions { clients, users, realms, groups, not_groups, source_networks, ..Conditions::default() };
                with("p", conditions)
            },
        )
    }

    const CLASSES: &[&[u8]] = &[b"abc", b"ABcd", b"\x01\x02", b"\xff"];

    /// Tests of one attribute, of which one is enough; the first letter says of which kind.
    fn any_claim() -> impl Strategy<Value = (&'static str, Vec<&'static str>)> {
        let texts = [
            "=vpn-1",
            "=VPN-2",
            "^vpn",
            "^Vpn-2",
            "~vpn-[12]",
            "~vpn-1?",
            "~(?i)VPN-.",
            "~.*2",
            "~vpn-1|wlan",
            "~v{1}.*",
        ];
        let ports = ["=Virtual", "=Ethernet", "^Vir", "~Virt.*", "~[0-9]*"];
        let class = ["=0x0102", "=abc", "^ab", "~abc?d*", "^0x01"];
        let of = |name, all: &'static [&'static str]| {
            proptest::collection::vec(proptest::sample::select(all), 0..3).prop_map(move |tests| (name, tests))
        };
        prop_oneof![
            of("NAS-Identifier", Box::leak(Box::new(texts))),
            of("NAS-Port-Type", Box::leak(Box::new(ports))),
            of("Class", Box::leak(Box::new(class))),
        ]
    }

    fn claiming(claims: &[(&'static str, Vec<&'static str>)]) -> Policy {
        let made = claims.iter().flat_map(|(name, tests)| {
            let def = Arc::new(dictionary().find_tagged(name).unwrap().0.into_owned());
            let matchers = tests.iter().map(|test| match test.split_at(1) {
                ("=", text) => Matcher::equals(&def, text).unwrap(),
                ("^", text) => Matcher::Prefix(text.into()),
                (_, text) => Matcher::pattern(text).unwrap(),
            });
            let test = if tests.is_empty() { Test::Present(true) } else { Test::AnyOf(matchers.collect()) };
            Some(Claim { key: (*name).into(), def: def.clone(), tag: None, test })
        });
        with("p", Conditions { claims: made.collect(), ..Conditions::default() })
    }

    proptest! {
        /// The same for what packets say of themselves.
        #[test]
        fn the_index_is_the_list_for_claims(
            policies in proptest::collection::vec(proptest::collection::vec(any_claim(), 0..3), 0..150),
            names in proptest::collection::vec(proptest::sample::select(&["vpn-1", "VPN-2", "vpn-", "wlan", "v"][..]), 0..3),
            port in proptest::sample::select(&[0u8, 5, 15][..]),
            class in proptest::option::of(proptest::sample::select(CLASSES)),
        ) {
            let policies: Vec<_> = policies.iter().map(|claims| claiming(claims)).collect();
            let mut list: Vec<(u8, &[u8])> = names.iter().map(|name| (32, name.as_bytes())).collect();
            let port = [0, 0, 0, port];
            list.push((61, &port));
            list.extend(class.map(|class| (25, class)));
            let (identity, attributes) = (alice(), said(&list));
            let facts = Facts { attributes: Some(&attributes), ..of(&identity) };
            let listed = policies.iter().position(|policy| failed(policy, &facts).is_none());
            let found = match decide(&policies, &Index::new(&policies), &facts) {
                Decision::Permit(found) | Decision::Deny(found) => {
                    policies.iter().position(|policy| std::ptr::eq(policy, found))
                }
                Decision::NoMatch => None,
            };
            prop_assert_eq!(found, listed);
        }

        /// The index finds what looking at one policy after the other finds.
        #[test]
        fn the_index_is_the_list(
            policies in proptest::collection::vec(any_policy(), 0..200),
            groups in some(&["Staff", "ADMINS", "Süd", "guests", "other"]),
            client in proptest::sample::select(&["vpn", "wlan", "other"][..]),
            realm in any::<bool>(),
        ) {
            let identity = Identity { realm: realm.then(|| "corp.example".to_owned()), ..alice() };
            let facts = Facts { client, groups: &groups, ..of(&identity) };
            let listed = policies.iter().position(|policy| failed(policy, &facts).is_none());
            let found = match decide(&policies, &Index::new(&policies), &facts) {
                Decision::Permit(found) | Decision::Deny(found) => {
                    policies.iter().position(|policy| std::ptr::eq(policy, found))
                }
                Decision::NoMatch => None,
            };
            prop_assert_eq!(found, listed);
        }
    }
}
