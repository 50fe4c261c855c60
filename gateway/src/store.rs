//! Which store a configuration asks for.

use cluster::redis::{ClusterKeys, Mode, Settings, Tls, WhenLost};
use cluster::{Journal, MemoryStore, RedisStore, Store};
use gateway_core::attempt::record::Owner;
use gateway_core::config::{Config, Redis, RedisMode, Share, StoreKind, WhenStoreIsLost};
use gateway_core::secret::Secret;
use std::io;
use std::sync::Arc;

/// The store of `config`, for the node `owner`. A Redis that does not answer yet is no error: it may come.
///
/// # Errors
///
/// What is configured cannot be used, or there are no threads.
pub fn open(config: &Config, journal: Journal, owner: &Owner) -> io::Result<Arc<dyn Store>> {
    let limits = &config.limits;
    let cluster = &config.cluster;
    match (cluster.store, &cluster.redis, &cluster.key) {
        (StoreKind::Redis, Some(redis), Some(key)) => {
            let keys = ClusterKeys {
                key: key.duplicate(),
                second: cluster.second_key.as_ref().map(Secret::duplicate),
                names: cluster.names_key.as_ref().map(Secret::duplicate),
            };
            let settings = settings(config, redis);
            Ok(Arc::new(RedisStore::open(settings, &keys, owner.clone(), journal, &config.state_dir)?))
        }
        // The check of the configuration has seen to it that a shared store has all it needs.
        (StoreKind::Redis, ..) => Err(io::Error::other("cluster.redis and cluster.key_file are needed")),
        (StoreKind::Memory, ..) => {
            let settings = cluster::Settings { limit: limits.attempts, wrong_codes_window: limits.wrong_codes_window };
            Ok(Arc::new(MemoryStore::new(journal, settings)))
        }
    }
}

fn settings(config: &Config, redis: &Redis) -> Settings {
    let copy = |secret: &Option<Secret>| secret.as_ref().map(Secret::duplicate);
    Settings {
        mode: match redis.mode {
            RedisMode::Standalone => Mode::Standalone,
            RedisMode::Sentinel => Mode::Sentinel {
                master: redis.sentinel_master.clone(),
                username: redis.sentinel_username.clone(),
                password: copy(&redis.sentinel_password),
            },
            RedisMode::Cluster => Mode::Cluster,
        },
        addresses: redis.addresses.clone(),
        username: redis.username.clone(),
        password: copy(&redis.password),
        tls: redis.tls.as_ref().map(|tls| Tls {
            ca: tls.ca.as_ref().map(|ca| ca.expose().to_vec()),
            client: tls.client.as_ref().map(|(certificate, key)| (certificate.expose().to_vec(), key.duplicate())),
        }),
        timeout: redis.timeout,
        dead_after: config.cluster.dead_after,
        connections: redis.connections,
        prefix: redis.prefix.clone(),
        limit: config.limits.attempts,
        wrong_codes_window: config.limits.wrong_codes_window,
        newest_records: config.cluster.newest_records,
        share_packets: config.cluster.share == Share::All,
        when_lost: match config.cluster.when_store_is_lost {
            WhenStoreIsLost::Local => WhenLost::Local,
            WhenStoreIsLost::Refuse => WhenLost::Refuse,
        },
    }
}
