//! The Connector: Begin by the decision table, End by what the session awaits.

use crate::people::{Awaits, Method, Session, Tap, method, totp};
use crate::xml::{Answer, Request};
use crate::{State, random_id};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

const BEGIN: &str = "BeginTwoWayAuthenticationResponse";
const END: &str = "EndTwoWayAuthenticationResponse";
/// How long an MFA session lives.
const LIFE: Duration = Duration::from_secs(180);

fn says(root: &'static str, value: &str, result: Option<&str>) -> Answer {
    Answer { root, value: value.to_owned(), result: result.map(str::to_owned), ..Answer::default() }
}

fn fails(root: &'static str, value: &str, assumed: &[&'static str]) -> Answer {
    let mut answer = says(root, value, Some("false"));
    answer.assumed = assumed.iter().copied().chain(["error_auth_result"]).collect();
    if GRAPH_ONLY.contains(&value) {
        answer.assumed.push("graph_names_on_connector");
    }
    if value == "UserNotFound" {
        answer.message = Some("Request_ResourceNotFound".into());
    }
    answer
}

/// Values that only an enumeration elsewhere names (`graph_names_on_connector`).
const GRAPH_ONLY: [&str; 8] = [
    "PhoneAppNotificationFailed",
    "AuthenticationMethodFailed",
    "OathCodeDuplicate",
    "UserVoiceAuthFailedCallWentToVoicemail",
    "UserVoiceAuthFailedPhoneUnreachable",
    "UserVoiceAuthFailedPhoneHungUp",
    "UserIsBlocked",
    "PhoneAppAllDevicesBlocked",
];

/// The methods that a person has registered.
pub(crate) fn methods(request: &Request) -> Answer {
    const ROOT: &str = "GetAvailableAuthenticationMethodsResponse";
    let upn = request.field("UserPrincipalName").unwrap_or_default();
    let (value, ids): (&str, &[&str]) = match method(upn) {
        Method::Push(_) => ("Success", &["PhoneAppNotification"]),
        Method::PushAndTotp => ("Success", &["PhoneAppNotification", "PhoneAppOTP"]),
        Method::Call(_) | Method::SpokenCode => ("Success", &["TwoWayVoiceMobile"]),
        Method::Sms => ("Success", &["OneWaySMS"]),
        Method::Totp => ("Success", &["PhoneAppOTP"]),
        Method::Nothing(value) => (value, &[]),
        Method::Unregistered => ("NoDefaultAuthenticationMethodIsConfigured", &[]),
        Method::Broken(_) => return Answer::default(),
    };
    let mut answer = says(ROOT, value, None);
    answer.methods = Some(ids.iter().map(|id| (*id).to_owned()).collect());
    answer.upn = Some(upn.to_owned());
    answer.assumed.push("methods_call_allowed");
    answer
}

/// Begins. A held prompt is waited for.
pub(crate) async fn begin(state: &State, request: &Request) -> Answer {
    let upn = request.field("UserPrincipalName").unwrap_or_default().to_owned();
    if upn.is_empty() || request.field("Version").is_none() {
        return fails(BEGIN, "InvalidParameter", &[]);
    }
    let sync = request.field("SyncCall") == Some("true");
    let (id, awaits) = match open(state, request, &upn) {
        Ok(opened) => opened,
        Err(answer) => return Answer { upn: Some(upn), ..*answer },
    };
    let with = |answer: Answer| Answer {
        upn: Some(upn.clone()),
        session: Some(id.clone()),
        affinity: state
            .inner()
            .affinity
            .then(|| format!("https://{}/StrongAuthenticationService.svc/Connector", state.addresses().mfa)),
        ..answer
    };
    match awaits {
        Awaits::Sms(_) | Awaits::Totp => with(says(BEGIN, "Success", Some("challenge"))),
        Awaits::Decision(_) if !sync => {
            let mut answer = with(says(BEGIN, "Success", None));
            answer.assumed.push("async_push_radius");
            answer
        }
        Awaits::Decision(_) => {
            let value = decided(state, &id).await;
            close(state, &id);
            with(if value == "Success" { says(BEGIN, value, Some("true")) } else { decided_against(BEGIN, value) })
        }
    }
}

/// A new MFA session, or why there is none.
fn open(state: &State, request: &Request, upn: &str) -> Result<(String, Awaits), Box<Answer>> {
    let refuse = |answer: Answer| Err(Box::new(answer));
    let key = upn.to_lowercase();
    let flag = |name: &str| request.property(name) == Some("true");
    let inner = &mut *state.inner();
    let settings = &state.settings;
    let open = inner.people.entry(key.clone()).or_default().open.clone();
    let still_open = open.and_then(|id| inner.sessions.get(&id)).is_some_and(|session| {
        let undecided = !matches!(session.awaits, Awaits::Decision(Some((at, _))) if at <= Instant::now());
        matches!(session.awaits, Awaits::Decision(_)) && undecided && session.born.elapsed() < LIFE
    });
    let person = inner.people.entry(key.clone()).or_default();
    if let Some(value) = person.forced {
        return refuse(fails(BEGIN, value, &[]));
    }
    if person.blocked {
        return refuse(fails(BEGIN, "UserIsBlocked", &[]));
    }
    if still_open {
        return refuse(fails(BEGIN, "UserAuthFailedDuplicateRequest", &["duplicate_means_busy"]));
    }
    let takes = person.takes.unwrap_or(settings.takes);
    let after = |value| Awaits::Decision(Some((Instant::now() + takes, value)));
    let registered = method(&key);
    let asked = request.field("AuthenticationMethodId");
    let wanted = match (asked, registered) {
        (None, registered) => registered,
        (Some("PhoneAppNotification"), Method::PushAndTotp) => Method::Push(Tap::Approve),
        (Some("PhoneAppNotification"), push @ Method::Push(_)) => push,
        (Some("PhoneAppOTP"), Method::PushAndTotp | Method::Totp) => Method::Totp,
        (Some("OneWaySMS"), Method::Sms) => Method::Sms,
        (Some(_), call @ Method::Call(_)) => call,
        (Some(_), nothing @ (Method::Nothing(_) | Method::Unregistered | Method::Broken(_))) => nothing,
        (Some(_), _) => {
            return refuse(fails(BEGIN, "AuthenticationMethodNotConfigured", &["method_id_with_radius_caller"]));
        }
    };
    let awaits = match wanted {
        Method::Nothing(value) => return refuse(fails(BEGIN, value, &[])),
        Method::Broken(_) => return refuse(Answer::default()),
        Method::Unregistered if request.field("RequireUserMatch") == Some("false") => {
            let mut passes = says(BEGIN, "Success", Some("true"));
            passes.assumed.push("unregistered_wire_result");
            return refuse(passes);
        }
        Method::Unregistered => {
            return refuse(fails(BEGIN, "NoDefaultAuthenticationMethodIsConfigured", &["not_registered_codes"]));
        }
        Method::PushAndTotp if flag("OverrideNumberMatchingWithOTP") => Awaits::Totp,
        Method::PushAndTotp | Method::Push(Tap::Approve) => after("Success"),
        Method::Push(Tap::Deny | Tap::Fraud) => after("PhoneAppDenied"),
        Method::Push(Tap::Never) => {
            Awaits::Decision(Some((Instant::now() + settings.no_response, "PhoneAppNoResponse")))
        }
        Method::Push(Tap::Told) => Awaits::Decision(None),
        Method::Call(value) => after(value),
        Method::SpokenCode if flag("OverrideVoiceOtp") => after("Success"),
        Method::SpokenCode | Method::Sms => Awaits::Sms(format!("{:06}", crate::random() % 1_000_000)),
        Method::Totp => Awaits::Totp,
    };
    let id = random_id();
    let rings = !matches!(awaits, Awaits::Totp);
    person.prompts += u64::from(rings);
    person.blocked = wanted == Method::Push(Tap::Fraud);
    person.open = Some(id.clone());
    if let Awaits::Sms(code) = &awaits {
        person.sms = Some(code.clone());
    }
    inner.total_prompts += u64::from(rings);
    let news = Arc::new(Notify::new());
    let session = Session { upn: key, born: Instant::now(), awaits: awaits.clone(), news };
    inner.sessions.insert(id.clone(), session);
    Ok((id, awaits))
}

/// Waits until the person has decided.
async fn decided(state: &State, id: &str) -> &'static str {
    loop {
        let (decision, news, born) = {
            let inner = state.inner();
            let Some(session) = inner.sessions.get(id) else { return "InvalidSession" };
            let Awaits::Decision(decision) = session.awaits else { return "InternalError" };
            (decision, session.news.clone(), session.born)
        };
        let heard = news.notified();
        match decision {
            Some((at, value)) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => return value,
                    () = heard => {}
                }
            }
            None => {
                tokio::select! {
                    () = tokio::time::sleep_until((born + state.settings.held_at_most).into()) => return "PhoneAppNoResponse",
                    () = heard => {}
                }
            }
        }
    }
}

/// What the person did is shown; how the service words it, for calls, is assumed.
fn decided_against(root: &'static str, value: &str) -> Answer {
    let mut answer = says(root, value, Some("false"));
    if GRAPH_ONLY.contains(&value) {
        answer.assumed.push("graph_names_on_connector");
    }
    answer
}

fn close(state: &State, id: &str) {
    let inner = &mut *state.inner();
    if let Some(session) = inner.sessions.remove(id)
        && let Some(person) = inner.people.get_mut(&session.upn)
    {
        person.open.take_if(|open| open == id);
    }
}

/// Ends: with a code, or asking what became of a prompt.
pub(crate) fn end(state: &State, request: &Request) -> Answer {
    let id = request.field("SessionId").unwrap_or_default().to_owned();
    let code = request.field("AdditionalAuthData").filter(|code| !code.is_empty());
    let awaits = {
        let inner = state.inner();
        inner.sessions.get(&id).filter(|session| session.born.elapsed() < LIFE).map(|session| session.awaits.clone())
    };
    let approved = |right: bool, wrong: &str| {
        close(state, &id);
        if right {
            says(END, "Success", Some("true"))
        } else {
            let mut refused = says(END, wrong, Some("false"));
            refused.assumed.push("wrong_code_ends_session");
            refused
        }
    };
    match (awaits, code) {
        (None, _) => {
            close(state, &id);
            says(END, "InvalidSession", None)
        }
        (Some(Awaits::Decision(Some((at, value)))), None) if at <= Instant::now() => {
            close(state, &id);
            let mut answer =
                if value == "Success" { says(END, value, Some("true")) } else { decided_against(END, value) };
            answer.assumed.push("end_answers_once");
            answer
        }
        (Some(Awaits::Decision(_)), _) => says(END, "AuthenticationPending", None),
        (Some(_), None) => says(END, "AuthenticationPending", None),
        (Some(Awaits::Sms(right)), Some(code)) => approved(right == code, "SMSAuthFailedWrongCodeEntered"),
        (Some(Awaits::Totp), Some(code)) => totp_code(state, &id, code, approved),
    }
}

fn totp_code(state: &State, id: &str, code: &str, approved: impl Fn(bool, &str) -> Answer) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut fits = None;
    {
        let inner = &mut *state.inner();
        let upn = inner.sessions.get(id).map(|session| session.upn.clone()).unwrap_or_default();
        for seconds in [now - 30, now, now + 30] {
            let (step, right) = totp(&upn, seconds);
            if right == code {
                fits = Some(step);
            }
        }
        if let (Some(step), Some(person)) = (fits, inner.people.get_mut(&upn)) {
            if person.used_step >= step {
                drop(approved);
                return fails(END, "OathCodeDuplicate", &[]);
            }
            person.used_step = step;
        }
    }
    approved(fits.is_some(), "OathCodeIncorrect")
}
