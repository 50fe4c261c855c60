//! The commands that speak to the node on this machine, through `control.sock` in its `state_dir`.

use super::Ended;
use crate::config;
use crate::control::{Answer, Command, HoldLine, Ordered, PauseLine, SessionLine, socket};
use crate::{clock, control::socket::ask};
use anyhow::bail;
use clap::{Args, Subcommand};
use gateway_core::time::Timestamp;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Which node.
#[derive(Debug, Args)]
pub(super) struct Door {
    /// The node's configuration file, whose state_dir has the socket
    #[arg(long, value_name = "FILE", env = "ORTHRUS_CONFIG", required_unless_present = "socket")]
    config: Option<PathBuf>,
    /// The socket itself
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

/// `orthrus sessions`.
#[derive(Debug, Args)]
pub(super) struct Sessions {
    #[command(flatten)]
    door: Door,
    /// Only this user's, in any spelling
    #[arg(long)]
    user: Option<String>,
    /// Only those of this RADIUS client's name, NAS-Identifier or address
    #[arg(long)]
    nas: Option<String>,
}

/// `orthrus disconnect`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every session was ended · 1 a NAS refused or did not answer, or there is no such session"
)]
pub(super) struct Disconnect {
    #[command(flatten)]
    door: Door,
    /// Every session of this user, in any spelling
    #[arg(long, required_unless_present = "session", conflicts_with = "session")]
    user: Option<String>,
    /// The session with this Acct-Session-Id
    #[arg(long)]
    session: Option<String>,
    /// Only at this RADIUS client
    #[arg(long)]
    client: Option<String>,
}

/// `orthrus coa`.
#[derive(Debug, Args)]
pub(super) struct Coa {
    #[command(flatten)]
    door: Door,
    /// The session with this Acct-Session-Id
    #[arg(long)]
    session: String,
    /// The RADIUS client, where several have a session of this id
    #[arg(long)]
    client: Option<String>,
    /// What changes, such as Session-Timeout=60; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", required = true)]
    attributes: Vec<String>,
}

/// `orthrus drain`.
#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    door: Door,
    /// The longest it may take, such as 60s; drain_deadline of the configuration if left out
    #[arg(long, value_parser = span)]
    deadline: Option<Duration>,
}

/// `orthrus limits`.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(super) struct Limits {
    #[command(flatten)]
    door: Option<Door>,
    /// Only this user's, in any spelling, and what else holds the user: wrong codes, prompts that were not approved
    #[arg(long)]
    user: Option<String>,
    #[command(subcommand)]
    command: Option<LimitsCommand>,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// End pauses, at all nodes that share the store
    Lift(Lift),
}

/// `orthrus limits lift`.
#[derive(Debug, Args)]
struct Lift {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    what: Lifted,
}

/// Which pauses.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Lifted {
    /// Those of this user, in any spelling
    user: Option<String>,
    /// Those at this RADIUS client, and at others in its attempt_group
    #[arg(long)]
    client: Option<String>,
    /// That of this address of a RADIUS client
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// Every one
    #[arg(long)]
    all: bool,
}

/// `orthrus lock`.
#[derive(Debug, Args)]
pub(super) struct Lock {
    #[command(flatten)]
    door: Door,
    /// The user to lock, in any spelling; without one, the users that are locked are listed
    user: Option<String>,
}

/// `orthrus unlock`.
#[derive(Debug, Args)]
pub(super) struct Unlock {
    #[command(flatten)]
    door: Door,
    /// The user to unlock, in any spelling
    user: String,
}

fn span(text: &str) -> Result<Duration, String> {
    let span: gateway_core::config::Span = text.parse()?;
    Ok(span.0)
}

pub(super) fn status(door: &Door, out: &mut dyn Write) -> anyhow::Result<Ended> {
    speak(door, Command::Status {}, out)
}

pub(super) fn nodes(door: &Door, out: &mut dyn Write) -> anyhow::Result<Ended> {
    speak(door, Command::Nodes {}, out)
}

pub(super) fn certificates(door: &Door, out: &mut dyn Write) -> anyhow::Result<Ended> {
    speak(door, Command::Certificates {}, out)
}

pub(super) fn sessions(options: &Sessions, out: &mut dyn Write) -> anyhow::Result<Ended> {
    speak(&options.door, Command::Sessions { user: options.user.clone(), nas: options.nas.clone() }, out)
}

pub(super) fn disconnect(options: &Disconnect, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let Disconnect { door, user, session, client } = options;
    let command = Command::Disconnect { user: user.clone(), session: session.clone(), client: client.clone() };
    speak(door, command, out)
}

pub(super) fn coa(options: &Coa, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let Coa { door, session, client, attributes } = options;
    let command = Command::Coa { session: session.clone(), client: client.clone(), attributes: attributes.clone() };
    speak(door, command, out)
}

pub(super) fn limits(options: &Limits, out: &mut dyn Write) -> anyhow::Result<Ended> {
    match (&options.command, &options.door) {
        (Some(LimitsCommand::Lift(Lift { door, what })), _) => {
            let Lifted { user, client, source, all } = what;
            let (user, client, source) = (user.clone(), client.clone(), source.clone());
            speak(door, Command::LiftLimits { user, client, source, all: *all }, out)
        }
        (None, Some(door)) => speak(door, Command::Limits { user: options.user.clone() }, out),
        (None, None) => bail!("which node? give --config FILE or --socket FILE"),
    }
}

pub(super) fn lock(options: &Lock, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let command = options.user.clone().map_or(Command::Locks {}, |user| Command::Lock { user });
    speak(&options.door, command, out)
}

pub(super) fn unlock(options: &Unlock, out: &mut dyn Write) -> anyhow::Result<Ended> {
    speak(&options.door, Command::Unlock { user: options.user.clone() }, out)
}

pub(super) fn drain(options: &Drain, out: &mut dyn Write) -> anyhow::Result<Ended> {
    speak(&options.door, Command::Drain { deadline: options.deadline.map(|deadline| deadline.as_secs().max(1)) }, out)
}

fn speak(door: &Door, command: Command, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let path = match (&door.socket, &door.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(config)) => config::load(config)?.config.state_dir.join(socket::NAME),
        (None, None) => bail!("which node? give --config FILE or --socket FILE"),
    };
    let answer = ask(&path, command)?;
    if door.json {
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
    } else {
        print(&answer, clock::now(), out)?;
    }
    match &answer {
        Answer::Ordered(ordered) if ordered.iter().any(|one| one.outcome != "ack") => Ok(Ended::Rejected),
        Answer::Locked { locked: true, ended: None, .. } => Ok(Ended::Rejected),
        Answer::Status(status) if !status.ready => Ok(Ended::Rejected),
        _ => Ok(Ended::Well),
    }
}

fn print(answer: &Answer, now: Timestamp, out: &mut dyn Write) -> std::io::Result<()> {
    let ago = |secs: u64| format!("{}s", now.as_secs().saturating_sub(secs));
    match answer {
        Answer::Status(status) => {
            let ready = if status.ready { "ready" } else { "NOT READY" };
            writeln!(
                out,
                "node {} ({}), configuration {}: {ready}",
                status.node, status.version, status.config_version
            )?;
            for (name, ok, detail) in &status.checks {
                writeln!(out, "  {:<4} {name:<10} {}", if *ok { "ok" } else { "BAD" }, plain(detail))?;
            }
            let (requests, prompts) = (status.in_progress, status.pending);
            writeln!(out, "{requests} requests in progress, {prompts} prompts out, {} sessions open", status.sessions)
        }
        Answer::Sessions { node, sessions, left_out } => {
            let head = ["USER", "SESSION", "CLIENT", "NAS", "STATION", "ADDRESS", "SINCE", "HEARD"].map(str::to_owned);
            let rows = sessions.iter().map(|one| {
                let SessionLine { user, session, client, nas, calling_station, framed_ip, started, last_seen, .. } =
                    one;
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let [station, address] = [text(calling_station), text(framed_ip)];
                let (nas, client) = (nas.clone(), client.clone());
                [user.clone(), session.clone(), client, nas, station, address, ago(*started), ago(*last_seen)]
            });
            table(out, std::iter::once(head).chain(rows).collect())?;
            if *left_out > 0 {
                writeln!(out, "{left_out} more are left out: narrow it with --user or --nas")?;
            }
            writeln!(out, "{} sessions that node {node} knows of", sessions.len() + left_out)
        }
        Answer::Ordered(ordered) => {
            for Ordered { session, sent_to, outcome, detail, reason, error_cause, .. } in ordered {
                let SessionLine { user, session, client, .. } = session;
                let line = format!("{user} session {session} at {client}");
                let to = sent_to.as_deref().unwrap_or("nowhere");
                let reason = reason.as_deref().unwrap_or_default();
                let cause = error_cause.map(|cause| format!(" (Error-Cause {cause})")).unwrap_or_default();
                let said = match outcome.as_str() {
                    "ack" => "ACK".to_owned(),
                    "nak" => format!("NAK{cause}: {detail} [{reason}]"),
                    "no_answer" => format!("no answer: {detail} [{reason}]"),
                    _ => format!("not sent: {detail} [{reason}]"),
                };
                writeln!(out, "{}", plain(&format!("{line}, {to}: {said}")))?;
            }
            Ok(())
        }
        Answer::Draining { node, in_progress, deadline } => writeln!(
            out,
            "node {node} takes no new sign-ins; {in_progress} requests in progress; it ends with them, in {deadline} s at the latest"
        ),
        Answer::Nodes(nodes) => {
            let head = ["NODE", "ADDRESS", "VERSION", "STATE", "IN PROGRESS", "PROMPTS", "SEEN"].map(str::to_owned);
            let rows = nodes.iter().map(|one| {
                let (address, version) = (one.address.clone(), one.version.clone());
                let (requests, prompts) = (one.in_progress.to_string(), one.pending.to_string());
                [one.node.clone(), address, version, one.state.clone(), requests, prompts, ago(one.seen)]
            });
            table(out, std::iter::once(head).chain(rows).collect())
        }
        Answer::Certificates(certificates) => {
            let head = ["NODE", "FACTOR", "STATE", "DAYS LEFT", "THUMBPRINT"].map(str::to_owned);
            let rows = certificates.iter().map(|one| {
                let days = (one.not_after.saturating_sub(now.as_secs()) / 86_400).to_string();
                [one.node.clone(), one.factor.clone(), one.state.clone(), days, one.thumbprint.clone()]
            });
            table(out, std::iter::once(head).chain(rows).collect())
        }
        Answer::Limits { node, paused, holds, left_out } => {
            let head = ["LIMIT", "USER", "CLIENT", "STATION", "SOURCE", "COUNT", "SECONDS"].map(str::to_owned);
            let rows = paused.iter().map(|one| {
                let PauseLine { limit, user, group, calling_station, source, failures, seconds } = one;
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let [user, group, station, source] = [user, group, calling_station, source].map(text);
                [limit.clone(), user, group, station, source, failures.to_string(), seconds.to_string()]
            });
            table(out, std::iter::once(head).chain(rows).collect())?;
            holds.iter().try_for_each(|hold| writeln!(out, "{}", held(hold)))?;
            if *left_out > 0 {
                writeln!(out, "{left_out} more are left out")?;
            }
            writeln!(out, "{} pauses that node {node} counts", paused.len() + left_out)
        }
        Answer::Lifted { node, lifted, holds, shared } => {
            holds.iter().try_for_each(|hold| writeln!(out, "lifted: {}", held(hold)))?;
            let others = if *shared { "; the other nodes follow within seconds" } else { "" };
            writeln!(out, "{lifted} counts lifted at node {node}{others}")
        }
        Answer::Locks { node, locked } => {
            let head = ["USER", "SINCE"].map(str::to_owned);
            let rows = locked.iter().map(|one| [one.user.clone(), ago(one.since)]);
            table(out, std::iter::once(head).chain(rows).collect())?;
            writeln!(out, "{} users that node {node} knows as locked", locked.len())
        }
        Answer::Locked { node, user, locked, ended, shared } => {
            let others = if *shared { "; the other nodes follow within a second" } else { "" };
            let user = plain(user);
            match (locked, ended) {
                (true, Some(ended)) => {
                    writeln!(out, "{user} is locked at node {node}, {ended} open attempts ended{others}")
                }
                (true, None) => writeln!(
                    out,
                    "{user} is locked at node {node} ONLY: the store cannot be reached. The other nodes follow when it is back; lock \
                     the user at each of them"
                ),
                (false, _) => writeln!(out, "{user} is unlocked at node {node}{others}"),
            }
        }
        Answer::Error(error) => writeln!(out, "{}", plain(error)),
    }
}

/// What holds a user, in words.
fn held(HoldLine { limit, count, seconds }: &HoldLine) -> String {
    let until = seconds.map_or("until it is lifted".to_owned(), |seconds| format!("for {seconds} s"));
    match limit.as_str() {
        "wrong_codes" => format!("codes are refused after {count} wrong ones, {until}"),
        _ => format!("nobody is prompted after {count} prompts that were not approved, {until}"),
    }
}

/// What a NAS wrote goes to a terminal: no control character does.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn table<const N: usize>(out: &mut dyn Write, rows: Vec<[String; N]>) -> std::io::Result<()> {
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| plain(&cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_nas_wrote_does_not_drive_the_terminal() {
        let mut out = Vec::new();
        table(&mut out, vec![["USER".to_owned(), "B".to_owned()], ["al\u{1b}[2Jice".to_owned(), "x".to_owned()]])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "USER       B\nal\u{fffd}[2Jice  x\n");
    }
}
