//! `orthrus simulate` tells of the firm in `docs/examples/firm.toml` what `tests/golden/simulate` says it tells. A golden file
//! begins with the command, and ends with its exit code; `UPDATE_GOLDEN=1` writes the rest anew, to be read before it is
//! committed.

use std::fs;
use std::path::Path;
use tests::workspace;

/// A command line as a shell would cut it: at spaces, but not within single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().expect("there is one").push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The firm's folder, with secrets that are none.
fn firm(folder: &Path) {
    let golden = workspace().join("tests/golden/simulate");
    fs::copy(workspace().join("docs/examples/firm.toml"), folder.join("firm.toml")).unwrap();
    fs::copy(golden.join("users"), folder.join("users")).unwrap();
    fs::create_dir(folder.join("secrets")).unwrap();
    for name in ["vpn", "vpn-admin", "branch", "wlan"] {
        fs::write(folder.join("secrets").join(name), format!("an-odd-secret-of-{name}-that-nobody-uses")).unwrap();
    }
}

fn told(folder: &Path, command: &str) -> String {
    let arguments = words(command.strip_prefix("$ orthrus ").expect("the first line is a command"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = tests::gateway::run(folder, &arguments, "");
    let text = [output.stdout, output.stderr].concat();
    format!("{command}\n{}exit {}\n", String::from_utf8(text).unwrap(), output.status.code().unwrap())
}

#[test]
fn the_firm_gets_what_its_policies_say() {
    let folder = tempfile::tempdir().unwrap();
    firm(folder.path());
    let mut cases = 0;
    let mut differ = Vec::new();
    for entry in fs::read_dir(workspace().join("tests/golden/simulate")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let golden = fs::read_to_string(&path).unwrap();
        let found = told(folder.path(), golden.lines().next().unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &found).unwrap();
        } else if found != golden {
            differ.push(format!("{}:\n{found}", path.display()));
        }
        cases += 1;
    }
    assert!(cases >= 10, "only {cases} cases");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn what_cannot_be_told_says_why() {
    let folder = tempfile::tempdir().unwrap();
    firm(folder.path());
    for (arguments, part) in [
        ("--client vpm --user anna", "there is no client vpm; there are vpn, vpn-admin"),
        ("--source 203.0.113.1 --user anna", "no client sends from 203.0.113.1"),
        ("--client vpn --source 192.0.2.20 --user anna", "one of vpn-admin, not of vpn"),
        ("--client vpn --user anna --at tomorrow", "write a time with its offset"),
        ("--client vpn --user anna --attribute Clas=x", "did you mean Class?"),
        ("--client vpn --user anna --attribute NAS-Port-Type=Virtuel", "did you mean Virtual?"),
        ("--client vpn --user ''anna@", "The user name is empty"),
    ] {
        let told = told(folder.path(), &format!("$ orthrus simulate --config firm.toml {arguments}"));
        assert!(told.contains(part) && told.ends_with("exit 1\n"), "{arguments}: {told}");
    }
    let usage = told(folder.path(), "$ orthrus simulate --config firm.toml --user anna");
    assert!(usage.ends_with("exit 2\n"), "{usage}");
}
