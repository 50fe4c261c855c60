//! A **simulator** of Microsoft's side of Entra MFA, for tests and demonstrations: the token endpoint and the Connector, as far
//! as the public clients of the real service show them. It is not Microsoft's, says so in every answer (`X-Orthrus-Sim: 1`), names
//! the assumptions that an answer leans on (`X-Orthrus-Sim-Assumed`), and is reachable on loopback alone. The gateway knows
//! nothing of it: it is called like the real service, with the hosts' names and their authority configured.
//!
//! Who somebody is, the name says: `approve17@corp.example` approves each push, `sms@...` gets codes by message, and so on (see
//! [`people`](crate::Cloud::person)). What can go wrong is in [`Fault`].

mod certificates;
mod connector;
pub mod demo;
mod faults;
mod people;
mod server;
mod sts;
mod xml;

pub use certificates::ClientCertificate;
pub use faults::{Fault, Operation, Times};

use certificates::Authority;
use faults::Planned;
use people::{Awaits, Person, Session, totp};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use server::Role;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;

/// What everybody is told first.
pub const BANNER: &str =
    "THIS IS A SIMULATOR. It is not Microsoft's service, and nothing here proves what that service does.";

const TENANT: &str = "5f0d1a2b-3c4d-4e5f-8a9b-0c1d2e3f4a5b";
const RESOURCE_HOST: &str = "adnotifications.orthrus-sim.test";
/// How many requests are remembered.
const SEEN: usize = 4_096;

/// How the cloud behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Offer HTTP/2.
    pub http2: bool,
    /// Streams on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// How long people take who decide by themselves.
    pub takes: Duration,
    /// How long a phone is asked that nobody answers.
    pub no_response: Duration,
    /// How long a call is held at most.
    pub held_at_most: Duration,
    /// Drop elements that stand out of order, in silence, as a DataContract reader does.
    pub strict: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http2: true,
            max_concurrent_streams: 100,
            takes: Duration::from_millis(100),
            no_response: Duration::from_secs(2),
            held_at_most: Duration::from_secs(120),
            strict: true,
        }
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it asked.
    pub operation: Operation,
    /// Its elements, in order; behind them the entries of its dictionary, as `property KEY`.
    pub fields: Vec<(String, String)>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// The content of an element.
    pub fn field(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    /// The names of its elements, in order.
    pub fn elements(&self) -> Vec<&str> {
        let names = self.fields.iter().map(|(name, _)| name.as_str());
        names.filter(|name| !name.starts_with("property ")).collect()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone())
    }
}

pub(crate) struct Inner {
    people: HashMap<String, Person>,
    sessions: HashMap<String, Session>,
    tokens: HashMap<String, Instant>,
    certificates: Vec<(ClientCertificate, Instant)>,
    assertions: HashSet<String>,
    faults: Vec<Planned>,
    requests: HashMap<Operation, u64>,
    seen: VecDeque<Seen>,
    total_prompts: u64,
    token_lifetime: Duration,
    refuse_tokens: Option<u32>,
    client_disabled: bool,
    resource_disabled: bool,
    affinity: bool,
    skew: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    sts: SocketAddr,
    mfa: SocketAddr,
    elsewhere: SocketAddr,
}

pub(crate) struct State {
    settings: Settings,
    tenant: String,
    resource_host: String,
    addresses: Addresses,
    inner: Mutex<Inner>,
    elsewhere: AtomicU64,
    refusing: AtomicBool,
    cut_all: broadcast::Sender<()>,
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    fn see(&self, seen: Seen) {
        let mut inner = self.inner();
        if inner.seen.len() >= SEEN {
            inner.seen.pop_front();
        }
        inner.seen.push_back(seen);
    }
}

fn random() -> u64 {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).expect("the system has randomness");
    u64::from_be_bytes(octets)
}

fn random_id() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A running cloud, on threads of its own. Dropping it ends it.
pub struct Cloud {
    state: Arc<State>,
    authority: Authority,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Cloud {
    /// Starts on loopback, on ports that the system chooses.
    ///
    /// # Panics
    ///
    /// Loopback has no port left.
    pub fn start(settings: Settings) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, settings)
    }

    /// Starts on another address of loopback.
    ///
    /// # Panics
    ///
    /// It is none of loopback, or has no port left.
    pub fn at(address: Ipv4Addr, settings: Settings) -> Self {
        assert!(address.is_loopback(), "{address}: a simulator is reachable on loopback alone");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("entra-cloud")
            .enable_all()
            .build()
            .expect("there are threads");
        let authority = Authority::new();
        let (chain, key) = authority.server(address.into());
        let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they fit");
        tls.alpn_protocols =
            if settings.http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        let tls = TlsAcceptor::from(Arc::new(tls));
        let bind = || runtime.block_on(TcpListener::bind((address, 0))).expect("loopback has ports");
        let (sts, mfa, elsewhere) = (bind(), bind(), bind());
        let local = |listener: &TcpListener| listener.local_addr().expect("it is bound");
        let addresses = Addresses { sts: local(&sts), mfa: local(&mfa), elsewhere: local(&elsewhere) };
        let inner = Inner {
            people: HashMap::new(),
            sessions: HashMap::new(),
            tokens: HashMap::new(),
            certificates: Vec::new(),
            assertions: HashSet::new(),
            faults: Vec::new(),
            requests: HashMap::new(),
            seen: VecDeque::new(),
            total_prompts: 0,
            token_lifetime: Duration::from_secs(86_399),
            refuse_tokens: None,
            client_disabled: false,
            resource_disabled: false,
            affinity: false,
            skew: 0,
        };
        let state = Arc::new(State {
            settings,
            tenant: TENANT.into(),
            resource_host: RESOURCE_HOST.into(),
            addresses,
            inner: Mutex::new(inner),
            elsewhere: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
            cut_all: broadcast::channel(1).0,
        });
        for (listener, role) in [(sts, Role::Cloud), (mfa, Role::Cloud), (elsewhere, Role::Elsewhere)] {
            runtime.spawn(server::serve(state.clone(), listener, tls.clone(), role));
        }
        Self { state, authority, runtime: Some(runtime) }
    }

    /// Where tokens are issued: what `sts` is set to.
    pub fn sts(&self) -> String {
        format!("https://{}/", self.state.addresses.sts)
    }

    /// Host and port of the Connector: what `mfa_host` is set to.
    pub fn mfa_host(&self) -> String {
        self.state.addresses.mfa.to_string()
    }

    /// The host that tokens are for.
    pub fn resource_host(&self) -> &str {
        &self.state.resource_host
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.state.tenant
    }

    /// The authority that signed the servers' certificates, PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// A new certificate for a client, registered in the tenant.
    pub fn new_certificate(&self) -> ClientCertificate {
        let certificate = self.unregistered_certificate();
        self.register(&certificate, Duration::ZERO);
        certificate
    }

    /// One that the tenant does not know.
    pub fn unregistered_certificate(&self) -> ClientCertificate {
        ClientCertificate::new(&self.state.tenant, false)
    }

    /// One that has expired.
    pub fn expired_certificate(&self) -> ClientCertificate {
        ClientCertificate::new(&self.state.tenant, true)
    }

    /// Registers a certificate, which is honoured after a while.
    pub fn register(&self, certificate: &ClientCertificate, after: Duration) {
        self.state.inner().certificates.push((certificate.clone(), Instant::now() + after));
    }

    /// A person of the tenant. What they have registered and how they answer is what the name begins with, up to the first dot,
    /// hyphen, at sign or digit: `approve`, `deny`, `fraud`, `noresponse`, `manual` (waits to be told), `pushtotp`, `voice`,
    /// `voicenoanswer`, `voicemail`, `hungup`, `unreachable`, `spokencode`, `sms`, `totp`, `hardware`, `blocked`, `throttled`,
    /// `limit`, `wrongtenant`, `notsynced`, `noproof`, `nodefault`, `unregistered`, `duplicate`, `unknownvalue`, `http500`, `badxml`; the
    /// tenant does not know anybody else.
    pub fn person(&self, upn: &str) -> Phone<'_> {
        Phone { cloud: self, upn: upn.to_lowercase() }
    }

    /// How often the phone of a person rang: pushes, calls and messages.
    pub fn prompts(&self, upn: &str) -> u64 {
        self.state.inner().people.get(&upn.to_lowercase()).map_or(0, |person| person.prompts)
    }

    /// How often any phone rang.
    pub fn total_prompts(&self) -> u64 {
        self.state.inner().total_prompts
    }

    /// How many requests came in.
    pub fn requests(&self, operation: Operation) -> u64 {
        self.state.inner().requests.get(&operation).copied().unwrap_or_default()
    }

    /// The last requests, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.inner().seen.iter().cloned().collect()
    }

    /// How often the host was asked that only hostile answers name.
    pub fn elsewhere(&self) -> u64 {
        self.state.elsewhere.load(Ordering::Relaxed)
    }

    /// Something goes wrong from now on.
    pub fn fault(&self, operation: Operation, fault: Fault, times: Times) {
        self.state.inner().faults.push(Planned { operation, fault, times });
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        self.state.inner().faults.clear();
    }

    /// Every connection is cut, and no new one is taken until it is lifted.
    pub fn refuse_connections(&self, refuse: bool) {
        self.state.refusing.store(refuse, Ordering::Relaxed);
        if refuse {
            let _ = self.state.cut_all.send(());
        }
    }

    /// Forgets every MFA session, so that nobody has a prompt open.
    pub fn forget_sessions(&self) {
        let inner = &mut *self.state.inner();
        inner.sessions.drain().for_each(|(_, session)| session.news.notify_waiters());
        inner.people.values_mut().for_each(|person| person.open = None);
    }

    /// No token that was issued counts any more.
    pub fn expire_tokens(&self) {
        self.state.inner().tokens.clear();
    }

    /// How long tokens live from now on.
    pub fn token_lifetime(&self, lifetime: Duration) {
        self.state.inner().token_lifetime = lifetime;
    }

    /// The token endpoint refuses with this AADSTS number.
    pub fn refuse_tokens(&self, number: Option<u32>) {
        self.state.inner().refuse_tokens = number;
    }

    /// The client's service principal is disabled, or not.
    pub fn disable_client(&self, disabled: bool) {
        self.state.inner().client_disabled = disabled;
    }

    /// The Connector's service principal is disabled, or not.
    pub fn disable_resource(&self, disabled: bool) {
        self.state.inner().resource_disabled = disabled;
    }

    /// Answers name an AffinityUrl, that of the Connector itself.
    pub fn name_affinity(&self, named: bool) {
        self.state.inner().affinity = named;
    }

    /// The clock of the token endpoint is off by so many seconds.
    pub fn skew(&self, seconds: i64) {
        self.state.inner().skew = seconds;
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A person and their phone.
pub struct Phone<'a> {
    cloud: &'a Cloud,
    upn: String,
}

impl Phone<'_> {
    fn decide(&self, value: &'static str) {
        let inner = &mut *self.cloud.state.inner();
        let open = inner.people.get(&self.upn).and_then(|person| person.open.clone());
        if let Some(session) = open.and_then(|id| inner.sessions.get_mut(&id)) {
            session.awaits = Awaits::Decision(Some((Instant::now(), value)));
            session.news.notify_one();
        }
    }

    /// Approves the prompt that is out.
    pub fn approve(&self) {
        self.decide("Success");
    }

    /// Denies it.
    pub fn deny(&self) {
        self.decide("PhoneAppDenied");
    }

    /// How long this person takes from now on.
    pub fn takes(&self, time: Duration) {
        self.cloud.state.inner().people.entry(self.upn.clone()).or_default().takes = Some(time);
    }

    /// What the service says of this person instead of asking; `None`: as ever.
    pub fn force(&self, value: Option<&'static str>) {
        self.cloud.state.inner().people.entry(self.upn.clone()).or_default().forced = value;
    }

    /// The code of the last message.
    ///
    /// # Panics
    ///
    /// There was none.
    pub fn sms_code(&self) -> String {
        let inner = self.cloud.state.inner();
        inner.people.get(&self.upn).and_then(|person| person.sms.clone()).expect("a message was sent")
    }

    /// The code that the app shows now.
    pub fn totp_code(&self) -> String {
        totp(&self.upn, SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())).1
    }
}
