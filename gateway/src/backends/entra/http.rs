//! One question over HTTPS and its answer: no redirect is followed, no cookie kept, nothing unpacked, and no more is read than an
//! answer may have.

use super::connect::{Body, chain};
use super::pool::Pool;
use bytes::Bytes;
use gateway_core::factor::entra::LARGEST;
use gateway_core::secret::Secret;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An answer, whatever it says.
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// `Retry-After`, where it gives seconds.
    pub(super) retry_after: Option<Duration>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was asked: no connection, or the server says that it did not look at the question.
    NotAsked(Box<str>),
    /// The question was sent, or part of it. What became of it is not known.
    Lost(Box<str>),
    /// As `Lost`, because time is up.
    Late,
}

/// One question.
pub(super) struct Post<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) content_type: &'static str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// When to give up.
    pub(super) until: Instant,
}

/// A body that is wiped when it has been sent.
struct Wiped(Secret);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// A body that holds a secret.
pub(super) fn secret_body(secret: Secret) -> Bytes {
    Bytes::from_owner(Wiped(secret))
}

/// Puts a question.
pub(super) async fn post(pool: &Arc<Pool>, post: Post<'_>) -> Result<Reply, Failure> {
    let Post { host, path, content_type, headers, body, until } = post;
    let lease = match tokio::time::timeout_at(until, pool.lease()).await {
        Ok(Ok(lease)) => lease,
        Ok(Err(failure)) => return Err(Failure::NotAsked((&*failure).into())),
        Err(_) => return Err(Failure::NotAsked(format!("{host}: no connection in time").into())),
    };
    let mut lease = lease;
    let request = request(host, path, content_type, headers, body, matches!(lease, super::pool::Lease::Two(_)));
    let request = request.map_err(|error| Failure::NotAsked(error.to_string().into()))?;
    let response = match tokio::time::timeout_at(until, lease.send(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if error.message().is_some() => {
            return Err(Failure::NotAsked(chain(error.error()).into()));
        }
        Ok(Err(error)) if was_refused(error.error()) => return Err(Failure::NotAsked(chain(error.error()).into())),
        Ok(Err(error)) => return Err(Failure::Lost(chain(error.error()).into())),
        Err(_) => return Err(Failure::Late),
    };
    let reply = match tokio::time::timeout_at(until, Box::pin(read(response))).await {
        Ok(reply) => reply.map_err(|what| Failure::Lost(what.into()))?,
        Err(_) => return Err(Failure::Late),
    };
    pool.give_back(lease);
    Ok(reply)
}

fn request(
    host: &str,
    path: &str,
    content_type: &'static str,
    headers: HeaderMap,
    body: Bytes,
    absolute: bool,
) -> Result<Request<Body>, hyper::http::Error> {
    // HTTP/2 takes scheme and authority from the address, HTTP/1.1 the authority from the header.
    let uri = if absolute { format!("https://{host}{path}") } else { path.to_owned() };
    let mut request = Request::builder().method(Method::POST).uri(uri).body(Body::new(body))?;
    let all = request.headers_mut();
    *all = headers;
    if !absolute {
        all.insert(header::HOST, HeaderValue::from_str(host)?);
    }
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    all.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(request)
}

/// Reads an answer to its end, or as far as it may go.
async fn read(response: Response<Incoming>) -> Result<Reply, String> {
    let status = response.status().as_u16();
    let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let retry_after = text(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(format!("status {status} with a packed body, which was not asked for"));
    }
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| format!("status {status}, then: {}", chain(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if body.len() + data.len() > LARGEST {
            return Err(format!("status {status} with more than 64 KiB"));
        }
        body.extend_from_slice(data);
    }
    Ok(Reply { status, retry_after, body })
}

/// Whether the server said that it did not look at the question: it refused the stream, or it was going away and the stream is one
/// of those it names as not begun (RFC 9113 §8.7).
fn was_refused(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return error.is_remote()
                && ((error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
                    || (error.is_go_away() && reason == Some(h2::Reason::NO_ERROR)));
        }
        cause = error.source();
    }
    false
}
