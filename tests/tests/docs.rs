//! What the pages claim and a machine can check: links lead somewhere, paths exist, samples are the files they show, and
//! metrics and reasons that are named exist. That generated pages are fresh is checked where they are generated, in the
//! gateway's unit tests named `reference`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every Markdown page of the project, by its path from the root.
fn pages() -> Vec<PathBuf> {
    let (mut pages, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is ours") {
            let path = entry.expect("it can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let foreign = name.starts_with('.') || ["target", "node_modules"].contains(&name);
            if path.is_dir() && !foreign {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path.strip_prefix(root()).expect("it is below the root").to_owned());
            }
        }
    }
    pages.sort();
    pages
}

/// The text without its fenced blocks, and the blocks, each with the language that its fence names.
fn apart(markdown: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut open: Option<(String, String)> = None;
    for line in markdown.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, open.take()) {
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((language, text))) => open = Some((language, text + line + "\n")),
            (None, None) => prose = prose + line + "\n",
        }
    }
    assert!(open.is_none(), "a fence is not closed: {open:?}");
    (prose, blocks)
}

/// What stands in backticks.
fn quoted(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// Targets of links that are files of ours.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let ours = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    ours.map(|target| target.split('#').next().unwrap_or_default()).collect()
}

/// Whether it is meant as a path of ours: it begins with something that lies at the root, or is a Rust file.
fn is_path(text: &str, top: &BTreeSet<String>) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let first = text.split('/').next().unwrap_or_default();
    plain && (text.ends_with(".rs") || (top.contains(first) && (text.contains('/') || text.contains('.'))))
}

/// Words of a text that begin with `prefix`.
fn names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    words.filter(|word| word.starts_with(prefix)).collect()
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for name in pages() {
        let (prose, _) = apart(&fs::read_to_string(root().join(&name)).unwrap());
        let folder = root().join(&name).parent().unwrap().to_owned();
        let broken = links(&prose).into_iter().filter(|target| !folder.join(target).exists());
        faults.extend(broken.map(|target| format!("{}: {target} does not exist", name.display())));
    }
    none(&faults);
}

#[test]
fn paths_that_are_named_exist() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // What was built here, and what was not, says nothing of the pages.
    let top = names.filter(|name| name != "target").collect();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for name in ["README.md", "ARCHITECTURE.md", "SECURITY.md"] {
        let (prose, _) = apart(&page(name));
        for path in quoted(&prose).filter(|text| is_path(text, &top)) {
            seen += 1;
            if !root().join(path).exists() {
                faults.push(format!("{name}: {path} does not exist"));
            }
        }
    }
    assert!(seen > 40, "only {seen} paths were found: does the search still work?");
    none(&faults);
}

#[test]
fn the_smallest_configuration_is_the_one_in_the_readme() {
    let (_, blocks) = apart(&page("README.md"));
    let shown = blocks.iter().find(|(language, _)| language == "toml").map(|(_, text)| text.as_str());
    assert_eq!(shown, Some(page("docs/examples/minimal.toml").as_str()), "README.md and docs/examples/minimal.toml");
}

#[test]
fn metrics_and_reasons_that_are_named_exist() {
    let (metrics, reasons) = (page("docs/metrics.md"), page("docs/errors.md"));
    let (metrics, reasons) = (names(&metrics, "orthrus_"), names(&reasons, "ORT-"));
    assert!(metrics.len() > 10 && reasons.len() > 30, "{metrics:?} {reasons:?}");
    let mut faults = Vec::new();
    for name in pages() {
        let text = fs::read_to_string(root().join(&name)).unwrap();
        for (known, prefix) in [(&metrics, "orthrus_"), (&reasons, "ORT-")] {
            let unknown = names(&text, prefix).into_iter().filter(|found| !known.contains(found));
            faults.extend(unknown.map(|found| format!("{}: there is no {found}", name.display())));
        }
    }
    none(&faults);
}

#[test]
fn planted_faults_are_found() {
    let text =
        "See [a](docs/a.md#b), [c](https://c.example) and `docs/gone.rs`.\n```toml\n[x](y)\n```\n`ORT-999` ends.\n";
    let (prose, blocks) = apart(text);
    assert_eq!(links(&prose), ["docs/a.md"]);
    assert_eq!(blocks, [("toml".to_owned(), "[x](y)\n".to_owned())]);
    let top = BTreeSet::from(["docs".to_owned()]);
    let paths: Vec<&str> = quoted(&prose).filter(|text| is_path(text, &top)).collect();
    assert_eq!(paths, ["docs/gone.rs"]);
    assert_eq!(names(text, "ORT-"), BTreeSet::from(["ORT-999"]));
    assert!(!is_path("docs.key", &top) && !is_path("state_dir/used-codes", &top) && is_path("x.rs", &top));
}
