//! `simulation --seeds 20000` runs many seeds and prints what happened; `simulation --seed N` runs one and prints every step.
// What this program is for is to print.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use simulation::{Figures, Setup, run};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    /// Stop at the first seed that fails, instead of telling all of them.
    #[arg(long)]
    first: bool,
    /// Break a rule of the core; its name as in gateway/core/src/planted.rs.
    #[cfg(feature = "planted-faults")]
    #[arg(long)]
    plant: Option<String>,
}

/// Between two lines of progress, where there are many seeds.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// As many failures are told; a build in which every seed fails has nothing more to say.
const MOST_FAILURES: usize = 1_000;

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
    let told = Mutex::new(began);
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
                    let seed = arguments.from.wrapping_add(done);
                    let ran = run(setup, seed, false);
                    ours.add(&ran.figures);
                    if let Some(failure) = ran.failure {
                        eprintln!("seed {seed}: {} is broken: {}", failure.rule, failure.what);
                        let failures = &mut lock(&total).1;
                        failures.push((seed, failure));
                        stop.fetch_or(arguments.first || failures.len() >= MOST_FAILURES, Ordering::Relaxed);
                    }
                    progress(&told, began, done + 1, arguments.seeds);
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
        println!("A1 to A5 hold in the seeds from {}", arguments.from);
        return ExitCode::SUCCESS;
    };
    println!("\nthe last steps of seed {seed}:");
    for line in run(setup, *seed, true).last {
        println!("{line}");
    }
    println!();
    for (seed, failure) in &failures {
        println!("seed {seed}: {} is broken: {}", failure.rule, failure.what);
    }
    println!("{} seeds failed. Replay with: simulation --seed {seed}", failures.len());
    ExitCode::FAILURE
}

/// Says now and then how far it is.
fn progress(told: &Mutex<Instant>, began: Instant, done: u64, of: u64) {
    // Another thread says it just now.
    let Ok(mut told) = told.try_lock() else { return };
    if told.elapsed() < REPORT_EVERY {
        return;
    }
    *told = Instant::now();
    let took = began.elapsed().as_secs_f64();
    let left = took / done as f64 * of.saturating_sub(done) as f64;
    eprintln!("{done} of {of} seeds in {took:.0} s, {left:.0} s to go");
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
