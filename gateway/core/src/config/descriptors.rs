//! Number of descriptors that a node needs: each socket, file and connection takes one.

use super::{Config, SecondFactorKind};

/// Files that are open or read for a while, the log, the journal, and what the runtimes of other threads take.
const OTHERS: usize = 96;

/// Descriptors that the runtime of one thread that serves takes.
const OF_THREAD: usize = 4;

/// Connections to one provider beside those that prompts wait on: idle ones, and those that are being opened.
const OF_PROVIDER: usize = 96;

/// Connections that ended and are not closed yet, at a door of ours.
const ENDING: usize = 32;

/// Connections of a node to other nodes.
const OF_PEERS: usize = 64;

impl Config {
    /// As many descriptors as the node may have open when everything is used to its limit, on so many threads that serve.
    pub fn descriptors(&self, threads: usize) -> usize {
        let sockets = self.listen.authentication.len() + self.accounting.listen.len();
        let admin = if self.admin.enabled { 2 * self.admin.connections + ENDING } else { 0 };
        let health = self.health.listen.map_or(0, |_| self.health.connections);
        let redis = self.cluster.redis.as_ref().map_or(0, |redis| 2 * redis.connections + OF_THREAD);
        let peers = self.cluster.peers.as_ref().map_or(0, |peers| peers.connections + OF_PEERS);
        let prompts = self.limits.pending_prompts;
        let providers = self.second_factors.iter().map(|factor| match &factor.kind {
            SecondFactorKind::Entra(entra) => prompts.div_ceil(entra.streams_per_connection.max(1)) + OF_PROVIDER,
            SecondFactorKind::Oath(_) => 0,
        });
        let all = [
            OTHERS,
            threads.saturating_mul(sockets + OF_THREAD),
            admin,
            health,
            self.limits.control_connections,
            redis,
            peers,
            providers.sum(),
        ];
        all.into_iter().fold(0, usize::saturating_add)
    }
}
