use super::*;
use crate::config::{Raw, SecondFactorKind, SecretSource, Surroundings};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

struct Names;

impl SecretSource for Names {
    fn file(&self, path: &Path) -> Result<Secret, String> {
        Ok(Secret::new(path.to_string_lossy().into_owned().into_bytes()))
    }

    fn env(&self, name: &str) -> Result<Secret, String> {
        Ok(Secret::new(name.as_bytes().to_vec()))
    }
}

fn factor(lines: &str) -> Arc<EntraFactor> {
    let text = format!(
        "state_dir = 'state'\n[[clients]]\nname = 'vpn'\naddresses = ['192.0.2.10']\nsecret_file = 'a-long-secret'\n\
         [[first_factor]]\nname = 'staff'\nkind = 'file'\nusers_file = 'users'\n[[policies]]\nname = 'everybody'\n\
         [[second_factor]]\nname = 'phone'\nkind = 'entra'\n[second_factor.entra]\n\
         tenant_id = '3F2B1C0D-5A49-4E8E-9D7C-6B5A49382716'\n\
         certificates = [{{ certificate_file = 'c', key_file = 'k' }}]\n{lines}\n"
    );
    let raw: Raw = toml::from_str(&text).unwrap();
    let now = Timestamp::default();
    let around = Surroundings { folder: Path::new("/"), host_name: "node", secrets: &Names, now };
    let (config, _) = raw.check(&around, crate::config::Report::default()).unwrap();
    match &config.second_factors[0].kind {
        SecondFactorKind::Entra(factor) => factor.clone(),
        other => panic!("{other:?}"),
    }
}

fn decoded(text: &str) -> Value {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut octets) = (0u32, 0, Vec::new());
    for symbol in text.chars() {
        bits = bits << 6 | u32::try_from(alphabet.find(symbol).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    serde_json::from_slice(&octets).unwrap()
}

const PRINTS: Fingerprints = Fingerprints { sha1: [0xfb; 20], sha256: [0xff; 32] };

#[test]
fn the_assertion_is_for_exactly_the_address() {
    let now = Timestamp::from_secs(1_767_225_600);
    let factor = factor("");
    assert_eq!(
        url(&factor),
        "https://login.microsoftonline.com/3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716/oauth2/v2.0/token"
    );
    let input = assertion_input(&factor, Algorithm::Rs256, &PRINTS, [7; 16], now);
    let (header, claims) = input.split_once('.').unwrap();
    let header = decoded(header);
    assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "x5t": "-_v7-_v7-_v7-_v7-_v7-_v7-_s" }));
    assert_eq!(
        decoded(claims),
        json!({
            "aud": url(&factor),
            "iss": "981f26a1-7f43-403b-a875-f8b09b8cd720",
            "sub": "981f26a1-7f43-403b-a875-f8b09b8cd720",
            "jti": "07070707-0707-0707-0707-070707070707",
            "nbf": 1_767_225_600,
            "iat": 1_767_225_600,
            "exp": 1_767_226_200,
        })
    );
    let input = assertion_input(&factor, Algorithm::Ps256, &PRINTS, [7; 16], now);
    let header = decoded(input.split_once('.').unwrap().0);
    assert_eq!(header, json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": format!("{}8", "_".repeat(42)) }));
    assert_eq!(assertion("a.b", &[0xff]).expose(), b"a.b._w");
}

#[test]
fn ps256_on_mfa_client_is_not_taken_for_granted() {
    assert_eq!(Algorithm::from(AssertionAlg::Auto), Algorithm::Rs256);
    assert_eq!(Algorithm::from(AssertionAlg::Rs256), Algorithm::Rs256);
    assert_eq!(Algorithm::from(AssertionAlg::Ps256), Algorithm::Ps256);
}

#[test]
fn forms_of_both_endpoints() {
    let text = |lines: &str| {
        let form = form(&factor(lines), &Secret::new(b"a.b-_.c".to_vec()));
        assert!(!format!("{form:?}").contains("a.b"));
        String::from_utf8(form.expose().to_vec()).unwrap()
    };
    let rest = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                &client_assertion=a.b-_.c";
    let opening = "client_id=981f26a1-7f43-403b-a875-f8b09b8cd720&grant_type=client_credentials";
    let audience = "https%3A%2F%2Fadnotifications.windowsazure.com%2FStrongAuthenticationService.svc%2FConnector";
    assert_eq!(text(""), format!("{opening}&scope={audience}%2F.default&{rest}"));
    assert_eq!(text("token_endpoint = 'v1'"), format!("{opening}&resource={audience}&{rest}"));
    let usgov = factor("cloud = 'usgov'\ntoken_endpoint = 'v1'");
    assert_eq!(url(&usgov), "https://login.microsoftonline.us/3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716/oauth2/token");
    assert!(text("cloud = 'china'").contains("adnotifications.windowsazure.cn"));
}

#[test]
fn base64url_of_rfc_4648() {
    for (plain, text) in [
        ("", ""),
        ("f", "Zg"),
        ("fo", "Zm8"),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64url(plain.as_bytes()), text);
    }
}

#[test]
fn tokens_are_read() {
    let token = |seconds: u64| {
        Some(Token { access: Secret::new(b"ey.J-_.x".to_vec()), lifetime: Duration::from_secs(seconds) })
    };
    for (body, seconds) in [
        (r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"ey.J-_.x"}"#, 3599),
        (r#"{"token_type":"bearer","expires_in":"86399","expires_on":"1","access_token":"ey.J-_.x"}"#, 86_399),
        (r#"{"token_type":"Bearer","expires_in":1,"access_token":"ey.J-_.x"}"#, 1),
        (r#"{"token_type":"Bearer","expires_in":99999999999999,"access_token":"ey.J-_.x"}"#, 604_800),
    ] {
        assert_eq!(read(body.as_bytes()), token(seconds), "{body}");
    }
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"token_type":"Bearer","expires_in":3599}"#,
        r#"{"token_type":"Bearer","access_token":"a"}"#,
        r#"{"expires_in":3599,"access_token":"a"}"#,
        r#"{"token_type":"mac","expires_in":3599,"access_token":"a"}"#,
        r#"{"token_type":"Bearer","expires_in":0,"access_token":"a"}"#,
        r#"{"token_type":"Bearer","expires_in":-5,"access_token":"a"}"#,
        r#"{"token_type":"Bearer","expires_in":null,"access_token":"a"}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":""}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nX: y"}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a b"}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"ä"}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":5}"#,
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a","access_token":"b"}"#,
        &format!("{}1", "[".repeat(5000)),
        &format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{}"}}"#, "a".repeat(70_000)),
    ] {
        assert_eq!(read(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn refusals_are_explained() {
    for (number, reason, next) in [
        (7_000_112, Reason::ClientAppDisabled, false),
        (500_014, Reason::ResourceAppDisabled, false),
        (700_016, Reason::ClientAppMissing, false),
        (700_011, Reason::ClientAppMissing, false),
        (700_027, Reason::CertificateNotRegistered, true),
        (700_024, Reason::AssertionOutOfTime, false),
        (7_000_214, Reason::CertificateOutOfTime, true),
        (1_000_502, Reason::CertificateOutOfTime, true),
        (90_002, Reason::TenantUnknown, false),
        (50_027, Reason::TokenRefused, false),
        (70_011, Reason::TokenRefused, false),
    ] {
        let body = format!(
            r#"{{"error":"invalid_client","error_description":"AADSTS{number}: text.\r\nTrace ID: t","error_codes":[{number}],
                "timestamp":"2026-01-01 00:00:00Z","trace_id":"t-1","correlation_id":"c-1"}}"#
        );
        let refusal = read_refusal(401, body.as_bytes());
        assert_eq!((refusal.reason, refusal.aadsts, refusal.try_next_certificate), (reason, Some(number), next));
        assert_eq!(refusal.ids, "trace_id=t-1 correlation_id=c-1");
        assert!(refusal.description.starts_with("invalid_client AADSTS") && !refusal.description.contains('\n'));
        // The same without the list.
        let refusal = read_refusal(400, body.replace("error_codes", "codes").as_bytes());
        assert_eq!((refusal.reason, refusal.aadsts), (reason, Some(number)));
        let refusal = read_refusal(400, body.replace(&format!("[{number}]"), &format!("[\"{number}\"]")).as_bytes());
        assert_eq!(refusal.reason, reason);
    }
}

#[test]
fn refusals_that_no_token_endpoint_gives_are_told_apart() {
    for body in ["", "<html>", "[]", "{}", r#"{"error":5,"error_codes":[null,{}]}"#, &"{".repeat(100_000)] {
        let refusal = read_refusal(403, body.as_bytes());
        assert_eq!((refusal.reason, refusal.aadsts), (Reason::TokenEndpointForeign, None), "{body}");
        assert!(!refusal.try_next_certificate && refusal.description.contains("status 403"), "{refusal:?}");
    }
    // RFC 6749 §5.2: an `error` without a number of Microsoft's is a refusal all the same.
    assert_eq!(read_refusal(400, br#"{"error":"invalid_scope"}"#).reason, Reason::TokenRefused);
    assert_eq!(number_in("AADSTS: none"), None);
    assert_eq!(number_in("x AADSTS99999999999999999999999"), None);
}
