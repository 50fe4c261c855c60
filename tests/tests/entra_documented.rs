//! The contract with Microsoft's side, first set: what its documentation says and its public clients show. What is only assumed is
//! in `entra_assumed.rs`. A failure here is a fault of ours.

use entra_cloud::{Cloud, Operation, Seen, Settings};
use tests::entra::{accepted, refused, setup, sign_in, sign_in_with, upn};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

fn seen(cloud: &Cloud, operation: Operation) -> Vec<Seen> {
    cloud.seen().into_iter().filter(|seen| seen.operation == operation).collect()
}

#[test]
fn begin_has_the_elements_of_radius_callers_in_their_order() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["approve"]).start();
    assert_eq!(sign_in(&gateway, "approve"), accepted());
    let begin = &seen(&cloud, Operation::Begin)[0];
    assert_eq!(
        begin.elements(),
        [
            "Version",
            "UserPrincipalName",
            "Lcid",
            "AuthenticationMethodProperties",
            "ContextId",
            "SyncCall",
            "RequireUserMatch",
            "CallerName",
            "CallerIP"
        ]
    );
    for (name, value) in [
        ("Version", "1.0"),
        ("UserPrincipalName", &*upn("approve")),
        ("Lcid", "en-us"),
        ("SyncCall", "true"),
        ("RequireUserMatch", "true"),
        ("CallerName", "radius"),
        // Always sent, as the newer clients do.
        ("property OverrideNumberMatchingWithOTP", "true"),
    ] {
        assert_eq!(begin.field(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(begin.field("ContextId").map(|id| id.len()), Some(36), "a GUID");
    assert!(begin.header("content-type").unwrap().starts_with("application/xml"));
    assert!(begin.header("authorization").unwrap().starts_with("Bearer "));
}

#[test]
fn end_has_its_elements_in_their_order_with_a_code_and_without() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["sms", "approve"]).of_entra("begin", "polled").start();
    assert_eq!(sign_in_with(&gateway, "sms", || cloud.person(&upn("sms")).sms_code()), accepted());
    assert_eq!(sign_in(&gateway, "approve"), accepted());
    let ends = seen(&cloud, Operation::End);
    assert!(ends.len() >= 2);
    for end in &ends {
        assert_eq!(end.elements(), ["Version", "SessionId", "ContextId", "AdditionalAuthData", "UserPrincipalName"]);
    }
    let code = ends.iter().find(|end| end.field("UserPrincipalName") == Some(upn("sms"))).unwrap();
    assert_eq!(code.field("AdditionalAuthData").map(|code| code.len()), Some(6));
    let poll = ends.iter().find(|end| end.field("UserPrincipalName") == Some(upn("approve"))).unwrap();
    assert_eq!(poll.field("AdditionalAuthData").as_deref(), Some(""), "nil");
}

#[test]
fn a_fresh_context_id_per_attempt_and_the_same_one_in_end() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["sms"]).start();
    for _ in 0..2 {
        assert_eq!(sign_in_with(&gateway, "sms", || cloud.person(&upn("sms")).sms_code()), accepted());
    }
    let ids = |operation| -> Vec<_> { seen(&cloud, operation).iter().map(|seen| seen.field("ContextId")).collect() };
    let (begun, ended) = (ids(Operation::Begin), ids(Operation::End));
    assert_eq!(begun, ended);
    assert_ne!(begun[0], begun[1]);
}

#[test]
fn both_token_endpoints_take_a_certificate_assertion_of_rs256() {
    for endpoint in ["v1", "v2"] {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).of_entra("token_endpoint", endpoint).start();
        // The endpoint checks form, header, signature, issuer, subject, audience, times and that it is new.
        assert_eq!(sign_in(&gateway, "approve"), accepted(), "{endpoint}");
    }
}

#[test]
fn a_certificate_that_is_not_registered_is_refused_and_another_one_is_tried() {
    let cloud = cloud();
    let stranger = cloud.unregistered_certificate();
    let gateway = setup(&cloud, &["approve"])
        .secret("other.crt", &stranger.certificate_pem())
        .secret("other.key", &stranger.key_pem())
        .edit_second_factor(|factor| {
            let certificates = factor["entra"]["certificates"].as_array_mut().unwrap();
            let other = toml::toml! {
                certificate_file = "other.crt"
                key_file = "other.key"
            };
            certificates.insert(0, other.into());
        })
        .start();
    assert_eq!(sign_in(&gateway, "approve"), accepted());
}

#[test]
fn success_alone_is_not_success() {
    // Approved, denied, not answered, and a code that is wanted: `Success` stands in two of them.
    let cloud = cloud();
    let gateway = setup(&cloud, &["approve", "deny", "noresponse", "totp"]).start();
    assert_eq!(sign_in(&gateway, "approve"), accepted());
    assert_eq!(sign_in(&gateway, "deny"), refused("prompt_denied"));
    assert_eq!(sign_in(&gateway, "noresponse"), refused("provider_no_response"));
    let mut nas = gateway.nas();
    let challenge = nas.ask(&tests::entra::password("totp"));
    challenge.clone().expect(gateway_core::radius::Code::ACCESS_CHALLENGE);
    assert_eq!(challenge.message(), "Enter Your Microsoft verification code");
}

#[test]
fn every_documented_result_is_a_refusal_with_a_reason() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["approve"]).start();
    for (value, reason) in [
        ("OathCodeIncorrect", "wrong_code"),
        ("SMSAuthFailedWrongCodeEntered", "wrong_code"),
        ("OathCodePinIncorrect", "wrong_code"),
        ("SMSAuthFailedWrongCodePinEntered", "wrong_code"),
        ("SMSAuthFailedMaxAllowedCodeRetryReached", "provider_throttled"),
        ("AuthenticationThrottled", "provider_throttled"),
        ("AuthenticationMethodLimitReached", "provider_throttled"),
        ("AuthenticationMethodNotConfigured", "not_registered"),
        ("NoDefaultAuthenticationMethodIsConfigured", "not_registered"),
        ("ProofDataNotFound", "not_registered"),
        ("AuthenticationMethodNotSupported", "method_unusable"),
        ("InvalidFormat", "method_unusable"),
        ("StrongAuthenticationServiceInvalidParameter", "method_unusable"),
        ("MFAPinNotSetup", "method_unusable"),
        ("UserNotFound", "user_unknown_to_provider"),
        ("AccessDenied", "user_refused_by_provider"),
        ("BecAccessDenied", "user_refused_by_provider"),
        ("TenantIsBlocked", "tenant_blocked"),
        ("InvalidSession", "session_expired"),
        ("InvalidParameter", "request_refused"),
        ("VersionNotSupported", "request_refused"),
        ("InternalError", "provider_fault"),
    ] {
        cloud.person(&upn("approve")).force(Some(value));
        assert_eq!(sign_in(&gateway, "approve"), refused(reason), "{value}");
    }
    assert_eq!(cloud.total_prompts(), 0);
}

#[test]
fn a_session_that_the_service_has_forgotten_is_over() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["totp"]).start();
    let ended = sign_in_with(&gateway, "totp", || {
        cloud.forget_sessions();
        cloud.person(&upn("totp")).totp_code()
    });
    assert_eq!(ended, refused("session_expired"));
}

#[test]
fn a_server_without_http_2_holds_each_prompt_on_a_connection_of_its_own() {
    let cloud = Cloud::start(Settings { http2: false, ..Settings::default() });
    let names: Vec<String> = (0..20).map(|number| format!("manual{number}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let gateway = setup(&cloud, &users).start();
    let mut nas = gateway.nas().patience(std::time::Duration::from_secs(60));
    let sent: Vec<_> = users.iter().map(|user| nas.encode(&tests::entra::password(user))).collect();
    sent.iter().for_each(|packet| nas.send(packet));
    tests::eventually("every phone rings", || (cloud.total_prompts() == 20).then_some(()));
    users.iter().for_each(|user| cloud.person(&upn(user)).approve());
    for packet in sent {
        nas.try_ask(&packet).expect("it is answered").expect(gateway_core::radius::Code::ACCESS_ACCEPT);
    }
}
