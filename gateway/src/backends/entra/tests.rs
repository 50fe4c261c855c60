//! The back end against a server with a script: what is asked how often, and what becomes of it.

mod cloud;
mod transport;

use super::*;
use crate::backends::Backends;
use cloud::{Cloud, Does, Manner, Seen, certificate};
use gateway_core::attempt::record::AttemptId;
use gateway_core::config::SecondFactorKind;
use gateway_core::factor::entra::Session;
use gateway_core::factor::{Approval, CodeWanted, Terms, UsedCodes};
use gateway_core::identity::Rules;
use gateway_core::secret::Secret;
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ID: AttemptId = AttemptId([0x5a; 16]);
const SESSION: &str = "<SessionId>the-session</SessionId>";
const PENDING: &str = "AuthenticationPending";

/// An answer to Begin or End.
fn says(operation: &str, value: &str, result: &str, more: &str) -> String {
    format!(
        "<{operation}TwoWayAuthenticationResponse><Result><Value>{value}</Value></Result>\
         <AuthenticationResult>{result}</AuthenticationResult>{more}</{operation}TwoWayAuthenticationResponse>"
    )
}

fn approved() -> Does {
    Does::Says(200, says("Begin", "Success", "true", ""))
}

fn token(lives: u64) -> Does {
    Does::Says(200, format!("{{\"token_type\":\"Bearer\",\"expires_in\":{lives},\"access_token\":\"ey.token\"}}"))
}

fn refusal(number: u64) -> Does {
    let body = format!(
        "{{\"error\":\"invalid_client\",\"error_description\":\"AADSTS{number}: no.\",\"error_codes\":[{number}]}}"
    );
    Does::Says(401, body)
}

/// Tokens that live long, and for Begin and End what the two say.
fn scripted(
    begin: impl Fn(&Seen) -> Does + Send + Sync + 'static,
    end: impl Fn(&Seen) -> Does + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Does + Send + Sync + 'static {
    move |seen| match seen.path.rsplit('/').next() {
        Some("token") => token(3600),
        Some("BeginTwoWayAuthentication") => begin(seen),
        Some("EndTwoWayAuthentication") => end(seen),
        _ => Does::Says(404, String::new()),
    }
}

fn never(_: &Seen) -> Does {
    Does::Says(418, "not to be asked".to_owned())
}

/// A key takes a while to make, so that all tests share these two pairs.
fn pairs() -> &'static [(String, String); 2] {
    static PAIRS: OnceLock<[(String, String); 2]> = OnceLock::new();
    PAIRS.get_or_init(|| [certificate(2020, 2100), certificate(2024, 2100)])
}

struct Bench {
    factor: EntraBackEnd,
    _folder: TempDir,
    metrics: Arc<Metrics>,
    runtime: tokio::runtime::Runtime,
}

/// A folder with two certificates, and `lines` in the section.
fn configured(cloud: &Cloud, lines: &str) -> (TempDir, Arc<EntraFactor>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let [(certificate, key), (newer, newer_key)] = pairs();
    for (name, text) in [
        ("entra.crt", certificate.as_str()),
        ("entra.key", key),
        ("newer.crt", newer),
        ("newer.key", newer_key),
        ("ca.pem", &cloud.authority),
        ("secret", "a secret that is long enough"),
    ] {
        write(name, text);
    }
    let mut text = format!(
        "state_dir = 'state'\n[[clients]]\nname = 'vpn'\naddresses = ['192.0.2.10']\nsecret_file = 'secret'\n\
         first_factor = 'none'\n[[policies]]\nname = 'everybody'\n[[second_factor]]\nname = 'phone'\nkind = 'entra'\n\
         [second_factor.entra]\ntenant_id = '3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716'\n{lines}\n"
    );
    for (key, value) in [
        ("certificates", "[{ certificate_file = 'entra.crt', key_file = 'entra.key' }]".to_owned()),
        ("sts", format!("'https://{}/'", cloud.address)),
        ("mfa_host", format!("'{}'", cloud.address)),
        ("ca_file", "'ca.pem'".to_owned()),
        ("connect_timeout", "'2s'".to_owned()),
        ("request_timeout", "'1s'".to_owned()),
    ] {
        if !lines.lines().any(|line| line.starts_with(&format!("{key} ="))) {
            text += &format!("{key} = {value}\n");
        }
    }
    write("orthrus.toml", &text);
    let loaded = crate::config::load(&folder.path().join("orthrus.toml")).unwrap_or_else(|error| panic!("{error}"));
    let SecondFactorKind::Entra(factor) = loaded.config.second_factors[0].kind.clone() else { panic!("it is entra") };
    (folder, factor)
}

impl Bench {
    fn new(cloud: &Cloud, lines: &str) -> Self {
        let (folder, factor) = configured(cloud, lines);
        let metrics = Arc::new(Metrics::new().unwrap());
        let factor = EntraBackEnd::load("phone".into(), "node".into(), factor, &Outside::default(), &metrics);
        let factor = factor.unwrap_or_else(|faults| panic!("{faults:?}"));
        // An arbiter is a runtime of one thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { factor, _folder: folder, metrics, runtime }
    }

    fn pause(&self, millis: u64) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(millis)).await });
    }

    fn wait<T>(&self, answer: Answer<T>) -> T {
        match answer {
            Answer::Now(answer) => answer,
            Answer::Later(answer) => self.runtime.block_on(answer),
        }
    }

    fn begin(&self) -> BeginAnswer {
        self.wait(self.factor.begin(&question("anna@corp.example", true, 20)))
    }

    fn code(&self, session: &[u8], code: &str) -> CodeAnswer {
        let code = CodeQuestion {
            factor: "phone".into(),
            user: Arc::new(Rules::default().read(b"anna@corp.example").unwrap()),
            id: ID,
            session: session.to_vec(),
            code: Secret::new(code.as_bytes().to_vec()),
            used: UsedCodes::default(),
        };
        self.wait(self.factor.check_code(&code, clock::now()))
    }

    fn poll(&self, session: &Arc<[u8]>) -> PollAnswer {
        let user = Arc::new(Rules::default().read(b"anna@corp.example").unwrap());
        self.wait(self.factor.poll(&PollQuestion { factor: "phone".into(), user, id: ID, session: session.clone() }))
    }

    /// The value of a series, by its name with labels.
    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics.text().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}

fn question(name: &str, code: bool, seconds: u64) -> BeginQuestion {
    BeginQuestion {
        factor: "phone".into(),
        user: Arc::new(Rules::default().read(name.as_bytes()).unwrap()),
        id: ID,
        terms: Terms { code, ..Terms::default() },
        deadline: clock::now().after(Duration::from_secs(seconds)),
    }
}

fn session() -> Vec<u8> {
    let id = "the-session".to_owned();
    let upn = "anna@corp.example".to_owned();
    Session { id, context: ID, upn, affinity_url: None, begun: clock::now() }.encode()
}

#[test]
fn an_approved_push() {
    let cloud = Cloud::start(scripted(
        |_| Does::Waits(Duration::from_millis(300), says("Begin", "Success", "true", "")),
        never,
    ));
    let bench = Bench::new(&cloud, "");
    let user = Rules::default().read(b"anna@corp.example").unwrap();
    assert_eq!(bench.wait(bench.factor.enrolment(&user)), Enrolment::Enrolled);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    let seen = cloud.seen();
    let [token, begin, _] = seen.as_slice() else { panic!("{}", seen.len()) };
    assert_eq!(token.path, "/3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716/oauth2/v2.0/token");
    assert_eq!(token.headers["content-type"], "application/x-www-form-urlencoded");
    assert!(
        token.body.starts_with("client_id=981f26a1-7f43-403b-a875-f8b09b8cd720&grant_type=client_credentials&scope=")
    );
    assert_eq!(begin.path, "/StrongAuthenticationService.svc/Connector/BeginTwoWayAuthentication");
    assert_eq!(begin.headers["authorization"], "Bearer ey.token");
    assert_eq!(begin.headers["content-type"], "application/xml");
    assert_eq!(begin.headers["user-agent"], "Orthrus");
    for part in [
        "<UserPrincipalName>anna@corp.example</UserPrincipalName>",
        "<ContextId>5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a</ContextId><SyncCall>true</SyncCall>",
        "<RequireUserMatch>true</RequireUserMatch>",
        "<a:Key>OverrideVoiceOtp</a:Key><a:Value>false</a:Value>",
        "<a:Key>OverrideNumberMatchingWithOTP</a:Key><a:Value>true</a:Value>",
    ] {
        assert!(begin.body.contains(part), "{part}: {}", begin.body);
    }
    assert_eq!(cloud.connections(), 2, "one for each host, though both are one server here");
    assert_eq!(
        bench.metric("orthrus_entra_http_requests_total{endpoint=\"begin\",factor=\"phone\",status=\"200\"}"),
        Some(2.0)
    );
    let result = "orthrus_entra_results_total{class=\"ok\",factor=\"phone\",operation=\"begin\"}";
    assert_eq!(bench.metric(result), Some(2.0));
    let left = bench.metric("orthrus_entra_token_expiry_timestamp_seconds{factor=\"phone\"}").unwrap();
    assert!((3590.0..3601.0).contains(&(left - clock::now().as_secs() as f64)));
    let ends =
        bench.metric("orthrus_certificate_expiry_timestamp_seconds{name=\"phone.certificates[0]\",use=\"entra\"}");
    assert_eq!(ends, Some(4_102_444_800.0));
}

#[test]
fn what_the_client_can_show_decides_what_is_asked() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let bodies = |lines: &str, terms: Terms| {
        let bench = Bench::new(&cloud, lines);
        bench.wait(bench.factor.begin(&BeginQuestion { terms, ..question("anna@corp.example", true, 20) }));
        let body = cloud.seen().last().unwrap().body.clone();
        let flag = |key: &str| body.contains(&format!("<a:Key>{key}</a:Key><a:Value>true</a:Value>"));
        let strict = body.contains("<RequireUserMatch>true</RequireUserMatch>");
        (flag("OverrideNumberMatchingWithOTP"), flag("OverrideVoiceOtp"), strict)
    };
    let code = Terms { code: true, ..Terms::default() };
    let push = Terms::default();
    assert_eq!(bodies("", code), (true, false, true));
    assert_eq!(bodies("", push), (false, true, true));
    assert_eq!(bodies("push_users = 'prefer_push'\nvoice_override = 'always'", code), (false, true, true));
    assert_eq!(bodies("push_users = 'prefer_code'\nvoice_override = 'never'", push), (true, false, true));
    let policy = Terms { push_users: Some(gateway_core::config::PushUsers::PreferPush), ..code };
    assert_eq!(bodies("push_users = 'prefer_code'", policy), (false, false, true));
    assert_eq!(bodies("unregistered = 'allow_by_flag'", code), (true, false, false));
    assert_eq!(bodies("unregistered = 'allow_by_flag'\nunregistered_until = '2020-01-01'", code), (true, false, true));
    assert_eq!(bodies("unregistered = 'allow_by_code'", code), (true, false, true));
    let policy = Terms { unregistered: Some(gateway_core::config::Unregistered::Deny), ..code };
    assert_eq!(bodies("unregistered = 'allow_by_flag'", policy), (true, false, true));
    let policy = Terms { unregistered: Some(gateway_core::config::Unregistered::AllowByFlag), ..code };
    assert_eq!(bodies("", policy), (true, false, false));
}

#[test]
fn users_who_are_not_registered_pass_by_code_while_the_rule_holds() {
    let nothing = || Does::Says(200, says("Begin", "NoDefaultAuthenticationMethodIsConfigured", "false", ""));
    let cloud = Cloud::start(scripted(move |_| nothing(), never));
    let begin = |lines: &str| Bench::new(&cloud, lines).begin();
    let refused = BeginAnswer::Denied(Reason::NotRegistered);
    assert_eq!(begin(""), refused);
    assert_eq!(begin("unregistered = 'allow_by_code'"), BeginAnswer::Approved(Approval::Unregistered));
    assert_eq!(begin("unregistered = 'allow_by_code'\nunregistered_until = '2020-01-01'"), refused);
    assert_eq!(begin("unregistered = 'allow_by_code'\nmethod = 'PhoneAppNotification'"), refused);
    assert_eq!(begin("unregistered = 'allow_by_flag'"), refused);
}

#[test]
fn a_code_is_asked_for_and_judged() {
    let end = |seen: &Seen| {
        let right = seen.body.contains("<AdditionalAuthData>123456</AdditionalAuthData>")
            && seen.body.contains("<SessionId>the-session</SessionId><ContextId>5a5a5a5a-")
            && seen.body.contains("<UserPrincipalName>anna@corp.example<");
        let (value, result) = if right { ("Success", "true") } else { ("OathCodeIncorrect", "false") };
        Does::Says(200, says("End", value, result, ""))
    };
    let cloud = Cloud::start(scripted(|_| Does::Says(200, says("Begin", "Success", "challenge", SESSION)), end));
    let bench = Bench::new(&cloud, "");
    let BeginAnswer::CodeWanted(CodeWanted { session, prompt }) = bench.begin() else { panic!("a code is wanted") };
    assert_eq!(prompt.as_deref(), Some("Enter Your Microsoft verification code"));
    assert_eq!(bench.code(&session, " 123456 "), CodeAnswer::Right(None));
    assert_eq!(bench.code(&session, "123457"), CodeAnswer::Ended(Reason::WrongCode));
    assert_eq!(cloud.count("EndTwoWayAuthentication"), 2);
    for malformed in ["", "1", "12345x", "123456789", "</AdditionalAuthData>"] {
        assert_eq!(bench.code(&session, malformed), CodeAnswer::Ended(Reason::CodeMalformed), "{malformed}");
    }
    assert_eq!(bench.code(b"nonsense", "123456"), CodeAnswer::Ended(Reason::SessionExpired));
    assert_eq!(cloud.count("EndTwoWayAuthentication"), 2, "nothing of that was sent");
    let push = bench.factor.begin(&question("anna@corp.example", false, 20));
    assert_eq!(bench.wait(push), BeginAnswer::Denied(Reason::ChallengeImpossible));
}

#[test]
fn a_polled_push() {
    let end = |seen: &Seen| {
        assert!(seen.body.contains("i:nil=\"true\"/>"), "{}", seen.body);
        let (value, result) = if seen.count < 3 { (PENDING, "false") } else { ("Success", "true") };
        Does::Says(200, says("End", value, result, ""))
    };
    let cloud = Cloud::start(scripted(|_| Does::Says(200, says("Begin", "Success", "false", SESSION)), end));
    let bench = Bench::new(&cloud, "begin = 'polled'");
    let BeginAnswer::Waiting { session } = bench.begin() else { panic!("it waits") };
    assert!(cloud.seen().last().unwrap().body.contains("<SyncCall>false</SyncCall>"));
    assert_eq!((bench.poll(&session), bench.poll(&session)), (PollAnswer::Waiting, PollAnswer::Waiting));
    assert_eq!(bench.poll(&session), PollAnswer::Approved);
    assert_eq!(bench.poll(&Arc::from(&b"nonsense"[..])), PollAnswer::Denied(Reason::SessionExpired));
}

#[test]
fn names_that_cannot_be_sent_are_refused_here() {
    let cloud = Cloud::start(scripted(never, never));
    let bench = Bench::new(&cloud, "");
    for upn in ["", " ", "a\nb@corp.example", "a\u{ffff}@corp.example"] {
        let mut question = question("anna@corp.example", true, 20);
        Arc::make_mut(&mut question.user).upn = upn.to_owned();
        assert_eq!(bench.wait(bench.factor.begin(&question)), BeginAnswer::Denied(Reason::UpnUnusable), "{upn:?}");
    }
    assert_eq!(cloud.seen().len(), 0);
}

/// A thousand sign-ins at once, on an arbiter's thread.
#[test]
fn a_thousand_share_one_token() {
    let cloud = Cloud::start(|seen| match seen.path.ends_with("token") {
        true => Does::Waits(
            Duration::from_millis(200),
            "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"t\"}".to_owned(),
        ),
        false => approved(),
    });
    let bench = Bench::new(&cloud, "");
    let answers: Vec<_> = (0..1000)
        .map(|number| match bench.factor.begin(&question(&format!("user{number}@corp.example"), true, 20)) {
            Answer::Later(answer) => answer,
            Answer::Now(_) => panic!("it takes a while"),
        })
        .collect();
    let approved = BeginAnswer::Approved(Approval::User);
    bench.runtime.block_on(async {
        for answer in answers {
            assert_eq!(answer.await, approved);
        }
    });
    assert_eq!((cloud.count("token"), cloud.count("BeginTwoWayAuthentication")), (1, 1000));
    assert!(cloud.connections() <= 12, "{} connections", cloud.connections());
}

#[test]
fn tokens_of_one_second() {
    let cloud = Cloud::start(|seen| if seen.path.ends_with("token") { token(1) } else { approved() });
    let bench = Bench::new(&cloud, "");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    }
    let count = cloud.count("token");
    assert!((3..=7).contains(&count), "{count} tokens");
}

#[test]
fn a_token_serves_while_its_renewal_fails() {
    let cloud = Cloud::start(|seen| match (seen.path.ends_with("token"), seen.count) {
        (true, 1) => token(2),
        (true, _) => refusal(7_000_112),
        _ => approved(),
    });
    let bench = Bench::new(&cloud, "");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    }
    bench.pause(500);
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ClientAppDisabled));
    assert!((2..=4).contains(&cloud.count("token")), "{}", cloud.count("token"));
}

#[test]
fn refused_tokens_are_told_apart() {
    for (number, reason) in [
        (7_000_112, Reason::ClientAppDisabled),
        (500_014, Reason::ResourceAppDisabled),
        (700_016, Reason::ClientAppMissing),
        (700_027, Reason::CertificateNotRegistered),
        (700_024, Reason::AssertionOutOfTime),
        (90_002, Reason::TenantUnknown),
        (12, Reason::TokenRefused),
    ] {
        let cloud = Cloud::start(move |_| refusal(number));
        let bench = Bench::new(&cloud, "");
        assert_eq!(bench.begin(), BeginAnswer::Unavailable(reason), "{number}");
        assert_eq!((cloud.count("token"), cloud.count("BeginTwoWayAuthentication")), (1, 0));
        // Not again at once.
        assert_eq!((bench.begin(), cloud.count("token")), (BeginAnswer::Unavailable(reason), 1));
    }
    for (does, reason) in [
        (|| Does::Says(200, "<html>".to_owned()), Reason::TokenEndpointForeign),
        (|| Does::Says(403, "<html>sign in at the proxy</html>".to_owned()), Reason::TokenEndpointForeign),
        (|| Does::Says(503, String::new()), Reason::ProviderOverloaded),
        (|| Does::SaysWith(429, "retry-after", "60".to_owned(), String::new()), Reason::ProviderOverloaded),
        (|| Does::Says(200, "x".repeat(70_000)), Reason::ProviderUnreachable),
        (|| Does::Says(500, String::new()), Reason::ProviderFault),
        (|| Does::Cuts, Reason::ProviderUnreachable),
        (|| Does::Hangs, Reason::ProviderUnreachable),
        (
            || Does::SaysWith(302, "location", "https://evil.example/".to_owned(), String::new()),
            Reason::TokenEndpointForeign,
        ),
    ] as [(fn() -> Does, Reason); 9]
    {
        let cloud = Cloud::start(move |_| does());
        let bench = Bench::new(&cloud, "connect_timeout = '1s'");
        assert_eq!(bench.begin(), BeginAnswer::Unavailable(reason));
        assert_eq!(cloud.count("BeginTwoWayAuthentication"), 0);
    }
}

#[test]
fn each_assertion_has_an_identifier_of_its_own() {
    let cloud = Cloud::start(|seen| match (seen.path.ends_with("token"), seen.count) {
        (true, 1) => Does::Says(500, String::new()),
        (true, _) => token(3600),
        _ => approved(),
    });
    let bench = Bench::new(&cloud, "");
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    let asked: Vec<_> = cloud.seen().into_iter().filter(|seen| seen.path.ends_with("token")).collect();
    let assertions: Vec<_> = asked.iter().map(|seen| seen.body.split("client_assertion=").last().unwrap()).collect();
    assert!(assertions.len() == 2 && assertions[0] != assertions[1], "{assertions:?}");
}

#[test]
fn token_endpoint_that_asks_for_patience_is_left_alone() {
    let cloud = Cloud::start(|_| Does::SaysWith(429, "retry-after", "60".to_owned(), String::new()));
    let bench = Bench::new(&cloud, "");
    for _ in 0..3 {
        assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderOverloaded));
        // Longer than the pause after a failure that names none.
        bench.pause(1100);
    }
    assert_eq!(cloud.count("token"), 1);
}

#[test]
fn the_next_certificate_is_tried_where_one_is_rejected() {
    let both = "certificates = [{ certificate_file = 'entra.crt', key_file = 'entra.key' }, \
                { certificate_file = 'newer.crt', key_file = 'newer.key' }]";
    let cloud = Cloud::start(|seen| match (seen.path.ends_with("token"), seen.count) {
        (true, 1) => refusal(700_027),
        (true, _) => token(3600),
        _ => approved(),
    });
    let bench = Bench::new(&cloud, both);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    let headers: Vec<_> = cloud.seen().iter().take(2).map(|seen| header(&seen.body)).collect();
    let all = bench.factor.inner.certificates.all();
    let names = [&all[1], &all[0]].map(|credential| token::base64url(&credential.fingerprints.sha1));
    assert!(
        headers[0].contains(&names[0]) && headers[1].contains(&names[1]),
        "the newest first: {headers:?} {names:?}"
    );
}

/// The header of the assertion in a form.
fn header(form: &str) -> String {
    use base64::Engine;
    let assertion = form.split("client_assertion=").last().unwrap();
    let encoded = assertion.split('.').next().unwrap();
    String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}

#[test]
fn assertions_are_signed() {
    use aws_lc_rs::signature::{
        RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };
    use base64::Engine;
    use x509_parser::prelude::{FromDer, X509Certificate};
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(pairs()[0].0.as_bytes());
    let der: rustls::pki_types::CertificateDer<'_> = der.unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let key = parsed.public_key().subject_public_key.data.to_vec();
    for (lines, algorithm, named) in [
        ("", &RSA_PKCS1_2048_8192_SHA256 as &'static dyn VerificationAlgorithm, "\"x5t\":"),
        ("assertion_alg = 'ps256'", &RSA_PSS_2048_8192_SHA256, "\"x5t#S256\":"),
    ] {
        let cloud = Cloud::start(|seen| if seen.path.ends_with("token") { token(3600) } else { approved() });
        Bench::new(&cloud, lines).begin();
        let form = cloud.seen()[0].body.clone();
        let assertion = form.split("client_assertion=").last().unwrap();
        let (input, signature) = assertion.rsplit_once('.').unwrap();
        let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(algorithm, &key).verify(input.as_bytes(), &signature).unwrap();
        assert!(header(&form).contains(named), "{}", header(&form));
    }
}

#[test]
fn a_stale_token_is_renewed_once() {
    let cloud =
        Cloud::start(scripted(|seen| if seen.count == 1 { Does::Says(401, String::new()) } else { approved() }, never));
    let bench = Bench::new(&cloud, "");
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    assert_eq!((cloud.count("token"), cloud.count("BeginTwoWayAuthentication")), (2, 2));
    let cloud = Cloud::start(scripted(|_| Does::Says(401, String::new()), never));
    let bench = Bench::new(&cloud, "");
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::ProviderRefusedToken));
    assert_eq!((cloud.count("token"), cloud.count("BeginTwoWayAuthentication")), (2, 2));
}

#[test]
fn certificates_are_read_again_and_old_ones_are_no_fault() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let (old, old_key) = certificate(2000, 2001);
    let (folder, factor) = configured(&cloud, "");
    let metrics = Arc::new(Metrics::new().unwrap());
    let load = || EntraBackEnd::load("phone".into(), "node".into(), factor.clone(), &Outside::default(), &metrics);
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
    };
    write("entra.crt", &old);
    let faults = load().err().unwrap();
    assert!(faults[0].contains("entra.crt: the key in key_file is not the key of this certificate"), "{faults:?}");
    write("entra.key", &old_key);
    let bench = Bench { factor: load().ok().unwrap(), ..Bench::new(&cloud, "") };
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::NoUsableCertificate));

    let [(certificate, key), _] = pairs();
    write("entra.crt", certificate);
    assert!(matches!(bench.factor.reload_if_changed(), Reload::Faulty(faults) if faults[0].contains("not the key")));
    assert_eq!(bench.factor.reload_if_changed(), Reload::Unchanged);
    write("entra.key", key);
    assert_eq!(bench.factor.reload_if_changed(), Reload::Reloaded);
    write("ca.pem", "nothing");
    assert!(matches!(bench.factor.reload_if_changed(), Reload::Faulty(faults) if faults[0].contains("ca.pem")));
    bench.pause(1100);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));

    for (name, text, fragment) in [
        ("entra.crt", "nothing", "no certificate in it"),
        ("entra.key", "nothing", "no private key in key_file"),
        ("entra.key", &rcgen::KeyPair::generate().unwrap().serialize_pem(), "RSA"),
        ("ca.pem", "nothing", "ca.pem"),
    ] {
        write("entra.crt", certificate);
        write("entra.key", key);
        write("ca.pem", &cloud.authority);
        write(name, text);
        let faults = load().err().unwrap();
        assert!(faults[0].contains(fragment), "{name}: {faults:?}");
        assert!(!faults.concat().contains("PRIVATE"), "{faults:?}");
    }
    write("ca.pem", &cloud.authority);
    fs::remove_file(folder.path().join("entra.key")).unwrap();
    assert!(load().err().unwrap()[0].contains("entra.key: the file cannot be read"));
}

#[test]
fn thumbprints_pin_a_certificate() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let (folder, factor) = configured(&cloud, "");
    let metrics = Arc::new(Metrics::new().unwrap());
    let loaded =
        EntraBackEnd::load("phone".into(), "node".into(), factor.clone(), &Outside::default(), &metrics).ok().unwrap();
    let prints = loaded.inner.certificates.all()[0].fingerprints;
    let with = |thumbprint| {
        let mut factor = (*factor).clone();
        factor.certificates[0].thumbprint = Some(thumbprint);
        EntraBackEnd::load("phone".into(), "node".into(), Arc::new(factor), &Outside::default(), &metrics).err()
    };
    use gateway_core::config::Thumbprint;
    assert_eq!(with(Thumbprint::Sha1(prints.sha1)), None);
    assert_eq!(with(Thumbprint::Sha256(prints.sha256)), None);
    assert!(with(Thumbprint::Sha1([0; 20])).unwrap()[0].contains("names another certificate"));
    drop(folder);
}

#[test]
fn the_breaker_leaves_a_failing_service_alone() {
    let broken = Arc::new(AtomicUsize::new(3));
    let left = broken.clone();
    let cloud = Cloud::start(scripted(
        move |_| match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Does::Says(500, String::new()),
            Err(_) => approved(),
        },
        never,
    ));
    let bench = Bench::new(&cloud, "breaker_failures = 3\nbreaker_pause = '1s'");
    for _ in 0..3 {
        assert_eq!(bench.begin(), BeginAnswer::Denied(Reason::OutcomeUnknown));
    }
    for _ in 0..20 {
        assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::BreakerOpen));
    }
    assert_eq!(cloud.count("BeginTwoWayAuthentication"), 3);
    assert_eq!(bench.metric("orthrus_entra_breaker_state{factor=\"phone\"}"), Some(2.0));
    bench.pause(1100);
    assert_eq!(bench.begin(), BeginAnswer::Approved(Approval::User));
    assert_eq!(bench.metric("orthrus_entra_breaker_state{factor=\"phone\"}"), Some(0.0));
}

#[test]
fn unreadable_answers_open_the_breaker() {
    let page = |_: &Seen| Does::Says(200, "<html>".to_owned());
    let cloud = Cloud::start(scripted(page, page));
    let bench = Bench::new(&cloud, "breaker_failures = 3\nbreaker_pause = '1m'");
    assert_eq!(bench.begin(), BeginAnswer::Denied(Reason::OutcomeUnknown));
    assert_eq!(bench.code(&session(), "123456"), CodeAnswer::Unknown(Reason::OutcomeUnknown));
    assert_eq!(bench.poll(&Arc::from(session())), PollAnswer::Unavailable(Reason::OutcomeUnknown));
    assert_eq!(bench.begin(), BeginAnswer::Unavailable(Reason::BreakerOpen));
    assert_eq!(bench.code(&session(), "123456"), CodeAnswer::NotAsked(Reason::BreakerOpen));
    assert_eq!(cloud.count("EndTwoWayAuthentication"), 2);
}

#[test]
fn affinity_second_try_is_one_and_only_where_it_is_allowed() {
    let gone = |_: &Seen| Does::Says(200, says("End", "InvalidSession", "false", ""));
    let other = Cloud::start(scripted(never, |_| Does::Says(200, says("End", "Success", "true", ""))));
    let cloud = Cloud::start(scripted(never, gone));
    let asked = |lines: &str, url: &str| {
        let bench = Bench::new(&cloud, &format!("{lines}\naffinity_hosts = ['{}']", other.address));
        // Both are of one authority here only by being trusted both.
        let both = format!("{}{}", cloud.authority, other.authority);
        bench.factor.inner.connector.set_tls(tls::client(&bench.factor.inner.factor, Some(&both)).unwrap());
        let mut session = Session::decode(&session()).unwrap();
        session.affinity_url = Some(url.to_owned());
        bench.code(&session.encode(), "123456")
    };
    let url = format!("https://{}/StrongAuthenticationService.svc/Connector", other.address);
    let over = CodeAnswer::Ended(Reason::SessionExpired);
    assert_eq!(asked("", &url), over, "never, by default");
    let follow = "follow_affinity_url = 'on_invalid_session'";
    assert_eq!(asked(follow, &url.replace("https", "http")), over);
    assert_eq!(asked(follow, "https://evil.example/"), over);
    assert_eq!(asked(follow, ""), over);
    assert_eq!(other.seen().len(), 0);
    assert_eq!(asked(follow, &url), CodeAnswer::Right(None));
    assert_eq!(other.seen()[0].path, "/StrongAuthenticationService.svc/Connector/EndTwoWayAuthentication");
}

#[test]
fn a_reload_keeps_what_is_configured_as_before() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let (folder, _) = configured(&cloud, "");
    let config = || crate::config::load(&folder.path().join("orthrus.toml")).unwrap().config;
    let pool = Arc::new(crate::backends::HashingPool::new(1, 1).unwrap());
    let (outside, metrics) = (Outside::default(), Arc::new(Metrics::new().unwrap()));
    let load = |old: Option<&Backends>| Backends::load(&config(), &pool, &outside, &metrics, old).ok().unwrap();
    let first = load(None);
    let second = load(Some(&first));
    let inner = |backends: &Backends| backends.entra["phone"].inner.clone();
    assert!(Arc::ptr_eq(&inner(&first), &inner(&second)));
    let path = folder.path().join("orthrus.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.clone() + "upn_echo = 'warn'\n").unwrap();
    let third = load(Some(&second));
    assert!(!Arc::ptr_eq(&inner(&second), &inner(&third)));
    let gauge = || metrics.text().unwrap().contains("orthrus_certificate_expiry_timestamp_seconds{name=\"phone.");
    assert!(gauge());
    fs::write(&path, text.replace("'phone'", "'telephone'")).unwrap();
    let fourth = load(Some(&third));
    assert!(!gauge() && fourth.warnings().is_empty());
}

#[test]
fn certificates_that_end_are_warned_of() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let bench = Bench::new(&cloud, "");
    let warnings = |seconds: u64| {
        let found = bench.factor.inner.certificate_warnings(Timestamp::from_secs(seconds));
        found.iter().map(ToString::to_string).collect::<Vec<_>>().concat()
    };
    // It is valid from 2020 to 2100.
    let (begins, ends) = (1_577_836_800, 4_102_444_800);
    assert!(warnings(begins - 1).contains("not valid yet") && warnings(ends + 1).contains("is over"));
    assert_eq!((warnings(begins), warnings(ends - 31 * 86_400)), (String::new(), String::new()));
    assert!(warnings(ends - 29 * 86_400 - 1).contains("ends in 29 days. Renew it and register the new one."));
}

/// Tens of thousands may be waiting at once.
#[test]
fn a_pending_prompt_is_small() {
    let cloud = Cloud::start(scripted(|_| approved(), never));
    let bench = Bench::new(&cloud, "");
    let call = calls::begin(bench.factor.inner.clone(), question("anna@corp.example", true, 20), true);
    let size = std::mem::size_of_val(&call);
    assert!(size < 1024, "{size} octets");
}
