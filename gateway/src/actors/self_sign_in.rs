//! A user whom the node signs in by itself, to see that it can (`[health.sign_in]`).
//!
//! The RADIUS client exists in this actor alone: it stands in no table of addresses, so that no packet from a socket or from
//! another node is ever held against its secret, which is drawn at each start. Its name is one that no configuration can give.

use super::exchange::{Entropy, Exchange};
use crate::clock::{self, OsEntropy};
use crate::listen::reply_to::ReplyTo;
use crate::node::Node;
use actix::prelude::*;
use gateway_core::config::{Client, DynamicAuthorization, Require, SELF_CLIENT, SelfSignIn as Configured};
use gateway_core::entropy::draw;
use gateway_core::exchange::admission::{Source, admit};
use gateway_core::exchange::{Request, digest};
use gateway_core::radius::{
    Attributes, Code, Packet, SharedSecret, attribute, encode_request, hide_password, verify_reply,
};
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The name of the client in metrics, logs and policies.
pub const NAME: &str = SELF_CLIENT;

/// How long to wait where nobody is to be signed in: a reload may say so.
const IDLE: Duration = Duration::from_secs(1);

/// How the last sign-ins went.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    succeeded: bool,
    failures: u32,
    last: Option<Failure>,
}

/// Why a sign-in failed, as far as the client can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Access-Reject.
    Rejected,
    /// Access-Challenge.
    Challenged,
    /// No reply in time, or none at all.
    Unanswered,
    /// A reply that is not signed by the gateway, or to another packet.
    Unproved,
    /// The packet was not taken.
    NotTaken,
}

impl Failure {
    /// The word in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Challenged => "challenged",
            Self::Unanswered => "unanswered",
            Self::Unproved => "unproved",
            Self::NotTaken => "not_taken",
        }
    }
}

impl Outcomes {
    /// Whether the node counts as able to sign people in, and what to say of it. One that has not shown it yet does not.
    pub fn judge(&self, allowed: u32) -> (bool, String) {
        let State { succeeded, failures, last } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ok = succeeded && failures < allowed;
        let detail = match last {
            Some(last) if failures > 0 => format!(
                "the last {failures} sign-ins of [health.sign_in] failed ({}): see the log line of the sign-in",
                last.label()
            ),
            _ if !succeeded => "the first sign-in of [health.sign_in] has not ended yet".to_owned(),
            _ => "the last sign-in of [health.sign_in] went well".to_owned(),
        };
        (ok, detail)
    }

    fn note(&self, outcome: Result<(), Failure>) -> u32 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => *state = State { succeeded: true, ..State::default() },
            Err(failure) => {
                state.failures = state.failures.saturating_add(1);
                state.last = Some(failure);
            }
        }
        state.failures
    }
}

/// Signs in from time to time.
pub struct SelfSignIn {
    node: Arc<Node>,
    secret: Secret,
    entropy: Entropy,
}

impl SelfSignIn {
    /// For `node`.
    pub fn new(node: Arc<Node>) -> Self {
        let secret = Secret::new(draw::<32>(&mut OsEntropy::new()).to_vec());
        Self { node, secret, entropy: Entropy::default() }
    }

    fn arm(ctx: &mut Context<Self>, after: Duration) {
        ctx.run_later(after, |this, ctx| this.round(ctx));
    }

    fn round(&mut self, ctx: &mut Context<Self>) {
        let active = self.node.active().clone();
        let Some(configured) = &active.setting.config.health.sign_in else { return Self::arm(ctx, IDLE) };
        let (begun, interval, allowed) = (Instant::now(), configured.interval, configured.failures);
        let user = configured.user.clone();
        let sign_in = self.sign_in(configured);
        let done = sign_in.into_actor(self).map(move |outcome, this, ctx| {
            this.told(outcome, begun.elapsed(), &user, allowed);
            Self::arm(ctx, interval);
        });
        ctx.spawn(done);
    }

    fn told(&self, outcome: Result<(), Failure>, took: Duration, user: &str, allowed: u32) {
        let metrics = &self.node.observer.metrics;
        let before = self.node.self_sign_in.judge(allowed).0;
        let failures = self.node.self_sign_in.note(outcome);
        match outcome {
            Ok(()) => {
                metrics.self_sign_in_seconds.observe(took.as_secs_f64());
                if !before {
                    tracing::info!(user, "the node's own sign-in goes well");
                }
            }
            Err(failure) => {
                metrics.self_sign_in_failures.with_label_values(&[failure.label()]).inc();
                let reason = Reason::SelfSignInFailed;
                tracing::warn!(
                    user,
                    failure = failure.label(),
                    failures,
                    allowed,
                    reason = reason.label(),
                    reason_id = reason.id(),
                    "{} {}",
                    reason.cause(),
                    reason.remedy()
                );
            }
        }
    }

    /// One packet from encoding to the check of its reply.
    fn sign_in(&self, configured: &Configured) -> impl Future<Output = Result<(), Failure>> + 'static {
        let shared = SharedSecret::new(self.secret.duplicate());
        let authenticator: [u8; 16] = draw(&mut *self.entropy.borrow_mut());
        let (replies, mut reply) = mpsc::channel(1);
        let taken = self.send(configured, &shared, authenticator, replies);
        let patience = configured.timeout;
        async move {
            taken.ok_or(Failure::NotTaken)?;
            let octets =
                tokio::time::timeout(patience, reply.recv()).await.ok().flatten().ok_or(Failure::Unanswered)?;
            let packet = Packet::parse(&octets).map_err(|_| Failure::Unproved)?;
            verify_reply(&packet, &authenticator, &shared).map_err(|_| Failure::Unproved)?;
            match packet.code() {
                Code::ACCESS_ACCEPT => Ok(()),
                Code::ACCESS_CHALLENGE => Err(Failure::Challenged),
                _ => Err(Failure::Rejected),
            }
        }
    }

    fn send(
        &self,
        configured: &Configured,
        shared: &SharedSecret,
        authenticator: [u8; 16],
        replies: mpsc::Sender<Arc<[u8]>>,
    ) -> Option<()> {
        let mut attributes = Attributes::new();
        attributes.push(attribute::USER_NAME, configured.user.as_bytes()).ok()?;
        let hidden = hide_password(configured.password.expose(), shared, &authenticator).ok()?;
        attributes.push(attribute::USER_PASSWORD, &hidden).ok()?;
        attributes.push(attribute::NAS_IDENTIFIER, NAME.as_bytes()).ok()?;
        let identifier = authenticator.first().copied().unwrap_or_default();
        let octets = encode_request(Code::ACCESS_REQUEST, identifier, authenticator, &attributes, shared, true).ok()?;

        let (active, now) = (self.node.active().clone(), clock::now());
        let client = Arc::new(client(&self.secret, configured));
        let packet = Packet::parse(&octets).ok()?;
        let admission = admit(&packet, &client, Source::default()).ok()?;
        let permit = self.node.permit(&client.name, active.setting.config.limits.in_progress)?;
        let source = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let digest = digest(&packet, &client, source);
        let secret = client.secrets.get(admission.secret)?;
        let proof = (secret, admission.proved);
        let mut request = Request::read(&packet, digest, client.clone(), proof, source, 0, now);
        request.synthetic = true;
        if active.setting.config.reads_attributes {
            request.keep_attributes(&packet);
        }
        let (bytes, shared) = (octets.clone().into(), (self.node.clone(), active));
        let reply_to = ReplyTo::Stream(replies);
        Exchange::new(request, bytes, admission.secret, reply_to, self.entropy.clone(), shared, permit).start();
        Some(())
    }
}

/// The client, which no address leads to.
pub fn client(secret: &Secret, configured: &Configured) -> Client {
    Client {
        name: NAME.into(),
        networks: Vec::new(),
        secrets: vec![SharedSecret::new(secret.duplicate())],
        require_message_authenticator: Require::Yes,
        limit_proxy_state: true,
        challenge: false,
        appended: None,
        answer_within: None,
        first_factor: Some(configured.first_factor.clone()),
        attempt_group: NAME.into(),
        accounting: false,
        max_sessions: None,
        dynamic_authorization: DynamicAuthorization::default(),
    }
}

impl Actor for SelfSignIn {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.round(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_able_when_it_has_shown_it_and_until_it_fails_too_often() {
        let outcomes = Outcomes::default();
        assert!(!outcomes.judge(2).0);
        outcomes.note(Ok(()));
        assert!(outcomes.judge(2).0);
        outcomes.note(Err(Failure::Rejected));
        assert!(outcomes.judge(2).0, "once is not often");
        outcomes.note(Err(Failure::Unanswered));
        let (ok, detail) = outcomes.judge(2);
        assert!(!ok && detail.contains("last 2 sign-ins") && detail.contains("unanswered"), "{detail}");
        outcomes.note(Ok(()));
        assert!(outcomes.judge(2).0);
    }

    #[test]
    fn no_address_leads_to_the_client_and_no_configuration_names_it() {
        let configured = Configured {
            user: "health".into(),
            identity: gateway_core::identity::Rules::default().read(b"health").unwrap(),
            password: Secret::new(b"a password".to_vec()),
            first_factor: "staff".into(),
            interval: IDLE,
            timeout: IDLE,
            failures: 1,
        };
        let client = Arc::new(client(&Secret::new(vec![1; 32]), &configured));
        let table = gateway_core::config::ClientTable::new([&client]);
        for source in ["0.0.0.0", "127.0.0.1", "::", "::1", "192.0.2.1", "::ffff:0.0.0.0"] {
            assert!(table.find(source.parse().unwrap()).is_none(), "{source}");
        }
        assert!(NAME.contains('('), "names of clients have letters, digits, dots, underscores and hyphens");
    }
}
