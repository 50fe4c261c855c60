//! `bench compare`: both servers in turn on the same core, under the same load from the same generator.
//!
//! Machines change their speed while one measures. So servers alternate within every round, every second round in the
//! opposite order, every run has a fresh server, and what is compared are medians over the rounds.

use crate::cli::Compare;
use crate::cpu::{kernel, model};
use crate::generator::Pace;
use crate::load::{Job, measure};
use crate::report::{Figures, pace, write_json};
use crate::scenario::Scenario;
use crate::server::{Kind, Server, version};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Report {
    environment: Environment,
    summary: Vec<Row>,
    runs: Vec<Figures>,
}

#[derive(Serialize)]
struct Environment {
    processor: String,
    kernel: String,
    versions: BTreeMap<&'static str, String>,
    server_core: Option<usize>,
    generator_core: Option<usize>,
    freeradius_threads: u32,
    freeradius_single: bool,
    sign_in_log: bool,
    rounds: u32,
    seconds: u64,
    users: u32,
}

/// One load, both servers.
#[derive(Serialize)]
struct Row {
    scenario: Scenario,
    pace: Pace,
    servers: BTreeMap<&'static str, Medians>,
    /// Orthrus divided by FreeRADIUS: processor time per request.
    cpu_ratio: Option<f64>,
    /// Orthrus divided by FreeRADIUS: requests per second.
    throughput_ratio: Option<f64>,
}

/// Medians over the rounds, with the smallest and the largest value where it is the value that counts.
#[derive(Serialize)]
struct Medians {
    cpu_microseconds_per_request: f64,
    cpu_microseconds_per_request_range: [f64; 2],
    requests_per_second: f64,
    request_p50_microseconds: f64,
    request_p99_microseconds: f64,
    request_p999_microseconds: f64,
    peak_memory_mebibytes: f64,
    errors: u64,
    retransmissions: u64,
}

/// True if every sign-in ended as it must.
pub(crate) fn run(arguments: &Compare) -> Result<bool> {
    let closed = (arguments.in_flight > 0).then_some(Pace::Closed(arguments.in_flight));
    let open = (arguments.rate > 0).then_some(Pace::Open(arguments.rate));
    let paces: Vec<Pace> = closed.into_iter().chain(open).collect();
    ensure!(!paces.is_empty(), "--in-flight and --rate are both 0: nothing to do");
    let environment = environment(arguments);
    println!("{} · Linux {}", environment.processor, environment.kernel);
    for version in environment.versions.values() {
        println!("{version}");
    }
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        let mut servers = arguments.only.clone();
        if round % 2 == 0 {
            servers.reverse();
        }
        for &scenario in &arguments.scenarios {
            for &pace in &paces {
                for &kind in &servers {
                    let figures = one(arguments, kind, scenario, pace)?;
                    println!("\nround {round} of {}", arguments.rounds);
                    figures.print();
                    runs.push(figures);
                }
            }
        }
    }
    let rows = arguments.scenarios.iter().flat_map(|scenario| paces.iter().map(|pace| (*scenario, *pace)));
    let summary: Vec<Row> = rows.map(|(scenario, pace)| row(&runs, scenario, pace)).collect();
    print(&summary);
    let clean = runs.iter().all(Figures::clean);
    if let Some(path) = &arguments.json {
        write_json(path, &Report { environment, summary, runs })?;
    }
    Ok(clean)
}

fn one(arguments: &Compare, kind: Kind, scenario: Scenario, pace: Pace) -> Result<Figures> {
    let server = Server::start(kind, scenario, arguments.shape.users, &arguments.servers)?;
    measure(&Job {
        kind,
        address: server.address,
        pid: Some(server.pid()?),
        scenario,
        pace,
        counter: 0,
        shape: &arguments.shape,
    })
}

fn environment(arguments: &Compare) -> Environment {
    Environment {
        processor: model(),
        kernel: kernel(),
        versions: arguments.only.iter().map(|kind| (kind.name(), version(*kind, &arguments.servers))).collect(),
        server_core: arguments.servers.server_core,
        generator_core: arguments.shape.pin,
        freeradius_threads: arguments.servers.freeradius_threads,
        freeradius_single: arguments.servers.freeradius_single,
        sign_in_log: arguments.servers.log,
        rounds: arguments.rounds,
        seconds: arguments.shape.seconds,
        users: arguments.shape.users,
    }
}

fn row(runs: &[Figures], scenario: Scenario, pace: Pace) -> Row {
    let same = |figures: &&Figures| {
        figures.scenario == scenario && std::mem::discriminant(&figures.pace) == std::mem::discriminant(&pace)
    };
    let mut by_server: BTreeMap<&'static str, Vec<&Figures>> = BTreeMap::new();
    for figures in runs.iter().filter(same) {
        by_server.entry(figures.server.name()).or_default().push(figures);
    }
    let servers: BTreeMap<_, _> = by_server.iter().map(|(name, runs)| (*name, medians(runs))).collect();
    let ratio = |value: fn(&Medians) -> f64| {
        let (ours, theirs) = (servers.get(Kind::Orthrus.name())?, servers.get(Kind::Freeradius.name())?);
        Some(value(ours) / value(theirs))
    };
    let cpu_ratio = ratio(|medians| medians.cpu_microseconds_per_request);
    let throughput_ratio = ratio(|medians| medians.requests_per_second);
    Row { scenario, pace, servers, cpu_ratio, throughput_ratio }
}

fn medians(runs: &[&Figures]) -> Medians {
    let sorted = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(|figures| value(figures)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let cpu = sorted(|figures| figures.cpu.map_or(f64::NAN, |cpu| cpu.microseconds_per_request));
    let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
    Medians {
        cpu_microseconds_per_request: median(&cpu),
        cpu_microseconds_per_request_range: [end(cpu.first()), end(cpu.last())],
        requests_per_second: median(&sorted(|figures| figures.requests_per_second)),
        request_p50_microseconds: median(&sorted(|figures| figures.request_latency.p50)),
        request_p99_microseconds: median(&sorted(|figures| figures.request_latency.p99)),
        request_p999_microseconds: median(&sorted(|figures| figures.request_latency.p999)),
        peak_memory_mebibytes: median(&sorted(|figures| {
            figures.peak_memory_octets.map_or(f64::NAN, crate::report::count) / 1_048_576.0
        })),
        errors: runs.iter().flat_map(|figures| figures.errors.values()).sum(),
        retransmissions: runs.iter().map(|figures| figures.retransmissions).sum(),
    }
}

/// Of sorted values: the middle one, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if sorted.len().is_multiple_of(2) => (high + low) / 2.0,
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

fn print(summary: &[Row]) {
    println!("\nMedians over all rounds; [smallest, largest]");
    println!(
        "{:<10} {:<16} {:<11} {:>28} {:>10} {:>8} {:>8} {:>9} {:>8} {:>7}",
        "scenario", "load", "server", "CPU µs/request", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "MiB", "errors"
    );
    for row in summary {
        for (name, medians) in &row.servers {
            let [least, most] = medians.cpu_microseconds_per_request_range;
            let cpu = format!("{:.2} [{least:.2}, {most:.2}]", medians.cpu_microseconds_per_request);
            println!(
                "{:<10} {:<16} {name:<11} {cpu:>28} {:>10.0} {:>8.0} {:>8.0} {:>9.0} {:>8.1} {:>7}",
                row.scenario.name(),
                pace(row.pace),
                medians.requests_per_second,
                medians.request_p50_microseconds,
                medians.request_p99_microseconds,
                medians.request_p999_microseconds,
                medians.peak_memory_mebibytes,
                medians.errors,
            );
        }
        if let (Some(cpu), Some(throughput)) = (row.cpu_ratio, row.throughput_ratio) {
            println!(
                "{:<10} {:<16} orthrus / freeradius: CPU per request {cpu:.2}, requests/s {throughput:.2}",
                "", ""
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
    }
}
