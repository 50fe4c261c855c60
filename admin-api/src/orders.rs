//! Orders: what an operator may have a node do over HTTP. Each bears the token of `admin.token_file`
//! (`Authorization: Bearer …`, RFC 6750 §2.1); what goes wrong is told as RFC 9457 has it.

use crate::Control;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::rt::time::timeout;
use actix_web::{HttpRequest, HttpResponse, web};
use gateway_core::secret::equal;
use serde::Deserialize;
use serde_json::json;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest body, in octets.
const LONGEST_BODY: usize = 4_096;
/// Longest time that a body may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// As `drain_deadline` of the configuration.
const DEADLINES: RangeInclusive<u64> = 1..=600;

/// Whether somebody may give orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorman {
    /// The token is right.
    Admitted,
    /// No token is configured: nobody may.
    Disabled,
    /// None was shown.
    NoToken,
    /// Another was shown.
    WrongToken,
}

impl Doorman {
    /// Compares in constant time what was shown with what is configured.
    pub fn of(shown: Option<&[u8]>, configured: Option<&[u8]>) -> Self {
        match (shown, configured) {
            // An empty token admits nobody, however it came into the configuration.
            (_, None | Some([])) => Self::Disabled,
            (None, _) => Self::NoToken,
            (Some(shown), Some(configured)) if equal(shown, configured) => Self::Admitted,
            _ => Self::WrongToken,
        }
    }
}

/// A drain that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draining {
    /// The name of the node.
    pub node: String,
    /// Requests that it still has.
    pub in_progress: usize,
    /// The process ends then at the latest.
    pub deadline: Duration,
}

/// Refusals that were not logged: somebody who guesses tokens must not fill the disk. `orthrus_admin_orders_refused_total` counts all of them.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<(Option<Instant>, u64)>);

impl Refusals {
    /// Counts one. Returns how many were passed over since the last line, where it is time for the next: once a second.
    fn note(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, passed_over) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            *passed_over = passed_over.saturating_add(1);
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(passed_over))
    }
}

/// What may be said of a drain.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    deadline_seconds: Option<u64>,
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/api/v1/drain").route(web::post().to(drain)));
}

/// What goes wrong, for programs (`type`) and people (`detail`).
fn problem(status: StatusCode, kind: &str, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": format!("urn:orthrus:{kind}"), "title": title, "status": status.as_u16(), "detail": detail,
    });
    let mut response = HttpResponse::build(status);
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((WWW_AUTHENTICATE, "Bearer"));
    }
    response
        .insert_header((CONTENT_TYPE, "application/problem+json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body.to_string())
}

/// Why somebody may not give an order. Nothing of the request but its head is looked at.
fn refusal(request: &HttpRequest, control: &dyn Control) -> Option<HttpResponse> {
    let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes()).and_then(|value| {
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    let (status, kind, detail) = match control.doorman(shown) {
        Doorman::Admitted => return None,
        Doorman::Disabled => (
            StatusCode::FORBIDDEN,
            "orders-disabled",
            "This node takes no orders over HTTP: set admin.token_file, or give them by the command line.",
        ),
        Doorman::NoToken => {
            (StatusCode::UNAUTHORIZED, "no-token", "Send the token of admin.token_file: Authorization: Bearer …")
        }
        Doorman::WrongToken => (StatusCode::UNAUTHORIZED, "wrong-token", "The token is not that of admin.token_file."),
    };
    // Shared by all threads of the port; without it each refusal has its line.
    let note = request.app_data::<web::Data<Refusals>>().map_or(Some(0), |refusals| refusals.note(Instant::now()));
    if let Some(passed_over) = note {
        tracing::warn!(path = request.path(), from = from(request), why = kind, passed_over, "an order was refused");
    }
    Some(problem(status, kind, detail))
}

/// The address that a request came from.
fn from(request: &HttpRequest) -> String {
    request.peer_addr().map(|address| address.to_string()).unwrap_or_default()
}

async fn drain(request: HttpRequest, payload: web::Payload, control: web::Data<dyn Control>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &**control) {
        return refusal;
    }
    let body = match timeout(PATIENCE, payload.to_bytes_limited(LONGEST_BODY)).await {
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "too-late", "The body did not arrive in time."),
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(_))) => return problem(StatusCode::BAD_REQUEST, "bad-request", "The body did not arrive whole."),
        Ok(Err(_)) => {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "The body is longer than 4,096 octets.");
        }
    };
    let order = if body.is_empty() { Ok(Drain::default()) } else { serde_json::from_slice(&body) };
    let order: Drain = match order {
        Ok(order) => order,
        Err(error) => {
            return problem(StatusCode::BAD_REQUEST, "bad-request", &format!("The body cannot be read: {error}"));
        }
    };
    if order.deadline_seconds.is_some_and(|seconds| !DEADLINES.contains(&seconds)) {
        return problem(StatusCode::BAD_REQUEST, "bad-request", "deadline_seconds is a number from 1 to 600.");
    }
    let seconds = order.deadline_seconds.map(|seconds| format!(" deadline={seconds}")).unwrap_or_default();
    if !control.audit(request.peer_addr(), &format!("drain{seconds}")) {
        let detail =
            "The audit cannot be written, and what is not audited is not done: look at the disk of audit.folder.";
        return problem(StatusCode::SERVICE_UNAVAILABLE, "not-audited", detail);
    }
    let draining = control.drain(order.deadline_seconds.map(Duration::from_secs));
    tracing::info!(from = from(&request), "a drain was ordered over HTTP");
    HttpResponse::Accepted().insert_header((CACHE_CONTROL, "no-store")).json(json!({
        "node": draining.node,
        "in_progress": draining.in_progress,
        "deadline_seconds": draining.deadline.as_secs(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_one_line_a_second() {
        let (refusals, begin) = (Refusals::default(), Instant::now());
        let at = |milliseconds: u64| begin + Duration::from_millis(milliseconds);
        assert_eq!(refusals.note(at(0)), Some(0));
        for milliseconds in [0, 1, 500, 999] {
            assert_eq!(refusals.note(at(milliseconds)), None, "{milliseconds}");
        }
        assert_eq!(refusals.note(at(1_000)), Some(4), "the line says how many there were beside");
        assert_eq!(refusals.note(at(1_999)), None);
        assert_eq!(refusals.note(at(9_000)), Some(1));
        assert_eq!(refusals.note(at(20_000)), Some(0));
    }
}
