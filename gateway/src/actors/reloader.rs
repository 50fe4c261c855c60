//! Once a second: files that changed are read again, the configuration among them, and the store forgets what has expired.
//! Both may take a while on a slow disk, so they run on a thread where blocking holds up nobody.

use crate::backends::watched::Reload;
use crate::clock;
use crate::node::Node;
use actix::prelude::*;
use admin_api::Control;
use gateway_core::attempt::transition::Unanswered;
use gateway_core::event::Event;
use gateway_core::factor::users::Users;
use gateway_core::time::Timestamp;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);
const REGISTER_AGAIN: Duration = Duration::from_secs(600);

/// Looks at files and sweeps the store.
pub struct Reloader {
    node: Arc<Node>,
    registry: Registry,
    users: Lists,
}

/// The lists of users as the round before found them, by factor.
type Lists = Arc<Mutex<Vec<(Arc<str>, Arc<Users>)>>>;

/// What this node has put into the registry of certificates, and when: a store may lose it.
type Registry = Arc<Mutex<Vec<(cluster::Certificate, Timestamp)>>>;

impl Reloader {
    /// For `node`.
    pub fn new(node: Arc<Node>) -> Self {
        let users = Lists::new(Mutex::new(node.active().backends.users()));
        Self { node, registry: Registry::default(), users }
    }

    /// Armed anew after each round instead of by interval: a round that was late is not made up for.
    fn arm(ctx: &mut Context<Self>) {
        ctx.run_later(EVERY, |this, ctx| {
            let (node, registry, users) = (this.node.clone(), this.registry.clone(), this.users.clone());
            let round = actix_rt::task::spawn_blocking(move || round(&node, &registry, &users));
            ctx.spawn(round.into_actor(this).map(|_, _, ctx| Self::arm(ctx)));
        });
    }
}

impl Actor for Reloader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        Self::arm(ctx);
    }
}

/// Puts the certificates of this node into the registry of the cluster, each after a change and from time to time.
fn register(node: &Node, registry: &Registry) {
    if node.store.stats().is_none_or(|stats| stats.lost.load(Ordering::Relaxed)) {
        return;
    }
    let now = clock::now();
    let mut registered = registry.lock().unwrap_or_else(PoisonError::into_inner);
    registered.retain(|(_, at)| now.since(*at) < REGISTER_AGAIN);
    for certificate in node.active().backends.certificates(&node.owner().node) {
        if registered.iter().any(|(known, _)| *known == certificate) {
            continue;
        }
        let answer = tokio::runtime::Handle::current().block_on(node.store.register(certificate.clone()));
        if answer.is_ok() {
            registered.push((certificate, now));
        }
    }
}

/// Ends what is open for users who may not sign in any more, whatever had the lists read again.
fn end_shut_out(node: &Node, users: &Lists) {
    let mut known = users.lock().unwrap_or_else(PoisonError::into_inner);
    let lists = node.active().backends.users();
    for (factor, list) in &lists {
        let before = known.iter().find(|(name, before)| name == factor && !Arc::ptr_eq(before, list));
        for (user, reason) in before.map(|(_, before)| list.shut_out_since(before)).into_iter().flatten() {
            tokio::runtime::Handle::current().block_on(node.end_attempts_or_tell((*user).into(), reason));
        }
    }
    *known = lists;
}

fn round(node: &Node, registry: &Registry, users: &Lists) {
    register(node, registry);
    if node.config_changed() {
        tracing::info!("a file of the configuration has changed");
        // What came of it is logged where it happens.
        let _ = node.reload();
    }
    let peers = node.neighbours.get().map(|own| (Arc::from("cluster.peers"), own.reload_if_changed()));
    for (factor, reload) in node.active().backends.reload_if_changed().into_iter().chain(peers) {
        let good = node.observer.metrics.last_reload.with_label_values(&[&factor]);
        match reload {
            Reload::Unchanged => {}
            Reload::Reloaded => {
                good.set(1);
                tracing::info!(factor = &*factor, "its file changed and was read again");
            }
            Reload::Faulty(faults) => {
                good.set(0);
                tracing::error!(
                    factor = &*factor,
                    "its file changed and cannot be used; what it said before stays in force: {}",
                    faults.join("; ")
                );
            }
        }
    }
    end_shut_out(node, users);
    if let Err(error) = node.learned.persist() {
        tracing::error!(%error, "which sources sign could not be written to state_dir: a restart would forget the newest");
    }
    if let Err(error) = node.locks.persist() {
        tracing::error!(%error, "who is locked could not be written to state_dir: a restart would unlock the newest");
    }
    node.tell_others();
    let now = clock::now();
    node.observer.tell_sums(now);
    node.sweep_guesses(now);
    node.locks.sweep(now);
    node.accounting.sweep(&node.active().setting.config, now);
    for unanswered in node.store.sweep(now) {
        let Unanswered { id, key, begun, reason } = unanswered;
        let event = Event::Unanswered { id, reason, user: key.user, client: key.group, begun };
        if let Some(tracing) = &node.tracing {
            tracing.unanswered(&event, node.observer.names_users(), now);
        }
        node.observer.observe(event, now);
    }
}
