//! What nobody has shown of Microsoft's side, and what this gateway takes for granted all the same: one constant or function to
//! each assumption, and what to do where it turns out wrong. Tests that lean on one carry its name.

use super::xml::element_text_is;
use crate::config::{AssertionAlg, Hosts, UnregisteredCode, VoiceOverride};
use std::time::Duration;

/// `ps256_on_mfa_client`: PS256 is accepted for this application. Only RS256 has been shown; so `auto` means RS256 until something
/// better is recorded. If wrong: set assertion_alg = "rs256".
pub const fn ps256_on_mfa_client(configured: AssertionAlg) -> bool {
    matches!(configured, AssertionAlg::Ps256)
}

/// `audience_join`: the token is for the resource host and the target path, joined. If wrong: `resource_host` and `target_path`
/// override it.
pub fn audience_join(hosts: &Hosts) -> String {
    format!("https://{}/{}", hosts.resource, hosts.target_path)
}

/// What an HTTP status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The answer is in the body.
    Answer,
    /// The token is not taken; nothing was done.
    StaleToken,
    /// Later; nothing was done.
    Later,
    /// Whatever happened: the user may have been prompted.
    Unknown,
}

/// `connector_http_errors`: any status but 200 is a failure of transport; 401, 429 and 503 come before any work, so that nobody was
/// prompted. If wrong: read the body of a fault, or stop asking again after the one that is wrong.
pub const fn connector_http_errors(status: u16) -> Status {
    match status {
        200 => Status::Answer,
        401 => Status::StaleToken,
        429 | 503 => Status::Later,
        _ => Status::Unknown,
    }
}

/// `begin_90s`: a held Begin ends within this time. If wrong: raise it together with `attempts.deadline`.
pub const BEGIN_90S: Duration = Duration::from_secs(90);

/// `method_id_with_radius_caller`: methods other than a push can be asked for with CallerName=radius. If wrong: leave `method`
/// out; users with another default are then refused by the service.
pub const METHOD_ID_WITH_RADIUS_CALLER: bool = true;

/// `override_voice_otp_map`: the key OverrideVoiceOtp does what OVERRIDE_VOICE_OTP of the extension does: `true` has the user
/// called to approve, where a code would be spoken. If wrong: nothing follows for other methods; set voice_override = "never".
pub const fn override_voice_otp_map(configured: VoiceOverride, code_possible: bool) -> bool {
    match configured {
        VoiceOverride::Auto => !code_possible,
        VoiceOverride::Always => true,
        VoiceOverride::Never => false,
    }
}

/// `unregistered_wire_result`: with RequireUserMatch=false, a user who has registered nothing gets `Success` and `true`. It is the
/// value of RequireUserMatch that asks for it. If wrong: "allow_by_flag" lets nobody pass; use "allow_by_code".
pub const fn unregistered_wire_result(allow_by_flag: bool) -> bool {
    !allow_by_flag
}

/// `not_registered_codes`: this value is what a user who has registered nothing yields. If wrong: "allow_by_code" lets nobody pass.
pub fn not_registered_codes(value: &str, configured: &[UnregisteredCode]) -> bool {
    configured.iter().any(|code| code.value() == value)
}

/// `caller_ip_constant`: CallerIP takes this text. It is a setting (`caller_ip`), as is `user_agent`.
pub const CALLER_IP_CONSTANT: &str = "UNKNOWN:";

/// `error_auth_result`: answers with an error carry `false` or nothing. Nothing hangs on it: only `true` accepts. What else must be
/// absent for an answer to count as "not registered" is here.
pub fn error_auth_result(authentication_result: Option<&str>) -> bool {
    !element_text_is(authentication_result, "true") && !element_text_is(authentication_result, "challenge")
}

/// `wrong_code_ends_session`: after a wrong code the session is spent. If wrong: `false` lets the user try again in it.
pub const WRONG_CODE_ENDS_SESSION: bool = true;

/// `affinity_second_try`: AffinityUrl leads to the datacentre that issued the session, and its path is that of the interface,
/// with or without the operation. `None` where the address is not `https:`, or its host is none of `allowed`. If wrong:
/// follow_affinity_url = "never" is the default.
pub fn affinity_second_try(url: &str, allowed: &[String]) -> Option<(String, String)> {
    const OPERATION: &str = "EndTwoWayAuthentication";
    let rest = url.strip_prefix("https://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_ascii_lowercase();
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | b'/' | b'~');
    if !allowed.contains(&host) || !path.bytes().all(plain) || path.split('/').any(|part| part == "..") {
        return None;
    }
    let path = path.trim_end_matches('/');
    let path = if path.ends_with(OPERATION) { path.to_owned() } else { format!("{path}/{OPERATION}") };
    Some((host, format!("/{}", path.trim_start_matches('/'))))
}

/// `upn_echo_equal`: a UPN in the answer is the one that was sent, capitals aside. If wrong: upn_echo = "warn".
pub fn upn_echo_equal(sent: &str, echoed: &str) -> bool {
    sent.to_lowercase() == echoed.trim().to_lowercase()
}

/// `async_push_radius`: a push can be polled with CallerName=radius. What AuthenticationResult says when Begin returns at once is
/// not established, so that with a session it approves nothing, not even with `true`: the polls tell. If wrong: begin = "held".
pub const ASYNC_PUSH_RADIUS: bool = true;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_second_try_stays_among_allowed_hosts() {
        let allowed = ["mfa.example".to_owned(), "127.0.0.1:8443".to_owned()];
        let path = "/StrongAuthenticationService.svc/Connector/EndTwoWayAuthentication";
        for good in [
            "https://mfa.example/StrongAuthenticationService.svc/Connector",
            "https://MFA.example/StrongAuthenticationService.svc/Connector/",
            "https://mfa.example//StrongAuthenticationService.svc/Connector/EndTwoWayAuthentication",
        ] {
            assert_eq!(affinity_second_try(good, &allowed), Some(("mfa.example".into(), path.into())), "{good}");
        }
        assert!(affinity_second_try("https://127.0.0.1:8443", &allowed).is_some());
        for bad in [
            "",
            "http://mfa.example/x",
            "HTTPS://mfa.example/x",
            "https://evil.example/x",
            "https://mfa.example.evil.example/x",
            "https://mfa.example@evil.example/x",
            "https://evil.example#mfa.example/x",
            "https://evil.example\\@mfa.example/x",
            "https://mfa.example:444/x",
            "https://mfa.example?x",
            "https://mfa.example/x?y=1",
            "https://mfa.example/../x",
            "https://mfa.example/x y",
            "https://mfa.example/x\r\nHost: evil",
            " https://mfa.example/x",
        ] {
            assert_eq!(affinity_second_try(bad, &allowed), None, "{bad}");
        }
    }

    #[test]
    fn connector_http_errors_before_and_after_work() {
        assert_eq!(connector_http_errors(200), Status::Answer);
        assert_eq!(connector_http_errors(401), Status::StaleToken);
        assert_eq!((connector_http_errors(429), connector_http_errors(503)), (Status::Later, Status::Later));
        for status in [100, 201, 204, 301, 302, 307, 400, 403, 404, 500, 502, 504, 600] {
            assert_eq!(connector_http_errors(status), Status::Unknown, "{status}");
        }
    }
}
