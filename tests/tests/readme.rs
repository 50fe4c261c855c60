//! The commands in the README do what it says. A block is run if a mark stands in the line above it:
//!
//! ````text
//! <!-- test: name -->
//! ```console
//! $ orthrus --version
//! orthrus 0.1.0
//! ```
//! ````
//!
//! In a `console` block a line with `$` is a command, which may go on behind a `\`, and the lines below it must appear in its
//! output in this order; `...` stands for anything, in a line or for lines. A `sh` block is one script without expectations.
//! `<!-- test: name, keeps running -->` lets the command run on behind the blocks that follow, once it has printed what it
//! should. All blocks run in the same new folder, which holds `docs/examples`; `cargo run --release --` is the program under
//! test, and `cargo run --release -p entra-cloud --` the simulator beside it. A command that fails fails the test, unless its block says `<!-- test: name, fails -->`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tests::eventually;

#[derive(Debug, PartialEq)]
struct Block {
    name: String,
    mode: Mode,
    commands: Vec<Line>,
}

#[derive(Debug, PartialEq)]
struct Line {
    command: String,
    output: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Succeeds,
    Fails,
    KeepsRunning,
}

/// The marked blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.trim().strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        let (name, mode) = match mark.split_once(", ") {
            None => (mark, Mode::Succeeds),
            Some((name, "fails")) => (name, Mode::Fails),
            Some((name, "keeps running")) => (name, Mode::KeepsRunning),
            Some((_, mode)) => panic!("{mode:?} is no way to run a block"),
        };
        let fence = lines.next().unwrap_or_default().trim();
        let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        let commands = match fence {
            "```console" => dialogue(&body),
            "```sh" => vec![Line { command: body.join("\n"), output: Vec::new() }],
            _ => panic!("under the mark {name:?} stands no console or sh block: {fence}"),
        };
        blocks.push(Block { name: name.to_owned(), mode, commands });
    }
    blocks
}

fn dialogue(body: &[&str]) -> Vec<Line> {
    let mut commands: Vec<Line> = Vec::new();
    let mut goes_on = false;
    for line in body {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (_, Some(last)) if goes_on => last.command += &format!("\n{line}"),
            (Some(command), _) => commands.push(Line { command: command.to_owned(), output: Vec::new() }),
            (None, Some(last)) => {
                last.output.push((*line).to_owned());
                continue;
            }
            (None, None) => panic!("a console block begins with a command: {line}"),
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// Whether the lines appear in this order.
fn appears(expected: &[String], printed: &str) -> Result<(), String> {
    let mut printed = printed.lines();
    for line in expected.iter().filter(|line| !matches!(line.trim(), "" | "...")) {
        if !printed.any(|printed| fits(line.trim(), printed.trim())) {
            return Err(format!("missing, or not in this order: {line}"));
        }
    }
    Ok(())
}

fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Commands that run on; they end with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Each was started as the leader of a process group, so that what it started ends too.
            if let Ok(id) = i32::try_from(child.id()) {
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
            }
            let _ = child.wait();
        }
    }
}

fn shell(command: &str, folder: &Path, output: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let program = tests::binary::orthrus();
    let simulator = program.with_file_name("entra-cloud").display().to_string();
    let command = command.replace("cargo run --release --", &program.display().to_string());
    let command = command.replace("cargo run --release -p entra-cloud --", &simulator);
    let path = std::env::var("PATH").expect("there is a PATH");
    let home = program.parent().expect("it lies in a folder").display();
    let log = File::create(output).expect("the folder is ours");
    let mut shell = Command::new("bash");
    shell
        .args(["-euo", "pipefail", "-c", &command])
        .current_dir(folder)
        .env("PATH", format!("{home}:{path}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("there are descriptors"))
        .stderr(log)
        .process_group(0);
    shell
}

fn run(blocks: &[Block], folder: &Path) {
    let mut running = Running(Vec::new());
    for (number, Block { name, mode, commands }) in blocks.iter().enumerate() {
        for (place, Line { command, output }) in commands.iter().enumerate() {
            let log = folder.join(format!(".output-{number}-{place}"));
            let mut child = shell(command, folder, &log).spawn().expect("there is a bash");
            let printed = || fs::read_to_string(&log).unwrap_or_default();
            if *mode == Mode::KeepsRunning && place + 1 == commands.len() {
                eventually(&format!("{name} prints what the README shows"), || {
                    let ended = child.try_wait().expect("it is our child");
                    assert!(ended.is_none(), "{name}: `{command}` ended:\n{}", printed());
                    appears(output, &printed()).ok()
                });
                running.0.push(child);
                continue;
            }
            let status = child.wait().expect("it is our child");
            let printed = printed();
            assert_eq!(status.success(), *mode != Mode::Fails, "{name}: `{command}` ended with {status}:\n{printed}");
            appears(output, &printed)
                .unwrap_or_else(|fault| panic!("{name}: `{command}`: {fault}\nprinted:\n{printed}"));
        }
    }
}

#[test]
fn readme_commands_do_what_it_says() {
    let blocks = blocks(&fs::read_to_string(tests::workspace().join("README.md")).expect("there is a README"));
    assert!(!blocks.is_empty(), "no block of the README is marked to be run");
    let folder = tempfile::tempdir().unwrap();
    let examples = folder.path().join("docs/examples");
    fs::create_dir_all(&examples).unwrap();
    for entry in fs::read_dir(tests::workspace().join("docs/examples")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, examples.join(path.file_name().unwrap())).unwrap();
    }
    run(&blocks, folder.path());
}

const SAMPLE: &str = r#"
```console
$ not marked
```
<!-- test: greet -->
```console
$ echo one; echo \
    two
one
t...o
$ printf 'a\nb c d\n'
...
b ... d
```
<!-- test: serve, keeps running -->
```sh
echo ready; exec sleep 1000
```
<!-- test: refuse, fails -->
```console
$ echo no >&2; false
no
```
"#;

#[test]
fn marked_blocks_are_found_and_run() {
    let blocks = blocks(SAMPLE);
    let names: Vec<(&str, Mode)> = blocks.iter().map(|block| (block.name.as_str(), block.mode)).collect();
    assert_eq!(names, [("greet", Mode::Succeeds), ("serve", Mode::KeepsRunning), ("refuse", Mode::Fails)]);
    assert_eq!(blocks[0].commands[0].command, "echo one; echo \\\n    two");
    assert_eq!(blocks[0].commands[1].output, ["...", "b ... d"]);
    run(&blocks, tempfile::tempdir().unwrap().path());
}

#[test]
fn output_that_is_missing_is_found() {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(appears(&lines(&["one", "two"]), "zero\none\ntwo\n").is_ok());
    assert!(appears(&lines(&["two", "one"]), "one\ntwo\n").is_err());
    assert!(appears(&lines(&["on"]), "one\n").is_err());
    assert!(appears(&lines(&["o...e"]), "one\n").is_ok());
    assert!(appears(&lines(&["a...b...c"]), "a1c2b\n").is_err());
    assert!(appears(&lines(&["three"]), "one\ntwo\n").is_err());
}
