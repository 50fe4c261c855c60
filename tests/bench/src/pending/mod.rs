//! `bench pending`: tens of thousands of people who look for their phones. How much memory each of them costs, how late an
//! approval is seen, and whether those who need no phone notice; beside FreeRADIUS, whose module waits for a back end that takes
//! five seconds.
//!
//! The cloud is the simulator in this process, on the generator's core; what is measured is the other process.

mod back_end;
mod phones;

use crate::check::Demands;
use crate::cli::Pending;
use crate::cpu::{Used, pin};
use crate::generator::{self, Outcome, Pace, Plan};
use crate::people::{Person, people};
use crate::report::write_json;
use crate::scenario::Scenario;
use crate::server::{self, Kind, Server};
use anyhow::{Result, ensure};
use nix::unistd::Pid;
use phones::{Phones, Waiting};
use std::time::{Duration, Instant};

/// Users who need no phone.
const OTHERS: u32 = 500;

/// What one server showed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Row {
    server: String,
    pending: usize,
    idle_mib: f64,
    pending_mib: f64,
    kib_each: f64,
    /// Of sign-ins that need no phone, in microseconds.
    others_p99_idle: u64,
    others_p99_pending: u64,
    /// How many of them were answered rightly while the others waited, and how many should have been.
    others_served: u64,
    others_due: u64,
    /// From an approval to its Access-Accept, in milliseconds.
    seen_p50: u64,
    seen_most: u64,
    approved: usize,
    accepted: usize,
    cpu_pending: f64,
}

/// True if every sign-in of Orthrus ended as it must.
pub(crate) fn run(arguments: &Pending) -> Result<bool> {
    if let Some(core) = arguments.shape.pin {
        pin(core)?;
    }
    let mut rows = Vec::new();
    for begin in &arguments.begin {
        for prompts in &arguments.prompts {
            rows.push(orthrus(arguments, begin, *prompts)?);
        }
    }
    for threads in &arguments.freeradius_pools {
        rows.push(freeradius(arguments, *threads)?);
    }
    print(&rows);
    if let Some(path) = &arguments.json {
        write_json(path, &rows)?;
    }
    Ok(rows.iter().all(|row| row.accepted == row.approved))
}

fn orthrus(arguments: &Pending, begin: &str, prompts: usize) -> Result<Row> {
    let phones = Phones::new(prompts);
    let server = Server::start_with(&arguments.servers, |dir, listen| phones.prepare(dir, listen, begin, arguments))?;
    let (address, pid) = (server.address, server.pid()?);
    let mut row = Row { server: format!("orthrus, {begin}"), pending: prompts, ..Row::default() };

    // Warm: the first sign-ins fetch a token and fill the caches.
    others(arguments, address, pid, 1)?;
    row.idle_mib = mib(pid)?;
    let idle = others(arguments, address, pid, arguments.shape.seconds)?;
    row.others_p99_idle = idle.latency.value_at_quantile(0.99) / 1_000;

    let mut waiting = Waiting::new(address, prompts)?;
    waiting.send_all(&phones, arguments.begin_rate)?;
    phones.await_prompts()?;
    // What began the prompts settles.
    pause(Duration::from_secs(3));
    row.pending_mib = mib(pid)?;
    row.kib_each = (row.pending_mib - row.idle_mib) * 1024.0 / f64::from(u32::try_from(prompts)?);
    let (before, since) = (Used::by(pid)?, Instant::now());
    let busy = others(arguments, address, pid, arguments.shape.seconds)?;
    row.cpu_pending = Used::by(pid)?.since(before).total.as_secs_f64() / since.elapsed().as_secs_f64();
    row.others_p99_pending = busy.latency.value_at_quantile(0.99) / 1_000;
    row.others_served = busy.sign_ins;
    row.others_due = u64::from(arguments.others_rate) * arguments.shape.seconds;

    let seen = waiting.approve(&phones, arguments.approvals)?;
    row.approved = seen.asked;
    row.accepted = seen.after.len();
    row.seen_p50 = seen.percentile(50);
    row.seen_most = seen.percentile(100);
    Ok(row)
}

fn freeradius(arguments: &Pending, threads: u32) -> Result<Row> {
    let back_end = back_end::Slow::start(Duration::from_secs(5))?;
    let server = Server::start_with(&arguments.servers, |dir, listen| {
        back_end::prepare(dir, listen, &arguments.servers, threads, back_end.address())
    })?;
    let (address, pid) = (server.address, server.pid()?);
    // Half as many again as it has threads: everybody after them waits.
    let prompts = threads as usize * 3 / 2;
    let mut row = Row { server: format!("freeradius, {threads} threads"), pending: prompts, ..Row::default() };
    others_of(Kind::Freeradius, arguments, address, pid, 1)?;
    row.idle_mib = mib(pid)?;
    let idle = others_of(Kind::Freeradius, arguments, address, pid, arguments.shape.seconds)?;
    row.others_p99_idle = idle.latency.value_at_quantile(0.99) / 1_000;
    let mut waiting = Waiting::new(address, prompts)?;
    waiting.send_names((0..prompts).map(|number| format!("phone{number:05}")))?;
    pause(Duration::from_millis(500));
    row.pending_mib = mib(pid)?;
    let (before, since) = (Used::by(pid)?, Instant::now());
    // As long as the back end takes, or less: later its first threads are free again.
    let seconds = arguments.shape.seconds.min(4);
    let busy = others_of(Kind::Freeradius, arguments, address, pid, seconds)?;
    row.cpu_pending = Used::by(pid)?.since(before).total.as_secs_f64() / since.elapsed().as_secs_f64();
    row.others_p99_pending = busy.latency.value_at_quantile(0.99) / 1_000;
    row.others_served = busy.sign_ins;
    row.others_due = u64::from(arguments.others_rate) * seconds;
    Ok(row)
}

fn others(arguments: &Pending, target: std::net::SocketAddr, pid: Pid, seconds: u64) -> Result<Outcome> {
    let outcome = others_of(Kind::Orthrus, arguments, target, pid, seconds)?;
    ensure!(outcome.sign_ins > 0, "nobody was answered");
    Ok(outcome)
}

/// Sign-ins that need no phone, at a fixed rate, beside whatever else goes on.
fn others_of(kind: Kind, arguments: &Pending, target: std::net::SocketAddr, pid: Pid, seconds: u64) -> Result<Outcome> {
    generator::run(&Plan {
        target,
        demands: Demands { secret: server::secret(), message_authenticator: kind.signs_replies() },
        scenario: Scenario::Accept,
        codes: kind.codes(),
        pace: Pace::Open(arguments.others_rate),
        users: OTHERS,
        counter: 0,
        ports: 8,
        warm_up: Duration::ZERO,
        measure: Duration::from_secs(seconds),
        patience: Duration::from_secs(2),
        tries: 1,
        pin: arguments.shape.pin,
        server: Some(pid),
    })
}

/// Who needs no phone.
fn other_people() -> impl Iterator<Item = Person> {
    people(OTHERS, 0)
}

/// Lets time pass: neither a generator that is at rest nor a slow back end has an arbiter to block.
#[allow(clippy::disallowed_methods, reason = "there is no arbiter here")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// Resident memory now.
fn mib(pid: Pid) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn print(rows: &[Row]) {
    println!(
        "{:24} {:>8} {:>9} {:>12} {:>9} {:>10} {:>11} {:>15} {:>8} {:>8} {:>15} {:>7}",
        "server",
        "pending",
        "MiB idle",
        "MiB pending",
        "KiB each",
        "p99 idle",
        "p99 pending",
        "others served",
        "seen p50",
        "seen max",
        "accepted",
        "cores"
    );
    for row in rows {
        println!(
            "{:24} {:>8} {:>9.1} {:>12.1} {:>9.2} {:>7} µs {:>8} µs {:>7}/{:<7} {:>5} ms {:>5} ms {:>7}/{:<7} {:>7.2}",
            row.server,
            row.pending,
            row.idle_mib,
            row.pending_mib,
            row.kib_each,
            row.others_p99_idle,
            row.others_p99_pending,
            row.others_served,
            row.others_due,
            row.seen_p50,
            row.seen_most,
            row.accepted,
            row.approved,
            row.cpu_pending
        );
    }
}
