//! One connection: DNS, TCP, perhaps a proxy, TLS, HTTP/2 or HTTP/1.1. Whatever fails here, nothing was asked. HTTP/2 is spoken by
//! the h2 crate alone: hyper would keep a task for each stream that waits, as large as what serves the whole connection.

use crate::means;
use arc_swap::ArcSwap;
use base64::Engine;
use bytes::Bytes;
use futures_util::future::select;
use gateway_core::config::{EntraFactor, Proxy};
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use http_body_util::Full;
use hyper::Uri;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;
use zeroize::Zeroizing;

/// Bodies are sent whole.
pub(super) type Body = Full<Bytes>;

type Line = Connection<TlsStream<TcpStream>, Bytes>;

/// How often a connection on which questions wait is tried, and how long it may take to answer that.
#[cfg(not(test))]
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
#[cfg(test)]
const PING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// The longest head of an answer.
const HEAD: u32 = 16 << 10;

/// A connection that is there.
pub(super) enum Connected {
    /// HTTP/2.
    Two(Two),
    /// HTTP/1.1.
    One(http1::SendRequest<Body>),
}

/// An HTTP/2 connection. It ends when this and its streams are dropped.
pub(super) struct Two {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) load: Arc<Load>,
    /// What reads and writes.
    pub(super) task: AbortHandle,
}

/// The streams of an HTTP/2 connection.
pub(super) struct Load {
    /// As many as the server allows.
    pub(super) allowed: AtomicUsize,
    pub(super) open: AtomicUsize,
}

/// Opens connections.
pub(super) struct Connector {
    tls: ArcSwap<ClientConfig>,
    proxies: Option<Matcher>,
    user: Option<HeaderValue>,
    patience: Duration,
}

impl Connector {
    pub(super) fn new(factor: &EntraFactor, tls: ClientConfig) -> Self {
        let (proxies, user) = match &factor.proxy {
            Proxy::None => (None, None),
            Proxy::Environment => (Some(crate::config::proxies_of_environment()), None),
            Proxy::Url { url, user, no_proxy } => {
                let matcher = Matcher::builder().all(url.as_str()).no(no_proxy.join(",")).build();
                (Some(matcher), user.as_ref().and_then(|(name, password)| basic(name, password.expose())))
            }
        };
        Self { tls: ArcSwap::from_pointee(tls), proxies, user, patience: factor.connect_timeout }
    }

    /// Connections from now on use this.
    pub(super) fn set_tls(&self, tls: ClientConfig) {
        self.tls.store(Arc::new(tls));
    }

    /// A connection to `host`, which may name a port. The error says which phase failed, and why.
    pub(super) async fn open(&self, host: &str) -> Result<Connected, String> {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(self.patience, self.phases(host)).await;
        let failed = match outcome {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(failed)) => failed,
            Err(_) => "connect_timeout is over".to_owned(),
        };
        Err(format!("{host}: {failed} (after {} ms)", begun.elapsed().as_millis()))
    }

    async fn phases(&self, host: &str) -> Result<Connected, String> {
        let target = format!("https://{host}").parse::<Uri>().map_err(|error| format!("not a host: {error}"))?;
        let tcp = self.tcp(&target).await?;
        let name = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("TLS: {error}"))?;
        let tls = TlsConnector::from(self.tls.load_full());
        let stream = tls.connect(name, tcp).await.map_err(|error| format!("TLS: {}", chain(&error)))?;
        let speaks_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if speaks_two { two(stream).await.map(Connected::Two) } else { one(stream).await.map(Connected::One) }
    }

    async fn tcp(&self, target: &Uri) -> Result<TcpStream, String> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(PING.0));
        connector.set_connect_timeout(Some(self.patience));
        let stream = match self.proxies.as_ref().and_then(|proxies| proxies.intercept(target)) {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
                if let Some(user) = self.user.as_ref().or_else(|| proxy.basic_auth()) {
                    tunnel = tunnel.with_auth(user.clone());
                }
                tunnel.call(target.clone()).await.map_err(|error| {
                    means::is_behind(&error);
                    format!("proxy {}: {}", proxy.uri(), chain(&error))
                })?
            }
            None => connector.call(target.clone()).await.map_err(|error| {
                means::is_behind(&error);
                chain(&error)
            })?,
        };
        Ok(stream.into_inner())
    }
}

async fn one(stream: TlsStream<TcpStream>) -> Result<http1::SendRequest<Body>, String> {
    let begun = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = begun.map_err(|error| format!("HTTP: {}", chain(&error)))?;
    Handle::current().spawn(async move {
        // Whoever waits on it is told by its own question.
        let _ = connection.await;
    });
    Ok(sender)
}

async fn two(stream: TlsStream<TcpStream>) -> Result<Two, String> {
    let failed = |error: h2::Error| format!("HTTP: {}", chain(&error));
    let mut builder = h2::client::Builder::new();
    // Answers are short, and the window is what a server may make us keep.
    builder.initial_window_size(64 << 10).initial_connection_window_size(1 << 20).max_header_list_size(HEAD);
    builder.enable_push(false);
    // The server says how many it allows in its first words. Whoever does not wait for them sends more than that, and what is
    // beyond queues.
    builder.initial_max_send_streams(0);
    let (sender, mut connection) = builder.handshake::<_, Bytes>(stream).await.map_err(failed)?;
    let begun = std::future::poll_fn(|context| match Pin::new(&mut connection).poll(context) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_err(failed).map(|()| 0)),
        Poll::Pending if connection.max_concurrent_send_streams() == 0 => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(connection.max_concurrent_send_streams())),
    });
    let allowed = match begun.await? {
        0 => return Err("HTTP: the server ended the connection before it began".to_owned()),
        allowed => AtomicUsize::new(allowed),
    };
    let load = Arc::new(Load { allowed, open: AtomicUsize::new(0) });
    let task = Handle::current().spawn(run(connection, load.clone())).abort_handle();
    Ok(Two { sender, load, task })
}

/// Reads and writes until the connection ends, or no longer answers. Whoever waits on it is told by its own question.
async fn run(mut connection: Line, load: Arc<Load>) {
    let pings = connection.ping_pong();
    let running = std::future::poll_fn(|context| {
        let outcome = Pin::new(&mut connection).poll(context);
        load.allowed.store(connection.max_concurrent_send_streams(), Ordering::Relaxed);
        outcome
    });
    let trying = pin!(async {
        match pings {
            Some(pings) => unanswered(pings, &load).await,
            None => std::future::pending().await,
        }
    });
    select(running, trying).await;
}

/// Tries the connection while questions wait on it, and comes back when it does not answer.
async fn unanswered(mut pings: PingPong, load: &Load) {
    loop {
        tokio::time::sleep(PING.0).await;
        if load.open.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match tokio::time::timeout(PING.1, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // It is over, and says so itself.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// `Proxy-Authorization` (RFC 7617).
fn basic(name: &str, password: &[u8]) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(format!("{name}:").into_bytes());
    pair.extend_from_slice(password);
    let encoded = Zeroizing::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(&*pair)));
    let mut value = HeaderValue::from_str(&encoded).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An error with its causes, each once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
