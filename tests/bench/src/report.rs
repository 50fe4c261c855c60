//! Figures, as a table and as JSON.

use crate::generator::{Outcome, Pace};
use crate::scenario::Scenario;
use crate::server::Kind;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One run in numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) server: Kind,
    pub(crate) scenario: Scenario,
    pub(crate) pace: Pace,
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) sign_ins: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) sign_ins_per_second: f64,
    pub(crate) request_latency: Latency,
    pub(crate) sign_in_latency: Latency,
    pub(crate) cpu: Option<Cpu>,
    pub(crate) peak_memory_octets: Option<u64>,
    pub(crate) retransmissions: u64,
    pub(crate) strays: u64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// Processor time of the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cpu {
    pub(crate) seconds: f64,
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    /// Of one core, from 0 to 1.
    pub(crate) load: f64,
    pub(crate) microseconds_per_request: f64,
    pub(crate) microseconds_per_sign_in: f64,
}

impl Figures {
    pub(crate) fn new(server: Kind, scenario: Scenario, pace: Pace, outcome: &Outcome) -> Self {
        let seconds = outcome.elapsed.as_secs_f64();
        let (requests, sign_ins) = (count(outcome.requests), count(outcome.sign_ins));
        Self {
            server,
            scenario,
            pace,
            seconds,
            requests: outcome.requests,
            sign_ins: outcome.sign_ins,
            requests_per_second: requests / seconds,
            sign_ins_per_second: sign_ins / seconds,
            request_latency: Latency::of(&outcome.latency),
            sign_in_latency: Latency::of(&outcome.sign_in_latency),
            cpu: outcome.used.map(|used| Cpu {
                seconds: used.total.as_secs_f64(),
                user_seconds: used.user.as_secs_f64(),
                system_seconds: used.system.as_secs_f64(),
                load: used.total.as_secs_f64() / seconds,
                microseconds_per_request: used.total.as_secs_f64() * 1e6 / requests.max(1.0),
                microseconds_per_sign_in: used.total.as_secs_f64() * 1e6 / sign_ins.max(1.0),
            }),
            peak_memory_octets: outcome.peak_memory,
            retransmissions: outcome.retransmissions,
            strays: outcome.strays,
            errors: outcome.faults.iter().map(|(fault, count)| (fault.name(), *count)).collect(),
        }
    }

    /// Whether everything was answered as it must be.
    pub(crate) fn clean(&self) -> bool {
        self.errors.is_empty() && self.sign_ins > 0
    }

    pub(crate) fn print(&self) {
        let Self { request_latency: request, sign_in_latency: sign_in, .. } = self;
        println!("{} / {} / {}", self.server.name(), self.scenario.name(), pace(self.pace));
        println!("  requests       {:>10}   {:>9.0} /s", self.requests, self.requests_per_second);
        println!("  sign-ins       {:>10}   {:>9.0} /s", self.sign_ins, self.sign_ins_per_second);
        for (name, latency) in [("request", request), ("sign-in", sign_in)] {
            println!(
                "  {name} time   p50 {:.0} µs   p99 {:.0} µs   p99.9 {:.0} µs   max {:.0} µs",
                latency.p50, latency.p99, latency.p999, latency.max
            );
        }
        if let Some(cpu) = self.cpu {
            println!(
                "  server CPU     {:.2} µs per request   {:.2} µs per sign-in   {:.0} % of a core   user {:.2} s, system {:.2} s",
                cpu.microseconds_per_request,
                cpu.microseconds_per_sign_in,
                cpu.load * 100.0,
                cpu.user_seconds,
                cpu.system_seconds
            );
        }
        if let Some(octets) = self.peak_memory_octets {
            println!("  server memory  {:.1} MiB at most", count(octets) / 1_048_576.0);
        }
        println!("  retransmissions {}, stray replies {}, errors {:?}", self.retransmissions, self.strays, self.errors);
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| count(histogram.value_at_quantile(quantile)) / 1000.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: count(histogram.max()) / 1000.0 }
    }
}

/// For a table.
pub(crate) fn pace(pace: Pace) -> String {
    match pace {
        Pace::Closed(sign_ins) => format!("{sign_ins} at a time"),
        Pace::Open(rate) => format!("{rate} /s"),
    }
}

/// A count as a number to calculate with; exact up to 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "no run counts that far")]
pub(crate) const fn count(number: u64) -> f64 {
    number as f64
}

/// Writes anything as a JSON file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
