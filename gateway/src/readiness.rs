//! Whether this node is worse than its peers. What all nodes share (a directory, the cloud, the store in `local` mode) is told in
//! the details and takes no node out of a balancer, since it would take all of them.

use crate::clock;
use crate::node::Node;
use admin_api::{Check, Control, Readiness};
use std::sync::atomic::Ordering;

/// How far a clock may be from the store's: codes of time-based tokens are good for a step of 30 s and its neighbours, and half a
/// step is left to the users' devices.
const CLOCK: u64 = 15_000_000;

impl Node {
    /// Looks at everything.
    pub(crate) fn look(&self) -> Readiness {
        let active = self.active();
        let config = &active.setting.config;
        let (running, wanted) = (self.listening.load(Ordering::Relaxed), self.wanted.load(Ordering::Relaxed));
        let (used, limit) = (self.in_progress(), config.limits.in_progress);
        let store = self.store.health();
        let draining = self.is_draining();
        let mut checks = vec![
            Check {
                name: "listeners",
                ok: running == wanted,
                detail: format!("{running} of {wanted} sockets are served"),
            },
            Check {
                name: "permits",
                ok: used < limit,
                detail: format!("{used} of limits.in_progress = {limit} in use"),
            },
            Check {
                name: "store",
                ok: !store.failing,
                detail: if store.lost {
                    "the shared store cannot be reached: look at Redis, and at the network to it".to_owned()
                } else if store.failing {
                    "used codes cannot be written to state_dir: look at its disk".to_owned()
                } else {
                    format!("{} records", store.records)
                },
            },
            Check {
                name: "node_id",
                ok: !store.conflict,
                detail: if store.conflict {
                    "another node that started before has this cluster.node_id: give this one another".to_owned()
                } else {
                    String::new()
                },
            },
            self.clock(),
            self.configuration(&config.version),
            self.back_ends(),
        ];
        let lack = crate::means::trouble();
        checks.push(Check { name: "means", ok: lack.is_ok(), detail: lack.err().unwrap_or_default() });
        if let Some(sign_in) = &config.health.sign_in {
            let (ok, detail) = self.self_sign_in.judge(sign_in.failures);
            checks.push(Check { name: "sign_in", ok, detail });
        }
        if let Some(own) = self.neighbours.get() {
            checks.push(peers(own.peers()));
        }
        if let Some(trouble) = self.observer.audit.trouble() {
            checks.push(Check {
                name: "audit",
                ok: trouble.is_ok(),
                detail: trouble.err().unwrap_or_default().to_owned(),
            });
        }
        checks.push(Check {
            name: "draining",
            ok: !draining,
            detail: if draining { "new sign-ins are left to other nodes".to_owned() } else { String::new() },
        });
        Readiness::of(checks)
    }

    /// A clock that is wrong is this node's fault only where another node's is right: otherwise it is the store's.
    fn clock(&self) -> Check {
        let skew = self.store.stats().map_or(0, |stats| stats.skew.load(Ordering::Relaxed));
        let nodes = self.store.nodes();
        let mut others = nodes.iter().filter(|node| node.owner != *self.owner());
        let ok = skew.unsigned_abs() <= CLOCK || !others.any(|node| node.says.skew.unsigned_abs() <= CLOCK);
        let seconds = skew / 1_000_000;
        let detail = if skew.unsigned_abs() <= CLOCK {
            String::new()
        } else {
            format!("the shared store's clock is {seconds} s ahead of this node's: set this one by NTP")
        };
        Check { name: "clock", ok, detail }
    }

    /// One is always in force: a file that cannot be used is told, and changes nothing.
    fn configuration(&self, version: &str) -> Check {
        let good = self.observer.metrics.last_reload.with_label_values(&["config"]).get() == 1;
        let detail = if good {
            format!("version {version}")
        } else {
            format!(
                "version {version}; the file has faults since and was not taken: see the log, or orthrus check-config"
            )
        };
        Check { name: "configuration", ok: true, detail }
    }

    /// Nodes share them, or are told of the same files.
    fn back_ends(&self) -> Check {
        let metrics = &self.observer.metrics;
        let active = self.active();
        let config = &active.setting.config;
        let mut troubles = Vec::new();
        let first = config.first_factors.iter().map(|factor| &factor.name);
        for name in first.chain(config.second_factors.iter().map(|factor| &factor.name)) {
            if metrics.last_reload.with_label_values(&[name]).get() == 0 {
                troubles.push(format!("`{name}`: its file has faults, and what it said before is in force"));
            }
        }
        for factor in config.second_factors.iter().filter(|factor| factor.kind.prompts()) {
            if metrics.entra_breaker.with_label_values(&[&factor.name]).get() != 0 {
                troubles.push(format!("`{}`: the provider fails and is left alone", factor.name));
            }
        }
        Check { name: "back_ends", ok: true, detail: troubles.join("; ") }
    }

    /// Shows readiness as metrics.
    pub(crate) fn show_readiness(&self) {
        let readiness = Control::readiness(self);
        let metrics = &self.observer.metrics;
        metrics.ready.reset();
        for check in &readiness.checks {
            metrics.ready.with_label_values(&[check.name]).set(check.ok.into());
        }
    }
}

/// Sign-ins go on without connections between nodes, but for the few packets that only one node can go on with.
fn peers(peers: &cluster::peers::Peers) -> Check {
    let mut troubles: Vec<String> = Vec::new();
    if !peers.identity().is_valid(clock::now()) {
        troubles.push("the certificate of cluster.peers is over, or not valid yet: renew it".to_owned());
    }
    let down: Vec<String> = peers.list().iter().filter(|peer| !peer.up).map(|peer| peer.node.to_string()).collect();
    if !down.is_empty() {
        troubles.push(format!("no connection to {}: see the log", down.join(", ")));
    }
    Check { name: "peers", ok: true, detail: troubles.join("; ") }
}
