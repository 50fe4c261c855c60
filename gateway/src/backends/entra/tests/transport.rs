//! Connections that break, hang, run full, lead through proxies, or should not be trusted.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

type Answers = Box<dyn Fn() -> Does + Send + Sync>;

const BEGIN: &str = "BeginTwoWayAuthentication";
const END: &str = "EndTwoWayAuthentication";

fn held(while_: u64) -> impl Fn(&Seen) -> Does + Send + Sync + 'static {
    scripted(move |_| Does::Waits(Duration::from_millis(while_), says("Begin", "Success", "true", "")), never)
}

/// `count` sign-ins at once, all of which must be approved.
fn at_once(bench: &Bench, count: usize) {
    let answers: Vec<_> = (0..count).map(|_| bench.factor.begin(&question("anna@corp.example", true, 30))).collect();
    for answer in answers {
        assert_eq!(bench.wait(answer), BeginAnswer::Approved(Approval::User));
    }
}

#[test]
fn what_may_have_prompted_is_never_asked_twice() {
    let oversized = || Does::Says(200, format!("{}{}", says("Begin", "Success", "true", ""), " ".repeat(70_000)));
    let redirect = |status: u16| {
        Does::SaysWith(
            status,
            "location",
            "/StrongAuthenticationService.svc/Connector/elsewhere".to_owned(),
            String::new(),
        )
    };
    let cases: [(&str, Answers); 14] = [
        ("500", Box::new(|| Does::Says(500, says("Begin", "Success", "true", "")))),
        ("502", Box::new(|| Does::Says(502, String::new()))),
        ("504", Box::new(|| Does::Says(504, String::new()))),
        ("400", Box::new(|| Does::Says(400, "<Fault/>".to_owned()))),
        ("404", Box::new(|| Does::Says(404, String::new()))),
        ("201", Box::new(|| Does::Says(201, says("Begin", "Success", "true", "")))),
        ("302", Box::new(move || redirect(302))),
        ("307", Box::new(move || redirect(307))),
        ("cut", Box::new(|| Does::Cuts)),
        ("nothing", Box::new(|| Does::Says(200, String::new()))),
        ("a page", Box::new(|| Does::Says(200, "<html>Please sign in</html>".to_owned()))),
        ("the other root", Box::new(|| Does::Says(200, says("End", "Success", "true", "")))),
        ("too long", Box::new(oversized)),
        (
            "packed",
            Box::new(|| {
                Does::SaysWith(200, "content-encoding", "gzip".to_owned(), says("Begin", "Success", "true", ""))
            }),
        ),
    ];
    for http2 in [true, false] {
        for (name, does) in &cases {
            let does = does();
            let answer = std::sync::Mutex::new(Some(does));
            let manner = Manner { http2, ..Manner::default() };
            let cloud =
                Cloud::with(manner, scripted(move |_| answer.lock().unwrap().take().unwrap_or_else(approved), never));
            let bench = Bench::new(&cloud, "");
            assert_eq!(bench.begin(), BeginAnswer::Denied(Reason::OutcomeUnknown), "{name}, HTTP/2: {http2}");
            assert_eq!((cloud.count(BEGIN), cloud.count("elsewhere")), (1, 0), "{name}, HTTP/2: {http2}");
            assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User), "the next sign-in, after {name}");
        }
    }
}

#[test]
fn patience_that_is_asked_for_is_shown() {
    let later = |status: u16| {
        scripted(
            move |seen| match seen.count {
                1 => Does::SaysWith(status, "retry-after", "1".to_owned(), String::new()),
                _ => approved(),
            },
            never,
        )
    };
    for status in [429, 503] {
        let cloud = Cloud::start(later(status));
        let bench = Bench::new(&cloud, "");
        let begun = Instant::now();
        assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
        assert!(begun.elapsed() >= Duration::from_secs(1) && cloud.count(BEGIN) == 2, "{status}");
    }
    let cloud = Cloud::start(scripted(|_| Does::Says(503, String::new()), never));
    let bench = Bench::new(&cloud, "");
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderOverloaded));
    assert_eq!(cloud.count(BEGIN), 3);
    let day = |_: &Seen| Does::SaysWith(429, "retry-after", "86400".to_owned(), String::new());
    let cloud = Cloud::start(scripted(day, day));
    let bench = Bench::new(&cloud, "");
    let overloaded = BeginAnswer::Unavailable(Reason::ProviderOverloaded);
    assert_eq!(bench.begin(), overloaded);
    assert_eq!(bench.begin(), overloaded);
    assert_eq!(cloud.count(BEGIN), 1, "kept for the next question of this user");
    assert_eq!(bench.wait(bench.factor.begin(&question("bob@corp.example", true, 20))), overloaded);
    assert_eq!(cloud.count(BEGIN), 2, "and for no other user's");
    let (session, polled) = (session(), Arc::from(session()));
    assert_eq!(bench.code(&session, "123456"), CodeAnswer::NotAsked(Reason::ProviderOverloaded));
    assert_eq!(cloud.count(END), 1, "nor for another operation");
    for _ in 0..3 {
        assert_eq!(bench.code(&session, "123456"), CodeAnswer::NotAsked(Reason::ProviderOverloaded));
        assert_eq!(bench.poll(&polled), PollAnswer::Unavailable(Reason::ProviderOverloaded));
    }
    assert_eq!((cloud.count(BEGIN), cloud.count(END)), (2, 1));
    // A moment that was asked for and has passed is over.
    let cloud = Cloud::start(scripted(
        |seen| match seen.count {
            1..=3 => Does::SaysWith(503, "retry-after", "Fri, 31 Dec 1999 23:59:59 GMT".to_owned(), String::new()),
            _ => approved(),
        },
        never,
    ));
    let bench = Bench::new(&cloud, "");
    assert_eq!(bench.begin(), overloaded);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
}

#[test]
fn connections_that_do_not_come_about_are_tried_again() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let bench = Bench::new(&cloud, "");
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    let bench = Bench::new(&cloud, "");
    cloud.drop_connections(1);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User), "the token's");
    let bench = Bench::new(&cloud, "");
    cloud.drop_connections(1000);
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderUnreachable));
    cloud.drop_connections(0);
    let count = cloud.count(BEGIN);
    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::new(&cloud, &format!("mfa_host = '{closed}'"));
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderUnreachable));
    assert_eq!(bench.code(&session(), "123456"), CodeAnswer::NotAsked(Reason::ProviderUnreachable));
    let polled: Arc<[u8]> = session().into();
    assert_eq!(bench.poll(&polled), PollAnswer::Unavailable(Reason::ProviderUnreachable));
    let bench = Bench::new(&cloud, "mfa_host = 'host.invalid'");
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderUnreachable));
    assert_eq!(cloud.count(BEGIN), count);
    let series = "orthrus_entra_http_requests_total{endpoint=\"begin\",factor=\"phone\",status=\"not_asked\"}";
    assert_eq!(bench.metric(series), Some(3.0));
}

#[test]
fn time_limits_are_hard() {
    let cloud = Cloud::start(scripted(|_| Does::Hangs, |_| Does::Hangs));
    let bench = Bench::new(&cloud, "connect_timeout = '1s'\nrequest_timeout = '1s'");
    let begun = Instant::now();
    let answer = bench.wait(bench.factor.begin(&question("anna@corp.example", true, 1)));
    assert_eq!(answer, BeginAnswer::Denied(Reason::PromptUnanswered));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(bench.code(&session(), "123456"), CodeAnswer::Unknown(Reason::OutcomeUnknown));
    let polled: Arc<[u8]> = session().into();
    assert_eq!(bench.poll(&polled), PollAnswer::Unavailable(Reason::OutcomeUnknown));
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert_eq!((cloud.count(BEGIN), cloud.count("EndTwoWayAuthentication")), (1, 2));
    // A polled one is answered at once, or something is wrong.
    let polled = Bench::new(&cloud, "connect_timeout = '1s'\nrequest_timeout = '1s'\nbegin = 'polled'");
    assert_eq!(polled.begin(), BeginAnswer::Denied(Reason::OutcomeUnknown));
    // A server that takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = mute.local_addr().unwrap();
    let bench = Bench::new(&cloud, &format!("connect_timeout = '1s'\nsts = 'https://{host}'"));
    let begun = Instant::now();
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderUnreachable));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn giving_up_ends_the_call() {
    for http2 in [true, false] {
        let cloud = Cloud::with(Manner { http2, ..Manner::default() }, scripted(|_| Does::Hangs, never));
        let bench = Bench::new(&cloud, "");
        let answer = bench.factor.begin(&question("anna@corp.example", true, 30));
        let begun = Instant::now();
        while cloud.count(BEGIN) == 0 && begun.elapsed() < Duration::from_secs(5) {
            bench.pause(10);
        }
        assert_eq!(cloud.held(), 1);
        drop(answer);
        while cloud.held() > 0 && begun.elapsed() < Duration::from_secs(5) {
            bench.pause(10);
        }
        assert_eq!(cloud.held(), 0, "HTTP/2: {http2}");
    }
}

#[test]
fn held_prompts_spread_over_connections() {
    // What is configured.
    let cloud = Cloud::start(held(1500));
    let bench = Bench::new(&cloud, "streams_per_connection = 8");
    at_once(&bench, 40);
    assert_eq!(cloud.most_held(), 40, "all at once");
    assert!((5..=8).contains(&bench.factor.inner.mfa.connections()), "{}", bench.factor.inner.mfa.connections());
    // What the server allows is less: nobody may wait behind somebody else's prompt.
    let cloud = Cloud::with(Manner { streams: 10, ..Manner::default() }, held(1500));
    let bench = Bench::new(&cloud, "");
    let begun = Instant::now();
    at_once(&bench, 60);
    assert_eq!(cloud.most_held(), 60, "all at once");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!((6..=12).contains(&bench.factor.inner.mfa.connections()), "{}", bench.factor.inner.mfa.connections());
}

#[test]
fn two_thousand_held_prompts() {
    let cloud = Cloud::start(held(4000));
    let bench = Bench::new(&cloud, "");
    at_once(&bench, 2000);
    assert_eq!(cloud.most_held(), 2000, "all at once");
    assert!((20..=40).contains(&bench.factor.inner.mfa.connections()), "{}", bench.factor.inner.mfa.connections());
}

#[test]
fn servers_of_http_1() {
    let cloud = Cloud::with(Manner { http2: false, ..Manner::default() }, held(1000));
    let bench = Bench::new(&cloud, "");
    at_once(&bench, 40);
    assert_eq!(cloud.most_held(), 40, "each has a connection to itself");
    let before = cloud.connections();
    bench.pause(100);
    at_once(&bench, 1);
    bench.pause(100);
    at_once(&bench, 30);
    assert_eq!(cloud.connections(), before, "and leaves it to the next");
    let seen = cloud.seen().pop().unwrap();
    assert_eq!((seen.version, &*seen.headers["host"]), (hyper::Version::HTTP_11, &*cloud.address.to_string()));
}

/// A proxy for one test: which targets it was asked for, and with which password.
fn proxy(refuse: bool) -> (std::net::SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, told) = (client.unwrap(), told.clone());
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut octet = [0];
                    if client.read(&mut octet).unwrap_or(0) == 0 {
                        return;
                    }
                    head.extend(octet);
                }
                let head = String::from_utf8(head).unwrap();
                told.lock().unwrap().push(head.clone());
                if refuse {
                    let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
                    return;
                }
                let target = head.split(' ').nth(1).unwrap();
                let mut server = TcpStream::connect(target).unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let _ = std::io::copy(&mut server, &mut client);
            });
        }
    });
    (address, asked)
}

#[test]
fn proxies() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let (address, asked) = proxy(false);
    let bench = Bench::new(&cloud, &format!("proxy = 'http://{address}'"));
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    let heads = asked.lock().unwrap().clone();
    assert!(heads.len() == 2 && heads[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", cloud.address)), "{heads:?}");
    assert!(!heads.concat().contains("Authorization"), "{heads:?}");

    let lines = format!("proxy = 'http://{address}'\nproxy_user = 'gateway'\nproxy_password_file = 'secret'");
    let bench = Bench::new(&cloud, &lines);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    let head = asked.lock().unwrap().pop().unwrap();
    assert!(head.contains("Proxy-Authorization: Basic Z2F0ZXdheTphIHNlY3JldCB0aGF0IGlzIGxvbmcgZW5vdWdo\r\n"), "{head}");

    asked.lock().unwrap().clear();
    let bench = Bench::new(&cloud, &format!("proxy = 'http://{address}'\nno_proxy = ['127.0.0.0/8']"));
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    assert_eq!(asked.lock().unwrap().len(), 0);

    let (address, _) = proxy(true);
    let bench = Bench::new(&cloud, &format!("proxy = 'http://{address}'"));
    let count = cloud.seen().len();
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderUnreachable));
    assert_eq!(cloud.seen().len(), count);
}

#[test]
fn tls_is_verified_and_chosen() {
    const TWELVE: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let old = Cloud::with(Manner { versions: TWELVE, ..Manner::default() }, scripted(|_| approved(), never));
    let begin = |cloud: &Cloud, lines: &str| Bench::new(cloud, lines).begin();
    let approved = BeginAnswer::Approved(Approval::User);
    let unreachable = BeginAnswer::Unavailable(Reason::ProviderUnreachable);
    assert_eq!(begin(&old, ""), approved);
    assert_eq!(begin(&old, "cipher_suites = ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256']"), approved);
    assert_eq!(begin(&old, "tls_min_version = '1.3'"), unreachable);
    assert_eq!(begin(&old, "cipher_suites = ['TLS_AES_256_GCM_SHA384']"), unreachable);
    let new = Cloud::start(scripted(|_| super::approved(), never));
    assert_eq!(begin(&new, "tls_min_version = '1.3'\ncipher_suites = ['TLS_AES_128_GCM_SHA256']"), approved);
    // Another authority than that of the server, and another name than the one in its certificate.
    let asked = new.seen().len();
    assert_eq!(Bench::new(&old, &format!("sts = 'https://{}'", new.address)).begin(), unreachable);
    let port = new.address.port();
    assert_eq!(begin(&new, &format!("sts = 'https://[::ffff:127.0.0.1]:{port}'")), unreachable);
    assert_eq!(new.seen().len(), asked);
    assert_eq!(begin(&new, &format!("sts = 'https://localhost:{port}'")), approved);
}

#[test]
fn a_server_that_goes_away_costs_no_sign_in() {
    // HTTP/1.1 servers close connections that are idle; the next question takes another one.
    for http2 in [true, false] {
        let first = Cloud::with(Manner { http2, ..Manner::default() }, scripted(|_| approved(), never));
        let bench = Bench::new(&first, "");
        assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
        first.close_connections();
        bench.pause(200);
        assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User), "HTTP/2: {http2}");
        assert_eq!(first.count(BEGIN), 2);
    }
}

/// A server that speaks HTTP/2 frame by frame: what it does with the first question, and how many it saw. The others are approved.
fn frames(refuses: bool) -> (std::net::SocketAddr, String, Arc<AtomicUsize>, tokio::runtime::Runtime) {
    let (config, authority) = cloud::server_tls(Manner::default());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let told = seen.clone();
    runtime.spawn(async move {
        loop {
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let mut connection = h2::server::handshake(tls).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                match (told.fetch_add(1, Ordering::SeqCst), refuses) {
                    (0, true) => respond.send_reset(h2::Reason::REFUSED_STREAM),
                    // It names the stream as one that it may have worked on, and then falls silent.
                    (0, false) => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
                    _ => {
                        let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
                        body.send_data(says("Begin", "Success", "true", "").into(), true).unwrap();
                    }
                }
            }
        }
    });
    (address, authority, seen, runtime)
}

#[test]
fn only_what_the_server_disowns_is_asked_again() {
    let cloud = Cloud::start(scripted(never, never));
    for (refuses, expected, asked) in
        [(true, BeginAnswer::Approved(Approval::User), 2), (false, BeginAnswer::Denied(Reason::OutcomeUnknown), 1)]
    {
        let (address, authority, seen, _runtime) = frames(refuses);
        let bench = Bench::new(&cloud, &format!("mfa_host = '{address}'"));
        let both = format!("{}{authority}", cloud.authority);
        bench.factor.inner.connector.set_tls(tls::client(&bench.factor.inner.factor, Some(&both)).unwrap());
        assert_eq!((bench.begin(), seen.load(Ordering::SeqCst)), (expected, asked), "refuses: {refuses}");
    }
}

/// A bench whose prompts are begun at a server that does with each connection, counted from 1, what `serve` says.
fn lines<S>(
    cloud: &Cloud,
    serve: impl Fn(usize, h2::server::Connection<Line, bytes::Bytes>) -> S + Send + 'static,
) -> Lines
where
    S: Future<Output = ()> + Send + 'static,
{
    let (config, authority) = cloud::server_tls(Manner::default());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        for count in 1.. {
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let connection = h2::server::handshake(tls).await.unwrap();
            tokio::runtime::Handle::current().spawn(serve(count, connection));
        }
    });
    let bench = Bench::new(cloud, &format!("mfa_host = '{address}'"));
    let both = format!("{}{authority}", cloud.authority);
    bench.factor.inner.connector.set_tls(tls::client(&bench.factor.inner.factor, Some(&both)).unwrap());
    (bench, runtime)
}

type Line = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
type Lines = (Bench, tokio::runtime::Runtime);

fn approve(mut respond: h2::server::SendResponse<bytes::Bytes>) {
    let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
    body.send_data(says("Begin", "Success", "true", "").into(), true).unwrap();
}

#[test]
fn a_connection_that_is_closing_keeps_its_questions_and_gets_no_more() {
    let cloud = Cloud::start(scripted(never, never));
    let second = Arc::new(tokio::sync::Notify::new());
    let (bench, _runtime) = lines(&cloud, move |count, mut connection| {
        let second = second.clone();
        async move {
            let mut held = None;
            loop {
                let next = tokio::select! {
                    next = connection.accept() => next,
                    () = second.notified(), if held.is_some() => {
                        approve(held.take().unwrap());
                        continue;
                    }
                };
                let Some(Ok((_request, respond))) = next else { return };
                if count == 1 {
                    held = Some(respond);
                    connection.graceful_shutdown();
                } else {
                    approve(respond);
                    second.notify_one();
                }
            }
        }
    });
    let first = bench.factor.begin(&question("anna@corp.example", true, 30));
    bench.pause(500);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User), "on another connection");
    assert_eq!(bench.wait(first), BeginAnswer::Approved(Approval::User), "on the first one");
    let series = "orthrus_entra_http_requests_total{endpoint=\"begin\",factor=\"phone\",status=\"not_asked\"}";
    assert_eq!(bench.metric(series).unwrap_or_default(), 0.0);
}

#[test]
fn a_connection_that_no_longer_answers_is_given_up() {
    let cloud = Cloud::start(scripted(never, never));
    let (bench, _runtime) = lines(&cloud, |count, mut connection| async move {
        while let Some(Ok((_request, respond))) = connection.accept().await {
            match count {
                1 => std::future::pending().await,
                _ => approve(respond),
            }
        }
    });
    let begun = Instant::now();
    assert_eq!(bench.begin(), BeginAnswer::Denied(Reason::OutcomeUnknown), "it may have asked");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
}
