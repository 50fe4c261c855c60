//! The token endpoint: checks what a real one checks of a client-credentials request with a certificate (ENTRA.md's sections on
//! tokens), and answers as it does.

use crate::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The application that calls.
pub(crate) const CLIENT_ID: &str = "981f26a1-7f43-403b-a875-f8b09b8cd720";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The status and the body.
pub(crate) type Answered = (u16, Value);

/// An error as the endpoint words it.
pub(crate) fn refusal(number: u32, what: &str) -> Answered {
    let status = if [7_000_112, 700_027, 7_000_214].contains(&number) { 401 } else { 400 };
    let error = if status == 401 { "invalid_client" } else { "invalid_request" };
    let body = json!({
        "error": error,
        "error_description": format!("AADSTS{number}: {what} (simulated)"),
        "error_codes": [number],
        "timestamp": "2026-01-01 00:00:00Z",
        "trace_id": "00000000-0000-0000-0000-000000000000",
        "correlation_id": "00000000-0000-0000-0000-000000000000",
    });
    (status, body)
}

/// A refusal of which nobody has shown the number.
fn unnumbered(what: &str) -> Answered {
    (400, json!({ "error": "invalid_request", "error_description": format!("{what} (simulated)"), "error_codes": [] }))
}

/// Answers a request for a token that was posted to `url`.
pub(crate) fn answer(state: &State, url: &str, path: &str, content_type: &str, body: &str) -> Answered {
    match check(state, url, path, content_type, body) {
        Ok(()) => {
            let mut inner = state.inner();
            let lifetime = inner.token_lifetime;
            let token = crate::random_id();
            inner.tokens.insert(token.clone(), Instant::now() + lifetime);
            let seconds = lifetime.as_secs();
            // Numbers come as text from the older endpoint.
            let expires: Value = if path.contains("v2.0") { seconds.into() } else { seconds.to_string().into() };
            (200, json!({ "token_type": "Bearer", "expires_in": expires, "access_token": token }))
        }
        Err(refused) => refused,
    }
}

fn check(state: &State, url: &str, path: &str, content_type: &str, body: &str) -> Result<(), Answered> {
    let invalid = unnumbered;
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return Err(invalid("the request body must be a form"));
    }
    let form = form(body).ok_or_else(|| invalid("the form cannot be read"))?;
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let v2 = format!("/{}/oauth2/v2.0/token", state.tenant);
    let v1 = format!("/{}/oauth2/token", state.tenant);
    let resource = format!("https://{}/StrongAuthenticationService.svc/Connector", state.resource_host);
    let audience = match path {
        path if path == v2 => field("scope") == format!("{resource}/.default"),
        path if path == v1 => field("resource") == resource,
        _ => return Err(refusal(90_002, "Tenant not found")),
    };
    let forced = state.inner().refuse_tokens;
    if let Some(number) = forced {
        return Err(refusal(number, "as told"));
    }
    if field("client_id") != CLIENT_ID {
        return Err(refusal(700_016, "Application was not found in the directory"));
    }
    {
        let inner = state.inner();
        if inner.client_disabled {
            return Err(refusal(7_000_112, "Application is disabled"));
        }
        if inner.resource_disabled {
            return Err(refusal(500_014, "The service principal for the resource is disabled"));
        }
    }
    if !audience {
        return Err(invalid("the audience is not the Connector's"));
    }
    if field("grant_type") != "client_credentials" || field("client_assertion_type") != ASSERTION {
        return Err(invalid("grant_type or client_assertion_type"));
    }
    assertion(state, url, field("client_assertion"))
}

fn assertion(state: &State, url: &str, jwt: &str) -> Result<(), Answered> {
    let malformed = || refusal(50_027, "JWT token is invalid or malformed");
    let unknown =
        || refusal(700_027, "The certificate with identifier used to sign the client assertion is not registered");
    let [header, claims, signature] = jwt.split('.').collect::<Vec<_>>().try_into().map_err(|_| malformed())?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let object = |part: &str| decode(part).and_then(|octets| serde_json::from_slice::<Value>(&octets).ok());
    let (head, body) = (object(header).ok_or_else(malformed)?, object(claims).ok_or_else(malformed)?);
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    if text(&head, "typ") != "JWT" {
        return Err(malformed());
    }
    let certificate = {
        let inner = state.inner();
        let named = |thumbprints: &[String; 2]| match text(&head, "alg").as_str() {
            "RS256" => thumbprints[0] == text(&head, "x5t"),
            "PS256" => thumbprints[1] == text(&head, "x5t#S256"),
            _ => false,
        };
        let now = Instant::now();
        let known = inner.certificates.iter().find(|(known, since)| named(&known.thumbprints()) && *since <= now);
        known.map(|(certificate, _)| certificate.der.clone()).ok_or_else(unknown)?
    };
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| unknown())?;
    let signed = format!("{header}.{claims}");
    let signature = decode(signature).ok_or_else(malformed)?;
    // Whoever asks by PS256 leans on an assumption, and is told so.
    let algorithm: &dyn aws_lc_rs::signature::VerificationAlgorithm = match text(&head, "alg").as_str() {
        "RS256" => &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        _ => &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256,
    };
    let key =
        aws_lc_rs::signature::UnparsedPublicKey::new(algorithm, parsed.public_key().subject_public_key.data.to_vec());
    key.verify(signed.as_bytes(), &signature).map_err(|_| unknown())?;

    let skew = state.inner().skew;
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).saturating_add_signed(skew);
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    if number("exp") <= now || number("nbf") > now + 300 || number("exp") > now + 86_400 {
        return Err(refusal(700_024, "Client assertion is not within its valid time range"));
    }
    if parsed.validity().not_after.timestamp() < i64::try_from(now).unwrap_or(i64::MAX) {
        return Err(refusal(1_000_502, "The provided certificate is not within its specified validity window"));
    }
    if text(&body, "aud") != url || text(&body, "iss") != CLIENT_ID || text(&body, "sub") != CLIENT_ID {
        return Err(refusal(50_027, "the assertion's audience, issuer or subject does not match"));
    }
    let jti = text(&body, "jti");
    if jti.is_empty() || !state.inner().assertions.insert(jti) {
        return Err(refusal(50_027, "the identifier of the assertion is missing or was used before"));
    }
    Ok(())
}

fn form(body: &str) -> Option<HashMap<String, String>> {
    body.split('&')
        .map(|pair| pair.split_once('=').and_then(|(name, value)| Some((plain(name)?, plain(value)?))))
        .collect()
}

fn plain(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

/// Whether the assertion in this form is signed by PS256.
pub(crate) fn is_ps256(body: &str) -> bool {
    let assertion = form(body).and_then(|form| form.get("client_assertion").cloned()).unwrap_or_default();
    let header = assertion.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok()).unwrap_or_default();
    String::from_utf8_lossy(&header).contains("PS256")
}
