//! One connection: DNS, TCP, perhaps a proxy, TLS, HTTP/2 or HTTP/1.1. Whatever fails here, nothing was asked.

use arc_swap::ArcSwap;
use base64::Engine;
use bytes::Bytes;
use gateway_core::config::{EntraFactor, Proxy};
use http_body_util::Full;
use hyper::Uri;
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use zeroize::Zeroizing;

/// Bodies are sent whole.
pub(super) type Body = Full<Bytes>;

/// How often a connection on which questions wait is tried, and how long it may take to answer that.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// A connection that is there.
pub(super) enum Connected {
    /// HTTP/2, and how many streams the server allows.
    Two(http2::SendRequest<Body>, Arc<AtomicUsize>),
    /// HTTP/1.1.
    One(http1::SendRequest<Body>),
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
        let stream = TokioIo::new(stream);
        if !speaks_two {
            let (sender, connection) =
                http1::handshake(stream).await.map_err(|error| format!("HTTP: {}", chain(&error)))?;
            TokioExecutor::new().spawn(connection);
            return Ok(Connected::One(sender));
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // Answers are short, and the window is what a server may make us keep.
        builder.timer(TokioTimer::new()).keep_alive_interval(PING.0).keep_alive_timeout(PING.1);
        builder.initial_stream_window_size(64 << 10).initial_connection_window_size(1 << 20);
        let (mut sender, connection) =
            builder.handshake(stream).await.map_err(|error| format!("HTTP: {}", chain(&error)))?;
        let streams = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let told = streams.clone();
        TokioExecutor::new().spawn(async move {
            let mut connection = pin!(connection);
            std::future::poll_fn(move |context| {
                let outcome = connection.as_mut().poll(context);
                told.store(connection.current_max_send_streams(), Ordering::Relaxed);
                outcome
            })
            .await
        });
        sender.ready().await.map_err(|error| format!("HTTP: {}", chain(&error)))?;
        Ok(Connected::Two(sender, streams))
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
                tunnel
                    .call(target.clone())
                    .await
                    .map_err(|error| format!("proxy {}: {}", proxy.uri(), chain(&error)))?
            }
            None => connector.call(target.clone()).await.map_err(|error| chain(&error))?,
        };
        Ok(stream.into_inner())
    }
}

/// Runs a connection until it ends.
trait SpawnConnection {
    fn spawn<C>(&self, connection: C)
    where
        C: Future<Output = hyper::Result<()>> + Send + 'static;
}

impl SpawnConnection for TokioExecutor {
    fn spawn<C>(&self, connection: C)
    where
        C: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let boxed: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            // Whoever waits on it is told by its own question.
            let _ = connection.await;
        });
        hyper::rt::Executor::execute(self, boxed);
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
