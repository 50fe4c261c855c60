//! Tokens: what the token endpoint refuses is told with its remedy, nobody is prompted without one, and thousands share one.

use entra_cloud::{Cloud, Fault, Operation, Settings, Times};
use std::time::Duration;
use tests::entra::{accepted, password, refused, setup, sign_in, upn};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

#[test]
fn each_refusal_of_the_token_endpoint_has_its_reason() {
    for (number, reason) in [
        (7_000_112, "client_app_disabled"),
        (500_014, "resource_app_disabled"),
        (700_016, "client_app_missing"),
        (700_011, "client_app_missing"),
        (700_027, "certificate_not_registered"),
        (700_024, "assertion_out_of_time"),
        (7_000_214, "certificate_out_of_time"),
        (1_000_502, "certificate_out_of_time"),
        (90_002, "tenant_unknown"),
        (50_027, "token_refused"),
        (53_003, "token_refused"),
    ] {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).start();
        cloud.refuse_tokens(Some(number));
        assert_eq!(sign_in(&gateway, "approve"), refused(reason), "AADSTS{number}");
        assert_eq!(cloud.total_prompts(), 0, "AADSTS{number}");
        gateway.await_log(&format!("AADSTS{number}"));
        cloud.refuse_tokens(None);
        tests::eventually("it recovers by itself", || (sign_in(&gateway, "approve") == accepted()).then_some(()));
    }
}

#[test]
fn switched_off_principals_are_told_apart() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["approve"]).start();
    cloud.disable_client(true);
    assert_eq!(sign_in(&gateway, "approve"), refused("client_app_disabled"));
    cloud.disable_client(false);
    cloud.disable_resource(true);
    tests::eventually("the other one", || {
        (sign_in(&gateway, "approve") == refused("resource_app_disabled")).then_some(())
    });
    assert_eq!(cloud.total_prompts(), 0);
}

#[test]
fn a_token_that_is_refused_is_replaced_once_and_nobody_notices() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["approve", "totp"]).start();
    assert_eq!(sign_in(&gateway, "approve"), accepted());
    cloud.expire_tokens();
    assert_eq!(sign_in(&gateway, "approve"), accepted());
    assert_eq!((cloud.prompts(&upn("approve")), cloud.requests(Operation::Token)), (2, 2));
    cloud.fault(Operation::Begin, Fault::Status { status: 401, retry_after: None, html: false }, Times::Always);
    assert_eq!(sign_in(&gateway, "approve"), refused("provider_refused_token"));
    assert_eq!(cloud.prompts(&upn("approve")), 2);
}

#[test]
fn a_token_of_one_second_is_enough() {
    let cloud = cloud();
    cloud.token_lifetime(Duration::from_secs(1));
    let gateway = setup(&cloud, &["approve"]).start();
    for _ in 0..4 {
        assert_eq!(sign_in(&gateway, "approve"), accepted());
        tests::wait::pass(Duration::from_millis(600));
    }
    assert_eq!(cloud.prompts(&upn("approve")), 4);
}

#[test]
fn a_thousand_sign_ins_share_one_token() {
    let cloud = cloud();
    let names: Vec<String> = (0..1_000).map(|number| format!("approve{number}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let gateway = setup(&cloud, &users).start();
    std::thread::scope(|scope| {
        for part in names.chunks(50) {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut nas = gateway.nas().patience(Duration::from_secs(60));
                let sent: Vec<_> = part.iter().map(|user| nas.encode(&password(user))).collect();
                sent.iter().for_each(|packet| nas.send(packet));
                for packet in sent {
                    let accept = nas.try_ask(&packet).expect("it is answered");
                    accept.expect(gateway_core::radius::Code::ACCESS_ACCEPT);
                }
            });
        }
    });
    assert_eq!((cloud.requests(Operation::Token), cloud.total_prompts()), (1, 1_000));
}

#[test]
fn both_endpoints_and_both_signatures_work() {
    for (endpoint, algorithm) in [("v1", "rs256"), ("v2", "ps256"), ("v1", "ps256"), ("v2", "auto")] {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"])
            .of_entra("token_endpoint", endpoint)
            .of_entra("assertion_alg", algorithm)
            .start();
        assert_eq!(sign_in(&gateway, "approve"), accepted(), "{endpoint} {algorithm}");
    }
}
