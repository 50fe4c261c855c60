//! The token: fetched once for all sign-ins, in the background while the last one still holds.

use super::Inner;
use super::certificates::Credential;
use super::http::{Failure, Post, Reply, post, secret_body};
use super::meters::Came;
use crate::clock::{self, OsEntropy};
use crate::means;
use gateway_core::entropy::draw;
use gateway_core::factor::entra::cache::{Look, TokenCache};
use gateway_core::factor::entra::shown;
use gateway_core::factor::entra::token::{self, Algorithm, Token};
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use hyper::header::HeaderMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often one certificate is offered, where the endpoint gives no answer.
const TRIES: u32 = 2;

/// The token in force.
#[derive(Default)]
pub(super) struct Tokens {
    cache: Mutex<TokenCache>,
    changed: Notify,
}

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, TokenCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service does not take it.
    pub(super) fn forget(&self, token: &Arc<Secret>) {
        self.lock().forget(token);
    }
}

/// Why there is no token, and how long the endpoint wants to be left alone.
struct NoToken {
    reason: Reason,
    wait: Option<Duration>,
}

impl From<Reason> for NoToken {
    fn from(reason: Reason) -> Self {
        Self { reason, wait: None }
    }
}

/// Who fetches a token; dropped without a word, the fetch has failed.
struct Fetching {
    inner: Arc<Inner>,
    done: bool,
}

impl Fetching {
    fn report(&mut self, outcome: Result<Token, NoToken>, asked: Timestamp) {
        self.done = true;
        let tokens = &self.inner.tokens;
        match outcome {
            Ok(Token { access, lifetime }) => {
                tokens.lock().fetched(access, lifetime, asked);
                self.inner.meters.token_expires(asked.after(lifetime).as_secs());
            }
            Err(NoToken { reason, wait }) => tokens.lock().failed(reason, wait, clock::now()),
        }
        tokens.changed.notify_waiters();
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if !self.done {
            self.report(Err(Reason::Unexpected.into()), clock::now());
        }
    }
}

/// A token for one call; the error says why there is none. The caller bounds the time.
pub(super) async fn token(inner: &Arc<Inner>) -> Result<Arc<Secret>, Reason> {
    loop {
        let changed = inner.tokens.changed.notified();
        // Not in the condition of the match: the lock must not live through it.
        let look = inner.tokens.lock().look(clock::now());
        match look {
            Look::Use(token) => return Ok(token),
            Look::UseAndFetch(token) => {
                begin(inner);
                return Ok(token);
            }
            Look::Fetch => begin(inner),
            Look::Wait => {}
            Look::Failed(reason) => return Err(reason),
        }
        changed.await;
    }
}

/// Fetches in a task of its own: whoever began it may give up, and the others still wait.
fn begin(inner: &Arc<Inner>) {
    let mut fetching = Fetching { inner: inner.clone(), done: false };
    tokio::runtime::Handle::current().spawn(async move {
        let asked = clock::now();
        let outcome = fetch(&fetching.inner).await;
        fetching.report(outcome, asked);
    });
}

/// One certificate after the other, the newest first.
async fn fetch(inner: &Arc<Inner>) -> Result<Token, NoToken> {
    let factor = &*inner.name;
    let usable = inner.certificates.usable(clock::now());
    let mut last = Reason::NoUsableCertificate;
    if usable.is_empty() {
        tracing::error!(factor, reason_id = last.id(), "{} {}", last.cause(), last.remedy());
    }
    for credential in usable {
        let Some(reply) = ask(inner, &credential).await? else { continue };
        if reply.status == 200 {
            let token = token::read(&reply.body);
            if token.is_none() {
                let reason_id = Reason::TokenEndpointForeign.id();
                let problem = "the token endpoint answered with something that is no token";
                tracing::error!(
                    factor,
                    certificate = credential.name,
                    length = reply.body.len(),
                    reason_id,
                    "{problem}"
                );
            }
            return token.ok_or(Reason::TokenEndpointForeign.into());
        }
        let refusal = token::read_refusal(reply.status, &reply.body);
        tracing::error!(
            factor,
            certificate = credential.name,
            status = reply.status,
            aadsts = refusal.aadsts,
            ids = refusal.ids,
            reason_id = refusal.reason.id(),
            "no token{}: {}: {}",
            if refusal.reason == Reason::TokenEndpointForeign { "" } else { " (ESTS_TOKEN_ERROR)" },
            refusal.advice,
            refusal.description
        );
        last = refusal.reason;
        if !refusal.try_next_certificate {
            break;
        }
    }
    Err(last.into())
}

/// A new assertion of this certificate, under an identifier of its own (RFC 7523 §3).
fn assertion(inner: &Inner, credential: &Credential) -> Option<Secret> {
    let algorithm = Algorithm::from(inner.factor.assertion_alg);
    let (id, now) = (draw::<16>(&mut OsEntropy::new()), clock::now());
    let input = token::assertion_input(&inner.factor, algorithm, &credential.fingerprints, id, now);
    match credential.sign(algorithm, &input) {
        Ok(signature) => Some(token::assertion(&input, &signature)),
        Err(fault) => {
            tracing::error!(
                factor = &*inner.name,
                certificate = credential.name,
                fault,
                "a certificate cannot be used"
            );
            None
        }
    }
}

/// Asks with this certificate; `None` where it cannot sign. Asking twice does no harm here: nobody is prompted.
async fn ask(inner: &Arc<Inner>, credential: &Credential) -> Result<Option<Reply>, NoToken> {
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(assertion) = assertion(inner, credential) else { return Ok(None) };
        let until = Instant::now() + inner.factor.connect_timeout + inner.factor.request_timeout;
        let begun = std::time::Instant::now();
        let question = Post {
            host: &inner.sts_host,
            path: &inner.token_path,
            content_type: "application/x-www-form-urlencoded",
            headers: HeaderMap::new(),
            body: secret_body(token::form(&inner.factor, &assertion)),
            until,
            answer_within: Some(inner.factor.request_timeout),
        };
        let outcome = post(inner.sts.clone(), question).await;
        let took = begun.elapsed();
        let (came, reason, what) = match outcome {
            Ok(reply) => {
                inner.meters.asked("token", &Came::Status(reply.status), took);
                let later = reply.status == 429 || reply.status >= 500;
                if !later {
                    return Ok(Some(reply));
                }
                let pause = reply.retry_after.unwrap_or(Duration::from_millis(500));
                if tries < TRIES && pause <= Duration::from_secs(2) {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                let (reason, problem) = match reply.status {
                    429 | 503 => (Reason::ProviderOverloaded, "the token endpoint asks for patience"),
                    _ => (Reason::ProviderFault, "the token endpoint has a fault of its own"),
                };
                let wait = reply.retry_after;
                let seconds = wait.map(|wait| wait.as_secs());
                tracing::error!(
                    factor = &*inner.name,
                    status = reply.status,
                    retry_after = seconds,
                    reason_id = reason.id(),
                    "{problem}"
                );
                return Err(NoToken { reason, wait });
            }
            Err(Failure::NotAsked(what)) => (Came::NotAsked, means::or_lack(Reason::ProviderUnreachable), what),
            Err(Failure::Lost(what)) => (Came::Lost, Reason::ProviderUnreachable, what),
            Err(Failure::Late) => (Came::Late, Reason::ProviderUnreachable, "request_timeout is over".into()),
        };
        inner.meters.asked("token", &came, took);
        if tries < TRIES && !matches!(came, Came::Late) {
            continue;
        }
        let what = shown(&what);
        tracing::error!(factor = &*inner.name, took = took.as_secs_f64(), "the token endpoint gives no answer: {what}");
        return Err(reason.into());
    }
}
