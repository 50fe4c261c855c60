//! `simulation --seeds 20000` runs many seeds and prints what happened; `simulation --seed N` runs one and prints every step.
// What this program is for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use simulation::{Figures, Setup, run};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Runs the real core of several nodes with invented time and a bad network, and checks A1 to A5 after each step.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// One seed, with every step printed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Go on after a failure, and count failures by what they break.
    #[arg(long)]
    keep_going: bool,
    /// Break a rule of the core; its name as in gateway/core/src/planted.rs.
    #[cfg(feature = "planted-faults")]
    #[arg(long)]
    plant: Option<String>,
}

/// Between two lines of progress.
const REPORT_EVERY: u64 = 10_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "planted-faults")]
    if let Some(name) = &arguments.plant {
        use gateway_core::planted::{Fault, plant};
        let Some(fault) = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == *name) else {
            eprintln!("simulation: no such fault; there are {:?}", Fault::ALL);
            return ExitCode::FAILURE;
        };
        plant(Some(fault));
    }
    let setup = Setup::new();
    match arguments.seed {
        Some(seed) => one(&setup, seed),
        None => many(&setup, &arguments),
    }
}

fn one(setup: &Setup, seed: u64) -> ExitCode {
    let ran = run(setup, seed, true);
    for line in &ran.lines {
        println!("{line}");
    }
    println!("{}", ran.figures);
    match ran.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("seed {seed}: {} is broken: {}", failure.rule, failure.what);
            ExitCode::FAILURE
        }
    }
}

fn many(setup: &Setup, arguments: &Arguments) -> ExitCode {
    let (next, stop, began) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    let total = Mutex::new((Figures::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                let mut ours = Figures::default();
                while !stop.load(Ordering::Relaxed) {
                    let done = next.fetch_add(1, Ordering::Relaxed);
                    if done >= arguments.seeds {
                        break;
                    }
                    let seed = arguments.from + done;
                    let ran = run(setup, seed, false);
                    ours.add(&ran.figures);
                    if let Some(failure) = ran.failure {
                        stop.fetch_or(!arguments.keep_going, Ordering::Relaxed);
                        lock(&total).1.push((seed, failure));
                    }
                    let every = if arguments.seeds > 100_000 { 10 * REPORT_EVERY } else { REPORT_EVERY };
                    if done % every == every - 1 {
                        eprintln!("{} seeds in {:.0} s", done + 1, began.elapsed().as_secs_f64());
                    }
                }
                lock(&total).0.add(&ours);
            });
        }
    });
    let (figures, mut failures) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let took = began.elapsed().as_secs_f64();
    print!("{figures}");
    println!("{} seeds in {took:.1} s, {:.0} a second", figures.runs, figures.runs as f64 / took);
    failures.sort_by_key(|(seed, _)| *seed);
    let Some((seed, _)) = failures.first() else {
        println!("A1 to A5 hold");
        return ExitCode::SUCCESS;
    };
    println!("\nthe last steps of seed {seed}:");
    for line in run(setup, *seed, true).last {
        println!("{line}");
    }
    println!();
    for (seed, failure) in failures.iter().take(20) {
        println!("seed {seed}: {} is broken: {}", failure.rule, failure.what);
    }
    println!("{} seeds failed. Replay with: simulation --seed {seed}", failures.len());
    ExitCode::FAILURE
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
