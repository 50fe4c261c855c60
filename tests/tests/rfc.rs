//! `docs/rfc.md` and the table of attackers in `SECURITY.md` promise nothing that no test holds: each row names tests that exist, or says
//! how it stands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const STATES: [&str; 6] = ["held", "otherwise", "not yet", "open", "EAP", "TLS"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// The names of all functions in the sources that are tests.
fn tests() -> BTreeSet<String> {
    let (mut names, mut folders) = (BTreeSet::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is ours") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                names.extend(tests_of(&fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    names
}

/// The names of the tests of one source: functions behind an attribute that ends in `test]`.
fn tests_of(source: &str) -> Vec<String> {
    let (mut names, mut marked) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.ends_with("test]");
        } else if let Some(name) =
            line.split_once("fn ").filter(|_| marked).and_then(|(_, rest)| rest.split('(').next())
        {
            names.push(name.to_owned());
            marked = false;
        } else if !line.is_empty() && !line.starts_with("//") {
            marked = false;
        }
    }
    names
}

/// What is wrong with the table, whose tests are to be found among `tests`.
fn faults(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let (mut faults, mut ids) = (Vec::new(), BTreeSet::new());
    for row in page.lines().filter(|line| line.starts_with("| R") || line.starts_with("| PEAP")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (id, state) = (cells[0], *cells.last().expect("there is one"));
        if cells.len() != 5 {
            faults.push(format!("{id} has {} cells, and 5 are wanted", cells.len()));
        }
        if !ids.insert(id) {
            faults.push(format!("{id} stands twice"));
        }
        if !STATES
            .iter()
            .any(|word| state.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
        {
            faults.push(format!("{id} has no state: {state}"));
        }
        let named: Vec<&str> = state.split('`').skip(1).step_by(2).filter(|_| state.starts_with("held")).collect();
        if state.starts_with("held") && named.is_empty() {
            faults.push(format!("{id} is held by no test"));
        }
        faults.extend(
            named.iter().filter(|name| !tests.contains(**name)).map(|name| format!("{id}: there is no test {name}")),
        );
    }
    faults
}

#[test]
fn rows_name_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/rfc.md")).expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| R")).count();
    assert!(rows > 200, "only {rows} rows were read");
    let faults = faults(&page, &tests());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Faults of the table of attackers, whose tests are to be found among `tests`.
fn unheld(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows = page.lines().skip_while(|line| !line.starts_with("| Attacker |")).skip(2);
    let mut faults = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [attacker, _, _, held] = cells[..] else {
            faults.push(format!("{} has {} cells, and 4 are wanted", cells[0], cells.len()));
            continue;
        };
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            faults.push(format!("{attacker} is held by no test"));
        }
        let missing = named.iter().filter(|name| !tests.contains(**name));
        faults.extend(missing.map(|name| format!("{attacker}: there is no test {name}")));
    }
    faults
}

#[test]
fn attackers_are_held_by_tests() {
    let page = fs::read_to_string(root().join("SECURITY.md")).expect("the page is there");
    assert!(page.contains("| Attacker |"));
    assert_eq!(unheld(&page, &tests()), Vec::<String>::new());
    let head = "| Attacker | Can | Cannot | Held |\n|---|---|---|---|\n";
    let here = BTreeSet::from(["here".to_owned()]);
    assert_eq!(unheld(&format!("{head}| nobody | try | do | `here` |\n"), &here), Vec::<String>::new());
    for (row, fault) in [
        ("| nobody | try | do | `there` |", "no test there"),
        ("| nobody | try | do | a test |", "held by no test"),
        ("| nobody | try | do |", "3 cells"),
    ] {
        let found = unheld(&format!("{head}{row}\n"), &here);
        assert!(found.iter().any(|text| text.contains(fault)), "{row}: {found:?}");
    }
}

#[test]
fn planted_faults_are_found() {
    let tests: BTreeSet<String> =
        tests_of("#[test]\nfn here() {\n#[test]\n#[ignore]\nfn too() {\nfn helper() {\n").into_iter().collect();
    assert_eq!(tests.iter().map(String::as_str).collect::<Vec<_>>(), ["here", "too"]);
    let row = |id: &str, state: &str| format!("| {id} | S | M do | bad input | {state} |\n");
    assert_eq!(faults(&row("R1-a", "held: `here`, `too`"), &tests), Vec::<String>::new());
    for (page, fault) in [
        (row("R1-a", "held: `helper`"), "there is no test helper"),
        (row("R1-a", "held"), "held by no test"),
        (row("R1-a", "perhaps"), "no state"),
        (row("R1-a", "EAP") + &row("R1-a", "EAP"), "stands twice"),
        (row("R1-a", "EAP | more"), "6 cells"),
    ] {
        let found = faults(&page, &tests);
        assert!(found.iter().any(|text| text.contains(fault)), "{page}: {found:?}");
    }
}
