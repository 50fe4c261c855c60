//! One running gateway: what all its threads share. The configuration and everything built from it is one value that is
//! swapped whole; the store, the metrics and the permits live as long as the process.

use crate::accounting::Accounting;
use crate::actors::self_sign_in::Outcomes;
use crate::backends::Backends;
use crate::backends::hashing::HashingPool;
use crate::backends::outside::Outside;
use crate::clock;
use crate::learned::Learned;
use crate::locks::LockedUsers;
use crate::looks::Looks;
use crate::peers::{Listeners, Neighbours};
use crate::pending::Pending;
use crate::permits::{Permit, Permits};
use crate::telemetry::observer::Observer;
use crate::telemetry::trace::Tracing;
use crate::wrong_passwords::Guesses;
use admin_api::{Control, Doorman, Draining, Readiness};
use arc_swap::ArcSwap;
use cluster::Store;
use gateway_core::attempt::record::{AttemptId, Owner};
use gateway_core::attempt::state::Keyring;
use gateway_core::config::{ClientTable, Config, Warning};
use gateway_core::event::{Event, NodeEvent, Order};
use gateway_core::exchange::Setting;
use gateway_core::identity::Rules;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// One configuration and what was built from it.
pub struct Active {
    /// What exchanges are decided under.
    pub setting: Arc<Setting>,
    /// Who may speak to us.
    pub clients: ClientTable,
    /// Who answers for the factors.
    pub backends: Backends,
}

/// One running gateway.
pub struct Node {
    active: ArcSwap<Active>,
    keyring: Keyring,
    owner: Owner,
    pool: Arc<HashingPool>,
    outside: Outside,
    config_file: Option<PathBuf>,
    /// What the configuration in force, or the last that could not be, was read from.
    watched: Mutex<Vec<Looks>>,
    /// What nodes remember together.
    pub store: Arc<dyn Store>,
    /// Takes events.
    pub observer: Observer,
    /// Where accounting records go, and the sessions that they tell of.
    pub accounting: Accounting,
    /// Which sources sign.
    pub learned: Learned,
    /// The prompts that are out.
    pub pending: Pending,
    /// The wrong passwords that were given.
    pub guesses: Guesses,
    /// The users whom operators locked.
    pub locks: LockedUsers,
    /// The other nodes, where this one speaks to them.
    pub neighbours: OnceLock<Neighbours>,
    /// How the node's own sign-ins went.
    pub self_sign_in: Outcomes,
    /// Who takes packets that other nodes received.
    pub listeners: Listeners,
    /// Writes traces, where a collector is configured.
    pub tracing: Option<Arc<Tracing>>,
    in_progress: Permits,
    draining: AtomicBool,
    /// How long a drain may take: as configured, or as the operator said.
    drain_deadline: Mutex<Duration>,
    /// Told when an operator wants the node to end.
    pub ended: tokio::sync::Notify,
    /// Refusals that wait for their time.
    pub delayed: Permits,
    /// Sockets that are served.
    pub listening: AtomicUsize,
    /// Sockets that should be.
    pub wanted: AtomicUsize,
    /// Long-lived actors that died.
    pub deaths: AtomicUsize,
    /// Told when they died too often: the process should end.
    pub give_up: tokio::sync::Notify,
}

/// What a node is made of.
pub struct Parts {
    /// The configuration to begin with.
    pub config: Arc<Config>,
    /// Where it came from, for reloads.
    pub config_file: Option<PathBuf>,
    /// What it was read from.
    pub watched: Vec<Looks>,
    /// Seals States.
    pub keyring: Keyring,
    /// This node in this life.
    pub owner: Owner,
    /// Hashes passwords.
    pub pool: Arc<HashingPool>,
    /// What nodes remember together.
    pub store: Arc<dyn Store>,
    /// Takes events.
    pub observer: Observer,
    /// Where accounting records go.
    pub accounting: Accounting,
    /// Which sources sign.
    pub learned: Learned,
    /// The users whom operators locked.
    pub locks: LockedUsers,
    /// Writes traces.
    pub tracing: Option<Arc<Tracing>>,
}

impl Node {
    /// Builds the node and the back ends of its first configuration.
    ///
    /// # Errors
    ///
    /// Every fault of the files that the configuration names.
    pub fn new(parts: Parts) -> Result<Arc<Self>, Vec<String>> {
        let outside = Outside::default();
        let backends = Backends::load(&parts.config, &parts.pool, &outside, &parts.observer.metrics, None)?;
        Ok(Self::assemble(parts, backends, outside))
    }

    /// Builds the node with these back ends.
    pub fn with_backends(parts: Parts, backends: Backends) -> Arc<Self> {
        Self::assemble(parts, backends, Outside::default())
    }

    fn assemble(parts: Parts, backends: Backends, outside: Outside) -> Arc<Self> {
        let Parts {
            config,
            config_file,
            watched,
            keyring,
            owner,
            pool,
            store,
            observer,
            accounting,
            learned,
            locks,
            tracing,
        } = parts;
        let active = activate(&config, &keyring, &owner, backends);
        let node = Self {
            active: ArcSwap::from_pointee(active),
            keyring,
            owner,
            pool,
            outside,
            config_file,
            watched: Mutex::new(watched),
            guesses: Guesses::new(store.is_shared()),
            store,
            locks,
            observer,
            accounting,
            learned,
            pending: Pending::default(),
            neighbours: OnceLock::new(),
            self_sign_in: Outcomes::default(),
            listeners: Listeners::default(),
            tracing,
            in_progress: Permits::default(),
            draining: AtomicBool::new(false),
            drain_deadline: Mutex::new(config.drain_deadline()),
            ended: tokio::sync::Notify::new(),
            delayed: Permits::default(),
            listening: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            deaths: AtomicUsize::new(0),
            give_up: tokio::sync::Notify::new(),
        };
        node.tell_config(&config);
        Arc::new(node)
    }

    /// What is in force.
    pub fn active(&self) -> arc_swap::Guard<Arc<Active>> {
        self.active.load()
    }

    /// This node in this life.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What seals States.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Speaks to other nodes from now on, where that is configured.
    ///
    /// # Errors
    ///
    /// Every fault of what is configured, with what to do.
    pub fn meet_others(self: &Arc<Self>) -> Result<(), Vec<String>> {
        let Some(configured) = self.active().setting.config.cluster.peers.clone() else { return Ok(()) };
        let handle = self.outside.handle().map_err(|error| vec![format!("no threads for cluster.peers: {error}")])?;
        let neighbours = Neighbours::start(self, &configured, &handle)?;
        tracing::info!(address = neighbours.address(), "other nodes may connect");
        // Called once, at the start.
        let _ = self.neighbours.set(neighbours);
        Ok(())
    }

    /// Whether new work is left to others.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on new work is left to others.
    pub fn begin_drain(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            tracing::info!(in_progress = self.in_progress(), at = clock::now().as_secs(), "draining");
        }
    }

    /// Writes down who commanded what. `false`: it is not durable.
    pub async fn audit_order(&self, by: Order, command: String) -> bool {
        let failures = self.observer.audit.failures();
        let put = self.observer.record(Event::Node(NodeEvent::Ordered { by, command }), clock::now());
        match self.observer.audit.durable(failures) {
            Some(durable) => put && durable.await,
            None => true,
        }
    }

    /// How long a drain may take.
    pub fn drain_deadline(&self) -> Duration {
        *self.drain_deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in progress.
    pub fn in_progress(&self) -> usize {
        self.in_progress.taken()
    }

    /// What the other nodes are told of this one.
    pub fn tell_others(&self) {
        let config = &self.active().setting.config;
        let address = config.listen.authentication.first().map(ToString::to_string).unwrap_or_default();
        let readiness = self.readiness();
        let failed = readiness.checks.iter().find(|check| !check.ok).map_or("ready", |check| check.name);
        self.store.tell(cluster::Says {
            address,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: failed.to_owned(),
            in_progress: self.in_progress() as u64,
            pending: self.pending.len() as u64,
            skew: 0,
            peers: self.neighbours.get().map(|own| own.address().to_owned()).unwrap_or_default(),
        });
    }

    /// A permit for one request of `client`, taken at the socket (house rule 17); `None` at the limit.
    pub fn permit(&self, client: &Arc<str>, limit: usize) -> Option<Permit> {
        self.in_progress.take(client, limit)
    }

    /// Swaps a whole checked configuration, or changes nothing. What only takes effect at a start stays as it is.
    fn swap(&self, config: &Arc<Config>) -> Result<(), Vec<String>> {
        let old = self.active();
        let metrics = &self.observer.metrics;
        let backends = Backends::load(config, &self.pool, &self.outside, metrics, Some(&old.backends))?;
        self.learned.reload(config.limits.learned_sources).map_err(|error| vec![error.to_string()])?;
        self.active.store(Arc::new(activate(config, &self.keyring, &self.owner, backends)));
        *self.drain_deadline.lock().unwrap_or_else(PoisonError::into_inner) = config.drain_deadline();
        self.tell_config(config);
        Ok(())
    }

    fn tell_config(&self, config: &Config) {
        let metrics = &self.observer.metrics;
        self.observer.configure(config.telemetry.sign_in_log, &config.limits);
        metrics.config_info.reset();
        metrics.config_info.with_label_values(&[&config.version]).set(1);
        metrics.secret_weak.reset();
        for client in &config.clients {
            let weak = client.secrets.iter().any(|secret| secret.secret().expose().len() < 16);
            metrics.secret_weak.with_label_values(&[&client.name]).set(weak.into());
        }
        // Every file was read with it, and a factor that is gone has no file.
        metrics.last_reload.reset();
        let first = config.first_factors.iter().map(|factor| &factor.name);
        for name in first.chain(config.second_factors.iter().map(|factor| &factor.name)) {
            metrics.last_reload.with_label_values(&[name]).set(1);
        }
        metrics.last_reload.with_label_values(&["config"]).set(1);
    }

    /// Whether a file that the configuration was read from has changed. It blocks on the disk.
    pub fn config_changed(&self) -> bool {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Each is looked at: one that is settling must be seen twice.
        let changed = watched.iter().fold(false, |changed, looks| changed | looks.changed());
        changed && self.active().setting.config.reload_on_change
    }

    fn reload_from_file(&self) -> Result<Vec<Warning>, String> {
        let path = self.config_file.as_ref().ok_or("this process has no configuration file")?;
        let (loaded, watched) = crate::config::load_watched(path);
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
        let loaded = loaded.map_err(|error| error.to_string())?;
        let old = self.active();
        if Rules::from(&loaded.config.identity).fingerprint() != Rules::from(&old.setting.config.identity).fingerprint()
        {
            return Err(
                "identity: names would be read by other rules, under which used codes are not known. Restart the \
                        gateway: codes of time steps already begun are then refused, and counter-based tokens must be \
                        enrolled again"
                    .to_owned(),
            );
        }
        let waiting = needs_start(&old.setting.config, &loaded.config);
        self.swap(&loaded.config).map_err(|faults| faults.join("\n"))?;
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "these changed and take effect at the next start");
        }
        Ok(loaded.warnings)
    }
}

/// The keys that differ and are only read at a start.
fn needs_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&old.limits, &new.limits);
    let fixed = |config: &Config| {
        let accounting = &config.accounting;
        (accounting.listen.clone(), accounting.file.clone())
    };
    let fixed_admin = |config: &Config| {
        let admin = &config.admin;
        (admin.listen, admin.enabled, admin.connections, admin.request_timeout)
    };
    let key = |config: &Config| config.cluster.key.as_ref().map(|key| key.duplicate());
    let changed = [
        ("state_dir", old.state_dir != new.state_dir),
        ("listen", old.listen != new.listen),
        ("accounting.listen, folder or its rotation", fixed(old) != fixed(new)),
        ("accounting.forward_to or its spool", old.accounting.forward != new.accounting.forward),
        ("audit", old.audit != new.audit),
        ("limits.audit_queue", a.audit_queue != b.audit_queue),
        ("admin, but for its token", fixed_admin(old) != fixed_admin(new)),
        ("health.listen", old.health.listen != new.health.listen),
        ("health.connections", old.health.connections != new.health.connections),
        ("cluster.node_id", old.cluster.node_id != new.cluster.node_id),
        ("cluster.key_file", key(old) != key(new)),
        ("cluster.share", old.cluster.share != new.cluster.share),
        ("cluster.newest_records", old.cluster.newest_records != new.cluster.newest_records),
        ("cluster.dead_after", old.cluster.dead_after != new.cluster.dead_after),
        ("cluster.redis", old.cluster.redis != new.cluster.redis),
        ("cluster.peers", old.cluster.peers != new.cluster.peers),
        ("cluster.store", old.cluster.store != new.cluster.store),
        ("cluster.when_store_is_lost", old.cluster.when_store_is_lost != new.cluster.when_store_is_lost),
        ("telemetry.log_format", old.telemetry.log_format != new.telemetry.log_format),
        ("telemetry.log_level", old.telemetry.log_level != new.telemetry.log_level),
        ("telemetry.otlp_endpoint, otlp_headers_file or otlp_sample", old.telemetry.otlp != new.telemetry.otlp),
        ("limits.password_checks", a.password_checks != b.password_checks),
        ("limits.password_queue", a.password_queue != b.password_queue),
        ("limits.attempts", a.attempts != b.attempts),
        ("limits.wrong_codes_window (where it is longer now)", a.wrong_codes_window < b.wrong_codes_window),
        ("limits.accounting_queue", a.accounting_queue != b.accounting_queue),
        ("limits.accounting_records", a.accounting_records != b.accounting_records),
        ("limits.event_ring", a.event_ring != b.event_ring),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

fn activate(config: &Arc<Config>, keyring: &Keyring, owner: &Owner, backends: Backends) -> Active {
    let setting = Setting::new(config.clone(), keyring.clone(), owner.clone());
    Active { setting: Arc::new(setting), clients: ClientTable::new(&config.clients), backends }
}

impl Control for Node {
    fn readiness(&self) -> Readiness {
        self.look()
    }

    fn metrics(&self) -> Result<String, String> {
        let metrics = &self.observer.metrics;
        let health = self.store.health();
        self.show_readiness();
        metrics.in_progress.set(i64::try_from(self.in_progress()).unwrap_or(i64::MAX));
        metrics.mfa_pending.set(i64::try_from(self.pending.len()).unwrap_or(i64::MAX));
        metrics.store_records.set(i64::try_from(health.records).unwrap_or(i64::MAX));
        metrics.draining.set(self.is_draining().into());
        metrics.store_failing.set(health.failing.into());
        if let Some(stats) = self.store.stats() {
            metrics.shared_store.show(&stats, &self.store.nodes());
        }
        if let Some(neighbours) = self.neighbours.get() {
            metrics.peers.show(neighbours.peers(), &metrics.limit_hits);
        }
        let lost = self.tracing.as_ref().map_or(0, |tracing| tracing.dropped());
        metrics.traces_dropped.inc_by(lost.saturating_sub(metrics.traces_dropped.get()));
        let lost = crate::telemetry::lines::lost();
        metrics.log_lines_lost.inc_by(lost.saturating_sub(metrics.log_lines_lost.get()));
        metrics.text().map_err(|error| error.to_string())
    }

    fn events(&self, id: AttemptId) -> Vec<(Timestamp, Event)> {
        self.observer.ring().of(id)
    }

    fn reload(&self) -> Result<(), String> {
        let outcome = self.reload_from_file();
        self.observer.metrics.last_reload.with_label_values(&["config"]).set(outcome.is_ok().into());
        let config = outcome.as_ref().map(|_| self.active().setting.config.version.clone()).map_err(Clone::clone);
        self.observer.observe(Event::Node(NodeEvent::Reloaded { config }), clock::now());
        match outcome {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                let version = self.active().setting.config.version.clone();
                tracing::info!(version, "the new configuration is in force");
                Ok(())
            }
            Err(faults) => {
                tracing::error!("the configuration was not reloaded and the old one stays in force: {faults}");
                Err(faults)
            }
        }
    }

    fn doorman(&self, token: Option<&[u8]>) -> Doorman {
        let active = self.active();
        let doorman = Doorman::of(token, active.setting.config.admin.token.as_ref().map(Secret::expose));
        let why = match doorman {
            Doorman::Admitted => return doorman,
            Doorman::Disabled => "disabled",
            Doorman::NoToken => "no_token",
            Doorman::WrongToken => "wrong_token",
        };
        self.observer.metrics.orders_refused.with_label_values(&[why]).inc();
        doorman
    }

    fn audit(&self, from: Option<SocketAddr>, command: &str) -> bool {
        let by = Order::Http { from, token: "admin.token_file" };
        let event = Event::Node(NodeEvent::Ordered { by, command: command.to_owned() });
        let put = self.observer.record(event, clock::now());
        put && self.observer.audit.trouble().is_none_or(|trouble| trouble.is_ok())
    }

    fn drain(&self, deadline: Option<Duration>) -> Draining {
        let mut allowed = self.drain_deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deadline) = deadline {
            *allowed = deadline;
        }
        let deadline = *allowed;
        drop(allowed);
        self.begin_drain();
        self.ended.notify_one();
        Draining { node: self.owner.node.to_string(), in_progress: self.in_progress(), deadline }
    }
}
