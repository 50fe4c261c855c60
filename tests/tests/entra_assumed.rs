//! The contract with Microsoft's side, second set: what nobody has shown and is taken for granted, one module to each name of the
//! register (`gateway/core/src/factor/entra/assumed.rs`). Where the field corrects one, its constant changes there and its module
//! changes here. `methods_call_allowed`, `self_rollover_addkey` and `probe_unknown_user` are assumptions of features that do not
//! exist yet.

use entra_cloud::{Cloud, Fault, Operation, Settings, Times};
use tests::entra::{accepted, refused, setup, sign_in, sign_in_with, upn};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

/// A field of the only request of this kind.
fn sent(cloud: &Cloud, operation: Operation, field: &str) -> Option<String> {
    cloud.seen().iter().find(|seen| seen.operation == operation)?.field(field)
}

mod ps256_on_mfa_client {
    use super::*;

    #[test]
    fn ps256_is_sent_only_if_it_is_asked_for() {
        for (setting, signed) in [("ps256", "PS256"), ("rs256", "RS256"), ("auto", "RS256")] {
            let cloud = cloud();
            let gateway = setup(&cloud, &["approve"]).of_entra("assertion_alg", setting).start();
            assert_eq!(sign_in(&gateway, "approve"), accepted());
            assert_eq!(sent(&cloud, Operation::Token, "alg").as_deref(), Some(signed), "{setting}");
        }
    }
}

mod audience_join {
    use super::*;

    #[test]
    fn another_resource_host_is_another_audience_which_the_tenant_does_not_have() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).of_entra("resource_host", "adnotifications.example").start();
        assert_eq!(sign_in(&gateway, "approve"), refused("token_refused"));
        assert_eq!(cloud.total_prompts(), 0);
    }
}

mod connector_http_errors {
    use super::*;

    #[test]
    fn statuses_before_any_work_are_asked_again_and_others_never() {
        for (status, asked) in [(401, 2), (429, 2), (503, 2), (500, 1), (502, 1), (504, 1), (403, 1)] {
            let cloud = cloud();
            let gateway = setup(&cloud, &["approve"]).start();
            let fault = Fault::Status { status, retry_after: None, html: false };
            cloud.fault(Operation::Begin, fault, Times::Next(1));
            let ended = sign_in(&gateway, "approve");
            assert_eq!(cloud.requests(Operation::Begin), asked, "{status}");
            assert_eq!(ended, if asked == 2 { accepted() } else { refused("outcome_unknown") }, "{status}");
        }
    }
}

mod begin_90s {
    use super::*;

    #[test]
    fn a_call_that_is_held_longer_than_the_attempt_ends_with_it() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["manual"]).set("attempts.deadline", "5s").start();
        assert_eq!(sign_in(&gateway, "manual"), refused("prompt_unanswered"));
    }
}

mod datacontract_order {
    use super::*;

    #[test]
    fn nothing_that_is_sent_is_dropped_by_a_reader_that_keeps_the_order() {
        let (strict, lenient) = (cloud(), Cloud::start(Settings { strict: false, ..Settings::default() }));
        let [strict, lenient] = [strict, lenient].map(|cloud| {
            let gateway = setup(&cloud, &["approve"]).start();
            assert_eq!(sign_in(&gateway, "approve"), accepted());
            cloud.seen().last().unwrap().fields.len()
        });
        assert_eq!(strict, lenient);
    }
}

mod method_id_with_radius_caller {
    use super::*;

    #[test]
    fn a_method_that_is_set_is_asked_for_and_must_be_registered() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["pushtotp", "approve"]).of_entra("method", "PhoneAppOTP").start();
        assert_eq!(sign_in_with(&gateway, "pushtotp", || cloud.person(&upn("pushtotp")).totp_code()), accepted());
        assert_eq!(sign_in(&gateway, "approve"), refused("not_registered"));
    }
}

mod override_voice_otp_map {
    use super::*;

    #[test]
    fn a_call_to_approve_takes_the_place_of_a_spoken_code() {
        for (setting, sent_as) in [("always", "true"), ("never", "false"), ("auto", "false")] {
            let cloud = cloud();
            let gateway = setup(&cloud, &["approve"]).of_entra("voice_override", setting).start();
            assert_eq!(sign_in(&gateway, "approve"), accepted());
            let property = sent(&cloud, Operation::Begin, "property OverrideVoiceOtp");
            assert_eq!(property.as_deref(), Some(sent_as), "{setting}");
        }
    }
}

mod context_id_is_cid {
    use super::*;

    #[test]
    fn the_id_in_the_log_is_the_one_that_the_service_saw() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).start();
        assert_eq!(sign_in(&gateway, "approve"), accepted());
        let logged = tests::entra::lines(&gateway, "approve")[0]["attempt"].as_str().unwrap().to_owned();
        assert_eq!(sent(&cloud, Operation::Begin, "ContextId"), Some(logged));
    }
}

mod unregistered_wire_result {
    use super::*;

    #[test]
    fn the_flag_is_what_asks_for_it() {
        for (rule, flag, ended) in [("deny", "true", refused("not_registered")), ("allow_by_flag", "false", accepted())]
        {
            let cloud = cloud();
            let gateway = setup(&cloud, &["unregistered"]).of_entra("unregistered", rule).start();
            assert_eq!(sign_in(&gateway, "unregistered"), ended);
            assert_eq!(sent(&cloud, Operation::Begin, "RequireUserMatch").as_deref(), Some(flag));
        }
    }
}

mod not_registered_codes {
    use super::*;

    #[test]
    fn only_the_listed_codes_let_anybody_pass() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["unregistered", "noproof"]).of_entra("unregistered", "allow_by_code").start();
        assert_eq!(sign_in(&gateway, "unregistered"), accepted());
        assert_eq!(sign_in(&gateway, "noproof"), refused("not_registered"));
        assert_eq!(sent(&cloud, Operation::Begin, "RequireUserMatch").as_deref(), Some("true"));
    }
}

mod caller_ip_constant {
    use super::*;

    #[test]
    fn it_is_a_constant_and_a_setting() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).start();
        assert_eq!(sign_in(&gateway, "approve"), accepted());
        assert_eq!(sent(&cloud, Operation::Begin, "CallerIP").as_deref(), Some("UNKNOWN:"));
    }
}

mod user_agent_free {
    use super::*;

    #[test]
    fn it_is_our_own_name_or_what_is_set() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).of_entra("user_agent", "AzureMfaNpsExt").start();
        assert_eq!(sign_in(&gateway, "approve"), accepted());
        let begin = cloud.seen().into_iter().find(|seen| seen.operation == Operation::Begin).unwrap();
        assert_eq!(begin.header("user-agent").as_deref(), Some("AzureMfaNpsExt"));
    }
}

mod error_auth_result {
    use super::*;

    #[test]
    fn an_error_refuses_whatever_stands_beside_it() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).start();
        cloud.fault(Operation::Begin, Fault::TrueWithout("UserIsBlocked"), Times::Next(1));
        assert_eq!(sign_in(&gateway, "approve"), refused("blocked_by_provider"));
    }
}

mod wrong_code_ends_session {
    use super::*;

    #[test]
    fn a_wrong_code_ends_the_attempt_and_no_second_one_is_sent() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["totp"]).start();
        assert_eq!(sign_in_with(&gateway, "totp", || "00000000".into()), refused("wrong_code"));
        assert_eq!(cloud.requests(Operation::End), 1);
    }
}

mod affinity_second_try {
    use super::*;

    #[test]
    fn an_unknown_session_is_tried_once_more_where_the_answer_said() {
        for (setting, tries) in [("never", 1), ("on_invalid_session", 2)] {
            let cloud = cloud();
            cloud.name_affinity(true);
            let gateway = setup(&cloud, &["totp"]).of_entra("follow_affinity_url", setting).start();
            let ended = sign_in_with(&gateway, "totp", || {
                cloud.forget_sessions();
                "123456".into()
            });
            assert_eq!(ended, refused("session_expired"));
            assert_eq!(cloud.requests(Operation::End), tries, "{setting}");
        }
    }
}

mod upn_echo_equal {
    use super::*;

    #[test]
    fn another_name_is_refused_unless_it_may_differ() {
        for (setting, ended) in [("enforce", refused("answer_for_other_user")), ("warn", accepted())] {
            let cloud = cloud();
            let gateway = setup(&cloud, &["approve"]).of_entra("upn_echo", setting).start();
            cloud.fault(Operation::Begin, Fault::OtherUser, Times::Next(1));
            assert_eq!(sign_in(&gateway, "approve"), ended, "{setting}");
        }
    }
}

mod duplicate_means_busy {
    use super::*;

    #[test]
    fn it_is_told_as_a_prompt_that_is_open_elsewhere() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["duplicate"]).start();
        assert_eq!(sign_in(&gateway, "duplicate"), refused("provider_busy"));
    }
}

mod async_push_radius {
    use super::*;

    #[test]
    fn a_push_is_polled_only_if_that_is_set() {
        for (setting, sync) in [("auto", "true"), ("held", "true"), ("polled", "false")] {
            let cloud = cloud();
            let gateway = setup(&cloud, &["approve"]).of_entra("begin", setting).start();
            assert_eq!(sign_in(&gateway, "approve"), accepted());
            assert_eq!(sent(&cloud, Operation::Begin, "SyncCall").as_deref(), Some(sync), "{setting}");
        }
    }
}

mod end_answers_once {
    use super::*;

    #[test]
    fn an_approval_whose_poll_was_cut_is_lost_and_ends_in_a_clear_refusal() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).of_entra("begin", "polled").start();
        cloud.fault(Operation::End, Fault::CloseAfterReading, Times::Next(1));
        assert_eq!(sign_in(&gateway, "approve"), refused("outcome_unknown"));
        assert_eq!(cloud.prompts(&upn("approve")), 1);
    }
}

mod graph_names_on_connector {
    use super::*;

    #[test]
    fn names_of_the_graph_enumeration_have_their_reasons() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).start();
        for (value, reason) in [
            ("PhoneAppNotificationFailed", "prompt_undelivered"),
            ("AuthenticationMethodFailed", "prompt_undelivered"),
            ("UserVoiceAuthFailedPhoneUnreachable", "prompt_undelivered"),
            ("UserVoiceAuthFailedCallWentToVoicemail", "provider_no_response"),
            ("UserVoiceAuthFailedPhoneHungUp", "prompt_denied"),
            ("UserIsBlocked", "blocked_by_provider"),
            ("PhoneAppAllDevicesBlocked", "blocked_by_provider"),
            ("UserAuthFailedDuplicateRequest", "provider_busy"),
            ("OathCodeDuplicate", "code_replayed"),
        ] {
            cloud.person(&upn("approve")).force(Some(value));
            assert_eq!(sign_in(&gateway, "approve"), refused(reason), "{value}");
        }
    }
}

mod key_usage {
    use super::*;

    #[test]
    fn a_certificate_for_signatures_and_client_authentication_is_used_without_a_word() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["approve"]).start();
        assert_eq!(sign_in(&gateway, "approve"), accepted());
        assert!(!gateway.log().contains("usage"), "{}", gateway.log());
    }
}

mod one_prompt_text {
    use super::*;

    #[test]
    fn every_kind_of_code_is_asked_for_in_the_same_words_which_are_a_setting() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["sms", "totp"]).of_entra("prompt", "Code, please:").start();
        for user in ["sms", "totp"] {
            assert_eq!(gateway.nas().ask(&tests::entra::password(user)).message(), "Code, please:");
        }
    }
}

mod no_rechallenge {
    use super::*;

    #[test]
    fn a_wrong_code_is_a_reject_and_no_second_challenge() {
        let cloud = cloud();
        let gateway = setup(&cloud, &["sms"]).start();
        assert_eq!(sign_in_with(&gateway, "sms", || "000000000"[..8].into()), refused("wrong_code"));
    }
}
