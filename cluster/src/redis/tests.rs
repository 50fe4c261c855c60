//! Against a real Redis, which each test starts for itself.

mod compared;
mod faults;
mod layouts;
mod packets;
mod server;
mod sessions;
mod shared;
mod versions;

use super::*;
use crate::Outcome;
use gateway_core::attempt::record::{AttemptId, AttemptKey, Authorization, PacketDigest, Settled};
use gateway_core::attempt::transition::Change;
use server::Server;

fn rules() -> Arc<Rules> {
    Arc::new(Rules {
        deadline: Duration::from_secs(90),
        tries: 3,
        challenge_lifetime: Duration::from_secs(180),
        challenge_repeat: Duration::from_secs(30),
        repeat_window: Duration::from_secs(10),
        answer_repeats: false,
        wrong_codes: 5,
        wrong_codes_window: WINDOW,
        attempts_per_user: 2,
        ..Rules::default()
    })
}

const WINDOW: Duration = Duration::from_secs(900);

fn owner(node: &str) -> Owner {
    Owner { node: node.into(), incarnation: node.bytes().fold(7, |sum, octet| sum * 31 + u64::from(octet)) }
}

fn key(user: &str) -> AttemptKey {
    AttemptKey { group: "vpn".into(), user: user.into(), station: Some([1, 2].into()) }
}

fn authorization() -> Authorization {
    Authorization { first_factor: Some("staff".into()), policy: "p".into(), reply: [].into(), upn: "".into() }
}

fn claim_by(node: &str, packet: u8) -> Change {
    Change::Claim {
        owner: owner(node),
        id: AttemptId([9; 16]),
        begun: clock(),
        factor: "entra".into(),
        authorization: authorization(),
        packet: PacketDigest([packet; 16]),
        port: None,
        marks: Default::default(),
        prompts: true,
        codes: false,
    }
}

fn passed(epoch: u64) -> Change {
    Change::Settle { epoch, taken: None, verdict: Settled::Passed, code: None }
}

fn transition(user: &str, change: Change) -> Transition {
    Transition { key: key(user), change, rules: rules() }
}

/// A node of its own: store and folder.
struct Node {
    store: RedisStore,
    _dir: tempfile::TempDir,
}

impl Node {
    fn with(name: &str, settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), "0011223344556677", clock()).unwrap();
        let keys = ClusterKeys { key: Secret::new(vec![7; 32]), second: None, names: None };
        let store = RedisStore::open(settings, &keys, owner(name), journal, dir.path()).unwrap();
        Self { store, _dir: dir }
    }

    fn new(name: &str, server: &Server) -> Self {
        Self::with(name, server.settings())
    }

    async fn apply(&self, user: &str, change: Change) -> Result<Outcome, StoreError> {
        match self.store.apply(transition(user, change), clock()) {
            Applied::Now(outcome) => outcome,
            Applied::Later(outcome) => outcome.await,
        }
    }

    /// Waits for the connection, so that what follows is not counted with it.
    async fn ready(&self) {
        let _ = self.apply("nobody", Change::Detach { packet: PacketDigest([0; 16]) }).await;
    }

    async fn until(&self, what: &str, met: impl AsyncFn(&Self) -> bool) {
        for _ in 0..400 {
            if met(self).await {
                return;
            }
            self.store.sweep(clock());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {what}");
    }
}

fn epoch(outcome: Result<Outcome, StoreError>) -> u64 {
    match outcome {
        Ok(Outcome::Claimed { epoch } | Outcome::Joined { epoch, .. } | Outcome::TakenOver { epoch, .. }) => epoch,
        other => panic!("{other:?}"),
    }
}
