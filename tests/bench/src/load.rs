//! `bench load`: one load on one server. `bench prepare`: the same server for other tools.

use crate::check::Demands;
use crate::cli::{Load, Prepare, Shape};
use crate::generator::{self, Pace, Plan};
use crate::report::{Figures, write_json};
use crate::scenario::Scenario;
use crate::server::{self, Kind, Server, Setup};
use anyhow::Result;
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::time::Duration;

/// Which server, and what is done to it.
pub(crate) struct Job<'a> {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) pid: Option<Pid>,
    pub(crate) scenario: Scenario,
    pub(crate) pace: Pace,
    pub(crate) counter: u64,
    pub(crate) shape: &'a Shape,
}

/// Runs one load and turns it into figures.
pub(crate) fn measure(job: &Job<'_>) -> Result<Figures> {
    let shape = job.shape;
    let plan = Plan {
        target: job.address,
        demands: Demands { secret: server::secret(), message_authenticator: job.kind.signs_replies() },
        scenario: job.scenario,
        codes: job.kind.codes(),
        pace: job.pace,
        users: shape.users,
        counter: job.counter,
        ports: usize::from(shape.ports),
        warm_up: Duration::from_secs(shape.warm_up),
        measure: Duration::from_secs(shape.seconds),
        patience: Duration::from_millis(shape.patience),
        tries: shape.tries.max(1),
        pin: shape.pin,
        server: job.pid,
    };
    let outcome = generator::run(&plan)?;
    Ok(Figures::new(job.kind, job.scenario, job.pace, &outcome))
}

/// True if every sign-in ended as it must.
pub(crate) fn run(arguments: &Load) -> Result<bool> {
    let (kind, scenario) = (arguments.server, arguments.scenario);
    let started = match arguments.target {
        Some(_) => None,
        None => Some(Server::start(kind, scenario, arguments.shape.users, &arguments.servers)?),
    };
    let (address, pid) = match (&started, arguments.target) {
        (Some(server), _) => (server.address, Some(server.pid()?)),
        (None, Some(target)) => (target, arguments.pid.map(Pid::from_raw)),
        (None, None) => return Ok(false),
    };
    let figures = measure(&Job {
        kind,
        address,
        pid,
        scenario,
        pace: arguments.rate.map_or(Pace::Closed(arguments.in_flight), Pace::Open),
        counter: arguments.counter,
        shape: &arguments.shape,
    })?;
    figures.print();
    if let Some(path) = &arguments.json {
        write_json(path, &figures)?;
    }
    Ok(figures.clean())
}

/// Writes a configuration and prints the command that runs it.
pub(crate) fn prepare(arguments: &Prepare) -> Result<bool> {
    let command = server::prepare(
        arguments.server,
        &Setup {
            dir: &arguments.dir,
            listen: arguments.listen,
            scenario: arguments.scenario,
            users: arguments.users,
            servers: &arguments.servers,
        },
    )?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    println!("{}", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "));
    Ok(true)
}
