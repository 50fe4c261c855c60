//! The actors without a network: packets handed in, replies taken out of channels, back ends that do as they are told.

use super::exchange::{Entropy, Exchange};
use super::keeper::Guard;
use super::messages::Replied;
use crate::accounting::Accounting;
use crate::backends::hashing::HashingPool;
use crate::backends::watched::Reload;
use crate::backends::{Answer, Backends, FirstFactor};
use crate::clock;
use crate::learned::Learned;
use crate::listen::reply_to::ReplyTo;
use crate::node::{Node, Parts};
use crate::peers::Answered;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observer;
use crate::telemetry::trace::Tracing;
use actix::prelude::*;
use admin_api::Control;
use cluster::{Journal, MemoryStore, Settings, Store};
use gateway_core::attempt::record::Owner;
use gateway_core::attempt::state::Keyring;
use gateway_core::exchange::duplicates::{End, Key};
use gateway_core::exchange::{Request, digest};
use gateway_core::factor::{ChangeQuestion, FirstFactorAnswer, FirstFactorQuestion, NeedMore, Offer, Proved};
use gateway_core::radius::{
    Attributes, Code, Packet, SharedSecret, attribute, encode_request, hide_password, verify_reply,
};
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

mod traces;

const SECRET: &str = "a secret for the tests";
const AUTHENTICATOR: [u8; 16] = [9; 16];

/// A first factor that asks once more, and fails in every way it is told to.
struct Scripted;

impl FirstFactor for Scripted {
    fn check(&self, question: FirstFactorQuestion, _: Timestamp) -> Answer<FirstFactorAnswer> {
        let Offer::Pap(password) = &question.offer else { panic!("only PAP is spoken here") };
        match (password.expose(), question.session.as_deref()) {
            (b"proved", None) => Answer::Now(FirstFactorAnswer::Proved(Proved::default())),
            (b"later", None) => Answer::Later(Box::pin(async {
                actix_rt::task::yield_now().await;
                FirstFactorAnswer::Proved(Proved::default())
            })),
            (b"more", None) => {
                let session = b"round 1".to_vec();
                Answer::Now(FirstFactorAnswer::NeedMore(NeedMore { session, message: "New password:".into() }))
            }
            (b"new one", Some(b"round 1")) => Answer::Now(FirstFactorAnswer::Proved(Proved::default())),
            (b"panic", None) => panic!("as told"),
            _ => Answer::Now(FirstFactorAnswer::Refused(Reason::WrongPassword)),
        }
    }

    fn change(&self, _: ChangeQuestion) -> Answer<Result<(), Reason>> {
        panic!("nobody brings a new password")
    }

    fn reload_if_changed(&self) -> Reload {
        Reload::Unchanged
    }
}

/// Keeps nothing.
struct Deaf;

impl Actor for Deaf {
    type Context = Context<Self>;
}

impl Handler<Replied> for Deaf {
    type Result = ();

    fn handle(&mut self, replied: Replied, _: &mut Context<Self>) {
        assert!(replied.elsewhere, "the reply would leave from here too");
    }
}

/// Another node that waits.
fn to_peer() -> (ReplyTo, oneshot::Receiver<Answered>) {
    let (answer, answered) = oneshot::channel();
    let address: SocketAddr = "192.0.2.1:1024".parse().unwrap();
    let key = Key { source: address, local: address, identifier: 7 };
    let listener = Deaf.start().recipient();
    (ReplyTo::Peer { answer, listener, client: "vpn".into(), key, serial: 1 }, answered)
}

struct Bench {
    node: Arc<Node>,
    _dir: TempDir,
}

fn bench() -> Bench {
    bench_with(None, Backends::default())
}

fn bench_with(tracing: Option<Arc<Tracing>>, mut backends: Backends) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("secret", SECRET);
    write("users.toml", "");
    write(
        "orthrus.toml",
        r#"
        state_dir = "state"
        [[clients]]
        name = "vpn"
        addresses = ["192.0.2.1"]
        secret_file = "secret"
        [[first_factor]]
        name = "local"
        kind = "file"
        users_file = "users.toml"
        [[policies]]
        name = "all"
        second_factor = "off"
        reply = { Class = "staff" }
        "#,
    );
    let config = crate::config::load(&dir.path().join("orthrus.toml")).unwrap().config;
    let journal = Journal::open(&config.state_dir, "", clock::now()).unwrap();
    let settings = Settings { limit: 100, wrong_codes_window: Duration::from_secs(900) };
    let metrics = Arc::new(Metrics::new().unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(journal, settings));
    let accounting = Accounting::start(&config, &store, &metrics, clock::now()).unwrap();
    let parts = Parts {
        accounting,
        config_file: None,
        watched: Vec::new(),
        keyring: Keyring::new(&Secret::new(vec![1; 32])),
        owner: Owner { node: "a".into(), incarnation: 1 },
        pool: Arc::new(HashingPool::new(1, 1).unwrap()),
        store,
        observer: Observer::new(metrics, 100, crate::audit::Audit::default()),
        learned: Learned::load(&config.state_dir, 10).unwrap(),
        locks: crate::locks::LockedUsers::load(&config.state_dir).unwrap(),
        tracing,
        config,
    };
    backends.add_first("local".into(), Box::new(Scripted));
    Bench { node: Node::with_backends(parts, backends), _dir: dir }
}

fn shared() -> SharedSecret {
    SharedSecret::new(Secret::new(SECRET.as_bytes().to_vec()))
}

impl Bench {
    /// An exchange for one packet, whose reply goes to `reply_to`.
    fn send(&self, password: &str, state: Option<&[u8]>, reply_to: ReplyTo) {
        let mut attributes = Attributes::new();
        attributes.push(attribute::USER_NAME, b"alice").unwrap();
        let hidden = hide_password(password.as_bytes(), &shared(), &AUTHENTICATOR).unwrap();
        attributes.push(attribute::USER_PASSWORD, &hidden).unwrap();
        if let Some(state) = state {
            attributes.push(attribute::STATE, state).unwrap();
        }
        let bytes = encode_request(Code::ACCESS_REQUEST, 7, AUTHENTICATOR, &attributes, &shared(), true).unwrap();
        let active = self.node.active().clone();
        let source: SocketAddr = "192.0.2.1:1024".parse().unwrap();
        let client = active.clients.find(source.ip()).unwrap().clone();
        let packet = Packet::parse(&bytes).unwrap();
        let named = digest(&packet, &client, source);
        let request = Request::read(&packet, named, client, (&shared(), true), source, 0, clock::now());
        let permit = self.node.permit(&"vpn".into(), 10).unwrap();
        let entropy = Entropy::default();
        Exchange::new(request, bytes.clone().into(), 0, reply_to, entropy, (self.node.clone(), active), permit).start();
    }

    async fn ask(&self, password: &str, state: Option<&[u8]>) -> Vec<u8> {
        let (connection, mut replies) = mpsc::channel(1);
        self.send(password, state, ReplyTo::Stream(connection));
        replies.recv().await.expect("a reply").to_vec()
    }
}

fn read(reply: &[u8]) -> Packet<'_> {
    let packet = Packet::parse(reply).unwrap();
    verify_reply(&packet, &AUTHENTICATOR, &shared()).unwrap();
    packet
}

#[actix_rt::test]
async fn a_reply_finds_its_way_over_a_stream_and_to_a_peer() {
    let bench = bench();
    for password in ["proved", "later"] {
        let reply = bench.ask(password, None).await;
        assert_eq!(read(&reply).code(), Code::ACCESS_ACCEPT, "{password}");
        assert_eq!(read(&reply).first(attribute::CLASS), Some(b"staff".as_slice()));
    }
    let (reply_to, reply) = to_peer();
    bench.send("wrong", None, reply_to);
    let Ok((End::Replied(reply), Some(_))) = reply.await.unwrap() else { panic!("a reply that is delayed") };
    assert_eq!(read(&reply).code(), Code::ACCESS_REJECT);
}

#[actix_rt::test]
async fn a_first_factor_may_ask_for_another_round() {
    let bench = bench();
    let challenge = bench.ask("more", None).await;
    let challenge = read(&challenge);
    assert_eq!(challenge.code(), Code::ACCESS_CHALLENGE);
    assert_eq!(challenge.first(attribute::REPLY_MESSAGE), Some(b"New password:".as_slice()));
    let state = challenge.first(attribute::STATE).unwrap();
    assert_eq!(read(&bench.ask("new one", Some(state)).await).code(), Code::ACCESS_ACCEPT);
    assert_eq!(read(&bench.ask("new one", Some(state)).await).code(), Code::ACCESS_REJECT, "a State serves once");
}

#[actix_rt::test]
async fn an_exchange_that_panics_is_silent_and_gives_its_permit_back() {
    let bench = bench();
    let (reply_to, reply) = to_peer();
    bench.send("panic", None, reply_to);
    assert_eq!(reply.await.unwrap(), Ok((End::Forgotten, None)));
    while bench.node.in_progress() > 0 {
        actix_rt::task::yield_now().await;
    }
    assert_eq!(read(&bench.ask("proved", None).await).code(), Code::ACCESS_ACCEPT, "the thread lives on");
}

/// Panics as soon as it is started.
struct Doomed {
    _guard: Guard,
}

impl Doomed {
    fn start(node: Arc<Node>, born: Arc<AtomicUsize>) {
        born.fetch_add(1, Ordering::SeqCst);
        let (again, count) = (node.clone(), born);
        let guard = Guard::new(node, "doomed".into(), move || Self::start(again, count));
        Actor::start(Self { _guard: guard });
    }
}

impl Actor for Doomed {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        panic!("as told");
    }
}

#[test]
fn what_dies_is_brought_back_and_given_up_in_the_end() {
    actix_rt::System::new().block_on(async {
        let bench = bench();
        // One that died often already, so that the pauses of the test are few.
        bench.node.deaths.store(8, Ordering::Relaxed);
        let born = Arc::new(AtomicUsize::new(0));
        let (node, count) = (bench.node.clone(), born.clone());
        let arbiter = actix_rt::Arbiter::new();
        arbiter.spawn_fn(move || Doomed::start(node, count));
        bench.node.give_up.notified().await;
        assert_eq!(born.load(Ordering::SeqCst), 2, "brought back once, then given up");
        assert_eq!(bench.node.deaths.load(Ordering::Relaxed), 10);
        bench.node.begin_drain();
        arbiter.stop();
        arbiter.join().unwrap();
    });
}
