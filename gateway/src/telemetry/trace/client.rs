//! HTTP to the collector: one request at a time, each on a connection of its own, on the thread that sends. A request a second at
//! most is worth no pool, and no second HTTP library. Certificates are verified against the system's authorities.

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use bytes::Bytes;
use gateway_core::config::Otlp;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

/// The longest answer that is read.
const ANSWER: usize = 64 << 10;

/// A client for one collector. To be used and dropped outside an async runtime: it has one of its own.
pub(super) struct Client {
    runtime: Runtime,
    headers: HeaderMap,
    tls: Option<TlsConnector>,
    patience: Duration,
}

impl Client {
    /// For the collector, which may take `patience` for each answer.
    pub(super) fn new(otlp: &Otlp, patience: Duration) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &otlp.headers {
            let key: HeaderName = name.parse().with_context(|| format!("the header {name}"))?;
            let mut value = HeaderValue::from_bytes(value.expose()).with_context(|| format!("the header {name}"))?;
            value.set_sensitive(true);
            headers.append(key, value);
        }
        let tls = if otlp.endpoint.starts_with("https://") { Some(tls(of_the_system()?)?) } else { None };
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { runtime, headers, tls, patience })
    }

    async fn post(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let uri = request.uri().clone();
        let host = uri.host().context("no host")?;
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((bare, port)).await.with_context(|| format!("{host}:{port}"))?;
        match &self.tls {
            None => self.exchange(tcp, &uri, request).await,
            Some(tls) => {
                let name = ServerName::try_from(bare.to_owned()).context("TLS")?;
                let stream = tls.connect(name, tcp).await.context("TLS")?;
                self.exchange(stream, &uri, request).await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        uri: &Uri,
        request: Request<Bytes>,
    ) -> anyhow::Result<Response<Bytes>> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = request.map(Full::new);
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(header::HOST, HeaderValue::from_str(uri.authority().context("no host")?.as_str())?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        *request.uri_mut() = uri.path_and_query().context("no path")?.as_str().parse()?;
        let mut asking = pin!(async move {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER).collect().await.map_err(|error| anyhow!("the answer: {error}"))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        });
        tokio::select! {
            answer = &mut asking => answer,
            // It ends when everything was read; why it ended before, whoever asks is told.
            _ = connection => asking.await,
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The thread is there for nothing else.
        let answer = self.runtime.block_on(async { tokio::time::timeout(self.patience, self.post(request)).await });
        match answer {
            Ok(answer) => answer.map_err(|error| format!("{error:#}").into()),
            Err(_) => Err("no answer in time".into()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn of_the_system() -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Stores of systems hold odd certificates; those that cannot be used are passed over.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        bail!("this system has no certificate authorities: install the package ca-certificates");
    }
    Ok(roots)
}

fn tls(roots: RootCertStore) -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use gateway_core::secret::Secret;
    use rustls::ServerConfig;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::thread::{JoinHandle, spawn};

    /// Answers one request, and returns it.
    fn server(answer: &'static str, tls: Option<ServerConfig>) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            match tls {
                None => serve(tcp, answer),
                Some(tls) => {
                    let connection = rustls::ServerConnection::new(Arc::new(tls)).unwrap();
                    serve(rustls::StreamOwned::new(connection, tcp), answer)
                }
            }
        });
        (address, serving)
    }

    fn serve(mut stream: impl Read + Write, answer: &str) -> String {
        let (mut request, mut octet) = (Vec::new(), [0]);
        while !request.ends_with(b"the spans") && stream.read(&mut octet).is_ok_and(|count| count > 0) {
            request.extend_from_slice(&octet);
        }
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.flush();
        String::from_utf8(request).unwrap()
    }

    fn client(scheme: &str, roots: RootCertStore) -> Client {
        let headers = vec![("X-Token".to_owned(), Secret::new(b"t0ken".to_vec()))];
        let otlp = Otlp { endpoint: "http://unused".into(), headers, sample: 1.0 };
        let mut client = Client::new(&otlp, Duration::from_secs(5)).unwrap();
        client.tls = (scheme == "https").then(|| tls(roots).unwrap());
        client
    }

    fn post(client: &Client, url: &str) -> Result<Response<Bytes>, HttpError> {
        let request = Request::post(url).body(Bytes::from_static(b"the spans")).unwrap();
        client.send_bytes(request).now_or_never().expect("it blocks until it is done")
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

    #[test]
    fn the_collector_gets_the_spans_and_its_headers() {
        let (address, serving) = server(GOOD, None);
        let answer =
            post(&client("http", RootCertStore::empty()), &format!("http://{address}/otlp/v1/traces")).unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, b"fine".as_slice()));
        let request = serving.join().unwrap();
        assert!(request.starts_with("POST /otlp/v1/traces HTTP/1.1\r\n"), "{request}");
        for header in [format!("host: {address}"), "x-token: t0ken".to_owned(), "content-length: 9".to_owned()] {
            assert!(request.contains(&format!("{header}\r\n")), "{header} in {request}");
        }
    }

    #[test]
    fn over_tls_the_collector_must_prove_who_it_is() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let with_tls = || {
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap()
        };
        let mut known = RootCertStore::empty();
        known.add(certificate.clone()).unwrap();

        let (address, serving) = server(GOOD, Some(with_tls()));
        let url = format!("https://localhost:{}/v1/traces", address.port());
        assert_eq!(post(&client("https", known), &url).unwrap().status(), 200);
        assert!(serving.join().unwrap().contains("x-token: t0ken"));

        let (address, serving) = server(GOOD, Some(with_tls()));
        let url = format!("https://localhost:{}/v1/traces", address.port());
        let error = post(&client("https", RootCertStore::empty()), &url).unwrap_err().to_string();
        assert!(error.starts_with("TLS: ") && !error.contains("t0ken"), "{error}");
        assert_eq!(serving.join().unwrap(), "", "nothing was told to a stranger");
    }

    #[test]
    fn an_answer_that_is_too_long_or_does_not_come_is_an_error() {
        let endless = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
        let (address, serving) = server(endless, None);
        let mut client = client("http", RootCertStore::empty());
        assert!(post(&client, &format!("http://{address}/v1/traces")).is_err());
        serving.join().unwrap();
        // Listens, and never accepts.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.patience = Duration::from_millis(50);
        let error = post(&client, &format!("http://{}/v1/traces", listener.local_addr().unwrap())).unwrap_err();
        assert_eq!(error.to_string(), "no answer in time");
    }
}
