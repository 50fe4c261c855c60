//! HTTPS: who is asked, which fault happens, and what goes back.

use crate::faults::{self, Fault, Operation};
use crate::xml::{self, Answer};
use crate::{Seen, State, connector, sts};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

type Reply = Response<BoxBody<Bytes, Infallible>>;

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Tokens and MFA.
    Cloud,
    /// The host that hostile answers point to: nobody may ever ask it.
    Elsewhere,
}

#[allow(clippy::disallowed_methods, reason = "the simulator has a runtime of its own, and no arbiter")]
pub(crate) async fn serve(state: Arc<State>, listener: TcpListener, tls: TlsAcceptor, role: Role) {
    while let Ok((stream, _)) = listener.accept().await {
        if role == Role::Elsewhere {
            state.elsewhere.fetch_add(1, Ordering::Relaxed);
        }
        if state.refusing.load(Ordering::Relaxed) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (state, tls) = (state.clone(), tls.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let cut = Arc::new(Notify::new());
            let service = {
                let (state, cut) = (state.clone(), cut.clone());
                service_fn(move |request| {
                    let (state, cut) = (state.clone(), cut.clone());
                    async move { handle(state, request, cut).await }
                })
            };
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(state.settings.max_concurrent_streams);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let mut all = state.cut_all.subscribe();
            tokio::select! {
                _ = connection => {}
                () = cut.notified() => {}
                _ = all.recv() => {}
            }
        });
    }
}

async fn handle(state: Arc<State>, request: Request<Incoming>, cut: Arc<Notify>) -> Result<Reply, Infallible> {
    let path = request.uri().path().replace("//", "/");
    let operation = match path.rsplit('/').next().unwrap_or_default() {
        "token" => Operation::Token,
        "BeginTwoWayAuthentication" => Operation::Begin,
        "EndTwoWayAuthentication" => Operation::End,
        "GetAvailableAuthenticationMethods" => Operation::Methods,
        _ => return Ok(reply(404, "text/plain", "Nothing is simulated here.\n".into(), &[])),
    };
    let fault = {
        let mut inner = state.inner();
        *inner.requests.entry(operation).or_default() += 1;
        faults::next(&mut inner.faults, operation)
    };
    match &fault {
        Some(Fault::CloseBeforeReading) => {
            cut.notify_one();
            return std::future::pending().await;
        }
        Some(Fault::Status { status, retry_after, html }) => {
            let body = if *html { "<html><body>Something is wrong.</body></html>" } else { "" };
            let mut answer = reply(*status, "text/html", body.into(), &["connector_http_errors"]);
            if let Some(after) = retry_after {
                answer.headers_mut().insert("retry-after", after.as_secs().into());
            }
            return Ok(answer);
        }
        _ => {}
    }
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let Ok(body) = Limited::new(request.into_body(), 64 << 10).collect().await else {
        return Ok(reply(413, "text/plain", String::new(), &[]));
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let answered = if operation == Operation::Token {
        let url = format!("https://{}{path}", state.addresses().sts);
        let (status, json) = sts::answer(&state, &url, &path, &header("content-type"), &body);
        // Of the form, only what a test may ask for: the assertion itself stays out.
        let algorithm = if sts::is_ps256(&body) { "PS256" } else { "RS256" };
        let fields = vec![("alg".to_owned(), algorithm.to_owned())];
        state.see(Seen { operation, fields, headers: headers.clone() });
        let assumed: &[&str] = if sts::is_ps256(&body) { &["ps256_on_mfa_client"] } else { &[] };
        reply(status, "application/json", json.to_string(), assumed)
    } else {
        match connect(&state, operation, &path, &header("authorization"), &header("content-type"), &body, &headers)
            .await
        {
            Ok(answer) => {
                let text = spoil(&state, answer.xml(), &answer, fault.as_ref());
                reply(200, "application/xml; charset=utf-8", text, &answer.assumed)
            }
            Err(status) => reply(status, "text/plain", String::new(), &["connector_http_errors"]),
        }
    };
    match fault {
        Some(Fault::CloseAfterReading) => {
            cut.notify_one();
            std::future::pending().await
        }
        Some(Fault::Hang(None)) => std::future::pending().await,
        Some(Fault::Hang(Some(time))) => {
            tokio::time::sleep(time).await;
            Ok(answered)
        }
        Some(Fault::Slow(pause)) => {
            Ok(answered.map(|body| Drip { body, pause, sleep: None, rest: Bytes::new() }.boxed()))
        }
        Some(Fault::Oversized(octets)) => {
            Ok(Response::builder().status(200).body(Flood { left: octets }.boxed()).expect("it is well-formed"))
        }
        Some(Fault::Redirect) => {
            let mut answer = reply(307, "text/plain", String::new(), &[]);
            let location = format!("https://{}{path}", state.addresses().elsewhere);
            answer.headers_mut().insert("location", location.parse().expect("it is a header"));
            Ok(answer)
        }
        _ => Ok(answered),
    }
}

async fn connect(
    state: &State,
    operation: Operation,
    path: &str,
    authorization: &str,
    content_type: &str,
    body: &str,
    headers: &[(String, String)],
) -> Result<Answer, u16> {
    if !path.starts_with("/StrongAuthenticationService.svc/Connector/") {
        return Err(404);
    }
    let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
    if state.inner().tokens.get(token).is_none_or(|until| Instant::now() >= *until) {
        return Err(401);
    }
    if !["application/xml", "text/xml"].iter().any(|known| content_type.starts_with(known)) {
        return Err(415);
    }
    let root = match operation {
        Operation::Begin => "BeginTwoWayAuthenticationRequest",
        Operation::End => "EndTwoWayAuthenticationRequest",
        _ => "GetAvailableAuthenticationMethodsRequest",
    };
    let request = xml::read(body, root, state.settings.strict).ok_or(400_u16)?;
    let elements = request.fields.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()));
    let properties = request.properties.iter().map(|(key, value)| (format!("property {key}"), value.clone()));
    let fields = elements.chain(properties).collect();
    state.see(Seen { operation, fields, headers: headers.to_vec() });
    let answer = match operation {
        Operation::Begin => connector::begin(state, &request).await,
        Operation::End => connector::end(state, &request),
        _ => connector::methods(&request),
    };
    // A person of whom the service breaks.
    if answer.root.is_empty() { Err(500) } else { Ok(answer) }
}

/// The answer with what is wrong with it.
fn spoil(state: &State, text: String, answer: &Answer, fault: Option<&Fault>) -> String {
    let changed = |change: &dyn Fn(&mut Answer)| {
        let mut answer = answer.clone();
        change(&mut answer);
        answer.xml()
    };
    let root = answer.root;
    let person = answer.upn.as_deref().is_some_and(|upn| upn.starts_with("badxml"));
    match fault.or(person.then_some(&Fault::Malformed)) {
        Some(Fault::Html) => "<html><body>Sign in to the network first.</body></html>".into(),
        Some(Fault::Malformed) => text[..text.len() / 2].to_owned(),
        Some(Fault::Dtd) => format!("<!DOCTYPE x [<!ENTITY e \"true\">]>{text}"),
        Some(Fault::WrongRoot) => text.replace(root, "SomethingElseResponse"),
        Some(Fault::Nested) => format!("<{root}>{}{}</{root}>", "<a>".repeat(2_000), "</a>".repeat(2_000)),
        Some(Fault::Duplicates) => {
            let twice =
                "<AuthenticationResult>true</AuthenticationResult><AuthenticationResult>false</AuthenticationResult>";
            format!("<{root}><Result><Value>Success</Value></Result>{twice}</{root}>")
        }
        Some(Fault::UnknownValue) => changed(&|answer| answer.value = "SomethingNew".into()),
        Some(Fault::SuccessWithout(result)) => changed(&|answer| {
            answer.value = "Success".into();
            answer.session = None;
            answer.result = result.map(str::to_owned);
        }),
        Some(Fault::TrueWithout(value)) => changed(&|answer| {
            answer.value = (*value).into();
            answer.result = Some("true".into());
        }),
        Some(Fault::OtherUser) => changed(&|answer| answer.upn = Some("somebody.else@corp.example".into())),
        Some(Fault::HostileAffinity) => {
            changed(&|answer| answer.affinity = Some(format!("https://{}/", state.addresses().elsewhere)))
        }
        _ => text,
    }
}

fn reply(status: u16, kind: &str, body: String, assumed: &[&str]) -> Reply {
    let mut builder = Response::builder().status(status).header("content-type", kind).header("x-orthrus-sim", "1");
    if !assumed.is_empty() {
        builder = builder.header("x-orthrus-sim-assumed", assumed.join(","));
    }
    builder.body(Full::new(Bytes::from(body)).boxed()).expect("it is well-formed")
}

/// Octets without end, of which none is held.
struct Flood {
    left: u64,
}

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static BLOCK: [u8; 16_384] = [b'x'; 16_384];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = self.left.min(BLOCK.len() as u64);
        self.left -= size;
        let block = &BLOCK[..usize::try_from(size).unwrap_or(BLOCK.len())];
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(block)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// One octet at a time.
struct Drip<B> {
    body: B,
    pause: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    rest: Bytes,
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for Drip<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Some(sleep) = &mut this.sleep {
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.sleep = None;
        }
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => this.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        this.sleep = Some(Box::pin(tokio::time::sleep(this.pause)));
        let octet = this.rest.split_to(this.rest.len().min(1));
        Poll::Ready(Some(Ok(Frame::data(octet))))
    }
}
