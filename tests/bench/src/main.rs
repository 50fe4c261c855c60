//! Sign-ins end to end, under load: one generator, pinned to a core of its own, against Orthrus and against FreeRADIUS.
//! README.md says how to run it and what each figure means.
// What this program is for is to print a table.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod accounting;
mod ceiling;
mod check;
mod cli;
mod compare;
mod cpu;
mod fairness;
mod flights;
mod freeradius;
mod generator;
mod load;
mod mschap;
mod orthrus;
mod pending;
mod people;
mod report;
mod scenario;
mod server;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        cli::Command::Load(arguments) => load::run(&arguments),
        cli::Command::Compare(arguments) => compare::run(&arguments),
        cli::Command::Prepare(arguments) => load::prepare(&arguments),
        cli::Command::Pending(arguments) => pending::run(&arguments),
        cli::Command::Fairness(arguments) => fairness::run(&arguments),
        cli::Command::Ceiling(arguments) => ceiling::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: some sign-ins did not end as they should; see the errors above");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
