//! The token: client credentials with a signed assertion (RFC 7521, RFC 7523), as Microsoft's token endpoints take them.

use super::{assumed, shown};
use crate::config::{AssertionAlg, EntraFactor, TokenEndpoint};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an assertion is valid.
const ASSERTION_LIVES: Duration = Duration::from_secs(600);

/// A lifetime beyond this is cut: nobody has seen more than a day.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; the certificate is named by `x5t`.
    Rs256,
    /// RSASSA-PSS with SHA-256 and 32 octets of salt; the certificate is named by `x5t#S256`.
    Ps256,
}

impl From<AssertionAlg> for Algorithm {
    fn from(configured: AssertionAlg) -> Self {
        if assumed::ps256_on_mfa_client(configured) { Self::Ps256 } else { Self::Rs256 }
    }
}

/// The names of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// SHA-1 of the DER encoding.
    pub sha1: [u8; 20],
    /// SHA-256 of the DER encoding.
    pub sha256: [u8; 32],
}

/// The address that the token is asked for at; the assertion is for exactly this one.
pub fn url(factor: &EntraFactor) -> String {
    let path = match factor.token_endpoint {
        TokenEndpoint::V2 => "oauth2/v2.0/token",
        TokenEndpoint::V1 => "oauth2/token",
    };
    format!("{}{}/{path}", factor.hosts.sts, factor.tenant_id)
}

/// What is to be signed: header and claims of the assertion, encoded. `id` is fresh and random for each.
pub fn assertion_input(
    factor: &EntraFactor,
    algorithm: Algorithm,
    certificate: &Fingerprints,
    id: [u8; 16],
    now: Timestamp,
) -> String {
    let header = match algorithm {
        Algorithm::Rs256 => json!({ "alg": "RS256", "typ": "JWT", "x5t": base64url(&certificate.sha1) }),
        Algorithm::Ps256 => json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": base64url(&certificate.sha256) }),
    };
    let client = &factor.client_id;
    let claims = json!({
        "aud": url(factor),
        "iss": client,
        "sub": client,
        "jti": crate::attempt::record::AttemptId(id).to_string(),
        "nbf": now.as_secs(),
        "iat": now.as_secs(),
        "exp": now.after(ASSERTION_LIVES).as_secs(),
    });
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

/// The signed assertion.
pub fn assertion(input: &str, signature: &[u8]) -> Secret {
    Secret::new(format!("{input}.{}", base64url(signature)).into_bytes())
}

/// The body of the question, `application/x-www-form-urlencoded`.
pub fn form(factor: &EntraFactor, assertion: &Secret) -> Secret {
    let audience = assumed::audience_join(&factor.hosts);
    let (key, value) = match factor.token_endpoint {
        TokenEndpoint::V2 => ("scope", format!("{audience}/.default")),
        TokenEndpoint::V1 => ("resource", audience),
    };
    let mut form = Zeroizing::new(Vec::with_capacity(1024 + assertion.expose().len()));
    for (key, value) in [
        ("client_id", factor.client_id.as_bytes()),
        ("grant_type", b"client_credentials"),
        (key, value.as_bytes()),
        ("client_assertion_type", b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion.expose()),
    ] {
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(key.as_bytes());
        form.push(b'=');
        for octet in value {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => form.push(*octet),
                other => form.extend_from_slice(format!("%{other:02X}").as_bytes()),
            }
        }
    }
    Secret::new(std::mem::take(&mut *form))
}

/// Base64 with the alphabet for addresses, unpadded (RFC 4648 §5, RFC 7515 §2).
pub fn base64url(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let index = usize::try_from(bits >> (18 - 6 * place) & 63).ok();
            // Six bits always lie within the alphabet.
            text.extend(index.and_then(|index| ALPHABET.get(index)).map(|symbol| char::from(*symbol)));
        }
    }
    text
}

/// A token.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// What is shown to the service.
    pub access: Secret,
    /// How long it lives.
    pub lifetime: Duration,
}

/// Reads a token out of the answer with status 200; `None` where it is none that could be used.
pub fn read(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Raw {
        token_type: String,
        expires_in: Number,
        #[serde(deserialize_with = "secret")]
        access_token: Secret,
    }
    if body.len() > super::LARGEST {
        return None;
    }
    let raw: Raw = serde_json::from_slice(body).ok()?;
    let seconds = raw.expires_in.0.filter(|seconds| *seconds > 0)?;
    // It becomes part of a header.
    let access = Some(raw.access_token)
        .filter(|access| !access.is_empty() && access.expose().iter().all(u8::is_ascii_graphic))?;
    raw.token_type
        .eq_ignore_ascii_case("bearer")
        .then(|| Token { access, lifetime: Duration::from_secs(seconds).min(LONGEST_LIFE) })
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(|text| Secret::new(text.into_bytes()))
}

/// A number, or a text that is one.
#[derive(Default)]
struct Number(Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))))
    }
}

/// Why no token was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is told of it.
    pub reason: Reason,
    /// The number, where one was given.
    pub aadsts: Option<u64>,
    /// What the operator should do.
    pub advice: &'static str,
    /// Another certificate may be taken where this one was not.
    pub try_next_certificate: bool,
    /// `error_description`, as it may stand in a log line.
    pub description: String,
    /// `trace_id` and `correlation_id`, as they may stand in a log line.
    pub ids: String,
}

macro_rules! table {
    ($($number:literal => $reason:ident, $next:literal, $advice:literal;)*) => {
        fn known(aadsts: u64) -> Option<(Reason, bool, &'static str)> {
            match aadsts {
                $($number => Some((Reason::$reason, $next, $advice)),)*
                _ => None,
            }
        }
    };
}

table! {
    7_000_112 => ClientAppDisabled, false, "enable the service principal of the MFA client";
    500_014 => ResourceAppDisabled, false, "enable the service principal of the MFA Connector too";
    700_016 => ClientAppMissing, false, "create the service principal of the MFA client in the tenant";
    700_011 => ClientAppMissing, false, "create the service principal of the MFA client in the tenant";
    700_027 => CertificateNotRegistered, true, "register the certificate; check its thumbprint and the clock";
    700_024 => AssertionOutOfTime, false, "set the clock";
    7_000_214 => CertificateOutOfTime, true, "renew the certificate";
    1_000_502 => CertificateOutOfTime, true, "renew the certificate";
    90_002 => TenantUnknown, false, "check tenant_id, and sts or cloud";
    50_027 => TokenRefused, false, "the assertion is malformed: report it, it is a fault in Orthrus";
}

/// Reads a refusal: any status but 200, 429 and those from 500 on. It never fails: what cannot be read is no word of a token endpoint, but
/// of something that stands in its place.
pub fn read_refusal(status: u16, body: &[u8]) -> Refusal {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Raw {
        error: serde_json::Value,
        error_description: serde_json::Value,
        error_codes: Vec<Number>,
        trace_id: serde_json::Value,
        correlation_id: serde_json::Value,
    }
    let raw: Raw =
        if body.len() > super::LARGEST { Raw::default() } else { serde_json::from_slice(body).unwrap_or_default() };
    let text = |value: &serde_json::Value| shown(value.as_str().unwrap_or_default());
    let description = raw.error_description.as_str().unwrap_or_default();
    let listed = raw.error_codes.iter().filter_map(|number| number.0);
    let numbers: Vec<u64> = listed.chain(number_in(description)).collect();
    let found = numbers.iter().find_map(|number| known(*number).map(|entry| (*number, entry)));
    // RFC 6749 §5.2: every refusal of a token endpoint names its `error`.
    let foreign = numbers.is_empty() && raw.error.as_str().unwrap_or_default().is_empty();
    let (aadsts, (reason, try_next_certificate, advice)) = match found {
        Some((number, entry)) => (Some(number), entry),
        None if foreign => {
            let advice = "look at sts or cloud, at the proxy between, and at who answers there";
            (None, (Reason::TokenEndpointForeign, false, advice))
        }
        None => {
            let advice = "look the number up in Microsoft's list of AADSTS error codes";
            (numbers.first().copied(), (Reason::TokenRefused, false, advice))
        }
    };
    let mut told = text(&raw.error);
    let _ = write!(told, " {}", text(&raw.error_description));
    if told.trim().is_empty() {
        told = format!("status {status} and {} octets: {}", body.len(), shown(&String::from_utf8_lossy(body)));
    }
    let ids = format!("trace_id={} correlation_id={}", text(&raw.trace_id), text(&raw.correlation_id));
    Refusal { reason, aadsts, advice, try_next_certificate, description: told.trim().to_owned(), ids }
}

/// The number behind `AADSTS` in a text.
fn number_in(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("AADSTS")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests;
