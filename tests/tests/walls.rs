//! The layout holds: arrows between our packages point one way, and the core gains no clock, socket, file, environment,
//! thread, runtime or randomness of its own. Each check is shown to find a fault that is planted.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

const CORE: &str = "gateway-core";

/// What each of our packages may depend on among our packages.
const ARROWS: [(&str, &[&str]); 4] = [
    (CORE, &[]),
    ("cluster", &[CORE]),
    ("admin-api", &[CORE, "cluster"]),
    ("gateway", &[CORE, "cluster", "admin-api"]),
];

/// Packages that ship nothing, and may depend on all of them.
const TESTS: [&str; 5] = ["tests", "bench", "entra-cloud", "fuzz", "simulation"];

/// Packages that bring a clock, a socket, a runtime or randomness. The core reaches none of them, not even by way of others.
const POWERS: [&str; 24] = [
    "actix",
    "actix-rt",
    "actix-web",
    "async-std",
    "chrono",
    "fastrand",
    "futures-util",
    "getrandom",
    "hyper",
    "ldap3",
    "mio",
    "nix",
    "notify",
    "opentelemetry",
    "rand",
    "redis",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
];

/// What the core's `clippy.toml` must ban: the ways to a clock, a wait, a thread, the environment, a file and a socket.
const BANS: [&str; 16] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::env::var",
    "std::env::var_os",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::write",
    "std::fs::File::open",
    "std::fs::File::create",
    "std::net::UdpSocket::bind",
    "std::net::TcpListener::bind",
    "std::net::TcpStream::connect",
];

/// Names that the core's sources do not hold outside their tests: what clippy's list of single functions could miss.
const NAMES: [&str; 10] = [
    "Instant",
    "SystemTime",
    "UdpSocket",
    "TcpListener",
    "TcpStream",
    "UnixStream",
    "OpenOptions",
    "thread_local",
    "tokio",
    "actix",
];

/// Modules of `std` that they do not use.
const MODULES: [&str; 5] = ["fs", "env", "thread", "process", "os"];

type Graph = BTreeMap<String, BTreeSet<String>>;

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(tests::workspace()).exec().expect("cargo knows the workspace")
}

/// Our packages and which of ours each depends on, tests included.
fn our_arrows(metadata: &Metadata) -> Graph {
    let ours: BTreeSet<String> = metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let of = |package: &&cargo_metadata::Package| {
        let names = package.dependencies.iter().map(|dependency| dependency.name.clone());
        (package.name.to_string(), names.filter(|name| ours.contains(name)).collect())
    };
    metadata.workspace_packages().iter().map(of).collect()
}

fn wrong_arrows(graph: &Graph) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, dependencies) in graph {
        if TESTS.contains(&package.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == package) else {
            faults.push(format!("{package} is new: say in walls.rs what it may depend on"));
            continue;
        };
        let wrong = dependencies.iter().filter(|dependency| !allowed.contains(&dependency.as_str()));
        faults.extend(wrong.map(|dependency| format!("{package} must not depend on {dependency}")));
    }
    let missing = ARROWS.iter().filter(|(name, _)| !graph.contains_key(*name));
    faults.extend(missing.map(|(name, _)| format!("{name} is gone: correct walls.rs")));
    faults
}

/// What the core is built from, by way of whom: package to the one that brought it.
fn reach(metadata: &Metadata) -> BTreeMap<String, String> {
    let resolve = metadata.resolve.as_ref().expect("cargo resolves");
    let root = metadata.packages.iter().find(|package| package.name == CORE).expect("there is a core");
    let (mut found, mut queue) = (BTreeMap::new(), VecDeque::from([&root.id]));
    while let Some(id) = queue.pop_front() {
        let node = resolve.nodes.iter().find(|node| node.id == *id).expect("each package is a node");
        for dependency in &node.deps {
            let built = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            let name = metadata[&dependency.pkg].name.to_string();
            if built && !found.contains_key(&name) {
                found.insert(name, metadata[id].name.to_string());
                queue.push_back(&dependency.pkg);
            }
        }
    }
    found
}

fn wrong_powers(reach: &BTreeMap<String, String>) -> Vec<String> {
    let wrong = reach.iter().filter(|(name, _)| POWERS.contains(&name.as_str()));
    wrong.map(|(name, by)| format!("the core reaches {name} by way of {by}")).collect()
}

fn missing_bans(clippy: &str) -> Vec<String> {
    let clippy: toml::Table = toml::from_str(clippy).expect("clippy.toml is TOML");
    let mut banned = BTreeSet::new();
    for list in ["disallowed-methods", "disallowed-types"] {
        for ban in clippy.get(list).and_then(toml::Value::as_array).into_iter().flatten() {
            let text = |key| ban.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            if text("reason").len() > 10 {
                banned.insert(text("path").to_owned());
            }
        }
    }
    let missing = BANS.iter().filter(|path| !banned.contains(**path));
    missing.map(|path| format!("{path} is not banned, or no reason is given")).collect()
}

/// The product's part of a source: without comments, strings and what is for tests only. The names of modules that are for
/// tests only come with it.
fn product(source: &str) -> (String, Vec<String>) {
    let (mut kept, mut for_tests) = (String::new(), Vec::new());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let next = lines.next().unwrap_or_default().trim();
            match next.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                Some(module) => for_tests.push(module.to_owned()),
                None if next.ends_with('{') => {
                    // rustfmt puts the end of a block where its beginning stands.
                    let indent = line.len() - line.trim_start().len();
                    lines.by_ref().find(|line| *line == format!("{}}}", " ".repeat(indent)));
                }
                None => {}
            }
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        kept.extend(code.split('"').step_by(2));
        kept.push('\n');
    }
    (kept, for_tests)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn forbidden(source: &str) -> Vec<String> {
    let (code, _) = product(source);
    let names = words(&code).filter(|word| NAMES.contains(word)).map(str::to_owned);
    // What stands behind `std::`: a path, or a list of them in braces.
    let modules = code.split("std::").skip(1).flat_map(|behind| {
        let end = if behind.starts_with('{') { behind.find(';') } else { behind.find(|c: char| !c.is_alphanumeric()) };
        let used = words(behind.get(..end.unwrap_or(behind.len())).unwrap_or_default());
        used.filter(|word| MODULES.contains(word)).map(|module| format!("std::{module}")).collect::<Vec<_>>()
    });
    names.chain(modules).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut for_tests) = (Vec::new(), BTreeSet::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the core is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let (_, modules) = product(&fs::read_to_string(&path).expect("it is text"));
                let stem = path.file_stem().expect("it has a name").to_owned();
                let parent = path.parent().expect("it is in a folder");
                let home = if stem == "mod" || stem == "lib" { parent.to_owned() } else { parent.join(stem) };
                for_tests.extend(modules.iter().map(|module| home.join(format!("{module}.rs"))));
                files.push(path);
            }
        }
    }
    files.retain(|file| !for_tests.contains(file));
    files
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn arrows_point_one_way() {
    none(&wrong_arrows(&our_arrows(&metadata())));
}

#[test]
fn the_core_is_built_from_nothing_that_has_a_clock_a_socket_or_a_runtime() {
    let reach = reach(&metadata());
    assert!(reach.len() > 20 && reach.contains_key("hmac"), "{reach:?}");
    none(&wrong_powers(&reach));
}

#[test]
fn the_core_bans_what_it_must_not_call() {
    none(&missing_bans(&fs::read_to_string(tests::workspace().join("gateway/core/clippy.toml")).unwrap()));
}

#[test]
fn the_core_names_no_clock_socket_file_environment_or_thread() {
    let files = sources(&tests::workspace().join("gateway/core/src"));
    assert!(files.len() > 40, "{} files", files.len());
    let mut faults = Vec::new();
    for file in files {
        let found = forbidden(&fs::read_to_string(&file).unwrap());
        faults.extend(found.into_iter().map(|name| format!("{} names {name}", file.display())));
    }
    none(&faults);
}

/// The feature by which rules of the core can be broken on purpose.
const PLANTED: &str = "planted-faults";

/// Who could bring the feature into a build of the workspace: only the simulation, and only when it is asked to.
fn wrong_features(packages: &[cargo_metadata::Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let asks = |dependency: &&cargo_metadata::Dependency| dependency.features.iter().any(|name| name == PLANTED);
        let dependencies = package.dependencies.iter().filter(asks);
        faults.extend(dependencies.map(|dependency| format!("{} asks {} for it", package.name, dependency.name)));
        for (feature, brings) in &package.features {
            let bring = |what: &String| what.split('/').next_back() == Some(PLANTED);
            let ours = feature == PLANTED && package.name.as_str() == "simulation";
            if brings.iter().any(bring) && !ours {
                faults.push(format!("the feature {feature} of {} brings it", package.name));
            }
        }
    }
    faults
}

#[test]
fn the_shipped_program_is_built_without_rules_that_can_be_broken() {
    let metadata = metadata();
    let mut packages: Vec<_> = metadata.workspace_packages().into_iter().cloned().collect();
    assert!(packages.iter().any(|package| package.features.contains_key(PLANTED)), "nothing is looked at");
    none(&wrong_features(&packages));
    // A build that has it all the same does not compile.
    let gateway = fs::read_to_string(tests::workspace().join("gateway/src/lib.rs")).unwrap();
    assert!(gateway.contains("assert!(!gateway_core::planted::POSSIBLE"));

    let tests = packages.iter_mut().find(|package| package.name.as_str() == "tests").unwrap();
    let core = tests.dependencies.iter_mut().find(|dependency| dependency.name == CORE).unwrap();
    core.features.push(PLANTED.into());
    let simulation = packages.iter_mut().find(|package| package.name.as_str() == "simulation").unwrap();
    simulation.features.insert("default".into(), vec![PLANTED.into()]);
    assert_eq!(
        wrong_features(&packages).into_iter().collect::<BTreeSet<_>>(),
        ["tests asks gateway-core for it".to_owned(), "the feature default of simulation brings it".to_owned()].into()
    );
}

#[test]
fn packages_that_ship_live_by_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest: toml::Table = toml::from_str(&fs::read_to_string(&package.manifest_path).unwrap()).unwrap();
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")) == Some(&true.into());
        let harness = ["tests", "entra-cloud", "fuzz", "simulation"].contains(&package.name.as_str());
        assert!(inherits || harness, "{} has lints of its own", package.name);
    }
    let workspace: toml::Table =
        toml::from_str(&fs::read_to_string(tests::workspace().join("Cargo.toml")).unwrap()).unwrap();
    let lints = &workspace["workspace"]["lints"];
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for lint in ["unwrap_used", "expect_used", "panic", "indexing_slicing"] {
        assert!(lints["clippy"].get(lint).is_some(), "{lint}: bytes from the network must not panic");
    }
}

#[test]
fn a_planted_arrow_is_found() {
    let mut graph = our_arrows(&metadata());
    graph.get_mut("cluster").unwrap().insert("gateway".to_owned());
    graph.get_mut(CORE).unwrap().insert("cluster".to_owned());
    graph.insert("backdoor".to_owned(), BTreeSet::new());
    graph.remove("admin-api");
    let faults = wrong_arrows(&graph);
    assert_eq!(
        faults,
        [
            "backdoor is new: say in walls.rs what it may depend on",
            "cluster must not depend on gateway",
            "gateway-core must not depend on cluster",
            "admin-api is gone: correct walls.rs",
        ]
    );
}

#[test]
fn a_planted_power_is_found() {
    let mut reach = reach(&metadata());
    reach.insert("getrandom".to_owned(), "some-crate".to_owned());
    assert_eq!(wrong_powers(&reach), ["the core reaches getrandom by way of some-crate"]);
}

#[test]
fn a_ban_that_is_lifted_is_found() {
    let clippy = fs::read_to_string(tests::workspace().join("gateway/core/clippy.toml")).unwrap();
    for path in BANS {
        let lifted: String =
            clippy.lines().filter(|line| !line.contains(&format!("\"{path}\""))).collect::<Vec<_>>().join("\n");
        assert_eq!(missing_bans(&lifted), [format!("{path} is not banned, or no reason is given")]);
    }
}

#[test]
fn a_planted_clock_is_found() {
    for (planted, found) in [
        ("use std::time::Instant;", "Instant"),
        ("use std::time::{Duration, SystemTime};", "SystemTime"),
        ("fn f() { let x = std::fs::metadata(y); }", "std::fs"),
        ("use std::{\n    env,\n    fmt,\n};", "std::env"),
        ("let socket = std::net::UdpSocket::bind(a);", "UdpSocket"),
        ("std::thread::Builder::new()", "std::thread"),
        ("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\nuse std::process;", "std::process"),
    ] {
        assert_eq!(forbidden(planted), [found], "{planted}");
    }
    for innocent in [
        "// std::fs::read is banned",
        "let text = \"std::env\";",
        "env!(\"CARGO_PKG_VERSION\")",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        "use std::fmt; fn f(thread: u16, env: Option<&str>) {}",
    ] {
        assert_eq!(forbidden(innocent), [""; 0], "{innocent}");
    }
}
