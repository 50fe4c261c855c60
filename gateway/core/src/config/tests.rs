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

/// The first of January 2026.
const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

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
    let around = Surroundings { folder: Path::new("/etc/orthrus"), host_name, secrets: &Names, now: NOW };
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
        (
            "[[second_factor]]\nname = 'code'\ntokens_file = 't'",
            "second_factor[0].kind",
            "kind = \"oath\" or kind = \"entra\"",
        ),
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
        (
            "[attempts.reject_messages]\nwrong_pasword = 'x'",
            "attempts.reject_messages.wrong_pasword",
            "mean `wrong_password`",
        ),
        (
            &format!("[attempts.reject_messages]\nwrong_code = '{long}'"),
            "attempts.reject_messages.wrong_code",
            "241 octets",
        ),
        ("[attempts]\nreject_delay = '6s'", "attempts.reject_delay", "5s"),
        ("[cluster]\nkey_file = 'too-short'", "cluster.key_file", "has 9 octets and needs 32"),
        ("[cluster]\nstore = 'redis'\nredis.addresses = ['localhost:1']", "cluster.key_file", "need the same key"),
        (&shared("addresses = []"), "cluster.redis.addresses", "is empty"),
        (&shared("addresses = ['localhost']"), "cluster.redis.addresses[0]", "no host and port"),
        (&shared("mode = 'sentinel'\naddresses = ['[::1]:1']"), "cluster.redis.sentinel_master", "is left out"),
        (&shared("addresses = ['localhost:1']\ntimeout = '10s'"), "cluster.redis.timeout", "5s"),
        (&shared("addresses = ['localhost:1']\ntls_ca_file = 'x'"), "cluster.redis.tls", "is false"),
        (&shared("addresses = ['r:1']\ntls = true\ntls_key_file = 'x'"), "cluster.redis.tls_key_file", "Set both"),
        (&shared("addresses = ['localhost:1']\nprefix = 'a b'"), "cluster.redis.prefix", "cannot be a prefix"),
        ("[cluster]\nkey_file = 'missing'", "cluster.key_file", "cannot read"),
        ("[cluster]\nnode_id = 'a b'", "cluster.node_id", "cannot be a name"),
        ("[admin]\ntoken_file = 'too-short'", "admin.token_file", "has 9 octets and needs 32"),
        ("[admin]\ntoken_file = 'thirty-two octets and two blanks'", "admin.token_file", "no header can carry"),
        ("[cluster]\nnewest_records = 4", "cluster.newest_records", "from 1 to 3"),
        ("[cluster]\nnewest_records = 0", "cluster.newest_records", "from 1 to 3"),
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

fn shared(redis: &str) -> String {
    format!("[cluster]\nstore = 'redis'\nkey_file = 'a-key-of-more-than-thirty-two-octets'\n[cluster.redis]\n{redis}")
}

#[test]
fn warnings_of_every_kind() {
    for (sections, path, fragment) in [
        (client("").replace("a-long-and-random-one", "Testing123"), "clients[0].secret_file", "tries first"),
        (client("").replace("a-long-and-random-one", "x7Kq-2"), "clients[0].secret_file", "shorter than 12"),
        (client("").replace("a-long-and-random-one", &"a".repeat(20)), "clients[0].secret_file", "repeats"),
        (client("previous_secret_env = 'short'"), "clients[0].previous_secret_env", "shorter than 12"),
        (
            client("").replace("random-one", "random-one "),
            "clients[0].secret_file",
            "a space at its beginning or its end",
        ),
        (client("").replace("random-one", "random\u{200b}-one"), "clients[0].secret_file", "without width"),
        ("[[policies]]\nname = 'a'\ngroups = ['st\u{a0}aff']".into(), "policies[0].groups[0]", "not the usual one"),
        (
            client("") + "[listen]\nauthentication = ['[::]:1812']\n",
            "listen.authentication",
            "nothing listens on IPv4, so that packets of `vpn` (192.0.2.10/32) never come in",
        ),
        (
            client("").replace("192.0.2.10", "2001:db8::10") + "[listen]\nauthentication = ['0.0.0.0:1812']\n",
            "listen.authentication",
            "nothing listens on IPv6",
        ),
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
        (shared("addresses = ['redis.example:6379']"), "cluster.redis.tls", "another machine"),
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
        ("[attempts]\nreject_delay = '0s'".into(), "attempts.reject_delay", "as fast as the network"),
        (
            "[attempts.reject_messages]\nwrong_password = 'x'\nsecond_factor_unavailable = 'y'".into(),
            "attempts.reject_messages",
            "wrong_password: a text of its own tells",
        ),
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
    let crate::policy::Reply::Fixed(reply) = &config.policies[0].reply else { panic!("nothing is left to be made") };
    let shown = crate::radius::describe_attributes(reply.iter());
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
        ("'Attr-24.1' = 'x'", ".Attr-24.1", "belongs to the protocol"),
        ("'Attr-26.9.1' = 'x'", ".Attr-26.9.1", "frame for others"),
        ("'Vendor-311-Attr-26.1' = 'x'", ".Vendor-311-Attr-26.1", "belongs to MS-CHAP"),
        ("Message-Authenticator = 'x'", ".Message-Authenticator", "belongs to the protocol"),
        ("EAP-Message = 'x'", ".EAP-Message", "belongs to the protocol"),
        ("Vendor-Specific = '0x0000000901037a'", ".Vendor-Specific", "frame for others"),
        ("Attr-241 = '0x01'", ".Attr-241", "frame for others"),
        ("MS-CHAP2-Success = 'x'", ".MS-CHAP2-Success", "belongs to MS-CHAP"),
        ("MS-MPPE-Send-Key = 'x'", ".MS-MPPE-Send-Key", "is a secret"),
        ("Tunnel-Password = 'x'", ".Tunnel-Password", "is a secret"),
        ("Tunnel-Password = ['{user.x}', 'x']", ".Tunnel-Password", "is a secret"),
        ("MS-MPPE-Send-Key = '{user.x}'", ".MS-MPPE-Send-Key", "is a secret"),
        ("NAS-IP-Address = '192.0.2.1'", ".NAS-IP-Address", "may not stand in an Access-Accept"),
        ("Attr-4 = '192.0.2.1'", ".Attr-4", "may not stand in an Access-Accept"),
        ("NAS-Identifier = 'x'", ".NAS-Identifier", "may not stand in an Access-Accept"),
        ("Called-Station-Id = 'x'", ".Called-Station-Id", "may not stand in an Access-Accept"),
        ("Acct-Session-Id = '1'", ".Acct-Session-Id", "may not stand in an Access-Accept"),
        ("Acct-Status-Type = 'Start'", ".Acct-Status-Type", "may not stand in an Access-Accept"),
        ("Error-Cause = '201'", ".Error-Cause", "may not stand in an Access-Accept"),
        ("Event-Timestamp = '5'", ".Event-Timestamp", "may not stand in an Access-Accept"),
        ("Session-Timeout = ['60', '120']", ".Session-Timeout", "once, and here it does 2 times"),
        ("Session-Timeout = ['60', '{user.t}']", ".Session-Timeout", "once, and here it does 2 times"),
        ("Attr-27 = '60', Session-Timeout = '60'", ".Session-Timeout", "once, and here it does 2 times"),
        ("User-Name = ['a', 'b']", ".User-Name", "once, and here it does 2 times"),
        ("Framed-IP-Address = ['192.0.2.1', '192.0.2.2']", ".Framed-IP-Address", "once, and here it does 2 times"),
        ("Service-Type = 'Authorize-Only'", ".Service-Type", "Authorize-Only is no service"),
        ("Service-Type = '17'", ".Service-Type", "Authorize-Only is no service"),
        ("Acct-Interim-Interval = '10'", ".Acct-Interim-Interval", "below the 60 s"),
        ("Acct-Interim-Interval = '59'", ".Acct-Interim-Interval", "below the 60 s"),
    ] {
        let sections = reply(lines);
        only(&faults(&sections), &format!("policies[0].reply{key}"), fragment, &sections);
    }
    let sections = reply("Acct-Interim-Interval = '300'");
    only(&warnings(&sections), "policies[0].reply.Acct-Interim-Interval", "every 600 s", &sections);
    let sections = reply("Acct-Interim-Interval = '600', Class = ['a', 'b'], Filter-Id = ['c', 'd']");
    assert_eq!(warnings(&sections), Vec::<String>::new());
    assert_eq!(warnings(&reply("'Tunnel-Password:1' = '{user.x}'")), Vec::<String>::new());
    let sections = reply("Class = 'x', Reply-Message = 'no'") + "outcome = 'deny'";
    only(&faults(&sections), "policies[0].reply.Class", "may not stand in a reject", &sections);
}

#[test]
fn rules_of_a_list_are_joined() {
    let long = "x".repeat(300);
    let lines =
        format!("Filter-Id = 'a', NAS-Filter-Rule = ['permit in ip', 'deny', '{long}'], Session-Timeout = '60'");
    let (config, warnings) = check(&reply(&lines)).unwrap();
    assert_eq!(warnings, []);
    let crate::policy::Reply::Fixed(reply) = &config.policies[0].reply else { panic!("nothing is left to be made") };
    let lengths: Vec<(u8, usize)> = reply.iter().map(|attribute| (attribute.kind, attribute.value.len())).collect();
    assert_eq!(lengths, [(11, 1), (92, 253), (92, 65), (27, 4)]);
    let rules: Vec<u8> = reply.iter().filter(|rule| rule.kind == 92).flat_map(|rule| rule.value.to_vec()).collect();
    assert_eq!(rules, format!("permit in ip\0deny\0{long}").as_bytes());
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
fn a_token_that_travels_in_the_clear_is_warned_of() {
    let open = |listen: &str| {
        let config = format!("[admin]\nlisten = '{listen}'\ntoken_file = 'thirty-two-octets-and-two-hyphens'");
        let (_, warnings) = check(&config).unwrap();
        warnings.iter().filter(|warning| warning.to_string().contains("travels unencrypted")).count()
    };
    assert_eq!((open("0.0.0.0:9812"), open("127.0.0.1:9812")), (1, 0));
}

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
        None if section == "attributes" => format!("[[attributes]]\nname = 'x'\n{key} = {value}\n"),
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
    assert_eq!(config.policies[0].conditions.users, ["anna"]);
    assert_eq!(config.policies[0].conditions.realms, ["corp.example"]);
    let (config, _) =
        check(&format!("[identity]\ncase = 'keep'\ndomains = {{ Corp = 'Corp.Example' }}\n{policy}")).unwrap();
    assert_eq!(config.policies[0].conditions.users, ["Anna"]);
    assert_eq!(config.identity.domains.get("CORP").map(String::as_str), Some("corp.example"));
}

fn entra(lines: &str) -> String {
    format!(
        "[[second_factor]]\nname = 'phone'\nkind = 'entra'\n[second_factor.entra]\n{}{}{lines}\n",
        if lines.contains("tenant_id") { "" } else { "tenant_id = '3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716'\n" },
        if lines.contains("certificates") {
            ""
        } else {
            "certificates = [{ certificate_file = 'c', key_file = 'k' }]\n"
        },
    )
}

#[test]
fn entra_is_sound_with_a_tenant_and_a_certificate() {
    let (config, warnings) = check(&entra("")).unwrap();
    assert_eq!(warnings, []);
    let [SecondFactor { kind: SecondFactorKind::Entra(factor), .. }] = config.second_factors.as_slice() else {
        panic!("one factor")
    };
    assert!(config.prompts("phone"));
    assert_eq!(factor.hosts.mfa, "strongauthenticationservice.auth.microsoft.com");
    assert_eq!(factor.hosts.sts, "https://login.microsoftonline.com/");
    assert_eq!(factor.affinity_hosts, [&*factor.hosts.mfa, &*factor.hosts.resource]);
    assert_eq!(factor.certificates[0].key_file, PathBuf::from("/etc/orthrus/k"));
    assert_eq!((factor.proxy.clone(), factor.unregistered), (Proxy::None, Onboarding::default()));
    assert_eq!(factor.request_timeout, std::time::Duration::from_secs(20));

    let lines = "cloud = 'china'\nsts = 'https://127.0.0.1:8443'\nmfa_host = '127.0.0.1:8443'\n\
                 proxy = 'http://proxy.example:3128/'\nproxy_user = 'gw'\nproxy_password_env = 'hunter2'\nno_proxy = ['.example']";
    let (config, warnings) = check(&entra(lines)).unwrap();
    assert_eq!(warnings, []);
    let SecondFactorKind::Entra(factor) = &config.second_factors[0].kind else { panic!("it is one") };
    assert_eq!((factor.hosts.sts.as_str(), factor.hosts.mfa.as_str()), ("https://127.0.0.1:8443/", "127.0.0.1:8443"));
    assert!(
        matches!(&factor.proxy, Proxy::Url { url, user: Some((name, _)), .. } if url == "http://proxy.example:3128" && name == "gw")
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn faults_of_entra() {
    let at = |key: &str| format!("second_factor[0].entra.{key}");
    for (lines, key, fragment) in [
        ("tenant_id = ''", "tenant_id", "no tenant id"),
        ("tenant_id = 'common'", "tenant_id", "whichever one a name belongs to"),
        ("tenant_id = 'organizations'", "tenant_id", "whichever one"),
        ("tenant_id = 'contoso.onmicrosoft.com'", "tenant_id", "not a tenant id"),
        ("client_id = 'x'", "client_id", "not the id of an application"),
        ("client_id = '00001111-aaaa-2222-bbbb-3333cccc4444'", "client_id", "Leave it out"),
        ("certificates = []", "certificates", "no certificate"),
        ("certificates = [{ certificate_file = 'c' }]", "certificates[0].key_file", "is missing"),
        ("certificates = [{ key_file = 'k' }]", "certificates[0].certificate_file", "is missing"),
        (
            "certificates = [{ certificate_file = 'c', key_file = 'k', thumbprint = 'aa' }]",
            "certificates[0].thumbprint",
            "not a thumbprint",
        ),
        ("sts = 'http://login.example'", "sts", "not an https: address"),
        ("sts = 'https://login.example?x'", "sts", "not an https: address"),
        ("sts = 'https://'", "sts", "not an https: address"),
        ("mfa_host = 'https://mfa.example'", "mfa_host", "not a host"),
        ("resource_host = 'a b'", "resource_host", "not a host"),
        ("target_path = '/x'", "target_path", "not a path"),
        ("target_path = 'a/../b?c'", "target_path", "not a path"),
        ("affinity_hosts = ['https://x']", "affinity_hosts[0]", "not a host"),
        ("prompt = ''", "prompt", "cannot be sent"),
        ("caller_ip = \"a\\u0001\"", "caller_ip", "cannot be sent"),
        ("user_agent = 'ä'", "user_agent", "cannot be sent"),
        ("proxy = 'https://proxy.example'", "proxy", "not the address of a proxy"),
        ("proxy = 'http://user:hunter2@proxy.example'", "proxy", "is not the address"),
        ("proxy = 'http://p.example'\nproxy_user = 'x'", "proxy_user", "belong together"),
        ("proxy = 'http://p.example'\nproxy_password_env = 'X'", "proxy_user", "belong together"),
        ("no_proxy = ['x']", "no_proxy", "`proxy` names none"),
        ("proxy = 'environment'\nno_proxy = ['x']", "no_proxy", "`proxy` names none"),
        ("proxy = 'http://p.example'\nno_proxy = ['a,b']", "no_proxy", "neither a host"),
        ("cipher_suites = ['TLS_RSA_WITH_RC4_128_MD5']", "cipher_suites[0]", "no cipher suite"),
        (
            "tls_min_version = '1.3'\ncipher_suites = ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256']",
            "cipher_suites",
            "nothing older is allowed",
        ),
        ("connect_timeout = '2m'", "connect_timeout", "from 1s to 1m"),
        ("request_timeout = '100ms'", "request_timeout", "from 1s to 1m"),
        ("breaker_pause = '1h'", "breaker_pause", "from 1s to 10m"),
        ("streams_per_connection = 0", "streams_per_connection", "out of range"),
        ("unregistered_until = 'soon'", "unregistered_until", "not a day"),
    ] {
        only(&faults(&entra(lines)), &at(key), fragment, lines);
    }
    assert!(!faults(&entra("proxy = 'http://user:hunter2@proxy.example'")).concat().contains("hunter2"));
    let policy = |lines: &str| format!("{}[[policies]]\nname = 'everybody'\n{lines}\n", entra(""));
    for (lines, path, fragment) in [
        ("second_factor = 'if_enrolled'", "policies[0].second_factor", "allow_by_code"),
        ("unregistered_until = '2026-02-01'", "policies[0].unregistered_until", "Set both"),
        (
            "unregistered = 'allow_by_code'\nunregistered_until = '1.2.2026'",
            "policies[0].unregistered_until",
            "not a day",
        ),
    ] {
        only(&faults(&policy(lines)), path, fragment, lines);
    }
}

#[test]
fn warnings_of_entra() {
    let at = |key: &str| format!("second_factor[0].entra.{key}");
    for (lines, key, fragment) in [
        ("client_id = '11111111-2222-3333-4444-555555555555'", "client_id", "not Microsoft's own"),
        ("mfa_host = 'adnotifications.windowsazure.com'", "mfa_host", "before 1.1.1850.1"),
        ("sts = 'https://login.microsoftonline.us'", "sts", "another cloud"),
        ("cloud = 'usgov'\nresource_host = 'adnotifications.windowsazure.com'", "resource_host", "another cloud"),
        ("push_users = 'prefer_push'", "push_users", "somebody else's sign-in"),
        ("upn_echo = 'warn'", "upn_echo", "about another user"),
        ("follow_affinity_url = 'on_invalid_session'", "follow_affinity_url", "affinity_hosts"),
        ("method = 'OneWaySMS'", "method", "not proven"),
        ("unregistered_codes = ['ProofDataNotFound']", "unregistered_codes", "registered something"),
        ("unregistered_until = '2026-02-01'", "unregistered_until", "nobody who is not registered passes anyway"),
    ] {
        only(&warnings(&entra(lines)), &at(key), fragment, lines);
    }
    let both = |until: &str| {
        let found = warnings(&entra(&format!("unregistered = 'allow_by_code'\n{until}")));
        assert!(found[0].contains("with the password alone"), "{found:?}");
        found.into_iter().skip(1).collect::<Vec<_>>().concat()
    };
    assert!(both("").contains("no last day"));
    assert!(both("unregistered_until = '2025-12-31'").contains("2025-12-31 is over"));
    assert!(both("unregistered_until = '2026-06-01'").contains("more than 90 days ahead"));
    assert_eq!(both("unregistered_until = '2026-01-01'"), "");
    assert_eq!(both("unregistered_until = '2026-03-31'"), "");

    let policies = "[[policies]]\nname = 'everybody'\npush_users = 'prefer_code'\nunregistered = 'deny'\n";
    let of_oath = warnings(policies);
    assert!(of_oath.len() == 2 && of_oath[0].starts_with("policies[0].push_users: "), "{of_oath:?}");
    let of_entra = warnings(&format!("{}{policies}{}", entra(""), client("challenge = false")));
    only(&of_entra, "policies[0].second_factor", "challenge = false", policies);
    let quiet = warnings(&format!("{}{}", entra(""), client("challenge = false")));
    assert_eq!(quiet, [""; 0], "a push is no code");
    let unused =
        warnings("[[second_factor]]\nname = 'code'\nkind = 'oath'\ntokens_file = 't'\nentra = { lcid = 'de-de' }");
    only(&unused, "second_factor[0].entra", "is not used", "");
}

#[test]
fn a_policy_says_what_holds_for_whom_and_how_long() {
    let lines = "[[policies]]\nname = 'new'\nusers = ['a']\npush_users = 'prefer_code'\nunregistered = 'allow_by_code'\n\
                 unregistered_until = '2026-01-31'\n[[policies]]\nname = 'others'\n";
    let (config, _) = check(&format!("{}{lines}", entra(""))).unwrap();
    let [new, others] = config.policies.as_slice() else { panic!("two policies") };
    assert_eq!(new.push_users, Some(PushUsers::PreferCode));
    assert_eq!(new.unregistered_at(NOW), Some(Unregistered::AllowByCode));
    assert_eq!(new.unregistered_at(Timestamp::from_secs(1_769_904_000)), Some(Unregistered::Deny));
    assert_eq!((others.push_users, others.unregistered_at(NOW)), (None, None));
}

fn policy(lines: &str) -> String {
    format!("[[policies]]\nname = 'a'\n{lines}\n")
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    for (lines, path, fragment) in [
        ("times = ['Mon 08:00-18:00']", "times[0]", "not of the form"),
        ("times = ['Mon 08:00-18:00 Europe/Bonn']", "times[0]", "no time zone `Europe/Bonn`"),
        ("protocols = ['papp']", "protocols[0]", "no protocol `papp`"),
        ("first_factors = ['stuff']", "first_factors[0]", "Did you mean `staff`?"),
        ("not_clients = ['vpm']", "not_clients[0]", "Did you mean `vpn`?"),
        ("not_groups = ['']", "not_groups[0]", "is empty"),
        ("nas_port_types = ['Virtuel']", "nas_port_types[0]", "did you mean Virtual?"),
        ("nas_addresses = ['vpn.example']", "nas_addresses[0]", "not an address or a network"),
        ("service_types = ['']", "service_types[0]", "Service-Type"),
        ("called_stations = ['']", "called_stations[0]", "is empty"),
        ("attributes = { Clas = 'x' }", "attributes.Clas", "Did you mean `Class`?"),
        ("attributes = { 'Class:1' = 'x' }", "attributes.Class:1", "has no tag"),
        ("attributes = { User-Password = 'x' }", "attributes.User-Password", "is a secret"),
        ("attributes = { Class = [] }", "attributes.Class", "no value to compare"),
        ("attributes = { Class = {} }", "attributes.Class", "no value to compare"),
        ("attributes = { Class = { regex = '(' } }", "attributes.Class", "is no pattern"),
        ("attributes = { Class = { prefix = '' } }", "attributes.Class", "fits every value"),
        ("attributes = { Class = { present = true, regex = 'x' } }", "attributes.Class", "beside other tests"),
        ("attributes = { NAS-IP-Address = 'x' }", "attributes.NAS-IP-Address", "not an IPv4 address"),
        ("reply = { Class = '{user.department' }", "reply.Class", "lone `{`"),
        ("reply = { Class = '{usr.name}' }", "reply.Class", "Did you mean {user.name}?"),
        ("reply = { 'Class:1' = 'x' }", "reply.Class:1", "has no tag"),
        ("reply = { 'Tunnel-Type:32' = 'VLAN' }", "reply.Tunnel-Type:32", "there is no attribute"),
    ] {
        let sections = policy(lines);
        only(&faults(&sections), &format!("policies[0].{path}"), fragment, &sections);
    }
}

#[test]
fn conditions_are_told_from_each_other() {
    let open = "second_factor = 'off'\n";
    let at = "policies[0].second_factor";
    for claim in [
        "nas_port_types = ['Virtual']",
        "attributes = { Class = { present = true } }",
        "nas_addresses = ['192.0.2.0/24']",
    ] {
        let sections = policy(&format!("{open}{claim}")) + "[[policies]]\nname = 'b'\n";
        only(&warnings(&sections), at, "only what the packet says of itself", &sections);
        for known in ["groups = ['g']", "clients = ['vpn']", "source_networks = ['192.0.2.0/24']"] {
            assert_eq!(warnings(&policy(&format!("{open}{claim}\n{known}"))), Vec::<String>::new(), "{claim} {known}");
        }
        // A policy with a condition of its own leaves others to reach.
        assert_eq!(warnings(&(policy(claim) + "[[policies]]\nname = 'b'\n")), Vec::<String>::new());
        let covered = "[[policies]]\nname = 'all'\n".to_owned() + &policy(claim);
        only(&warnings(&covered), "policies[1]", "nobody reaches `a`", &covered);
    }
    let sections = policy("protocols = ['eap-tls']");
    only(&warnings(&sections), "policies[0].protocols[0]", "EAP is not spoken", &sections);
    let apart = policy("not_groups = ['x']") + "[[policies]]\nname = 'b'\ngroups = ['x']\n";
    assert_eq!(warnings(&apart), Vec::<String>::new());
}

#[test]
fn a_client_without_first_factor_may_meet_no_policy_that_asks_for_one() {
    let bare = client("first_factor = 'none'");
    let policies = policy("first_factors = ['staff']\nsecond_factor = 'off'") + "[[policies]]\nname = 'b'\n";
    assert_eq!(faults(&(bare.clone() + &policies)), Vec::<String>::new());
    let open = policy("not_clients = ['vpn']\nsecond_factor = 'off'") + "[[policies]]\nname = 'b'\n";
    assert_eq!(faults(&(bare.clone() + &open)), Vec::<String>::new());
    let sections = bare + &policy("times = ['daily 08:00-18:00 UTC']\nsecond_factor = 'off'");
    only(&faults(&sections), "policies[0].second_factor", "open door", &sections);
}

#[test]
fn attributes_can_be_named() {
    let acme = "[[attributes]]\nname = 'Acme-Role'\nvendor = 32473\nnumber = 1\n\
                [[attributes]]\nname = 'Acme-Level'\nvendor = 32473\nnumber = 2\ntype = 'integer'\nvalues = { High = 9 }\n";
    let used = policy("attributes = { Acme-Level = 'High' }\nreply = { Acme-Role = 'x', Acme-Level = 'high' }");
    let (config, warnings) = check(&format!("{acme}{used}")).unwrap();
    assert_eq!(warnings, []);
    let crate::policy::Reply::Fixed(reply) = &config.policies[0].reply else { panic!("nothing is left to be made") };
    let shown = crate::radius::describe_with(&config.dictionary, reply.iter());
    assert_eq!(shown, ["Acme-Level = High", "Acme-Role = \"x\""]);
    assert!(config.reads_attributes);
    assert!(!check(acme).unwrap().0.reads_attributes);
    for (entry, path, fragment) in [
        ("number = 1", "name", "a name is missing"),
        ("name = 'X'", "number", "the number is missing"),
        ("name = 'Class'\nnumber = 200", "name", "means another attribute already"),
        ("name = 'a b'\nnumber = 200", "name", "no name"),
        ("name = 'X'\nnumber = 200\ntype = 'ipv4addr'\ntag = true", "name", "may have a tag"),
        ("name = 'X'\nnumber = 200\nvalues = { A = 1 }", "values.A", "no number"),
    ] {
        let sections = format!("[[attributes]]\n{entry}\n");
        only(&faults(&sections), &format!("attributes[0].{path}"), fragment, &sections);
    }
    let sections = "dictionaries = ['gone']\nstate_dir = 'state'\n[listen]\n";
    only(&faults(sections), "dictionaries[0]", "cannot be read", sections);
}

#[test]
fn descriptors_follow_the_limits() {
    let of = |sections: &str| check(sections).unwrap_or_else(|(faults, _)| panic!("{faults}")).0.descriptors(2);
    let ordinary = of("");
    assert!(ordinary < 1_024, "{ordinary}: the soft limit of most systems suffices");
    assert_eq!(of("[admin]\nconnections = 164"), ordinary + 200, "each takes two");
    assert_eq!(of("[limits]\ncontrol_connections = 116"), ordinary + 100);
    assert_eq!(of("[health]\nlisten = '127.0.0.1:9814'\nconnections = 100"), ordinary + 100);
    assert_eq!(of("[admin]\nenabled = false\nconnections = 4096"), of("[admin]\nenabled = false"));
}

#[test]
fn admin_port_has_its_limits() {
    for (sections, path) in [
        ("[admin]\nconnections = 3", "admin.connections"),
        ("[admin]\nconnections = 4097", "admin.connections"),
        ("[admin]\nrequest_timeout = '99ms'", "admin.request_timeout"),
        ("[admin]\nrequest_timeout = '31s'", "admin.request_timeout"),
    ] {
        assert!(faults(sections).iter().any(|fault| fault.contains(path)), "{sections}");
    }
}
