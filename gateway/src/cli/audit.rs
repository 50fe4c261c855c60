//! `orthrus audit`.

use super::Ended;
use crate::audit::files::{self, NAME};
use crate::{config, durable};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gateway_core::audit::{Key, Link, Verifier};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The longest line that is read, in octets: each field of an entry is shorter than a packet.
const LONGEST_LINE: u64 = 1 << 20;

/// `orthrus audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that no line was changed, taken out, put in or cut off, and name the first place where one was
    Verify(Verify),
}

/// `orthrus audit verify`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 the chain is whole · 1 it is broken, or cannot be read")]
struct Verify {
    /// The files, the oldest first; all those of audit.folder if none is given
    files: Vec<PathBuf>,
    /// The node's configuration, which names the folder and the key
    #[arg(long, value_name = "FILE", env = "ORTHRUS_CONFIG")]
    config: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &AuditArgs, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let AuditCommand::Verify(options) = &options.command;
    verify(options, out)
}

fn verify(options: &Verify, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let config = config::load(&options.config)?.config;
    let keys = files::keys(&config, false)?;
    if keys.is_empty() {
        bail!("there is no key: state_dir has no audit-key, and the configuration no cluster.key_file");
    }
    let audit = config.audit.as_ref();
    let all = options.files.is_empty();
    let paths = if all {
        let Some(audit) = audit else { bail!("the configuration has no audit.folder: name the files") };
        let folder = &audit.file.folder;
        let mut paths = durable::closed(folder, NAME).with_context(|| folder.display().to_string())?;
        paths.push(durable::newest(folder, NAME));
        paths
    } else {
        options.files.clone()
    };
    // Before the files: lines that a running node adds meanwhile are no cut.
    let head = if all { files::head(&config, &keys)? } else { None };
    let broken = match chain(&paths, &keys)? {
        Err(broken) => Some(broken),
        Ok(seen) => {
            let keeps_all = audit.is_some_and(|audit| audit.file.retain == 0);
            let broken = cut(&seen, head)
                .or_else(|| half(&seen, head))
                .or_else(|| (all && keeps_all).then(|| begun_late(&seen)).flatten());
            if broken.is_none() {
                let Seen { first, last, .. } = &seen;
                let (first, last) = (first.unwrap_or_default(), last.map_or(0, |link| link.number));
                if options.json {
                    writeln!(out, "{}", json!({ "whole": true, "first": first, "last": last, "files": paths.len() }))?;
                } else {
                    writeln!(out, "The chain is whole: lines {first} to {last} in {} files.", paths.len())?;
                }
            }
            broken
        }
    };
    let Some(broken) = broken else { return Ok(Ended::Well) };
    if options.json {
        writeln!(out, "{}", json!({ "whole": false, "broken": broken }))?;
    } else {
        writeln!(out, "The chain is broken. {broken}")?;
    }
    Ok(Ended::Rejected)
}

/// What was read of a chain that is whole.
struct Seen {
    first: Option<u64>,
    last: Option<Link>,
    /// The newest file ends in half a line.
    half: bool,
}

/// Reads the files; the first break with its place, if there is one.
fn chain(paths: &[PathBuf], keys: &[Key]) -> anyhow::Result<Result<Seen, String>> {
    let (mut verifier, mut half) = (Verifier::new(keys), false);
    for path in paths {
        let place = |at: u64| format!("{}, line {at} of the file", path.display());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err(format!("{}: it is gone", path.display())));
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let mut read = BufReader::new(file);
        for at in 1.. {
            match line(&mut read, path)? {
                None => break,
                Some((_, false)) if Some(path) == paths.last() => half = true,
                Some((line, _)) => {
                    if let Err(broken) = verifier.line(&line) {
                        return Ok(Err(format!("{}: {broken}.", place(at))));
                    }
                }
            }
        }
    }
    Ok(Ok(Seen { first: verifier.first(), last: verifier.last(), half }))
}

/// The next line without its end, and whether it has one; a line that is too long is cut, and so is none of an audit.
fn line(read: &mut BufReader<File>, path: &Path) -> anyhow::Result<Option<(Vec<u8>, bool)>> {
    let mut line = Vec::new();
    read.take(LONGEST_LINE).read_until(b'\n', &mut line).with_context(|| path.display().to_string())?;
    if line.is_empty() {
        return Ok(None);
    }
    let whole = line.pop_if(|octet| *octet == b'\n').is_some();
    Ok(Some((line, whole)))
}

fn cut(seen: &Seen, head: Option<Link>) -> Option<String> {
    let head = head?;
    let last = seen.last.unwrap_or(Link::BEGINNING);
    if last.number < head.number {
        return Some(format!("Lines {} to {} were cut off the end.", last.number.saturating_add(1), head.number));
    }
    (last.number == head.number && last != head).then(|| "The last line is not the one that the node wrote.".to_owned())
}

/// A node that runs may be writing; what it has finished is in the head.
fn half(seen: &Seen, head: Option<Link>) -> Option<String> {
    (seen.half && head.is_none()).then(|| "The last line is half a line.".to_owned())
}

fn begun_late(seen: &Seen) -> Option<String> {
    let first = seen.first?;
    (first > 1).then(|| format!("Lines 1 to {} are gone, and audit.retain keeps all of them.", first - 1))
}
