//! Second factor `entra`: Microsoft Entra MFA. What is asked and what an answer means is in [`gateway_core::factor::entra`]; here
//! is who asks. Everything runs on the threads of [`Outside`]; an arbiter waits for the answer, and dropping the answer gives the
//! question up.

mod calls;
mod certificates;
mod connect;
mod http;
mod meters;
mod pool;
mod tls;
mod tokens;
mod trace;

use super::outside::{Outside, Task};
use super::watched::{Reload, Watched};
use super::{Answer, SecondFactor};
use crate::clock;
use crate::telemetry::metrics::Metrics;
use certificates::Certificates;
use connect::Connector;
use gateway_core::config::{EntraBegin, EntraFactor, Warning};
use gateway_core::factor::entra::{Begin, End, assumed, token};
use gateway_core::factor::{BeginAnswer, BeginQuestion, CodeAnswer, CodeQuestion, Enrolment, PollAnswer, PollQuestion};
use gateway_core::identity::Identity;
use gateway_core::limit::breaker::Breaker;
use gateway_core::limit::patience::Patience;
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use meters::Meters;
use pool::Pool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokens::Tokens;
use tokio::runtime::Handle;

/// How long before its end a certificate is warned of.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

/// Waits that are remembered at a time; with more, those that end first are forgotten.
const WAITS: usize = 10_000;

/// One configured tenant.
#[derive(Clone)]
pub struct EntraBackEnd {
    inner: Arc<Inner>,
    outside: Outside,
}

struct Inner {
    name: Arc<str>,
    /// This node, for the lines of its calls.
    node: Arc<str>,
    factor: Arc<EntraFactor>,
    certificates: Certificates,
    authorities: Option<Watched<String>>,
    connector: Arc<Connector>,
    /// The token endpoint's connections.
    sts: Arc<Pool>,
    /// The service's connections.
    mfa: Arc<Pool>,
    /// Those to the hosts of AffinityUrl.
    affinity: Vec<(String, Arc<Pool>)>,
    sts_host: String,
    token_path: String,
    begin_path: String,
    end_path: String,
    tokens: Tokens,
    breaker: Mutex<Breaker>,
    /// Users whom the service does not want to be asked about for a while, by operation.
    patience: Mutex<Patience<(&'static str, String)>>,
    meters: Meters,
    /// When the certificates were last told of, in seconds.
    told: AtomicU64,
}

impl Inner {
    fn waits(&self) -> MutexGuard<'_, Patience<(&'static str, String)>> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections to a host out of the configuration.
    fn pool_for(&self, host: &str) -> Arc<Pool> {
        let other = self.affinity.iter().find(|(known, _)| *known == host && host != self.factor.hosts.mfa);
        other.map_or(&self.mfa, |(_, pool)| pool).clone()
    }

    /// The certificates as the registry of the cluster has them.
    fn registered(&self, node: &str, now: Timestamp) -> Vec<cluster::Certificate> {
        let usable = self.certificates.usable(now);
        let first = usable.first();
        let entry = |credential: &Arc<certificates::Credential>| cluster::Certificate {
            thumbprint: certificates::hexadecimal(&credential.fingerprints.sha256),
            certificate: credential.der.clone(),
            not_before: credential.validity.not_before,
            not_after: credential.validity.not_after,
            node: node.to_owned(),
            factor: self.name.as_ref().to_owned(),
            state: if first.is_some_and(|first| Arc::ptr_eq(first, credential)) { "in use" } else { "standby" }
                .to_owned(),
        };
        self.certificates.all().iter().map(entry).collect()
    }

    /// What should not stay so of the certificates.
    fn certificate_warnings(&self, now: Timestamp) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |place: usize, problem: String, remedy: &str| {
            let path = format!("second factor {:?}, certificates[{place}]", self.name);
            warnings.push(Warning { path, problem, remedy: remedy.to_owned() });
        };
        for (place, credential) in self.certificates.all().iter().enumerate() {
            let (name, validity) = (&credential.name, &credential.validity);
            for problem in &credential.warnings {
                warn(place, format!("{name}: {problem}"), "Replace it.");
            }
            let left = validity.not_after.since(now);
            if now > validity.not_after {
                warn(place, format!("{name} is over and is not used"), "Renew it, or remove it.");
            } else if now < validity.not_before {
                warn(place, format!("{name} is not valid yet and is not used"), "Wait, or set the clock.");
            } else if left < ENDS_SOON {
                let problem = format!("{name} ends in {} days", left.as_secs() / 86_400);
                warn(place, problem, "Renew it and register the new one.");
            }
        }
        warnings
    }

    /// Says what is to be known of the certificates: at the start, after each change, and once a day.
    fn tell_certificates(&self) {
        let now = clock::now();
        self.told.store(now.as_secs(), Ordering::Relaxed);
        for (place, credential) in self.certificates.all().iter().enumerate() {
            self.meters.certificate_expires(place, credential.validity.not_after.as_secs());
        }
        for warning in self.certificate_warnings(now) {
            tracing::warn!("{warning}");
        }
        if self.certificates.usable(now).is_empty() {
            let reason = Reason::NoUsableCertificate;
            tracing::error!(factor = &*self.name, reason_id = reason.id(), "{} {}", reason.cause(), reason.remedy());
        }
    }
}

impl EntraBackEnd {
    /// The certificates as the registry of the cluster has them.
    pub fn registered(&self, node: &str) -> Vec<cluster::Certificate> {
        self.inner.registered(node, clock::now())
    }

    /// Reads certificates, keys and authorities; asks nobody yet.
    ///
    /// # Errors
    ///
    /// All faults, each with its path.
    pub fn load(
        name: Arc<str>,
        node: Arc<str>,
        factor: Arc<EntraFactor>,
        outside: &Outside,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, Vec<String>> {
        let certificates = Certificates::load(&factor.certificates);
        // Read with a look at what is in it, so that a damaged file never takes the place of a sound one.
        let authorities = factor.ca_file.clone().map(|path| {
            Watched::load(path, |text| match tls::from_pem(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(fault) => Err(vec![fault]),
            })
        });
        let (certificates, authorities) = match (certificates, authorities.transpose()) {
            (Ok(certificates), Ok(authorities)) => (certificates, authorities),
            (certificates, authorities) => {
                return Err(certificates.err().into_iter().chain(authorities.err()).flatten().collect());
            }
        };
        let pem = authorities.as_ref().map(|watched| watched.current().clone());
        let tls = tls::client(&factor, pem.as_deref().map(String::as_str));
        let tls = tls.map_err(|fault| vec![format!("second factor {name:?}: {fault}")])?;
        let connector = Arc::new(Connector::new(&factor, tls));
        let hosts = &factor.hosts;
        let url = token::url(&factor);
        let (sts_host, token_path) =
            url.strip_prefix("https://").and_then(|rest| rest.split_once('/')).unwrap_or_default();
        let (sts_host, token_path) = (sts_host.to_owned(), format!("/{token_path}"));
        let pool = |host: &str| Pool::new(host.to_owned(), connector.clone(), factor.streams_per_connection);
        let path = |operation: &str| format!("/{}/{operation}", hosts.target_path);
        let inner = Inner {
            sts: pool(&sts_host),
            mfa: pool(&hosts.mfa),
            affinity: factor.affinity_hosts.iter().map(|host| (host.clone(), pool(host))).collect(),
            begin_path: path(Begin::OPERATION),
            end_path: path(End::OPERATION),
            tokens: Tokens::default(),
            breaker: Mutex::new(Breaker::new(factor.breaker_failures, factor.breaker_pause)),
            patience: Mutex::new(Patience::new(WAITS)),
            meters: Meters::new(name.clone(), metrics.clone()),
            told: AtomicU64::new(0),
            name,
            node,
            certificates,
            authorities,
            connector,
            sts_host,
            token_path,
            factor,
        };
        // Its threads are made now: later there may be none to be had.
        outside
            .handle()
            .map_err(|error| vec![format!("second factor {:?}: no threads to ask with: {error}", inner.name)])?;
        inner.meters.breaker(0);
        inner.tell_certificates();
        Ok(Self { inner: Arc::new(inner), outside: outside.clone() })
    }

    /// What it was built from.
    pub fn factor(&self) -> &Arc<EntraFactor> {
        &self.inner.factor
    }

    /// What works and should not stay so.
    pub fn warnings(&self) -> Vec<Warning> {
        self.inner.certificate_warnings(clock::now())
    }

    /// Takes its gauges away: it is no longer configured.
    pub fn retire(&self) {
        self.inner.meters.forget(self.inner.certificates.all().len());
    }

    fn handle(&self) -> Option<Handle> {
        let handle = self.outside.handle();
        if let Err(error) = &handle {
            crate::means::note();
            tracing::error!(factor = &*self.inner.name, %error, "there are no threads to ask with");
        }
        handle.ok()
    }

    /// Whether prompts are held open until the user has answered.
    fn holds(&self) -> bool {
        match self.inner.factor.begin {
            EntraBegin::Auto | EntraBegin::Held => true,
            EntraBegin::Polled => !assumed::ASYNC_PUSH_RADIUS,
        }
    }
}

impl SecondFactor for EntraBackEnd {
    /// Who has registered what, only the cloud knows, and it tells when it is asked to begin: there a user without a second factor
    /// is refused, or passes by the rule of `unregistered`.
    fn enrolment(&self, _user: &Identity) -> Answer<Enrolment> {
        Answer::Now(Enrolment::Enrolled)
    }

    fn begin(&self, question: &BeginQuestion) -> Answer<BeginAnswer> {
        let Some(handle) = self.handle() else { return Answer::Now(BeginAnswer::Unavailable(Reason::NodeExhausted)) };
        let work = calls::begin(self.inner.clone(), question.clone(), self.holds());
        let task = Task::begin(&handle, work);
        // A task that died may have asked before.
        Answer::Later(Box::pin(async move { task.await.unwrap_or(BeginAnswer::Denied(Reason::Unexpected)) }))
    }

    fn poll(&self, question: &PollQuestion) -> Answer<PollAnswer> {
        let Some(handle) = self.handle() else { return Answer::Now(PollAnswer::Unavailable(Reason::NodeExhausted)) };
        let task = Task::begin(&handle, calls::poll(self.inner.clone(), question.clone()));
        Answer::Later(Box::pin(async move { task.await.unwrap_or(PollAnswer::Unavailable(Reason::Unexpected)) }))
    }

    fn check_code(&self, question: &CodeQuestion, _now: Timestamp) -> Answer<CodeAnswer> {
        let Some(handle) = self.handle() else { return Answer::Now(CodeAnswer::Unavailable(Reason::NodeExhausted)) };
        let CodeQuestion { id, session, code, .. } = question;
        let work = calls::check_code(self.inner.clone(), *id, session.clone(), code.duplicate());
        let task = Task::begin(&handle, work);
        Answer::Later(Box::pin(async move { task.await.unwrap_or(CodeAnswer::Unknown(Reason::Unexpected)) }))
    }

    fn reload_if_changed(&self) -> Reload {
        let inner = &self.inner;
        let mut outcome = inner.certificates.reload_if_changed();
        if outcome == Reload::Reloaded || clock::now().as_secs() > inner.told.load(Ordering::Relaxed) + 86_400 {
            inner.tell_certificates();
        }
        let Some(authorities) = &inner.authorities else { return outcome };
        match authorities.reload_if_changed() {
            Reload::Unchanged => {}
            Reload::Reloaded => match tls::client(&inner.factor, Some(&authorities.current())) {
                Ok(tls) => {
                    inner.connector.set_tls(tls);
                    if outcome == Reload::Unchanged {
                        outcome = Reload::Reloaded;
                    }
                }
                Err(fault) => outcome = Reload::Faulty(vec![fault]),
            },
            faulty @ Reload::Faulty(_) => outcome = faulty,
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
