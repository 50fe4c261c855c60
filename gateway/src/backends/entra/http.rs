//! One question over HTTPS and its answer: no redirect is followed, no cookie kept, nothing unpacked, and no more is read than an
//! answer may have.

use super::connect::{Body, chain};
use super::pool::{Lease, Pool, Stream};
use crate::clock;
use bytes::Bytes;
use gateway_core::factor::entra::LARGEST;
use gateway_core::limit::patience::retry_after;
use gateway_core::secret::Secret;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An answer, whatever it says.
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// How long `Retry-After` asks to wait.
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
    /// How long the answer may take once the question has a connection; `None`: until then.
    pub(super) answer_within: Option<Duration>,
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

/// A question that has a connection.
enum Asked {
    /// It was sent.
    Two(Stream, ResponseFuture),
    /// It is sent by who waits.
    One(http1::SendRequest<Body>, Box<Request<Body>>),
}

/// Puts a question. While it waits for an answer over HTTP/2, which may take a person's time, it keeps little: whatever is needed only
/// before or after is in a box of its own.
pub(super) fn post(pool: Arc<Pool>, post: Post<'_>) -> impl Future<Output = Result<Reply, Failure>> {
    let (until, answer_within) = (post.until, post.answer_within);
    let asking = Box::pin(ask(pool.clone(), post));
    async move {
        let asked = asking.await?;
        let until = answer_within.map_or(until, |within| until.min(Instant::now() + within));
        let (stream, answer) = match asked {
            Asked::Two(stream, answer) => (stream, answer),
            Asked::One(sender, request) => return Box::pin(one(&pool, sender, *request, until)).await,
        };
        let response = match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(response)) => Box::new(response),
            Ok(Err(error)) if was_refused(&error) => return Err(Failure::NotAsked(chain(&error).into())),
            Ok(Err(error)) => return Err(Failure::Lost(chain(&error).into())),
            Err(_) => return Err(Failure::Late),
        };
        let reply = match tokio::time::timeout_at(until, Box::pin(read_two(response))).await {
            Ok(reply) => reply.map_err(|what| Failure::Lost(what.into())),
            Err(_) => Err(Failure::Late),
        };
        drop(stream);
        reply
    }
}

/// Finds a connection, and over HTTP/2 sends the question.
async fn ask(pool: Arc<Pool>, post: Post<'_>) -> Result<Asked, Failure> {
    let Post { host, path, content_type, headers, body, until, .. } = post;
    let lease = match tokio::time::timeout_at(until, pool.lease()).await {
        Ok(Ok(lease)) => lease,
        Ok(Err(failure)) => return Err(Failure::NotAsked((&*failure).into())),
        Err(_) => return Err(Failure::NotAsked(format!("{host}: no connection in time").into())),
    };
    let request = request(host, path, content_type, headers, body.len(), matches!(lease, Lease::Two(_)));
    let request = request.map_err(|error| Failure::NotAsked(error.to_string().into()))?;
    match lease {
        Lease::Two(stream) => match stream.send(request, body) {
            Ok(answer) => Ok(Asked::Two(stream, answer)),
            Err(error) => Err(Failure::NotAsked(chain(&error).into())),
        },
        Lease::One(sender) => Ok(Asked::One(sender, Box::new(request.map(|()| Body::new(body))))),
    }
}

/// A question over HTTP/1.1.
async fn one(
    pool: &Pool,
    mut sender: http1::SendRequest<Body>,
    request: Request<Body>,
    until: Instant,
) -> Result<Reply, Failure> {
    let response = match tokio::time::timeout_at(until, sender.try_send_request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if error.message().is_some() => {
            return Err(Failure::NotAsked(chain(error.error()).into()));
        }
        Ok(Err(error)) => return Err(Failure::Lost(chain(error.error()).into())),
        Err(_) => return Err(Failure::Late),
    };
    let reply = match tokio::time::timeout_at(until, read_one(response)).await {
        Ok(reply) => reply.map_err(|what| Failure::Lost(what.into()))?,
        Err(_) => return Err(Failure::Late),
    };
    pool.give_back(sender);
    Ok(reply)
}

fn request(
    host: &str,
    path: &str,
    content_type: &'static str,
    headers: HeaderMap,
    length: usize,
    absolute: bool,
) -> Result<Request<()>, hyper::http::Error> {
    // HTTP/2 takes scheme and authority from the address, HTTP/1.1 the authority from the header.
    let uri = if absolute { format!("https://{host}{path}") } else { path.to_owned() };
    let mut request = Request::builder().method(Method::POST).uri(uri).body(())?;
    let all = request.headers_mut();
    *all = headers;
    if !absolute {
        all.insert(header::HOST, HeaderValue::from_str(host)?);
    }
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    all.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    all.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(request)
}

impl Reply {
    /// An answer of whose body nothing was read.
    fn of<B>(response: &Response<B>) -> Result<Self, String> {
        let status = response.status().as_u16();
        let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let retry_after = text(header::RETRY_AFTER).and_then(|text| retry_after(text, clock::now()));
        if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(format!("status {status} with a packed body, which was not asked for"));
        }
        Ok(Self { status, retry_after, body: Vec::new() })
    }

    fn take(&mut self, data: &[u8]) -> Result<(), String> {
        if self.body.len() + data.len() > LARGEST {
            return Err(format!("status {} with more than 64 KiB", self.status));
        }
        self.body.extend_from_slice(data);
        Ok(())
    }

    fn broken(&self, error: &dyn std::error::Error) -> String {
        format!("status {}, then: {}", self.status, chain(error))
    }
}

/// Reads an answer over HTTP/2 to its end, or as far as it may go.
async fn read_two(response: Box<Response<RecvStream>>) -> Result<Reply, String> {
    let mut reply = Reply::of(&response)?;
    let mut incoming = response.into_body();
    while let Some(data) = incoming.data().await {
        let data = match data {
            Ok(data) => data,
            // It has answered, and does not care for the rest of the question (RFC 9113 §8.1).
            Err(error) if error.is_remote() && error.reason() == Some(Reason::NO_ERROR) => break,
            Err(error) => return Err(reply.broken(&error)),
        };
        reply.take(&data)?;
        incoming.flow_control().release_capacity(data.len()).map_err(|error| reply.broken(&error))?;
    }
    Ok(reply)
}

/// As `read_two`, over HTTP/1.1.
async fn read_one(response: Response<Incoming>) -> Result<Reply, String> {
    let mut reply = Reply::of(&response)?;
    let mut incoming = response.into_body();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| reply.broken(&error))?;
        if let Some(data) = frame.data_ref() {
            reply.take(data)?;
        }
    }
    Ok(reply)
}

/// Whether the server said that it did not look at the question: it refused the stream, or it was going away and the stream is one
/// of those it names as not begun (RFC 9113 §8.7).
fn was_refused(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && ((error.is_reset() && reason == Some(Reason::REFUSED_STREAM))
            || (error.is_go_away() && reason == Some(Reason::NO_ERROR)))
}
