//! One decision of policies: 500 of them, as a firm may have that came from NPS, and what a sign-in costs that must look at all
//! of them.
// The macros of criterion write a function without a comment; the values here are constants known to fit.
#![allow(missing_docs, clippy::expect_used, clippy::panic)]

use criterion::{Criterion, criterion_group, criterion_main};
use gateway_core::config::{Config, Raw, Report, SecretSource, Surroundings};
use gateway_core::identity::{Identity, Rules};
use gateway_core::policy::{Decision, Facts, decide};
use gateway_core::radius::{Attributes, attribute};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;

const POLICIES: usize = 500;

struct Names;

impl SecretSource for Names {
    fn file(&self, path: &Path) -> Result<Secret, String> {
        Ok(Secret::new(format!("a long secret at {}", path.display()).into_bytes()))
    }

    fn env(&self, name: &str) -> Result<Secret, String> {
        Err(format!("{name} is not set"))
    }
}

/// A configuration with 500 policies, each with these conditions; `#` stands for the number of the policy.
fn config(conditions: &str) -> Config {
    let mut text = String::from("state_dir = 'state'\n");
    for client in 0..20 {
        let _ = write!(
            text,
            "[[clients]]\nname = 'vpn-{client}'\naddresses = ['192.0.2.{client}']\nsecret_file = 'secret-{client}'\n"
        );
    }
    text.push_str("[[first_factor]]\nname = 'staff'\nkind = 'file'\nusers_file = 'users'\n");
    text.push_str("[[second_factor]]\nname = 'code'\nkind = 'oath'\ntokens_file = 'tokens'\n");
    for number in 0..POLICIES {
        let conditions = conditions.replace("CLIENT", &(number % 20).to_string()).replace('#', &number.to_string());
        let _ = write!(text, "[[policies]]\nname = 'p{number}'\n{conditions}\nreply = {{ Class = 'p{number}' }}\n");
    }
    let raw: Raw = toml::from_str(&text).expect("this is TOML");
    let around =
        Surroundings { folder: Path::new("/"), host_name: "bench", secrets: &Names, now: Timestamp::from_secs(0) };
    raw.check(&around, Report::default()).unwrap_or_else(|(faults, _)| panic!("{faults}")).0
}

/// What a VPN server says of itself and its user.
fn said() -> Attributes {
    let mut attributes = Attributes::new();
    for (kind, value) in [
        (attribute::USER_NAME, &b"user00042"[..]),
        (attribute::NAS_IP_ADDRESS, &[192, 0, 2, 10]),
        (attribute::NAS_PORT, &[0, 0, 0, 7]),
        (attribute::SERVICE_TYPE, &[0, 0, 0, 2]),
        (attribute::NAS_PORT_TYPE, &[0, 0, 0, 5]),
        (attribute::CALLED_STATION_ID, b"192.0.2.10"),
        (attribute::CALLING_STATION_ID, b"198.18.0.42"),
        (attribute::NAS_IDENTIFIER, b"vpn-berlin"),
    ] {
        attributes.push(kind, value).expect("short values");
    }
    attributes
}

fn policy(criterion: &mut Criterion) {
    let identity: Identity = Rules::default().read(b"anna@corp.example").expect("a name");
    // Eleven groups of which no policy knows, and one that the very last policy wants.
    let mut groups: Vec<String> = (0..11).map(|number| format!("Distribution List {number}")).collect();
    groups.push("Group-499".to_owned());
    let attributes = said();
    let mut bench = criterion.benchmark_group("500 policies");
    for (name, conditions) in [
        ("groups", "groups = ['group-#', 'more-#']"),
        ("groups and clients", "groups = ['group-#']\nclients = ['vpn-CLIENT']"),
        (
            "groups, clients, networks and hours",
            "groups = ['group-#']\nclients = ['vpn-CLIENT']\nsource_networks = ['192.0.2.0/24']\ntimes = ['daily 00:00-24:00 Europe/Berlin']",
        ),
        ("users", "users = ['user#@corp.example']"),
        ("groups and an attribute", "groups = ['group-#']\nnas_port_types = ['Virtual']"),
        ("networks only", "source_networks = ['198.51.100.0/24']"),
        ("hours only", "times = ['Mon-Fri 03:00-03:01 Europe/Berlin']"),
        ("first factors only", "first_factors = ['staff']\nnot_users = ['anna@corp.example']"),
        ("an attribute only", "nas_identifiers = ['vpn-#']"),
        ("a pattern only", "attributes = { NAS-Identifier = { regex = 'vpn-#.*' } }"),
    ] {
        let config = config(conditions);
        let facts = Facts {
            client: "vpn-19",
            source: [192, 0, 2, 19].into(),
            first_factor: Some("staff"),
            protocol: "pap",
            identity: &identity,
            groups: &groups,
            attributes: Some(&attributes),
            now: Timestamp::from_secs(1_767_596_400),
        };
        let decided = decide(&config.policies, &config.policy_index, &facts);
        let last = matches!(decided, Decision::Permit(policy) if &*policy.name == "p499");
        assert_eq!(last, conditions.starts_with("groups"), "{name}: {decided:?}");
        bench.bench_function(name, |b| {
            b.iter(|| matches!(decide(&config.policies, &config.policy_index, black_box(&facts)), Decision::Permit(_)));
        });
    }
    bench.finish();
}

criterion_group!(benches, policy);
criterion_main!(benches);
