//! A server that answers as a test says: a line of HTTPS with a script, and no notion of MFA.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

/// What was asked.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    /// The how manieth question of this path, from 1.
    pub(super) count: usize,
    pub(super) body: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) version: Version,
}

/// What the server does about it.
pub(super) enum Does {
    /// Answers.
    Says(u16, String),
    /// Answers with a header more.
    SaysWith(u16, &'static str, String, String),
    /// Answers after a while.
    Waits(Duration, String),
    /// Closes the connection, or resets the stream, having read the question.
    Cuts,
    /// Never answers.
    Hangs,
}

type Script = dyn Fn(&Seen) -> Does + Send + Sync;

/// What the server is like.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) http2: bool,
    pub(super) streams: u32,
    pub(super) versions: &'static [&'static rustls::SupportedProtocolVersion],
}

impl Default for Manner {
    fn default() -> Self {
        Self { http2: true, streams: 1000, versions: rustls::ALL_VERSIONS }
    }
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    /// Questions that are being answered.
    held: AtomicUsize,
    most_held: AtomicUsize,
    connections: AtomicUsize,
    /// Connections to close as soon as they come.
    drops: AtomicUsize,
    /// Told when all connections are to be closed.
    close: tokio::sync::Notify,
}

/// The server, on threads of its own.
pub(super) struct Cloud {
    pub(super) address: SocketAddr,
    /// The authority that its certificate is of.
    pub(super) authority: String,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Held<'a>(&'a Shared);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cloud {
    pub(super) fn start(script: impl Fn(&Seen) -> Does + Send + Sync + 'static) -> Self {
        Self::with(Manner::default(), script)
    }

    pub(super) fn with(manner: Manner, script: impl Fn(&Seen) -> Does + Send + Sync + 'static) -> Self {
        let (config, authority) = server_tls(manner);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            held: AtomicUsize::new(0),
            most_held: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            drops: AtomicUsize::new(0),
            close: tokio::sync::Notify::new(),
        });
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let told = shared.clone();
        runtime.spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if told.drops.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    continue;
                }
                told.connections.fetch_add(1, Ordering::SeqCst);
                tokio::runtime::Handle::current().spawn(serve(told.clone(), acceptor.clone(), tcp, manner));
            }
        });
        Self { address, authority, shared, _runtime: runtime }
    }

    /// How often a path was asked that ends so.
    pub(super) fn count(&self, end: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.path.ends_with(end)).count()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(super) fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    pub(super) fn most_held(&self) -> usize {
        self.shared.most_held.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(super) fn close_connections(&self) {
        self.shared.close.notify_waiters();
    }

    pub(super) fn drop_connections(&self, count: usize) {
        self.shared.drops.store(count, Ordering::SeqCst);
    }
}

/// Serves until the other side ends, or all connections are closed.
async fn serve(shared: Arc<Shared>, acceptor: TlsAcceptor, tcp: TcpStream, manner: Manner) {
    let close = shared.clone();
    let serving = std::pin::pin!(serve_on(shared, acceptor, tcp, manner));
    let closing = std::pin::pin!(close.close.notified());
    futures_util::future::select(serving, closing).await;
}

async fn serve_on(shared: Arc<Shared>, acceptor: TlsAcceptor, tcp: TcpStream, manner: Manner) {
    let Ok(stream) = acceptor.accept(tcp).await else { return };
    let service = service_fn(move |request| answer(shared.clone(), request));
    let stream = TokioIo::new(stream);
    if manner.http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.max_concurrent_streams(manner.streams).serve_connection(stream, service).await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
    }
}

/// A throw-away authority and a server's TLS under it.
pub(super) fn server_tls(manner: Manner) -> (rustls::ServerConfig, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "throw-away authority");
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(manner.versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(leaf.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = if manner.http2 { vec![b"h2".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    (config, authority)
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let held = Held(&shared);
    let now = shared.held.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_held.fetch_max(now, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let seen = {
        let mut all = shared.seen.lock().unwrap();
        let path = head.uri.path().to_owned();
        let seen = Seen {
            count: all.iter().filter(|seen| seen.path == path).count() + 1,
            path,
            body: String::from_utf8_lossy(&body).into_owned(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            version: head.version,
        };
        all.push(seen.clone());
        seen
    };
    let says = |status: u16, body: String| Response::builder().status(status).body(Full::from(body)).unwrap();
    let answer = match (shared.script)(&seen) {
        Does::Says(status, body) => says(status, body),
        Does::SaysWith(status, name, value, body) => {
            let mut answer = says(status, body);
            answer.headers_mut().insert(name, value.parse().unwrap());
            answer
        }
        Does::Waits(while_, body) => {
            tokio::time::sleep(while_).await;
            says(200, body)
        }
        Does::Cuts => return Err(std::io::Error::other("cut")),
        Does::Hangs => std::future::pending().await,
    };
    drop(held);
    Ok(answer)
}

/// A certificate of the client, valid between two years, and its key.
pub(super) fn certificate(from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params.distinguished_name.push(DnType::CommonName, "3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716");
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
