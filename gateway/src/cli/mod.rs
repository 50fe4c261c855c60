//! The command line: one file per command.

mod audit;
mod check;
mod control;
pub mod dialogue;
mod quickstart;
mod serve;
pub(crate) mod signin;
mod simulate;
pub mod user;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A RADIUS gateway that puts a second factor in front of VPNs
#[derive(Debug, Parser)]
#[command(name = "orthrus", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done (signin: accepted; simulate: permitted) · 1 failed, the error says why (signin: rejected; \
                          simulate: refused) · 2 wrong usage · 3 no answer (signin)";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve RADIUS as the configuration says, until SIGTERM or SIGINT; SIGHUP reloads
    Serve {
        /// The configuration file (TOML)
        #[arg(long, value_name = "FILE", env = "ORTHRUS_CONFIG")]
        config: PathBuf,
    },
    /// Try it now: serve on loopback with a made-up user, sign that user in once, and show how to do it yourself
    Quickstart(quickstart::Quickstart),
    /// Check a configuration: every fault with its place and remedy, and what should not stay as it is
    CheckConfig(check::CheckConfig),
    /// Sign in as a VPN would: a RADIUS client that shows challenges and asks for codes
    Signin(signin::Signin),
    /// Manage the users and tokens of the gateway's own files
    User {
        /// The configuration that names the files
        #[arg(long, global = true, value_name = "FILE", env = "ORTHRUS_CONFIG")]
        config: Option<PathBuf>,
        #[command(flatten)]
        args: user::UserArgs,
    },
    /// Ask the policies, without asking anybody else: which one decides, and what would be sent
    Simulate(simulate::Simulate),
    /// What happened, as the audit has it
    Audit(audit::AuditArgs),
    /// How the node on this machine is
    Status(control::Door),
    /// The open sessions that the node on this machine knows of
    Sessions(control::Sessions),
    /// End sessions, through the NAS that reported them (RFC 5176)
    Disconnect(control::Disconnect),
    /// Change a session, through the NAS that reported it (RFC 5176)
    Coa(control::Coa),
    /// Leave new sign-ins to other nodes, finish running ones, and end the node on this machine
    Drain(control::Drain),
    /// The nodes that share the store
    Nodes(control::Door),
    /// The certificates of all nodes
    Certificates(control::Door),
    /// Lock a user at all nodes, for good: open attempts end, passwords and codes are refused. Without a user, list who is locked
    Lock(control::Lock),
    /// Let a user sign in again whom `lock` has locked
    Unlock(control::Unlock),
    /// What pauses since a limit was met, such as wrong passwords, and `limits lift` to end it
    Limits(control::Limits),
}

/// What a command came to.
enum Ended {
    Well,
    Rejected,
    Unanswered,
}

/// Runs the command line.
#[allow(clippy::print_stderr, reason = "errors of a command go to the terminal; serve logs through tracing")]
pub fn main() -> ExitCode {
    let done = |()| Ended::Well;
    let outcome = match Cli::parse().command {
        Command::Serve { config } => serve::run(&config).map(done),
        Command::Quickstart(options) => quickstart::run(&options).map(done),
        Command::CheckConfig(options) => check::run(&options, &mut std::io::stdout()).map(done),
        Command::Signin(options) => signin::run(&options, &mut std::io::stdout()),
        Command::User { config, args } => user_files(config, &args)
            .and_then(|files| user::run(args.command, &files, &mut std::io::stdout()))
            .map(done),
        Command::Simulate(options) => simulate::run(&options, &mut std::io::stdout()),
        Command::Audit(options) => audit::run(&options, &mut std::io::stdout()),
        Command::Status(door) => control::status(&door, &mut std::io::stdout()),
        Command::Sessions(options) => control::sessions(&options, &mut std::io::stdout()),
        Command::Disconnect(options) => control::disconnect(&options, &mut std::io::stdout()),
        Command::Coa(options) => control::coa(&options, &mut std::io::stdout()),
        Command::Drain(options) => control::drain(&options, &mut std::io::stdout()),
        Command::Nodes(door) => control::nodes(&door, &mut std::io::stdout()),
        Command::Certificates(door) => control::certificates(&door, &mut std::io::stdout()),
        Command::Lock(options) => control::lock(&options, &mut std::io::stdout()),
        Command::Unlock(options) => control::unlock(&options, &mut std::io::stdout()),
        Command::Limits(options) => control::limits(&options, &mut std::io::stdout()),
    };
    match outcome {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Rejected) => ExitCode::from(1),
        Ok(Ended::Unanswered) => ExitCode::from(3),
        Err(error) => {
            eprintln!("orthrus: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// The files of `orthrus user`: those named, or those of the configuration.
fn user_files(config: Option<PathBuf>, args: &user::UserArgs) -> anyhow::Result<user::UserFiles> {
    use anyhow::bail;
    use gateway_core::config::FirstFactorKind;
    let mut files = user::UserFiles {
        users: args.users_file.clone().unwrap_or_default(),
        tokens: args.tokens_file.clone().unwrap_or_default(),
        rules: gateway_core::identity::Rules::default(),
        issuer: "Orthrus".to_owned(),
        state_dir: None,
    };
    let Some(path) = config else {
        if args.users_file.is_none() && args.tokens_file.is_none() {
            bail!("which users? give --config FILE, or --users-file and --tokens-file");
        }
        return Ok(files);
    };
    let config = crate::config::load(&path)?.config;
    files.rules = (&config.identity).into();
    files.state_dir = Some(config.state_dir.clone());
    if args.users_file.is_none()
        && let Some(factor) = config.first_factors.first()
    {
        let FirstFactorKind::File(file) = &factor.kind;
        if config.first_factors.len() > 1 {
            bail!("{}: several first factors have users files; choose one with --users-file", path.display());
        }
        files.users.clone_from(&file.users_file);
    }
    if args.tokens_file.is_none() {
        let oath: Vec<_> = config.second_factors.iter().filter_map(|factor| factor.kind.oath()).collect();
        if oath.len() > 1 {
            bail!("{}: several second factors have tokens files; choose one with --tokens-file", path.display());
        }
        if let Some(oath) = oath.first() {
            files.tokens.clone_from(&oath.tokens_file);
            files.issuer.clone_from(&oath.issuer);
        }
    }
    Ok(files)
}
