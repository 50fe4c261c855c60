//! Begin, poll and code: what is asked again and what never is. A question is repeated only where it surely prompted nobody: no
//! connection, a stale token, a server that asks for patience before it works. A Begin whose fate is unknown is never repeated.

use super::Inner;
use super::http::{Failure, Post, Reply, post, secret_body};
use super::meters::Came;
use super::tokens::token;
use super::trace::trace_headers;
use crate::clock::{self, OsEntropy};
use crate::means;
use bytes::Bytes;
use gateway_core::attempt::record::AttemptId;
use gateway_core::config::{EntraFactor, EntraMethod, FollowAffinityUrl, PushUsers};
use gateway_core::entropy::draw;
use gateway_core::factor::appended::Way;
use gateway_core::factor::entra::assumed::{self, BEGIN_90S, Status};
use gateway_core::factor::entra::{
    Answer, Asked, AskedAgain, Begin, End, Session, begun, code_digits, code_judged, polled, read_begin, read_end,
    results, shown,
};
use gateway_core::factor::{Approval, BeginAnswer, BeginQuestion, CodeAnswer, PollAnswer, PollQuestion};
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use hyper::header::{self, HeaderMap, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a question is put that surely was not looked at.
const TRIES: u32 = 3;

/// The pause before that, where the server names none.
const PAUSE: Duration = Duration::from_millis(500);

/// Where to ask: the operation, its label, and how long to wait.
struct Call<'a> {
    id: AttemptId,
    operation: &'static str,
    endpoint: &'static str,
    /// Who is asked about.
    user: &'a str,
    /// The session that is asked about.
    session: Option<&'a str>,
    /// A person is waited for.
    held: bool,
    /// It is put again by itself, later: where the service asks for patience, nobody waits here.
    comes_again: bool,
    until: Instant,
    host: &'a str,
    path: &'a str,
}

/// Why a question has no answer.
enum Undone {
    /// Nobody was prompted by it.
    NotAsked(Reason),
    /// Somebody may have been.
    Unknown(Reason),
}

/// Begins a prompt, and with a held one waits for the user.
pub(super) async fn begin(inner: Arc<Inner>, question: BeginQuestion, sync: bool) -> BeginAnswer {
    let now = clock::now();
    let left = question.deadline.since(now).min(BEGIN_90S);
    let patience = if sync { left } else { left.min(inner.patience()) };
    let factor = &inner.factor;
    let unregistered = question.terms.unregistered.unwrap_or_else(|| factor.unregistered.at(now));
    let method = method(factor, &question);
    let asked = Asked {
        upn: &question.user.upn,
        context: question.id,
        sync,
        method: method.is_some(),
        code_possible: question.terms.code,
        unregistered,
        unregistered_codes: &factor.unregistered_codes,
        upn_echo: factor.upn_echo,
        prompt: &factor.prompt,
        now,
    };
    let body = || {
        let begin = Begin {
            upn: asked.upn,
            lcid: &factor.lcid,
            method,
            override_voice: assumed::override_voice_otp_map(factor.voice_override, question.terms.code),
            override_number_matching: wants_code(&inner, &question),
            context: asked.context,
            sync,
            require_user_match: assumed::unregistered_wire_result(
                unregistered == gateway_core::config::Unregistered::AllowByFlag,
            ),
            caller_ip: &factor.caller_ip,
        };
        begin.body().map(Bytes::from)
    };
    if let Err(fault) = body() {
        tracing::warn!(attempt = %question.id, factor = &*inner.name, user = question.user.canonical, upn = shown(asked.upn),
            reason_id = Reason::UpnUnusable.id(), "not asked: {fault}");
        return BeginAnswer::Denied(Reason::UpnUnusable);
    }
    let call = Call {
        id: question.id,
        operation: Begin::OPERATION,
        endpoint: "begin",
        user: asked.upn,
        session: None,
        held: sync,
        comes_again: false,
        until: Instant::now() + patience,
        host: &factor.hosts.mfa,
        path: &inner.begin_path,
    };
    let asking = std::time::Instant::now();
    let reply = match put(&inner, &call, || body().unwrap_or_default()).await {
        Ok(reply) => reply,
        Err(Undone::NotAsked(reason)) => return BeginAnswer::Unavailable(reason),
        Err(Undone::Unknown(reason)) => return BeginAnswer::Denied(reason),
    };
    match read_begin(&reply) {
        Ok(read) => {
            inner.succeeded();
            inner.told(&call, "begin", &read.answer, read.session.as_deref(), asking.elapsed());
            let answer = begun(&asked, read);
            if answer == BeginAnswer::Approved(Approval::Unregistered) {
                tracing::warn!(attempt = %question.id, factor = &*inner.name, node = &*inner.node,
                    user = &*question.user.canonical, upn = shown(asked.upn),
                    "passed without a second factor: the user has registered none, and unregistered = \"allow_by_code\" lets them in");
            }
            answer
        }
        Err(fault) => {
            inner.unreadable(&call, &fault.to_string(), reply.len());
            BeginAnswer::Denied(Reason::OutcomeUnknown)
        }
    }
}

/// The one method to ask by: that of the configuration, or the one that the user wishes for.
fn method(factor: &EntraFactor, question: &BeginQuestion) -> Option<EntraMethod> {
    let wished = || match question.terms.way? {
        // A user who has a push as default, and codes too, is asked for a code without this.
        Way::Code => None,
        // Who is to type codes because a push is easily approved does not get around it by a word.
        Way::Push if push_users(factor, question) == PushUsers::PreferCode => None,
        Way::Push => Some(EntraMethod::PhoneAppNotification),
        Way::Phone => Some(EntraMethod::TwoWayVoiceMobile),
        Way::Sms => Some(EntraMethod::OneWaySMS),
    };
    // A user who is asked for nothing but a code is never asked by anything that could ring.
    let code = question.terms.codes_only.then_some(EntraMethod::PhoneAppOTP);
    factor.method.or(code).or_else(wished)
}

fn push_users(factor: &EntraFactor, question: &BeginQuestion) -> PushUsers {
    question.terms.push_users.unwrap_or(factor.push_users)
}

/// Whether users whose default is a push are asked for a code, if they have one.
fn wants_code(inner: &Inner, question: &BeginQuestion) -> bool {
    if question.terms.codes_only {
        return true;
    }
    match push_users(&inner.factor, question) {
        PushUsers::Auto => question.terms.code,
        PushUsers::PreferCode => true,
        PushUsers::PreferPush => false,
    }
}

/// Asks what became of a prompt.
pub(super) async fn poll(inner: Arc<Inner>, question: PollQuestion) -> PollAnswer {
    let Some(session) = Session::decode(&question.session) else { return PollAnswer::Denied(Reason::SessionExpired) };
    let end = End { session: &session.id, context: session.context, code: None, upn: &session.upn };
    let call = Call { comes_again: true, ..inner.end_call(question.id, &session.upn, &session.id) };
    let asking = std::time::Instant::now();
    let reply = match put(&inner, &call, || end.body().map(secret_body).unwrap_or_default()).await {
        Ok(reply) => reply,
        Err(Undone::NotAsked(reason) | Undone::Unknown(reason)) => return PollAnswer::Unavailable(reason),
    };
    match read_end(&reply) {
        Ok(answer) => {
            inner.succeeded();
            inner.told(&call, "poll", &answer, Some(&session.id), asking.elapsed());
            polled(&AskedAgain { upn: &session.upn, upn_echo: inner.factor.upn_echo }, &answer)
        }
        Err(fault) => {
            inner.unreadable(&call, &fault.to_string(), reply.len());
            PollAnswer::Unavailable(Reason::OutcomeUnknown)
        }
    }
}

/// Has a code judged: one question, whatever comes of it. Where nobody can tell what it came to, the session is over, since a
/// second question with the same code could be judged twice.
pub(super) async fn check_code(inner: Arc<Inner>, id: AttemptId, session: Vec<u8>, code: Secret) -> CodeAnswer {
    let Some(digits) = code_digits(&code) else { return CodeAnswer::Ended(Reason::CodeMalformed) };
    let Some(session) = Session::decode(&session) else { return CodeAnswer::Ended(Reason::SessionExpired) };
    let end = End { session: &session.id, context: session.context, code: Some(digits), upn: &session.upn };
    let call = inner.end_call(id, &session.upn, &session.id);
    let first = match judge(&inner, &call, &end).await {
        Ok(answer) => answer,
        Err(Undone::NotAsked(reason)) => return CodeAnswer::NotAsked(reason),
        Err(Undone::Unknown(reason)) => return CodeAnswer::Unknown(reason),
    };
    let follow = inner.factor.follow_affinity_url == FollowAffinityUrl::OnInvalidSession;
    if !follow || first != CodeAnswer::Ended(Reason::SessionExpired) {
        return first;
    }
    let url = session.affinity_url.as_deref().unwrap_or_default();
    let Some((host, path)) = assumed::affinity_second_try(url, &inner.factor.affinity_hosts) else {
        tracing::warn!(attempt = %id, factor = &*inner.name, url = shown(url),
            "the session is unknown, and AffinityUrl leads nowhere that affinity_hosts allows");
        return first;
    };
    let call = Call { host: &host, path: &path, ..inner.end_call(id, &session.upn, &session.id) };
    // Where it leads nowhere the first answer stands: the session is over.
    judge(&inner, &call, &end).await.unwrap_or(first)
}

async fn judge(inner: &Arc<Inner>, call: &Call<'_>, end: &End<'_>) -> Result<CodeAnswer, Undone> {
    let asking = std::time::Instant::now();
    let reply = put(inner, call, || end.body().map(secret_body).unwrap_or_default()).await?;
    match read_end(&reply) {
        Ok(answer) => {
            inner.succeeded();
            inner.told(call, "code", &answer, Some(end.session), asking.elapsed());
            Ok(code_judged(&AskedAgain { upn: end.upn, upn_echo: inner.factor.upn_echo }, &answer))
        }
        Err(fault) => {
            inner.unreadable(call, &fault.to_string(), reply.len());
            Err(Undone::Unknown(Reason::OutcomeUnknown))
        }
    }
}

/// Puts a question with a token, and again where it surely was not looked at. What comes back is the body of an answer with
/// status 200.
async fn put(inner: &Arc<Inner>, call: &Call<'_>, body: impl Fn() -> Bytes) -> Result<Vec<u8>, Undone> {
    if !inner.admit() {
        return Err(Undone::NotAsked(Reason::BreakerOpen));
    }
    let waits = (call.endpoint, call.user.to_lowercase());
    if let Some(left) = { inner.waits().left(&waits, clock::now()) }
        && (call.comes_again || !pause(call.until, left).await)
    {
        let left = left.as_secs();
        tracing::debug!(attempt = %call.id, factor = &*inner.name, operation = call.operation, upn = shown(call.user),
            left, "not asked: the service asked for patience");
        return Err(Undone::NotAsked(Reason::ProviderOverloaded));
    }
    let (mut tries, mut renewed) = (0, false);
    loop {
        tries += 1;
        let token = match tokio::time::timeout_at(call.until, Box::pin(token(inner))).await {
            Ok(token) => token.map_err(Undone::NotAsked)?,
            Err(_) => return Err(Undone::NotAsked(means::or_lack(Reason::ProviderUnreachable))),
        };
        let question = Post {
            host: call.host,
            path: call.path,
            content_type: "application/xml",
            headers: headers(inner, call.id, &token),
            body: body(),
            until: call.until,
            answer_within: (!call.held).then_some(inner.factor.request_timeout),
        };
        let begun = std::time::Instant::now();
        let outcome = post(inner.pool_for(call.host), question).await;
        let took = begun.elapsed();
        let Reply { status, retry_after, body } = match outcome {
            Ok(reply) => {
                inner.meters.asked(call.endpoint, &Came::Status(reply.status), took);
                reply
            }
            Err(Failure::NotAsked(what)) => {
                inner.meters.asked(call.endpoint, &Came::NotAsked, took);
                let reason = means::or_lack(Reason::ProviderUnreachable);
                // What this node lacks is no failure of Microsoft's.
                if reason == Reason::ProviderUnreachable {
                    inner.failed();
                }
                let again = tries < TRIES && pause(call.until, PAUSE).await;
                inner.undone(call, None, &what, took, again);
                if again {
                    continue;
                }
                return Err(Undone::NotAsked(reason));
            }
            Err(Failure::Lost(what)) => {
                inner.meters.asked(call.endpoint, &Came::Lost, took);
                inner.failed();
                inner.undone(call, None, &what, took, false);
                return Err(Undone::Unknown(Reason::OutcomeUnknown));
            }
            Err(Failure::Late) => {
                inner.meters.asked(call.endpoint, &Came::Late, took);
                // A person who does not answer is no failure of Microsoft's.
                if call.held {
                    inner.undone(call, None, "abandoned: the attempt's time is over", took, false);
                    return Err(Undone::Unknown(Reason::PromptUnanswered));
                }
                inner.failed();
                inner.undone(call, None, "request_timeout is over", took, false);
                return Err(Undone::Unknown(Reason::OutcomeUnknown));
            }
        };
        match assumed::connector_http_errors(status) {
            // Whether the service works shows when the answer has been read.
            Status::Answer => return Ok(body),
            Status::StaleToken => {
                inner.tokens.forget(&token);
                inner.undone(call, Some(status), "the token is not taken", took, !renewed);
                if std::mem::replace(&mut renewed, true) {
                    return Err(Undone::NotAsked(Reason::ProviderRefusedToken));
                }
            }
            Status::Later => {
                if let Some(wait) = retry_after {
                    inner.waits().ask(waits.clone(), wait, clock::now());
                }
                let wait = retry_after.unwrap_or(PAUSE);
                let again = tries < TRIES && !call.comes_again && pause(call.until, wait).await;
                inner.undone(call, Some(status), "the service asks for patience", took, again);
                if !again {
                    inner.failed();
                    return Err(Undone::NotAsked(Reason::ProviderOverloaded));
                }
            }
            Status::Unknown => {
                inner.failed();
                inner.undone(call, Some(status), "a status that says nothing of what was done", took, false);
                return Err(Undone::Unknown(Reason::OutcomeUnknown));
            }
        }
    }
}

/// Waits at least as long as was asked for, and a little more by chance, so that not all come back at once. `false`, at once, where
/// that leaves no time.
async fn pause(until: Instant, wait: Duration) -> bool {
    let chance = u32::from(u16::from_be_bytes(draw::<2>(&mut OsEntropy::new())));
    let wait = wait + wait.max(PAUSE).min(Duration::from_secs(10)) * chance / (2 * u32::from(u16::MAX));
    if Instant::now() + wait >= until {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

fn headers(inner: &Inner, id: AttemptId, token: &Secret) -> HeaderMap {
    let mut headers = trace_headers(id);
    let mut bearer = zeroize::Zeroizing::new(b"Bearer ".to_vec());
    bearer.extend_from_slice(token.expose());
    if let Ok(mut bearer) = HeaderValue::from_bytes(&bearer) {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    if let Ok(agent) = HeaderValue::from_str(&inner.factor.user_agent) {
        headers.insert(header::USER_AGENT, agent);
    }
    headers
}

impl Inner {
    fn end_call<'a>(&'a self, id: AttemptId, user: &'a str, session: &'a str) -> Call<'a> {
        Call {
            id,
            operation: End::OPERATION,
            endpoint: "end",
            user,
            session: Some(session),
            held: false,
            comes_again: false,
            until: Instant::now() + self.patience(),
            host: &self.factor.hosts.mfa,
            path: &self.end_path,
        }
    }

    /// How long a question may take that waits for nobody.
    fn patience(&self) -> Duration {
        self.factor.connect_timeout + self.factor.request_timeout
    }

    /// One line for each answer.
    fn told(&self, call: &Call<'_>, operation: &str, answer: &Answer, session: Option<&str>, took: Duration) {
        let sent = call.user;
        if let Some(echoed) = answer.upn.as_deref().filter(|echoed| !assumed::upn_echo_equal(sent, echoed)) {
            tracing::warn!(attempt = %call.id, factor = &*self.name, node = &*self.node, operation = call.operation, sent = shown(sent),
                echoed = shown(echoed), "the answer names another user (upn_echo)");
        }
        let known = results::find(answer.value());
        self.meters.result(operation, results::class(answer.value()).label(), known.is_none());
        let text = |text: Option<&str>| shown(text.unwrap_or_default());
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    attempt = %call.id,
                    factor = &*self.name,
                    node = &*self.node,
                    operation = call.operation,
                    upn = shown(sent),
                    session = text(session),
                    value = shown(answer.value()),
                    authentication_result = text(answer.authentication_result.as_deref()),
                    said = text(answer.message.as_deref()),
                    retry = text(answer.retry.as_deref()),
                    status = 200,
                    took = took.as_secs_f64(),
                    "entra"
                )
            };
        }
        match known {
            None => line!(error),
            Some(known) if operation == "poll" && known.class == results::Class::Pending => line!(debug),
            Some(_) => line!(info),
        }
    }

    fn unreadable(&self, call: &Call<'_>, fault: &str, length: usize) {
        self.failed();
        let session = call.session.unwrap_or_default();
        tracing::error!(attempt = %call.id, factor = &*self.name, node = &*self.node, operation = call.operation,
            upn = shown(call.user), session = shown(session), length, status = 200,
            reason_id = Reason::OutcomeUnknown.id(), "the answer cannot be read: {fault}");
    }

    /// One line for each question without an answer.
    fn undone(&self, call: &Call<'_>, status: Option<u16>, what: &str, took: Duration, again: bool) {
        let (what, then) = (shown(what), if again { "; asking again" } else { "" });
        tracing::warn!(attempt = %call.id, factor = &*self.name, node = &*self.node, operation = call.operation,
            upn = shown(call.user), session = shown(call.session.unwrap_or_default()), status, host = call.host,
            took = took.as_secs_f64(), "no answer: {what}{then}");
    }

    fn admit(&self) -> bool {
        let mut breaker = self.breaker();
        let admitted = breaker.admit(clock::now());
        self.meters.breaker(breaker.level());
        admitted
    }

    fn succeeded(&self) {
        let mut breaker = self.breaker();
        if breaker.level() != 0 {
            tracing::info!(factor = &*self.name, "the provider answers again");
        }
        breaker.succeeded();
        self.meters.breaker(0);
    }

    fn failed(&self) {
        let now: Timestamp = clock::now();
        let mut breaker = self.breaker();
        if breaker.failed(now) {
            let pause = self.factor.breaker_pause.as_secs_f64();
            tracing::error!(
                factor = &*self.name,
                pause,
                reason_id = Reason::BreakerOpen.id(),
                "{}",
                Reason::BreakerOpen.cause()
            );
        }
        self.meters.breaker(breaker.level());
    }
}
