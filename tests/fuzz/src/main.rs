//! The targets and their first inputs, for whoever drives them.

use clap::{Parser, Subcommand};
use fuzz::{TARGETS, Target};
use std::path::PathBuf;
use std::process::ExitCode;

/// The targets and their first inputs
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the targets
    List,
    /// Write the first inputs of a target into a folder, a file for each
    Seeds { target: String, folder: PathBuf },
    /// Run a target on a file: what a fuzzer found is found again
    Run { target: String, file: PathBuf },
}

fn find(name: &str) -> Result<&'static Target, String> {
    let target = TARGETS.iter().find(|target| target.name == name);
    target.ok_or_else(|| format!("{name} is no target: `fuzz list` names them"))
}

fn perform(command: Command) -> Result<(), String> {
    match command {
        Command::List => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        Command::Seeds { target, folder } => {
            let target = find(&target)?;
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            for (number, octets) in (target.seeds)().into_iter().enumerate() {
                let path = folder.join(format!("vector-{number}"));
                std::fs::write(&path, octets).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Command::Run { target, file } => {
            let octets = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            (find(&target)?.run)(&octets);
            println!("{} octets, and nothing was found", octets.len());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
