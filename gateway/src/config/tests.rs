//! Loading: from a folder with a file, secrets and an invented environment to a checked configuration or to the whole list
//! of what is wrong.

use super::*;
use gateway_core::config::{Fault, LogFormat, Raw};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::Duration,
};
use tempfile::TempDir;

const SOUND: &str = r#"
state_dir = "state"
[[clients]]
name = "vpn"
addresses = ["192.0.2.10"]
secret_file = "secret"
[[first_factor]]
name = "staff"
kind = "file"
users_file = "users"
[[second_factor]]
name = "code"
kind = "oath"
tokens_file = "tokens"
[[policies]]
name = "everybody"
"#;

fn write(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
}

fn folder(config: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(&folder, "orthrus.toml", config);
    write(&folder, "secret", "d2f1c0a94be85b17\n");
    write(&folder, "users", "");
    write(&folder, "tokens", "");
    folder
}

fn load_from(folder: &TempDir, environment: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    load_with(&folder.path().join("orthrus.toml"), &Environment::of(environment.iter().copied()), &mut Vec::new())
}

fn faults(config: &str, environment: &[(&str, &str)]) -> Vec<Fault> {
    match load_from(&folder(config), environment) {
        Ok(_) => Vec::new(),
        Err(LoadError::Faulty { faults, .. }) => faults.0,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_sound_file_loads_without_a_word() {
    let folder = folder(SOUND);
    let loaded = load_from(&folder, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.state_dir, folder.path().join("state"));
    assert_eq!(loaded.config.clients[0].secrets[0].secret().expose(), b"d2f1c0a94be85b17", "without the newline");
}

#[test]
fn the_environment_overrides_the_file() {
    let folder = folder(&format!("{SOUND}[attempts]\ndeadline = \"60s\"\ntries = 2\n"));
    let environment = [
        ("ORTHRUS__ATTEMPTS__DEADLINE", "75s"),
        ("ORTHRUS__ATTEMPTS__PROMPT", "12345"),
        ("ORTHRUS__LISTEN__AUTHENTICATION", "127.0.0.1:0,[::1]:0"),
        ("ORTHRUS__LISTEN__THREADS", "3"),
        ("ORTHRUS__IDENTITY__DOMAINS__CORP", "corp.example"),
        ("ORTHRUS__TELEMETRY__LOG_FORMAT", "json"),
        ("ORTHRUS__ADMIN__ENABLED", "false"),
        ("ORTHRUS__CLUSTER__NODE_ID", "7"),
        ("ORTHRUS_PORT", "tcp://192.0.2.1:1812"),
        ("UNRELATED", "x"),
    ];
    let config = load_from(&folder, &environment).unwrap().config;
    assert_eq!(config.attempts.deadline, Duration::from_secs(75));
    assert_eq!(config.attempts.prompt, "12345", "text stays text");
    assert_eq!(config.attempts.tries, 2, "from the file");
    assert_eq!(config.listen.authentication, ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(config.listen.threads, 3);
    assert_eq!(config.identity.domains.get("CORP").map(String::as_str), Some("corp.example"));
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    assert!(!config.admin.enabled);
    assert_eq!(&*config.cluster.node_id, "7");
}

#[test]
fn faults_of_the_environment_name_the_variable() {
    let environment = [
        ("ORTHRUS__ATTEMPTS__TRIES", "many"),
        ("ORTHRUS__ATEMPTS__TRIES", "3"),
        ("ORTHRUS__CLIENTS__0__NAME", "other"),
    ];
    let faults: Vec<_> = faults(SOUND, &environment).iter().map(ToString::to_string).collect();
    let [section, list, value] = faults.as_slice() else { panic!("{faults:#?}") };
    assert!(list.contains("ORTHRUS__CLIENTS__0__NAME reaches into a list"), "{list}");
    assert!(section.starts_with("atempts: ") && section.contains("ORTHRUS__ATEMPTS__TRIES"), "{section}");
    assert!(section.ends_with("Did you mean `attempts`?"), "{section}");
    assert!(value.starts_with("attempts.tries: ") && value.contains("ORTHRUS__ATTEMPTS__TRIES"), "{value}");
}

#[test]
fn a_secret_may_come_from_the_environment() {
    let config = SOUND.replace("secret_file = \"secret\"", "secret_env = \"VPN_SECRET\"");
    let loaded = load_from(&folder(&config), &[("VPN_SECRET", "a-long-and-random-one")]).unwrap();
    assert_eq!(loaded.config.clients[0].secrets[0].secret().expose(), b"a-long-and-random-one");
    let missing = faults(&config, &[]);
    assert_eq!(
        missing.first().map(ToString::to_string).unwrap(),
        "clients[0].secret_env: the environment variable VPN_SECRET is not set. \
         Correct the reference, or put the secret where it leads."
    );
}

/// What somebody reads who has got nearly everything wrong.
#[test]
fn all_faults_at_once() {
    let config = r#"
state_dri = "state"
colour = "blue"

[listen]
authentication = ["0.0.0.0:1812", 1645, "0.0.0.0"]
threads = "four"
receive_buffer = 4096

[[clients]]
name = "vpn"
adresses = ["192.0.2.10"]
secret = "hunter2-in-the-file"
require_message_authenticator = true

[[clients]]
name = "vpn"
addresses = ["192.0.2.0/24", "192.0.2.300"]
secret_file = "nowhere"
first_factor = "staf"

[[first_factor]]
name = "staff"
kind = "ldap"

[[second_factor]]
name = "off"
kind = "oath"
tokens_file = "tokens"
window = 11

[[policies]]
name = "everybody"
second_factor = "optional"
reply = { Class = 5 }

[attempts]
deadline = 90
tries = 0

[limits]
reply_lifetime = "2m"

[cluster]
store = "postgres"
"#;
    let folder = folder(config);
    let error = load_from(&folder, &[]).unwrap_err().to_string();
    let expected = include_str!("bad_config.txt");
    let shown = error.replace(&format!("{}", folder.path().display()), "FOLDER") + "\n";
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/bad_config.txt"), &shown).unwrap();
    } else {
        assert_eq!(shown, expected);
    }
    assert!(!error.contains("hunter2"), "a secret is shown");
}

#[test]
fn what_is_not_toml_is_told_by_its_place() {
    let error = load_from(&folder("state_dir = \"x\"\n[listen\nsecret = \"hunter2\"\n"), &[]).unwrap_err();
    let LoadError::Syntax { line, column, .. } = &error else { panic!("{error}") };
    assert_eq!((*line, *column), (2, 8), "{error}");
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn a_missing_file_is_told() {
    let folder = TempDir::new().unwrap();
    let error = load_from(&folder, &[]).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
}

#[test]
fn tables_in_the_place_of_values_and_the_other_way_round() {
    for (config, path) in [
        ("listen = 5", "listen"),
        ("clients = 5", "clients"),
        ("clients = [5]", "clients[0]"),
        ("clients = [[]]", "clients[0]"),
        ("policies = { name = \"x\" }", "policies"),
        ("[state_dir]\nx = 1", "state_dir"),
        ("[attempts]\nprompt = [\"x\"]", "attempts.prompt"),
        ("[listen]\nauthentication = [[\"x\"], {}]", "listen.authentication[0]"),
        ("[identity]\ndomains = [1]", "identity.domains"),
        ("[identity]\ndomains = { A = 1 }", "identity.domains.A"),
        ("[[policies]]\nreply = { Class = [1] }", "policies[0].reply.Class"),
    ] {
        let found = faults(config, &[]);
        let count = found.iter().filter(|fault| fault.path == path).count();
        assert_eq!(count, 1, "{config}: {found:#?}");
    }
}

#[test]
fn very_many_faults_end() {
    let config = format!("[listen]\nauthentication = [{}]", "1, ".repeat(10_000));
    let found = faults(&config, &[]);
    assert!(found.len() < 300, "{}", found.len());
    assert!(found.iter().any(|fault| fault.problem.contains("more than")));
}

#[test]
fn open_files_are_warned_of() {
    let folder = folder(SOUND);
    for name in ["secret", "tokens"] {
        fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o644)).unwrap();
    }
    fs::remove_file(folder.path().join("users")).unwrap();
    let warnings: Vec<_> = load_from(&folder, &[]).unwrap().warnings.iter().map(ToString::to_string).collect();
    let [secret, users, tokens] = warnings.as_slice() else { panic!("{warnings:#?}") };
    assert!(secret.starts_with("clients[0].secret_file: ") && secret.contains("(mode 644)"), "{secret}");
    assert!(users.starts_with("first_factor[0].users_file: ") && users.contains("does not exist"), "{users}");
    assert!(tokens.starts_with("second_factor[0].tokens_file: ") && tokens.contains("(mode 644)"), "{tokens}");
}

#[test]
fn a_secret_file_that_is_no_secret_is_refused() {
    let folder = folder(SOUND);
    write(&folder, "secret", &"x".repeat(5000));
    let error = load_from(&folder, &[]).unwrap_err().to_string();
    assert!(error.contains("is longer than 4096 octets"), "{error}");
    fs::remove_file(folder.path().join("secret")).unwrap();
    fs::create_dir(folder.path().join("secret")).unwrap();
    let error = load_from(&folder, &[]).unwrap_err().to_string();
    assert!(error.contains("is not a file"), "{error}");
    write(&folder, "orthrus.toml", &SOUND.replace("\"secret\"", "\"/dev/zero\""));
    let error = load_from(&folder, &[]).unwrap_err().to_string();
    assert!(error.contains("/dev/zero is not a file"), "{error}");
}

/// Loads `config` with every file that it names, and with nothing to be warned of.
fn loads_with_its_files(config: &str) {
    let folder = TempDir::new().unwrap();
    write(&folder, "orthrus.toml", config);
    let raw: Raw = toml::from_str(config).unwrap();
    for (key, file) in raw.secret_files() {
        write(&folder, file.to_str().unwrap(), &format!("the long secret at {key}, which is random enough"));
    }
    let loaded = load_from(&folder, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_sample_files_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        loads_with_its_files(&fs::read_to_string(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 2, "{count}");
}

#[test]
fn the_examples_of_the_reference_are_one_configuration() {
    let reference = reference();
    let examples: Vec<_> = reference.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 20, "one for each section, and one for each kind with a table of its own");
    // These two ask of other sections what their own examples do not have: a shared store, and a policy for its user.
    let (apart, together): (Vec<&str>, Vec<&str>) = examples
        .into_iter()
        .partition(|text| text.starts_with("[cluster.peers]") || text.starts_with("[health.sign_in]"));
    assert_eq!(apart.len(), 2);
    apart.iter().for_each(|text| drop(toml::from_str::<Raw>(text).unwrap()));
    loads_with_its_files(&together.concat());
}

#[test]
fn the_reference_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(path, reference()).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == reference(),
        "docs/configuration.md is out of date: UPDATE_GENERATED=1 cargo test -p gateway reference"
    );
}
