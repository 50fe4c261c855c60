//! `orthrus check-config`.

use crate::backends::Backends;
use crate::backends::hashing::HashingPool;
use crate::backends::outside::Outside;
use crate::config::{self, LoadError};
use crate::telemetry::metrics::Metrics;
use anyhow::bail;
use clap::Args;
use gateway_core::config::Warning;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// What to check.
#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// The configuration file (TOML)
    file: PathBuf,
    /// Warnings are failures too
    #[arg(long)]
    strict: bool,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

/// Checks the file, and the files that it names as far as `serve` would read them.
pub(super) fn run(options: &CheckConfig, out: &mut dyn Write) -> anyhow::Result<()> {
    let (faults, warnings) = match config::load(&options.file) {
        Ok(loaded) => {
            let pool = Arc::new(HashingPool::new(1, 1)?);
            let metrics = Arc::new(Metrics::new()?);
            let backends = Backends::load(&loaded.config, &pool, &Outside::default(), &metrics, None);
            match backends {
                Ok(backends) => (vec![], loaded.warnings.into_iter().chain(backends.warnings()).collect()),
                Err(faults) => (faults, loaded.warnings),
            }
        }
        Err(LoadError::Faulty { faults, warnings, .. }) => {
            (faults.0.iter().map(ToString::to_string).collect(), warnings)
        }
        Err(error) => (vec![error.to_string()], vec![]),
    };
    if options.json {
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        writeln!(out, "{}", json!({ "faults": faults, "warnings": warnings }))?;
    } else {
        print(&faults, &warnings, out)?;
    }
    let file = options.file.display();
    if !faults.is_empty() {
        bail!("{file} cannot be used: {} faults", faults.len());
    }
    if options.strict && !warnings.is_empty() {
        bail!("{file} has {} warnings, and --strict was given", warnings.len());
    }
    if !options.json {
        writeln!(out, "{file} can be used.")?;
    }
    Ok(())
}

fn print(faults: &[String], warnings: &[Warning], out: &mut dyn Write) -> std::io::Result<()> {
    for fault in faults {
        writeln!(out, "fault    {fault}")?;
    }
    for warning in warnings {
        writeln!(out, "warning  {warning}")?;
    }
    Ok(())
}
