//! Every fault and every warning, made on purpose. Each case is the smallest sound configuration with the sections of the case
//! in the place of its own.

use super::*;
use std::path::PathBuf;

use crate::secret::Secret;

/// The file's name is its content; `missing` is missing and `empty` is empty.
struct Names;

impl SecretSource for Names {
    fn file(&self, path: &Path) -> Result<Secret, String> {
        match path.file_name().and_then(|name| name.to_str()) {
            None | Some("missing") => Err(format!("cannot read {}: not found", path.display())),
            Some("empty") => Ok(Secret::new(Vec::new())),
            Some(name) => Ok(Secret::new(name.as_bytes().to_vec())),
        }
    }

    fn env(&self, name: &str) -> Result<Secret, String> {
        Ok(Secret::new(name.as_bytes().to_vec()))
    }
}

const SOUND: [(&str, &str); 5] = [
    ("state_dir", "state_dir = 'state'\n"),
    ("[[clients]]", "[[clients]]\nname = 'vpn'\naddresses = ['192.0.2.10']\nsecret_file = 'a-long-and-random-one'\n"),
    ("[[first_factor]]", "[[first_factor]]\nname = 'staff'\nkind = 'file'\nusers_file = 'users'\n"),
    ("[[second_factor]]", "[[second_factor]]\nname = 'code'\nkind = 'oath'\ntokens_file = 'tokens'\n"),
    ("[[policies]]", "[[policies]]\nname = 'everybody'\n"),
];

type Outcome = Result<(Config, Vec<Warning>), (Faults, Vec<Warning>)>;

fn check_on(host_name: &str, sections: &str) -> Outcome {
    let missing = SOUND.iter().filter(|(head, _)| !sections.contains(head)).map(|(_, text)| *text);
    let (top, rest): (Vec<_>, Vec<_>) = missing.partition(|text| text.starts_with("state_dir"));
    let text = top.concat() + sections + "\n" + &rest.concat();
    let raw: Raw = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let around = Surroundings { folder: Path::new("/etc/orthrus"), host_name, secrets: &Names };
    raw.check(&around, Report::default())
}

fn check(sections: &str) -> Outcome {
    check_on("node-1", sections)
}

fn faults(sections: &str) -> Vec<String> {
    check(sections).map_or_else(|(faults, _)| faults.0.iter().map(Fault::to_string).collect(), |_| Vec::new())
}

fn warnings(sections: &str) -> Vec<String> {
    let warnings = check(sections).map_or_else(|(faults, _)| panic!("{faults}"), |(_, warnings)| warnings);
    warnings.iter().map(Warning::to_string).collect()
}

/// Exactly one line, at `path`, with `fragment` in it.
#[track_caller]
fn only(lines: &[String], path: &str, fragment: &str, sections: &str) {
    let [line] = lines else { panic!("not one line but {lines:#?} for\n{sections}") };
    assert!(line.starts_with(&format!("{path}: ")), "not at {path}: {line}");
    assert!(line.contains(fragment), "no `{fragment}` in: {line}");
}

fn client(lines: &str) -> String {
    format!("[[clients]]\nname = 'vpn'\naddresses = ['192.0.2.10']\nsecret_file = 'a-long-and-random-one'\n{lines}\n")
}

fn traced(headers: &str) -> String {
    format!("[telemetry]\notlp_endpoint = 'https://a.example/otlp/'\notlp_headers_file = '{headers}'\n")
}

fn two_clients(second: &str) -> String {
    format!("{}[[clients]]\nname = 'other'\n{second}\n", client(""))
}

const TWO_FIRST: &str = "[[first_factor]]\nname = 'a'\nkind = 'file'\nusers_file = 'a'\n\
                         [[first_factor]]\nname = 'b'\nkind = 'file'\nusers_file = 'b'\n";
const TWO_SECOND: &str = "[[second_factor]]\nname = 'a'\nkind = 'oath'\ntokens_file = 'a'\n\
                          [[second_factor]]\nname = 'b'\nkind = 'oath'\ntokens_file = 'b'\n";

#[test]
fn the_smallest_configuration_is_sound() {
    let (config, warnings) = check("").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.state_dir, PathBuf::from("/etc/orthrus/state"));
    assert_eq!(config.listen.authentication.len(), 4);
    let [client] = config.clients.as_slice() else { panic!("one client") };
    assert_eq!(client.first_factor.as_deref(), Some("staff"));
    assert_eq!(&*client.attempt_group, "vpn");
    assert_eq!(config.policies.first().and_then(|policy| policy.second_factor_name.as_deref()), Some("code"));
    assert_eq!(&*config.cluster.node_id, "node-1");
    assert!(!format!("{config:?}").contains("a-long-and-random-one"));
}

#[test]
fn faults_of_every_kind() {
    let long = "x".repeat(241);
    for (sections, path, fragment) in [
        ("state_dir = ''", "state_dir", "no folder"),
        ("[listen]\nauthentication = []", "listen.authentication", "listen nowhere"),
        ("[listen]\nauthentication = ['192.0.2.1']", "listen.authentication[0]", "not an address with a port"),
        (
            "[listen]\nauthentication = ['192.0.2.1:1812', '[::ffff:192.0.2.1]:1812']",
            "listen.authentication[1]",
            "listed twice",
        ),
        ("[listen]\nreceive_buffer = '1KiB'", "listen.receive_buffer", "Write a value from 64KiB to 1GiB."),
        ("clients = [] # [[clients]]", "clients", "no RADIUS client"),
        (&two_clients("addresses = ['192.0.2.11']"), "clients[1].secret_file", "no shared secret"),
        (&two_clients("secret_env = 'another-long-secret'"), "clients[1].addresses", "no address"),
        (
            &two_clients("addresses = ['::ffff:192.0.2.10/128']\nsecret_env = 'another-long-secret'"),
            "clients[1].addresses[0]",
            "192.0.2.10/32 stands at clients[0].addresses[0] already",
        ),
        (
            &two_clients("addresses = ['192.0.2.0/33']\nsecret_env = 'another-long-secret'"),
            "clients[1].addresses[0]",
            "not an address or a network",
        ),
        (
            &client("").replace("192.0.2.10", "192.0.2.10/24"),
            "clients[0].addresses[0]",
            "Write 192.0.2.0/24 for the network or 192.0.2.10 for the address alone.",
        ),
        (&client("").replace("name = 'vpn'\n", ""), "clients[0].name", "a name is missing"),
        (&client("").replace("'vpn'", "'the vpn'"), "clients[0].name", "`the vpn` cannot be a name"),
        (
            &two_clients("addresses = ['192.0.2.11']\nsecret_env = 'another-long-secret'").replace("other", "vpn"),
            "clients[1].name",
            "`vpn` is already the name of clients[0]",
        ),
        (&client("secret_env = 'BOTH'"), "clients[0].secret_file", "both set"),
        (&client("").replace("a-long-and-random-one", "empty"), "clients[0].secret_file", "is empty"),
        (&client("").replace("a-long-and-random-one", "missing"), "clients[0].secret_file", "/etc/orthrus/missing"),
        (&client("previous_secret_file = 'missing'"), "clients[0].previous_secret_file", "cannot read"),
        (
            &client("previous_secret_file = 'x'\nprevious_secret_env = 'X'"),
            "clients[0].previous_secret_file",
            "both set",
        ),
        (&client("first_factor = 'staf'"), "clients[0].first_factor", "Did you mean `staff`?"),
        (&client("first_factor = 'ldap'"), "clients[0].first_factor", "Define it under [[first_factor]]"),
        (&client("attempt_group = 'a b'"), "clients[0].attempt_group", "cannot be a name"),
        (TWO_FIRST, "clients[0].first_factor", "Choose one of `a`, `b`"),
        ("first_factor = [] # [[first_factor]]", "clients[0].first_factor", "no [[first_factor]] is defined"),
        ("[identity]\ndefault_realm = 'corp example'", "identity.default_realm", "not a realm"),
        ("[identity]\nupn_suffix = '@corp.example'", "identity.upn_suffix", "not a realm"),
        ("[identity]\ndomains = { 'CORP\\x' = 'a.example' }", "identity.domains.CORP\\x", "cannot be a domain"),
        ("[identity]\ndomains = { CORP = '' }", "identity.domains.CORP", "not a realm"),
        ("[identity.domains]\nCORP = 'a.example'\ncorp = 'b.example'", "identity.domains.corp", "twice"),
        ("[[first_factor]]\nname = 'none'\nkind = 'file'\nusers_file = 'u'", "first_factor[0].name", "no factor"),
        ("[[first_factor]]\nname = 'staff'\nusers_file = 'u'", "first_factor[0].kind", "kind = \"file\""),
        ("[[first_factor]]\nname = 'staff'\nkind = 'file'", "first_factor[0].users_file", "needs it"),
        ("[[second_factor]]\nname = 'OFF'\nkind = 'oath'\ntokens_file = 't'", "second_factor[0].name", "no factor"),
        ("[[second_factor]]\nname = 'code'\ntokens_file = 't'", "second_factor[0].kind", "kind = \"oath\""),
        ("[[second_factor]]\nname = 'code'\nkind = 'oath'", "second_factor[0].tokens_file", "needs it"),
        (
            "[[second_factor]]\nname = 'code'\nkind = 'oath'\ntokens_file = 't'\nissuer = 'a:b'",
            "second_factor[0].issuer",
            "cannot be an issuer",
        ),
        ("[[policies]]\nname = 'a'\n[[policies]]\nname = 'a'\nusers = ['x']", "policies[1].name", "already the name"),
        ("[[policies]]\nname = 'a'\nclients = ['vqn']", "policies[0].clients[0]", "Did you mean `vpn`?"),
        ("[[policies]]\nname = 'a'\ngroups = ['']", "policies[0].groups[0]", "is empty"),
        ("[[policies]]\nname = 'a'\nusers = [' x']", "policies[0].users[0]", "white space"),
        ("[[policies]]\nname = 'a'\nrealms = ['@x']", "policies[0].realms[0]", "not a realm"),
        ("[[policies]]\nname = 'a'\nsource_networks = ['x']", "policies[0].source_networks[0]", "not an address"),
        ("[[policies]]\nname = 'a'\nsecond_factor_name = 'cod'", "policies[0].second_factor_name", "mean `code`?"),
        (TWO_SECOND, "policies[0].second_factor_name", "Choose one of `a`, `b`"),
        ("second_factor = [] # [[second_factor]]", "policies[0].second_factor_name", "no [[second_factor]] is defined"),
        (
            "[attempts]\nchallenge_lifetime = '1m'\nchallenge_repeat = '2m'",
            "attempts.challenge_repeat",
            "longer than challenge_lifetime",
        ),
        ("[attempts]\nprompt = ''", "attempts.prompt", "is empty"),
        (&format!("[attempts]\nreject_message = '{long}'"), "attempts.reject_message", "241 octets"),
        ("[attempts]\nprompt_again = \"a\\nb\"", "attempts.prompt_again", "control character"),
        ("[cluster]\nkey_file = 'too-short'", "cluster.key_file", "has 9 octets and needs 32"),
        ("[cluster]\nkey_file = 'missing'", "cluster.key_file", "cannot read"),
        ("[cluster]\nnode_id = 'a b'", "cluster.node_id", "cannot be a name"),
        ("[admin]\nlisten = 'localhost'", "admin.listen", "not an address with a port"),
        ("[telemetry]\notlp_sample = 0.0", "telemetry.otlp_sample", "leave otlp_endpoint out"),
        ("[telemetry]\notlp_sample = 1.5", "telemetry.otlp_sample", "1.5 is no part"),
        ("[telemetry]\notlp_endpoint = 'localhost:4318'", "telemetry.otlp_endpoint", "http://localhost:4318"),
        ("[telemetry]\notlp_endpoint = 'http://:4318'", "telemetry.otlp_endpoint", "no host"),
        ("[telemetry]\notlp_endpoint = 'http://[::1]:x'", "telemetry.otlp_endpoint", "its port is none"),
        ("[telemetry]\notlp_endpoint = 'https://a.example/?key=1'", "telemetry.otlp_endpoint", "holds more"),
        ("[telemetry]\notlp_endpoint = 'https://me:pw@a.example'", "telemetry.otlp_endpoint", "into otlp_headers_file"),
        ("[telemetry]\notlp_endpoint = 'http://a.example/v1/traces'", "telemetry.otlp_endpoint", "Leave that out"),
        (&traced("missing"), "telemetry.otlp_headers_file", "cannot read"),
        (&traced("no header"), "telemetry.otlp_headers_file", "line 1 is no header"),
    ] {
        only(&faults(sections), path, fragment, sections);
    }
}

#[test]
fn warnings_of_every_kind() {
    for (sections, path, fragment) in [
        (client("").replace("a-long-and-random-one", "Testing123"), "clients[0].secret_file", "tries first"),
        (client("").replace("a-long-and-random-one", "x7Kq-2"), "clients[0].secret_file", "shorter than 12"),
        (client("").replace("a-long-and-random-one", &"a".repeat(20)), "clients[0].secret_file", "repeats"),
        (client("previous_secret_env = 'short'"), "clients[0].previous_secret_env", "shorter than 12"),
        (
            client("previous_secret_env = 'a-long-and-random-one'"),
            "clients[0].previous_secret_env",
            "the previous secret is the current one",
        ),
        (
            two_clients("addresses = ['192.0.2.11']\nsecret_env = 'a-long-and-random-one'"),
            "clients[1].secret_env",
            "clients[0] has the same secret",
        ),
        (client("").replace("192.0.2.10", "0.0.0.0/0"), "clients[0].addresses[0]", "everybody"),
        (client("").replace("192.0.2.10", "::/0"), "clients[0].addresses[0]", "everybody"),
        (client("require_message_authenticator = 'no'"), "clients[0].require_message_authenticator", "CVE-2024-3596"),
        (client("require_message_authenticator = 'auto'"), "clients[0].require_message_authenticator", "CVE-2024-3596"),
        (client("challenge = false"), "policies[0].second_factor", "`vpn` has challenge = false"),
        (
            "[[first_factor]]\nname = 'staff'\nkind = 'file'\nusers_file = 'u'\nallow_plain_passwords = true".into(),
            "first_factor[0].allow_plain_passwords",
            "list of passwords",
        ),
        (
            "[identity]\nstrip_realm = true\ndomains = { A = 'a.example', B = 'b.example' }".into(),
            "identity.strip_realm",
            "the same person",
        ),
        (
            "[identity]\nstrip_realm = true\n[[policies]]\nname = 'a'\nrealms = ['a.example']".into(),
            "policies[0].realms",
            "separates nobody",
        ),
        ("[[policies]]\nname = 'a'\nusers = ['CORP\\anna']".into(), "policies[0].users[0]", "fits nobody"),
        (
            "[identity]\ndefault_realm = 'a.example'\n[[policies]]\nname = 'a'\nusers = ['anna']".into(),
            "policies[0].users[0]",
            "every user is known with a realm",
        ),
        (
            "[identity]\nstrip_realm = true\n[[policies]]\nname = 'a'\nusers = ['anna@a.example']".into(),
            "policies[0].users[0]",
            "without their realm",
        ),
        ("policies = [] # [[policies]]".into(), "policies", "everybody is refused"),
        (
            "[[policies]]\nname = 'a'\n[[policies]]\nname = 'b'\nusers = ['x']".into(),
            "policies[1]",
            "nobody reaches `b`",
        ),
        ("[attempts]\ndeadline = '20s'".into(), "attempts.deadline", "less than a person needs"),
        (
            "[attempts]\nchallenge_lifetime = '20s'\nchallenge_repeat = '10s'".into(),
            "attempts.challenge_lifetime",
            "less than a person needs",
        ),
        ("[attempts]\nafter_success = 'answer'".into(), "attempts.after_success", "password alone"),
        ("[admin]\nlisten = '0.0.0.0:9812'".into(), "admin.listen", "without a password"),
        ("[telemetry]\nsign_in_log = false".into(), "telemetry.sign_in_log", "who signed in"),
        ("[telemetry]\notlp_headers_file = 'a: b'".into(), "telemetry.otlp_headers_file", "without otlp_endpoint"),
        (traced("a: b").replace("https", "http"), "telemetry.otlp_endpoint", "in the clear"),
    ] {
        only(&warnings(&sections), path, fragment, &sections);
    }
}

#[test]
fn a_collector_is_read_with_its_headers() {
    let (config, warnings) = check(&traced("X-Token:  top: secret")).unwrap();
    assert_eq!(warnings, []);
    let otlp = config.telemetry.otlp.as_ref().unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.sample), ("https://a.example/otlp", 1.0));
    assert_eq!(otlp.headers, [("X-Token".to_owned(), Secret::new(b"top: secret".to_vec()))]);
    assert!(!format!("{config:?}").contains("top: secret"));
    assert_eq!(check("").unwrap().0.telemetry.otlp, None);
}

fn reply(lines: &str) -> String {
    format!("[[policies]]\nname = 'a'\nreply = {{ {lines} }}\n")
}

#[test]
fn replies_are_encoded_in_order() {
    let several = "Session-Timeout = '60', Class = ['b', 'a'], Cisco-AVPair = 'x', Attr-200 = '0x01'";
    let (config, warnings) = check(&reply(several)).unwrap();
    assert_eq!(warnings, []);
    let shown = crate::radius::describe_attributes(config.policies[0].reply.iter());
    let expected =
        ["Attr-200 = 0x01", "Cisco-AVPair = \"x\"", "Class = \"b\"", "Class = \"a\"", "Session-Timeout = 60"];
    assert_eq!(shown, expected);
}

#[test]
fn replies_that_cannot_be_sent_are_refused() {
    let many = vec!["'0123456789012345678901234567890123456789'"; 90].join(", ");
    for (lines, key, fragment) in [
        ("Filter-ID5 = 'x'", ".Filter-ID5", "Did you mean `Filter-Id`?"),
        ("Something-Else = 'x'", ".Something-Else", "Write it by number"),
        ("Session-Timeout = 'long'", ".Session-Timeout", "is not a number"),
        ("Class = ['x', '']", ".Class[1]", "empty"),
        ("Class = []", ".Class", "the list is empty"),
        (&format!("Class = [{many}]"), "", "3780 octets"),
        ("User-Password = 'x'", ".User-Password", "belongs to the protocol"),
        ("CHAP-Password = 'x'", ".CHAP-Password", "belongs to the protocol"),
        ("CHAP-Challenge = 'x'", ".CHAP-Challenge", "belongs to the protocol"),
        ("State = 'x'", ".State", "belongs to the protocol"),
        ("Attr-24 = 'x'", ".Attr-24", "belongs to the protocol"),
        ("Proxy-State = 'x'", ".Proxy-State", "belongs to the protocol"),
        ("Message-Authenticator = 'x'", ".Message-Authenticator", "belongs to the protocol"),
        ("EAP-Message = 'x'", ".EAP-Message", "belongs to the protocol"),
        ("Vendor-Specific = '0x0000000901037a'", ".Vendor-Specific", "frame for others"),
        ("Attr-241 = '0x01'", ".Attr-241", "frame for others"),
        ("MS-CHAP2-Success = 'x'", ".MS-CHAP2-Success", "belongs to MS-CHAP"),
        ("MS-MPPE-Send-Key = 'x'", ".MS-MPPE-Send-Key", "is a secret"),
        ("Tunnel-Password = 'x'", ".Tunnel-Password", "is a secret"),
    ] {
        let sections = reply(lines);
        only(&faults(&sections), &format!("policies[0].reply{key}"), fragment, &sections);
    }
    let sections = reply("Class = 'x', Reply-Message = 'no'") + "outcome = 'deny'";
    only(&faults(&sections), "policies[0].reply.Class", "may not stand in a reject", &sections);
}

#[test]
fn an_open_door_is_refused() {
    let trusted = client("first_factor = 'none'");
    let policy = |lines: &str| format!("{trusted}[[policies]]\nname = 'p'\n{lines}\n");
    for need in ["off", "if_enrolled"] {
        for condition in ["", "groups = ['staff']", "clients = ['vpn']", "source_networks = ['192.0.2.0/24']"] {
            let sections = policy(&format!("second_factor = '{need}'\n{condition}"));
            only(&faults(&sections), "policies[0].second_factor", "an open door: `vpn`", &sections);
        }
    }
    // The same behind a policy that does not decide for everybody, or not for this client.
    for first in ["users = ['x']", "source_networks = ['192.0.2.10']"] {
        let sections = policy(&format!("{first}\n[[policies]]\nname = 'q'\nsecond_factor = 'off'"));
        only(&faults(&sections), "policies[1].second_factor", "an open door", &sections);
    }
}

#[test]
fn a_closed_door_is_not_called_open() {
    let trusted = client("first_factor = 'none'");
    let elsewhere = "[[clients]]\nname = 'other'\naddresses = ['198.51.100.1']\nsecret_file = 'another-long-secret'\n";
    for policies in [
        "",
        "outcome = 'deny'\nsecond_factor = 'off'",
        "clients = ['other']\nsecond_factor = 'off'",
        "source_networks = ['198.51.100.0/24']\nsecond_factor = 'off'",
        "clients = ['vpn']\n[[policies]]\nname = 'q'\nsecond_factor = 'off'",
    ] {
        let sections = format!("{trusted}{elsewhere}[[policies]]\nname = 'p'\n{policies}\n");
        assert_eq!(faults(&sections), Vec::<String>::new(), "{sections}");
    }
}

#[test]
fn one_fault_brings_no_others() {
    // The client has no first factor only because its name is wrong; the policy has no condition only because its client is.
    let sections = client("first_factor = 'staf'") + "[[policies]]\nname = 'p'\nsecond_factor = 'off'";
    only(&faults(&sections), "clients[0].first_factor", "Did you mean", &sections);
    let sections =
        client("first_factor = 'none'") + "[[policies]]\nname = 'p'\nclients = ['nobody']\nsecond_factor = 'off'";
    only(&faults(&sections), "policies[0].clients[0]", "no [[clients]] with the name", &sections);
    // A reference to an entry whose name is missing may be right.
    let sections = "[[first_factor]]\nkind = 'file'\nusers_file = 'u'\n".to_owned() + &client("first_factor = 'staff'");
    only(&faults(&sections), "first_factor[0].name", "a name is missing", &sections);
}

#[test]
fn nothing_is_said_of_what_could_not_be_read() {
    let mut report = Report::default();
    report.unreadable("clients", "is not a list", "Write [[clients]].");
    report.unreadable("policies[0].second_factor", "is a number", "Write a text.");
    report.fault("clients", "there is no client", "Add one.");
    report.warn("clients[0].secret_file", "short", "Longer.");
    report.fault("policies[0].second_factor_name", "is left out", "Choose one.");
    let (faults, warnings) = report.into_parts(&Raw::sections());
    let paths: Vec<_> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["clients", "policies[0].second_factor", "policies[0].second_factor_name"]);
    assert_eq!(warnings, []);
}

#[test]
fn a_host_name_that_cannot_be_a_name_is_told() {
    let (faults, _) = check_on("", "").map(|_| ()).unwrap_err();
    assert!(faults.to_string().starts_with("cluster.node_id: is left out"), "{faults}");
    check_on("", "[cluster]\nnode_id = 'node-1'").unwrap();
}

/// A bound that the reference states is the bound that is enforced, on both sides.
#[test]
fn stated_bounds_are_enforced() {
    let mut bounds = 0;
    for (section, key, least, most) in stated_bounds() {
        let on_edge =
            |value: &str| faults(&case(&section, &key, value)).iter().any(|line| line.contains("out of range"));
        for value in [&least.0, &most.0] {
            assert!(!on_edge(value), "{section} {key} = {value} is refused");
        }
        for value in [&least.1, &most.1].into_iter().flatten() {
            assert!(on_edge(value), "{section} {key} = {value} is taken");
        }
        bounds += 1;
    }
    assert!(bounds > 20, "only {bounds} bounds are stated");
}

/// Each bound as written in the file, and the nearest value beyond it if there is one.
type Edge = (String, Option<String>);

fn stated_bounds() -> Vec<(String, String, Edge, Edge)> {
    let schema = Raw::schema();
    let mut bounds = Vec::new();
    for (section, node) in schema["properties"].as_object().unwrap() {
        let target = node.get("items").unwrap_or(node);
        let Some(reference) = target.get("$ref").and_then(|reference| reference.as_str()) else { continue };
        let table = schema.pointer(reference.trim_start_matches('#')).unwrap();
        for (key, node) in table["properties"].as_object().unwrap() {
            let edges = if let (Some(least), Some(most)) = (node["minimum"].as_u64(), node["maximum"].as_u64()) {
                let below = least.checked_sub(1).filter(|_| least > 0);
                ((least.to_string(), below.map(|n| n.to_string())), (most.to_string(), Some((most + 1).to_string())))
            } else if let (Some(least), Some(most)) = (node["x-min"].as_str(), node["x-max"].as_str()) {
                (text_edge(least, false), text_edge(most, true))
            } else {
                continue;
            };
            bounds.push((section.clone(), key.clone(), edges.0, edges.1));
        }
    }
    bounds
}

fn text_edge(text: &str, up: bool) -> Edge {
    let beyond = if let Ok(Span(span)) = text.parse::<Span>() {
        let millis = u64::try_from(span.as_millis()).unwrap();
        if up { Some(millis + 1) } else { millis.checked_sub(1) }.map(|millis| format!("{millis}ms"))
    } else {
        let Size(octets) = text.parse().unwrap();
        if up { Some(octets + 1) } else { octets.checked_sub(1) }.map(|octets| format!("{octets}B"))
    };
    (format!("'{text}'"), beyond.map(|text| format!("'{text}'")))
}

fn case(section: &str, key: &str, value: &str) -> String {
    match SOUND.iter().find(|(head, _)| *head == format!("[[{section}]]")) {
        Some((_, sound)) => format!("{sound}{key} = {value}\n"),
        None => format!("[{section}]\n{key} = {value}\n"),
    }
}

#[test]
fn the_version_tells_configurations_apart_and_nodes_not() {
    let version = |sections: &str| check(sections).unwrap().0.version;
    assert_eq!(version(""), version("[attempts]\ntries = 3"), "a default that is written out changes nothing");
    assert_eq!(version(""), version("[cluster]\nnode_id = 'another'"));
    assert_ne!(version(""), version("[attempts]\ntries = 4"));
    assert!(version("").len() == 16 && version("").bytes().all(|octet| octet.is_ascii_hexdigit()));
}

#[test]
fn users_and_realms_are_folded_as_names_are() {
    let policy = "[[policies]]\nname = 'a'\nusers = ['Anna']\nrealms = ['Corp.Example']\n";
    let (config, _) = check(policy).unwrap();
    assert_eq!(config.policies[0].users, ["anna"]);
    assert_eq!(config.policies[0].realms, ["corp.example"]);
    let (config, _) =
        check(&format!("[identity]\ncase = 'keep'\ndomains = {{ Corp = 'Corp.Example' }}\n{policy}")).unwrap();
    assert_eq!(config.policies[0].users, ["Anna"]);
    assert_eq!(config.identity.domains.get("CORP").map(String::as_str), Some("corp.example"));
}
