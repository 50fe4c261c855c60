//! The command line.

use crate::fairness::Flood;
use crate::scenario::Scenario;
use crate::server::Kind;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Sign-ins end to end, under load, against Orthrus and against FreeRADIUS. See tests/bench/README.md.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// One load on one server, which is started for it or runs already (--target).
    Load(Load),
    /// Both servers in turn, several rounds, and the ratio of their medians.
    Compare(Compare),
    /// Writes a server's configuration and tells how to start it, for profiling.
    Prepare(Prepare),
    /// People who look for their phones: memory each, how late an approval is seen, and whether others notice.
    Pending(Pending),
    /// Users of one NAS while another NAS floods: how many are served, and how fast.
    Fairness(Fairness),
    /// The most that the generator can do: what answers does nothing but answer.
    Ceiling(Ceiling),
}

/// What the load is made of.
#[derive(Args, Clone)]
pub(crate) struct Shape {
    /// Seconds that count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Seconds of load before those, which do not count.
    #[arg(long, default_value_t = 1)]
    pub(crate) warm_up: u64,
    /// Users. Each signs in once at a time.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..100_000))]
    pub(crate) users: u32,
    /// Source ports; each has 256 identifiers.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) ports: u16,
    /// Milliseconds until a request is sent again.
    #[arg(long, default_value_t = 2000)]
    pub(crate) patience: u64,
    /// How often a request is sent before it counts as lost.
    #[arg(long, default_value_t = 3)]
    pub(crate) tries: u32,
    /// The core of the generator. On a machine with one core, leave it and --server-core out.
    #[arg(long)]
    pub(crate) pin: Option<usize>,
}

/// Which servers, and how they run.
#[derive(Args, Clone)]
pub(crate) struct Servers {
    /// The program to measure; by default the `orthrus` beside this program, built for release.
    #[arg(long)]
    pub(crate) orthrus: Option<PathBuf>,
    /// The FreeRADIUS server (Debian: freeradius; elsewhere radiusd).
    #[arg(long, default_value = "freeradius")]
    pub(crate) freeradius: PathBuf,
    /// Threads of FreeRADIUS that handle requests; 0 takes the pool of its own sample configuration (5 to 32).
    #[arg(long, default_value_t = 0)]
    pub(crate) freeradius_threads: u32,
    /// FreeRADIUS without threads (its option -s): the leanest on one core, but whatever waits makes everybody wait.
    #[arg(long, conflicts_with = "freeradius_threads")]
    pub(crate) freeradius_single: bool,
    /// The core of the server.
    #[arg(long)]
    pub(crate) server_core: Option<usize>,
    /// Both servers write one line per sign-in. Neither does without it.
    #[arg(long)]
    pub(crate) log: bool,
    /// The Redis that Orthrus keeps its records in, as in a cluster; without it they are in its memory.
    #[arg(long)]
    pub(crate) redis: Option<SocketAddr>,
    /// With --redis: what is shared, second_factor or all.
    #[arg(long, default_value = "second_factor", requires = "redis")]
    pub(crate) share: String,
}

#[derive(Args)]
pub(crate) struct Load {
    /// Which kind of server it is: it decides where one-time codes come from.
    #[arg(long, value_enum, default_value = "orthrus")]
    pub(crate) server: Kind,
    /// A server that runs already, set up by `bench prepare`. Nothing is started then.
    #[arg(long)]
    pub(crate) target: Option<SocketAddr>,
    /// Its process, for processor time and memory.
    #[arg(long, requires = "target")]
    pub(crate) pid: Option<i32>,
    /// Where every token stands, for a server that has seen codes before.
    #[arg(long, default_value_t = 0)]
    pub(crate) counter: u64,
    #[arg(long, value_enum, default_value = "accept")]
    pub(crate) scenario: Scenario,
    /// Closed loop: sign-ins at a time.
    #[arg(long, default_value_t = 64, conflicts_with = "rate")]
    pub(crate) in_flight: usize,
    /// Open loop: sign-ins begun per second.
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Writes the figures there as well.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Compare {
    /// Rounds; each runs every server with every load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "accept,challenge")]
    pub(crate) scenarios: Vec<Scenario>,
    /// The servers, in the order of the first round; every second round turns it round.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "orthrus,freeradius")]
    pub(crate) only: Vec<Kind>,
    /// Closed loop: sign-ins at a time; 0 leaves it out.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// Open loop: sign-ins begun per second; 0 leaves it out.
    #[arg(long, default_value_t = 2000)]
    pub(crate) rate: u32,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Writes every figure of every run there as well.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Pending {
    /// How many wait at once, one run each.
    #[arg(long, value_delimiter = ',', default_value = "2000,50000")]
    pub(crate) prompts: Vec<usize>,
    /// How the gateway waits for them.
    #[arg(long, value_delimiter = ',', default_value = "polled,held")]
    pub(crate) begin: Vec<String>,
    /// Prompts begun per second.
    #[arg(long, default_value_t = 1000)]
    pub(crate) begin_rate: u32,
    /// Approvals of which it is measured how late they are seen.
    #[arg(long, default_value_t = 500)]
    pub(crate) approvals: usize,
    /// Sign-ins per second that need no phone.
    #[arg(long, default_value_t = 200)]
    pub(crate) others_rate: u32,
    /// Thread pools of FreeRADIUS, one run each; an empty list leaves it out.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "32,1024")]
    pub(crate) freeradius_pools: Vec<u32>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Writes the figures there as well.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Fairness {
    /// Packets a second that flood, one run each.
    #[arg(long, value_delimiter = ',', default_value = "200,1000")]
    pub(crate) rates: Vec<u32>,
    /// What floods, one run each.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "wrong,unknown,challenge")]
    pub(crate) floods: Vec<Flood>,
    /// Sign-ins of the other NAS per second.
    #[arg(long, default_value_t = 10)]
    pub(crate) others_rate: u32,
    /// The servers.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "orthrus,freeradius")]
    pub(crate) only: Vec<Kind>,
    /// Iterations of PBKDF2 for FreeRADIUS: so many that a check takes as long as one of argon2id.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) freeradius_iterations: u32,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Writes the figures there as well.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Prepare {
    #[arg(value_enum)]
    pub(crate) server: Kind,
    /// A folder for it; made if it is missing.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long, default_value = "127.0.0.1:1812")]
    pub(crate) listen: SocketAddr,
    #[arg(long, value_enum, default_value = "accept")]
    pub(crate) scenario: Scenario,
    #[arg(long, default_value_t = 2000)]
    pub(crate) users: u32,
    #[command(flatten)]
    pub(crate) servers: Servers,
}

#[derive(Args)]
pub(crate) struct Ceiling {
    #[arg(long, value_enum, default_value = "accept")]
    pub(crate) scenario: Scenario,
    /// Sign-ins at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// The core of what answers.
    #[arg(long)]
    pub(crate) server_core: Option<usize>,
}
