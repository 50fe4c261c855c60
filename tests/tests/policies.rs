//! Policies over real UDP: what a packet says of itself, what time it is, what users and groups have, and what becomes of a
//! reply that cannot be made.

use gateway_core::radius::{Code, SharedSecret, reveal_salted};
use gateway_core::secret::Secret;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::{NAS, Request, SECRET, Setup, SoftToken};

const USERS: &str = r#"
[[users]]
name = "anna"
password_plain = "correct horse"
groups = ["Staff"]
attributes = { department = "sales", timeout = "3600", text = "short" }

[[users]]
name = "boris"
password_plain = "correct horse"
groups = ["staff"]
attributes = { department = "o{p}s", timeout = "soon", text = "TEXT" }

[[users]]
name = "carla"
password_plain = "correct horse"
groups = ["contractors", "staff"]

[groups.staff]
vlan = "110"

[groups.contractors]
vlan = "190"
"#;

fn setup(policies: &str) -> Setup {
    // `TEXT` is as long as one attribute may be.
    Setup::new().users(&USERS.replace("TEXT", &"x".repeat(253))).policies(policies)
}

fn sign_in(user: &str) -> Request {
    Request::access(user).password("correct horse")
}

const NAS_PORT_TYPE: u8 = 61;
const CALLED_STATION: u8 = 30;
const NAS_IDENTIFIER: u8 = 32;
const VENDOR_SPECIFIC: u8 = 26;
const PROXY_STATE: u8 = 33;

#[test]
fn a_packet_meets_the_policy_of_what_it_says() {
    let gateway = setup(
        r#"
        [[attributes]]
        name = "Acme-Role"
        vendor = 32473
        number = 1

        [[policies]]
        name = "virtual"
        clients = ["nas"]
        nas_port_types = ["Virtual"]
        second_factor = "off"
        reply = { Class = "virtual" }

        [[policies]]
        name = "called"
        clients = ["nas"]
        called_stations = ["vpn-*"]
        second_factor = "off"
        reply = { Class = "called" }

        [[policies]]
        name = "role"
        groups = ["STAFF"]
        attributes = { Acme-Role = { regex = "admin|root" } }
        second_factor = "off"
        reply = { Class = "role", Acme-Role = "admin" }

        [[policies]]
        name = "chap"
        protocols = ["chap"]

        [[policies]]
        name = "others"
        first_factors = ["staff"]
        attributes = { NAS-Identifier = { present = true } }
        outcome = "deny"
        reply = { Reply-Message = "Not from {nas.identifier}, {user.login}." }
        "#,
    )
    .start();
    let mut nas = gateway.nas();
    let mut class = |request: &Request| {
        let reply = nas.ask(request);
        (reply.code(), reply.attributes())
    };
    let accept = |class: &str| (Code::ACCESS_ACCEPT, vec![format!("Class = \"{class}\"")]);
    assert_eq!(class(&sign_in("anna").with(NAS_PORT_TYPE, &[0, 0, 0, 5])), accept("virtual"));
    assert_eq!(class(&sign_in("anna").with(CALLED_STATION, b"VPN-berlin")), accept("called"));
    let role = |role: &[u8]| [&[0, 0, 0x7e, 0xd9, 1, u8::try_from(role.len() + 2).unwrap()], role].concat();
    let (code, attributes) = class(&sign_in("anna").with(VENDOR_SPECIFIC, &role(b"root")));
    assert_eq!(code, Code::ACCESS_ACCEPT);
    assert_eq!(attributes, ["Vendor-32473-Attr-1 = \"admin\"", "Class = \"role\""]);
    let refused = |text: &str| (Code::ACCESS_REJECT, vec![format!("Reply-Message = \"{text}\"")]);
    let toor = sign_in("anna").with(VENDOR_SPECIFIC, &role(b"rooty")).with(NAS_IDENTIFIER, b"site-7");
    assert_eq!(class(&toor), refused("Not from site-7, anna."));
    assert_eq!(
        class(&sign_in("anna").with(NAS_PORT_TYPE, &[5])),
        refused("Sign-in refused."),
        "odd octets fit nothing"
    );
    assert_eq!(class(&sign_in("anna")), refused("Sign-in refused."));
    let metrics = gateway.metrics();
    assert_eq!((metrics.refused("denied_by_policy"), metrics.refused("no_policy")), (1, 2));
    let lines = tests::eventually("six lines", || Some(gateway.sign_in_lines()).filter(|lines| lines.len() == 6));
    let policies: Vec<_> = lines.iter().map(|line| line["policy"].as_str().unwrap_or_default()).collect();
    assert_eq!(policies, ["virtual", "called", "role", "others", "", ""]);
}

#[test]
fn the_hour_decides() {
    let elsewhen = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 + 12) % 24;
    // Twelve hours from now for the first policy; the hours of the others are all there are.
    let gateway = setup(
        &r#"
        [[policies]]
        name = "elsewhen"
        times = ["daily HOUR:00-HOUR:30 UTC"]
        second_factor = "off"

        [[policies]]
        name = "by-day-or-by-night"
        groups = ["contractors"]
        times = ["daily 00:00-12:00 Europe/Berlin", "daily 12:00-24:00 Europe/Berlin"]
        second_factor = "off"
        reply = { Class = "{group.vlan}" }

        [[policies]]
        name = "not-contractors"
        not_groups = ["contractors"]
        times = ["Mon-Sun 23:00-22:59 America/New_York", "daily 22:59-23:00 America/New_York"]
        second_factor = "off"
        reply = { Class = "always" }
        "#
        .replace("HOUR", &format!("{elsewhen:02}")),
    )
    .start();
    let mut nas = gateway.nas();
    let accept = nas.ask(&sign_in("carla")).expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), ["Class = \"190\""], "the first of her groups has the datum");
    let accept = nas.ask(&sign_in("anna")).expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), ["Class = \"always\""]);
}

#[test]
fn replies_are_made_from_data_or_refused_with_a_reason() {
    let gateway = setup(
        r#"
        [[policies]]
        name = "everybody"
        second_factor = "off"

        [policies.reply]
        Class = "{{{user.department|none}}} by way of {client.name}"
        Filter-Id = "{user.name}"
        Session-Timeout = "{user.timeout}"
        "Tunnel-Type:1" = "VLAN"
        "Tunnel-Private-Group-ID:1" = "{group.vlan}"
        "#,
    )
    .start();
    let mut nas = gateway.nas();
    let accept = nas.ask(&sign_in("anna")).expect(Code::ACCESS_ACCEPT);
    assert_eq!(
        accept.attributes(),
        [
            format!("Class = \"{{sales}} by way of {NAS}\"").as_str(),
            "Filter-Id = \"anna\"",
            "Session-Timeout = 3600",
            "Tunnel-Private-Group-ID:1 = \"110\"",
            "Tunnel-Type:1 = VLAN",
        ]
    );
    for (user, reason, id, part) in [
        ("boris", "datum_unfit", "ORT-331", "\"soon\" is not a number"),
        ("carla", "datum_missing", "ORT-330", "no {user.timeout}"),
    ] {
        let reject = nas.ask(&sign_in(user)).expect(Code::ACCESS_REJECT);
        assert_eq!(reject.attributes(), ["Reply-Message = \"Sign-in refused.\""], "{user}");
        assert_eq!(gateway.metrics().refused(reason), 1, "{user}");
        let line = tests::eventually(&format!("the log tells of {user}"), || {
            let mut lines = gateway.log_lines().into_iter();
            lines.find(|line| line["reason_id"] == id && line["attribute"] == "Session-Timeout")
        });
        assert!(line["problem"].as_str().unwrap().contains(part) && line["policy"] == "everybody", "{line}");
    }
}

#[test]
fn a_reply_that_is_too_long_is_a_reject_with_a_reason() {
    let many = vec!["\"{user.text}\""; 14].join(", ");
    let long = vec![format!("\"{}\"", "y".repeat(253)); 13].join(", ");
    let policies = format!(
        "[[policies]]\nname = \"made\"\ngroups = [\"staff\"]\nusers = [\"anna\", \"boris\"]\nsecond_factor = \"off\"\n\
         reply = {{ Class = [{many}] }}\n\
         [[policies]]\nname = \"fixed\"\nsecond_factor = \"off\"\nreply = {{ Class = [{long}] }}\n"
    );
    let gateway = setup(&policies).start();
    let mut nas = gateway.nas();
    let accept = nas.ask(&sign_in("anna")).expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes().len(), 14);
    nas.ask(&sign_in("boris")).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("reply_too_long"), 1);

    // With room for it alone, and none for what a chain of proxies wants back.
    nas.ask(&sign_in("carla")).expect(Code::ACCESS_ACCEPT);
    let proxied = (0..4).fold(sign_in("carla"), |request, _| request.with(PROXY_STATE, &[7; 250]));
    let reject = nas.ask(&proxied).expect(Code::ACCESS_REJECT);
    assert_eq!(reject.all(PROXY_STATE).len(), 4, "what was asked back is there");
    assert_eq!(gateway.metrics().refused("reply_too_long"), 2);

    gateway.edit_config(|config| config.replace(&many, &vec![format!("\"{}\"", "y".repeat(253)); 14].join(", ")));
    let fault = gateway.reload().unwrap_err();
    assert!(fault.contains("policies[0].reply") && fault.contains("a packet has room for 3500"), "{fault}");
}

#[test]
fn the_accept_behind_a_code_carries_what_the_first_leg_made() {
    let token = SoftToken::hotp("anna");
    let policies = "[[policies]]\nname = \"all\"\nreply = { Class = \"{user.department} {nas.identifier|nowhere}\" }\n";
    let gateway = setup(policies).token(&token).start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&sign_in("anna").with(NAS_IDENTIFIER, b"here")).expect(Code::ACCESS_CHALLENGE);
    assert!(challenge.attributes().iter().all(|line| line.starts_with("Reply-Message")), "{challenge:?}");
    let answer = Request::access("anna").password(&token.code(0)).state(&challenge).with(NAS_IDENTIFIER, b"there");
    let accept = nas.ask(&answer).expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), ["Class = \"sales here\""]);
}

#[test]
fn secrets_come_hidden_behind_a_code() {
    let token = SoftToken::hotp("anna");
    let policies = "[[policies]]\nname = \"all\"\nreply = { \"Tunnel-Password:2\" = \"{user.department}\" }\n";
    let gateway = setup(policies).token(&token).start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&sign_in("anna")).expect(Code::ACCESS_CHALLENGE);
    let sent = nas.encode(&Request::access("anna").password(&token.code(0)).state(&challenge));
    let accept = nas.try_ask(&sent).unwrap().expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), ["Tunnel-Password:2 = [secret]"]);
    let value = accept.all(69).remove(0);
    let (secret, authenticator) =
        (SharedSecret::new(Secret::new(SECRET.as_bytes().to_vec())), sent.bytes[4..20].try_into());
    let revealed = reveal_salted(&value[1..], &secret, &authenticator.unwrap()).unwrap();
    assert_eq!(revealed.expose(), b"sales");
    assert_eq!(nas.try_ask(&sent).unwrap(), accept, "a duplicate gets the same octets");
}

#[test]
fn a_dictionary_of_the_operator_names_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let acme = "VENDOR ACME 32473\nBEGIN-VENDOR ACME\nATTRIBUTE ACME-Role 1 string\nATTRIBUTE ACME-Level 2 integer\n\
                VALUE ACME-Level High 9\nEND-VENDOR ACME\n";
    let policies = "dictionaries = [\"dictionary\"]\n";
    let rest = "[[policies]]\nname = \"all\"\nsecond_factor = \"off\"\nattributes = { ACME-Level = \"High\" }\n\
                clients = [\"nas\"]\nreply = { ACME-Role = \"{user.department}\" }\n";
    let setup = setup(rest);
    setup.write(folder.path());
    let path = |name: &str| folder.path().join(name);
    let config = std::fs::read_to_string(path("orthrus.toml")).unwrap();
    std::fs::write(path("orthrus.toml"), format!("{policies}{config}")).unwrap();
    std::fs::create_dir(path("more")).unwrap();
    std::fs::write(path("dictionary"), "# ours\n$INCLUDE more/acme\n").unwrap();
    std::fs::write(path("more/acme"), acme).unwrap();
    let run = |arguments: &[&str]| {
        let output = tests::gateway::run(folder.path(), arguments, "");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let told = run(&[
        "simulate",
        "--config",
        "orthrus.toml",
        "--client",
        "nas",
        "--user",
        "anna",
        "--attribute",
        "ACME-Level=high",
    ]);
    assert!(
        told.contains("the packet     ACME-Level = High") && told.contains("reply          ACME-Role = \"sales\""),
        "{told}"
    );
    std::fs::write(path("more/acme"), acme.replace("integer", "integr")).unwrap();
    let told = run(&["check-config", "orthrus.toml"]);
    assert!(told.contains("dictionaries[0]") && told.contains("more/acme:4: `integr` is no type"), "{told}");
    std::fs::write(path("dictionary"), "$INCLUDE ../../etc/passwd\n").unwrap();
    let told = run(&["check-config", "orthrus.toml"]);
    assert!(told.contains("dictionary:1: `../../etc/passwd` lies outside"), "{told}");
}
