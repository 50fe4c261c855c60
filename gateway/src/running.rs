//! `start(config)` brings a node up, and [`Running`] is the node in operation: what `main` and the tests call.

use crate::accounting::Accounting;
use crate::actors::accounting::AccountingListener;
use crate::actors::listener::Listener;
use crate::actors::reloader::Reloader;
use crate::actors::self_sign_in::SelfSignIn;
use crate::audit::Audit;
use crate::backends::hashing::HashingPool;
use crate::clock::{self, OsEntropy};
use crate::learned::Learned;
use crate::listen::udp::{Bound, Buffers};
use crate::locks::LockedUsers;
use crate::looks::Looks;
use crate::node::{Node, Parts};
use crate::store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observer;
use crate::telemetry::trace::Tracing;
use actix::Actor;
use actix_rt::Arbiter;
use actix_web::dev::ServerHandle;
use admin_api::Control;
use anyhow::{Context, anyhow};
use cluster::Journal;
use gateway_core::attempt::record::Owner;
use gateway_core::attempt::state::Keyring;
use gateway_core::config::Config;
use gateway_core::entropy::draw;
use gateway_core::event::{Event, NodeEvent};
use gateway_core::identity::Rules;
use gateway_core::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Builder;

/// Threads for work that blocks, beside each that serves: what blocks is short, and waits for them otherwise.
pub(crate) const BLOCKING: usize = 4;

/// A node in operation.
pub struct Running {
    node: Arc<Node>,
    arbiters: Vec<Arbiter>,
    admin: Option<ServerHandle>,
    control_socket: Option<PathBuf>,
    /// The addresses that are listened on, with the ports that port 0 became.
    pub addresses: Vec<SocketAddr>,
    /// Where health and metrics are served.
    pub admin_address: Option<SocketAddr>,
    /// The health port.
    pub health_address: Option<SocketAddr>,
}

/// Starts a node; it serves when this returns. To be called within an actix system. `tracing` was started before, and is
/// stopped by the caller.
///
/// # Errors
///
/// A file of the configuration has faults, a socket cannot be bound, or `state_dir` cannot be used: each named, with what to
/// do. Nothing is left running.
pub async fn start(
    config: Arc<Config>,
    (config_file, watched): (Option<PathBuf>, Vec<Looks>),
    tracing: Option<Arc<Tracing>>,
) -> anyhow::Result<Running> {
    let now = clock::now();
    let mut entropy = OsEntropy::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let or_cores = |configured: usize| if configured == 0 { cores } else { configured };
    crate::means::raise_descriptors(config.descriptors(or_cores(config.listen.threads)));

    let journal = Journal::open(&config.state_dir, &Rules::from(&config.identity).fingerprint(), now)?;
    let limits = &config.limits;
    let owner = Owner { node: config.cluster.node_id.clone(), incarnation: u64::from_be_bytes(draw(&mut entropy)) };
    let store = store::open(&config, journal, &owner).context("the store of [cluster]")?;
    let learned = Learned::load(&config.state_dir, limits.learned_sources).context("what was learned of sources")?;
    let locks = LockedUsers::load(&config.state_dir).context("who is locked")?;
    let pool = HashingPool::new(or_cores(limits.password_checks), limits.password_queue)
        .context("no threads for password hashing")?;
    let key = match &config.cluster.key {
        Some(key) => key.duplicate(),
        None => Secret::new(draw::<32>(&mut entropy).to_vec()),
    };
    let metrics = Metrics::new().map_err(|error| anyhow!("the metrics contradict each other: {error}"))?;
    let metrics = Arc::new(metrics);
    let audit = Audit::start(&config, &metrics, now).context("[audit]")?;
    let accounting = Accounting::start(&config, &store, &metrics, now).context("[accounting]")?;
    let parts = Parts {
        config_file,
        watched,
        keyring: Keyring::changing(&key, config.cluster.second_key.as_ref(), config.cluster.names_key.as_ref()),
        owner,
        pool: Arc::new(pool),
        store,
        observer: Observer::new(metrics, limits.event_ring, audit),
        accounting,
        learned,
        locks,
        tracing,
        config: config.clone(),
    };
    let node = Node::new(parts).map_err(|faults| anyhow!(faults.join("\n")))?;
    serve(node, &config, or_cores(config.listen.threads))
}

/// A thread that serves, and one for work that blocks, which is there from the start: whoever needs it later may find none.
fn arbiter() -> std::io::Result<Arbiter> {
    Arbiter::try_with_tokio_rt(|| {
        cluster::threads::warmed(Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING))
    })
}

fn serve(node: Arc<Node>, config: &Config, threads: usize) -> anyhow::Result<Running> {
    let buffers = Buffers { receive: config.listen.receive_buffer, send: config.listen.send_buffer };
    let mut groups = Vec::new();
    for address in &config.listen.authentication {
        groups.push(Bound::bind_group(*address, threads, buffers)?);
    }
    let authentication = groups.len();
    for address in &config.accounting.listen {
        groups.push(Bound::bind_group(*address, threads, buffers)?);
    }
    let addresses: Vec<SocketAddr> =
        groups.iter().filter_map(|group| group.first()).map(Bound::local_address).collect();
    let obtained = groups.iter().flatten().map(Bound::obtained).min_by_key(|obtained| obtained.receive);
    if let Some(obtained) = obtained.filter(|obtained| obtained.receive < buffers.receive) {
        tracing::warn!(
            asked = buffers.receive,
            obtained = obtained.receive,
            "the kernel gives smaller receive buffers than listen.receive_buffer: raise net.core.rmem_max, or bursts are lost"
        );
    }
    node.meet_others().map_err(|faults| anyhow!(faults.join("\n")))?;
    node.tell_others();
    node.wanted.store(groups.iter().map(Vec::len).sum(), Ordering::Relaxed);
    let (admin, admin_address) = crate::admin::start(&node, config)?;

    let arbiters: std::io::Result<Vec<Arbiter>> = (0..threads).map(|_| arbiter()).collect();
    let arbiters = arbiters.context("no threads for listen.threads: lower it, or raise TasksMax in the unit")?;
    for (place, group) in groups.into_iter().enumerate() {
        let accounting = place >= authentication;
        for (thread, (bound, arbiter)) in group.into_iter().zip(&arbiters).enumerate() {
            let (node, thread) = (node.clone(), u16::try_from(thread).unwrap_or(u16::MAX));
            arbiter.spawn_fn(move || {
                if accounting {
                    AccountingListener::new(node, bound).start();
                } else {
                    Listener::new(node, bound, thread).start();
                }
            });
        }
    }
    SelfSignIn::new(node.clone()).start();
    let health_address = match config.health.listen {
        Some(address) => Some(crate::health::start(&node, address, config.health.connections)?),
        None => None,
    };
    Reloader::new(node.clone()).start();
    crate::wrong_passwords::sharer::start(&node);
    crate::locks::sharer::start(&node);
    for address in &addresses {
        tracing::info!(%address, threads, "listening");
    }
    let control_socket = match crate::control::socket::serve(
        node.clone(),
        &config.state_dir,
        config.limits.control_connections,
    ) {
        Ok(path) => Some(path),
        // Sign-ins do not hang on it.
        Err(error) => {
            tracing::error!(%error, "control.sock in state_dir cannot be served: orthrus status, sessions, disconnect and drain find no node");
            None
        }
    };
    let (version, config) = (env!("CARGO_PKG_VERSION").to_owned(), config.version.clone());
    node.observer.observe(Event::Node(NodeEvent::Started { version, config }), clock::now());
    Ok(Running { node, control_socket, arbiters, admin, addresses, admin_address, health_address })
}

impl Running {
    /// The node, for whoever controls it.
    pub fn control(&self) -> Arc<dyn Control> {
        self.node.clone()
    }

    /// Ends when the node has given itself up.
    pub async fn given_up(&self) {
        self.node.give_up.notified().await;
    }

    /// Ends when an operator wants the node to end.
    pub async fn ended(&self) {
        self.node.ended.notified().await;
    }

    /// Like [`stop`](Self::stop), but waits for at most `patience`.
    pub async fn stop_within(self, patience: std::time::Duration) {
        self.node.drain(Some(patience));
        self.stop().await;
    }

    /// Leaves new requests to others, waits for running ones, at most as long as a drain may take, and ends.
    pub async fn stop(self) {
        self.node.begin_drain();
        // Balancers and the other nodes know at once, not with the next sign of life.
        self.node.tell_others();
        let begun = clock::now();
        // An operator may shorten it while it goes on.
        while self.node.in_progress() + self.node.delayed.taken() > 0
            && clock::now().since(begun) < self.node.drain_deadline()
        {
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
        // Others need not wait for the silence of this node to know that it is gone.
        let _ = actix_rt::time::timeout(Duration::from_secs(1), self.node.store.leave()).await;
        // The last replies are on their way from the exchanges to the sockets.
        actix_rt::time::sleep(Duration::from_millis(20)).await;
        if let Some(socket) = &self.control_socket {
            let _ = std::fs::remove_file(socket);
        }
        if let Some(admin) = self.admin {
            admin.stop(false).await;
        }
        if let Err(error) = self.node.learned.persist() {
            tracing::error!(%error, "which sources sign could not be written to state_dir: the newest are forgotten");
        }
        if let Err(error) = self.node.locks.persist() {
            tracing::error!(%error, "who is locked could not be written to state_dir: the newest locks are forgotten");
        }
        for arbiter in self.arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
        self.node.accounting.stop();
        self.node.observer.tell_sums(clock::now());
        self.node.observer.observe(Event::Node(NodeEvent::Stopped), clock::now());
        self.node.observer.audit.stop();
        let left = self.node.in_progress();
        tracing::info!(left, "stopped");
    }
}
