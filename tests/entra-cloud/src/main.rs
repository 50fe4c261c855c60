//! The simulator as a program: `demo` shows two sign-ins, `serve` is there for a gateway of your own.

use clap::{Parser, Subcommand};
use entra_cloud::{BANNER, Cloud, Settings};
use std::io::BufRead;
use std::path::PathBuf;

/// A simulator of Microsoft's side of Entra MFA. It is not Microsoft's service, and reachable on loopback alone.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the simulator and a gateway, and signs one user in by push and one by code, over real UDP
    Demo {
        /// End after the two sign-ins instead of serving until Ctrl-C
        #[arg(long)]
        once: bool,
    },
    /// Serves until its standard input ends; lines there tell people what to do: `approve UPN`, `deny UPN`, `sms UPN`, `totp UPN`
    Serve {
        /// A folder for the authority (ca.pem) and a registered client certificate (entra.crt, entra.key)
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Demo { once } => entra_cloud::demo::run(once),
        Command::Serve { dir } => serve(&dir),
    }
}

fn serve(dir: &std::path::Path) -> anyhow::Result<()> {
    let cloud = Cloud::start(Settings::default());
    std::fs::create_dir_all(dir)?;
    let certificate = cloud.new_certificate();
    for (name, text) in
        [("ca.pem", cloud.ca_pem()), ("entra.crt", certificate.certificate_pem()), ("entra.key", certificate.key_pem())]
    {
        std::fs::write(dir.join(name), text)?;
    }
    println!("{BANNER}\ntenant_id = \"{}\"\nsts = \"{}\"", cloud.tenant(), cloud.sts());
    println!("mfa_host = \"{}\"\nresource_host = \"{}\"", cloud.mfa_host(), cloud.resource_host());
    println!("ca_file = \"{}\"", dir.join("ca.pem").display());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("approve", upn)) => cloud.person(upn).approve(),
            Some(("deny", upn)) => cloud.person(upn).deny(),
            Some(("sms", upn)) => println!("{}", cloud.person(upn).sms_code()),
            Some(("totp", upn)) => println!("{}", cloud.person(upn).totp_code()),
            _ => println!("approve UPN | deny UPN | sms UPN | totp UPN"),
        }
    }
    Ok(())
}
