//! The vectors in `tests/vectors/entra`, requests as they go out, and octets that nobody should send.

use super::*;
use crate::attempt::record::AttemptId;
use crate::config::{EntraMethod, Unregistered, UnregisteredCode, UpnEcho};
use crate::factor::{Approval, BeginAnswer, CodeAnswer, PollAnswer};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BEGIN: &str = include_str!("../../../../../tests/vectors/entra/begin.txt");
const END: &str = include_str!("../../../../../tests/vectors/entra/end.txt");
const ANNA: &str = "anna@corp.example";
const ID: AttemptId = AttemptId([0x5a; 16]);

struct Block<'a> {
    name: &'a str,
    asked: Vec<&'a str>,
    xml: &'a str,
    expect: &'a str,
}

fn blocks(file: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut count = "";
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(": ").unwrap();
        match key {
            "name" => {
                assert!(blocks.iter().all(|block| block.name != value), "{value} stands twice");
                blocks.push(Block { name: value, asked: vec![], xml: "", expect: "" });
            }
            "asked" => blocks.last_mut().unwrap().asked = value.split(' ').collect(),
            "xml" => blocks.last_mut().unwrap().xml = value,
            "expect" => blocks.last_mut().unwrap().expect = value,
            "count" => count = value,
            _ => panic!("unknown key: {line}"),
        }
    }
    assert_eq!(count, blocks.len().to_string());
    blocks
}

fn label(fault: Unreadable) -> &'static str {
    match fault {
        Unreadable::TooLong => "too_long",
        Unreadable::Encoding => "encoding",
        Unreadable::Malformed => "malformed",
        Unreadable::Declaration => "declaration",
        Unreadable::Entity => "entity",
        Unreadable::Character => "character",
        Unreadable::TooDeep => "too_deep",
        Unreadable::Root => "root",
        Unreadable::Duplicate => "duplicate",
        Unreadable::Mixed => "mixed",
    }
}

fn asked<'a>(words: &[&str]) -> Asked<'a> {
    const CODES: &[UnregisteredCode] = &[UnregisteredCode::NoDefaultAuthenticationMethodIsConfigured];
    let says = |word: &str| words.contains(&word);
    Asked {
        upn: ANNA,
        context: ID,
        sync: !says("polled"),
        method: says("method"),
        code_possible: !says("no_code"),
        unregistered: match (says("by_flag"), says("by_code")) {
            (true, _) => Unregistered::AllowByFlag,
            (_, true) => Unregistered::AllowByCode,
            _ => Unregistered::Deny,
        },
        unregistered_codes: CODES,
        upn_echo: if says("warn") { UpnEcho::Warn } else { UpnEcho::Enforce },
        prompt: "Enter it",
        now: Timestamp::from_secs(7),
    }
}

fn told_of_begin(words: &[&str], xml: &[u8]) -> String {
    let read = match read_begin(xml) {
        Ok(read) => read,
        Err(fault) => return format!("unreadable {}", label(fault)),
    };
    let session = |octets: &[u8]| {
        let session = Session::decode(octets).unwrap();
        assert_eq!((session.upn.as_str(), session.context, session.begun), (ANNA, ID, Timestamp::from_secs(7)));
        let affinity = session.affinity_url.map(|url| format!(" {url}")).unwrap_or_default();
        format!("{}{affinity}", session.id)
    };
    match begun(&asked(words), read) {
        BeginAnswer::Approved(Approval::User) => "approved user".to_owned(),
        BeginAnswer::Approved(Approval::Unregistered) => "approved unregistered".to_owned(),
        BeginAnswer::Denied(reason) => format!("denied {}", reason.label()),
        BeginAnswer::Waiting { session: octets } => format!("waiting {}", session(&octets)),
        BeginAnswer::CodeWanted(wanted) => {
            assert_eq!(wanted.prompt.as_deref(), Some("Enter it"));
            format!("code {}", session(&wanted.session))
        }
        BeginAnswer::Unavailable(_) => panic!("what was answered is no transport failure"),
    }
}

fn told_of_end(words: &[&str], xml: &[u8]) -> String {
    let answer = match read_end(xml) {
        Ok(answer) => answer,
        Err(fault) => return format!("unreadable {}", label(fault)),
    };
    let upn_echo = if words.contains(&"warn") { UpnEcho::Warn } else { UpnEcho::Enforce };
    let asked = AskedAgain { upn: ANNA, upn_echo };
    if words.contains(&"code") {
        return match code_judged(&asked, &answer) {
            CodeAnswer::Right(None) => "right".to_owned(),
            CodeAnswer::Ended(reason) => format!("ended {}", reason.label()),
            other => panic!("{other:?}"),
        };
    }
    match polled(&asked, &answer) {
        PollAnswer::Approved => "approved".to_owned(),
        PollAnswer::Denied(reason) => format!("denied {}", reason.label()),
        PollAnswer::Waiting => "waiting".to_owned(),
        PollAnswer::Unavailable(_) => panic!("what was answered is no transport failure"),
    }
}

#[test]
fn the_vectors_of_begin() {
    let blocks = blocks(BEGIN);
    for Block { name, asked, xml, expect } in &blocks {
        assert_eq!(told_of_begin(asked, xml.as_bytes()), *expect, "{name}");
    }
    let faults: BTreeSet<_> = blocks.iter().filter_map(|block| block.expect.strip_prefix("unreadable ")).collect();
    assert_eq!(faults.len(), 9, "every fault of a text, all but its length: {faults:?}");
}

#[test]
fn the_vectors_of_end() {
    for Block { name, asked, xml, expect } in blocks(END) {
        assert_eq!(told_of_end(&asked, xml.as_bytes()), expect, "{name}");
    }
}

#[test]
fn every_known_value_stands_in_a_vector() {
    for known in results::ALL {
        let tagged = format!("<Value>{}</Value>", known.value);
        assert!(BEGIN.contains(&tagged) || END.contains(&tagged), "{}", known.value);
        assert_eq!(results::ALL.iter().filter(|other| other.value == known.value).count(), 1);
    }
}

/// Whatever the answer to a held question, with which settings ever: only `true` together with `Success` is the user's word.
#[test]
fn nothing_but_true_and_success_approves() {
    let results = ["true", "TRUE", " true ", "false", "challenge", "", "True!", "1", "yes"];
    for value in results::ALL.iter().map(|known| known.value).chain(["", "Succes", "SUCCESS", "Approved"]) {
        for result in results {
            let xml = format!(
                "<BeginTwoWayAuthenticationResponse><Result><Value>{value}</Value></Result><SessionId>s</SessionId>\
                 <AuthenticationResult>{result}</AuthenticationResult></BeginTwoWayAuthenticationResponse>"
            );
            let right = value == "Success" && result.trim().eq_ignore_ascii_case("true");
            for words in [&[][..], &["by_flag"], &["by_code"], &["method"], &["warn"], &["no_code"]] {
                let told = told_of_begin(words, xml.as_bytes());
                assert_eq!(told == "approved user", right, "{xml} {words:?}: {told}");
            }
            for words in [&["polled"][..], &["polled", "by_flag"], &["polled", "by_code"]] {
                assert_ne!(told_of_begin(words, xml.as_bytes()), "approved user", "{xml}");
            }
            let xml = xml.replace("BeginTwo", "EndTwo");
            assert_eq!(told_of_end(&["code"], xml.as_bytes()) == "right", right, "{xml}");
            assert_eq!(told_of_end(&["poll"], xml.as_bytes()) == "approved", right, "{xml}");
        }
    }
}

#[test]
fn octets_that_are_no_text() {
    let sound = "<BeginTwoWayAuthenticationResponse><Result><Value>Success</Value></Result>\
                 <AuthenticationResult>true</AuthenticationResult></BeginTwoWayAuthenticationResponse>";
    let with = |octets: &[u8]| [b"<a>", octets, b"</a>", sound.as_bytes()].concat();
    assert_eq!(told_of_begin(&[], &with(b"\xff\xfe")), "unreadable encoding");
    assert_eq!(told_of_begin(&[], &with(b"\xc0\xaf")), "unreadable encoding");
    assert_eq!(told_of_begin(&[], &with(b"\xed\xa0\x80")), "unreadable encoding");
    assert_eq!(told_of_begin(&[], &with(b"\0")), "unreadable character");
    assert_eq!(told_of_begin(&[], &with(b"\x1b[2J")), "unreadable character");
    let utf16: Vec<u8> = sound.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(told_of_begin(&[], &utf16), "unreadable character");
    assert_eq!(told_of_begin(&[], &[b"\xef\xbb\xbf", sound.as_bytes()].concat()), "approved user", "a byte order mark");
    assert_eq!(told_of_begin(&[], b""), "unreadable malformed");
    let padded = |length: usize| format!("{sound}{}", " ".repeat(length - sound.len()));
    assert_eq!(told_of_begin(&[], padded(LARGEST).as_bytes()), "approved user");
    assert_eq!(told_of_begin(&[], padded(LARGEST + 1).as_bytes()), "unreadable too_long");
    let deep = "<a>".repeat(20_000);
    assert_eq!(told_of_begin(&[], deep.as_bytes()), "unreadable root");
    let deep = format!("<BeginTwoWayAuthenticationResponse>{deep}");
    assert_eq!(told_of_begin(&[], deep.as_bytes()), "unreadable too_deep");
}

fn question(upn: &str) -> Begin<'_> {
    Begin {
        upn,
        lcid: "en-us",
        method: None,
        override_voice: false,
        override_number_matching: true,
        context: ID,
        sync: true,
        require_user_match: true,
        caller_ip: assumed::CALLER_IP_CONSTANT,
    }
}

#[test]
fn begin_goes_out_in_the_known_order() {
    let body = question("user@example.com").body().unwrap();
    assert_eq!(
        body,
        "<BeginTwoWayAuthenticationRequest><Version>1.0</Version>\
         <UserPrincipalName>user@example.com</UserPrincipalName><Lcid>en-us</Lcid>\
         <AuthenticationMethodProperties xmlns:a=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\">\
         <a:KeyValueOfstringstring><a:Key>OverrideVoiceOtp</a:Key><a:Value>false</a:Value></a:KeyValueOfstringstring>\
         <a:KeyValueOfstringstring><a:Key>OverrideNumberMatchingWithOTP</a:Key><a:Value>true</a:Value>\
         </a:KeyValueOfstringstring></AuthenticationMethodProperties>\
         <ContextId>5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a</ContextId><SyncCall>true</SyncCall>\
         <RequireUserMatch>true</RequireUserMatch><CallerName>radius</CallerName><CallerIP>UNKNOWN:</CallerIP>\
         </BeginTwoWayAuthenticationRequest>"
    );
    let other = Begin {
        method: Some(EntraMethod::PhoneAppNotification),
        override_voice: true,
        override_number_matching: false,
        sync: false,
        require_user_match: false,
        ..question("user@example.com")
    };
    let body = other.body().unwrap();
    for part in [
        "<Lcid>en-us</Lcid><AuthenticationMethodId>PhoneAppNotification</AuthenticationMethodId>\
         <AuthenticationMethodProperties ",
        "<a:Key>OverrideVoiceOtp</a:Key><a:Value>true</a:Value>",
        "<a:Key>OverrideNumberMatchingWithOTP</a:Key><a:Value>false</a:Value>",
        "<SyncCall>false</SyncCall><RequireUserMatch>false</RequireUserMatch>",
    ] {
        assert!(body.contains(part), "{part}\n{body}");
    }
}

#[test]
fn end_goes_out_in_the_known_order() {
    let end = End { session: "a<b", context: ID, code: Some("123456"), upn: "user@example.com" };
    let text = |end: &End<'_>| String::from_utf8(end.body().unwrap().expose().to_vec()).unwrap();
    assert_eq!(
        text(&end),
        "<EndTwoWayAuthenticationRequest><Version>1.0</Version><SessionId>a&lt;b</SessionId>\
         <ContextId>5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a</ContextId><AdditionalAuthData>123456</AdditionalAuthData>\
         <UserPrincipalName>user@example.com</UserPrincipalName></EndTwoWayAuthenticationRequest>"
    );
    let poll = text(&End { code: None, ..end });
    assert!(poll.contains(
        "</ContextId><AdditionalAuthData xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" i:nil=\"true\"/>\
         <UserPrincipalName>"
    ));
    assert!(!format!("{:?}", end.body()).contains("123456"));
    assert_eq!(End { session: " ", ..end }.body().err(), Some(Unsendable::Empty("SessionId")));
    assert_eq!(End { code: Some(""), ..end }.body().err(), Some(Unsendable::Empty("AdditionalAuthData")));
}

#[test]
fn names_cannot_break_out_of_their_element() {
    let upn = "a'&<>\"]]>--&amp;</UserPrincipalName><SyncCall>ö€😀@corp.example";
    let body = question(upn).body().unwrap();
    assert_eq!((body.matches("<SyncCall>").count(), body.matches("</UserPrincipalName>").count()), (1, 1));
    let echoed = format!(
        "<BeginTwoWayAuthenticationResponse>{}</BeginTwoWayAuthenticationResponse>",
        &body[body.find("<UserPrincipalName>").unwrap()..body.find("<Lcid>").unwrap()]
    );
    assert_eq!(read_begin(echoed.as_bytes()).unwrap().answer.upn.as_deref(), Some(upn));
    for (bad, fault) in [
        ("", Unsendable::Empty("UserPrincipalName")),
        (" \u{a0} ", Unsendable::Empty("UserPrincipalName")),
        ("a\0@b", Unsendable::Control("UserPrincipalName")),
        ("a\n@b", Unsendable::Control("UserPrincipalName")),
        ("a\u{85}@b", Unsendable::Control("UserPrincipalName")),
        ("a\u{ffff}@b", Unsendable::Control("UserPrincipalName")),
    ] {
        assert_eq!(question(bad).body().err(), Some(fault), "{bad:?}");
    }
}

#[test]
fn codes_are_digits() {
    let digits = |typed: &str| code_digits(&Secret::new(typed.as_bytes().to_vec())).map(str::to_owned);
    for (typed, code) in [("123456", "123456"), (" 12 ", "12"), ("12345678\r\n", "12345678")] {
        assert_eq!(digits(typed).as_deref(), Some(code));
    }
    for bad in ["", "1", "123456789", "12 34", "12345a", "１２３４５６", "-12345", "+1", "1e5", "</x>"] {
        assert_eq!(digits(bad), None, "{bad}");
    }
    assert_eq!(code_digits(&Secret::new(vec![0xff; 6])), None);
}

#[test]
fn sessions_are_kept_and_read() {
    let session = Session {
        id: "opaque".to_owned(),
        context: ID,
        upn: ANNA.to_owned(),
        affinity_url: None,
        begun: Timestamp::from_secs(7),
    };
    let octets = session.encode();
    assert_eq!(octets[0], 1);
    assert_eq!(Session::decode(&octets), Some(session.clone()));
    // What a release once wrote is read for ever.
    let pinned = "01066f7061717565".to_owned() + &"5a".repeat(16) + "11" + &hex(ANNA.as_bytes()) + "00c09fab03";
    assert_eq!(hex(&octets), pinned);
    let longest = Session { id: "x".repeat(1024), affinity_url: Some("y".repeat(1024)), ..session };
    assert_eq!(Session::decode(&longest.encode()), Some(longest));
    for bad in [&[][..], &[1], &[2, 0], &octets[..octets.len() - 1], &[&octets[..], &[0]].concat(), &[1; 5000]] {
        assert_eq!(Session::decode(bad), None);
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn log_lines_are_one_line() {
    assert_eq!(shown("plain text"), "plain text");
    assert_eq!(shown("a\nb\u{1b}[2J\u{202e}"), "a\\nb\\u{1b}[2J\\u{202e}");
    assert_eq!(shown(&"x".repeat(100_000)).chars().count(), 201);
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = (read_begin(&octets), read_end(&octets), Session::decode(&octets), token::read(&octets));
        let _ = token::read_refusal(400, &octets);
    }

    /// Pieces of answers in any order: what is approved has both words.
    #[test]
    fn any_pieces_are_read_or_refused(pieces in proptest::collection::vec(0usize..14, 0..30)) {
        const PIECES: [&str; 14] = [
            "<BeginTwoWayAuthenticationResponse>", "</BeginTwoWayAuthenticationResponse>", "<Result>", "</Result>",
            "<Value>Success</Value>", "<AuthenticationResult>true</AuthenticationResult>", "<AuthenticationResult>",
            "true", "</AuthenticationResult>", "<!--", "-->", "<![CDATA[", "]]>", "&#116;",
        ];
        let xml: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        if told_of_begin(&[], xml.as_bytes()) == "approved user" {
            prop_assert!(xml.contains("Success") && (xml.contains("true") || xml.contains("&#116;")), "{}", xml);
        }
    }

    #[test]
    fn any_name_is_sent_whole_or_not_at_all(upn in "\\PC{0,80}") {
        if let Ok(body) = question(&upn).body() {
            let xml = body.replace("TwoWayAuthenticationRequest", "TwoWayAuthenticationResponse");
            prop_assert_eq!(read_begin(xml.as_bytes()).unwrap().answer.upn, Some(upn));
        }
    }

    #[test]
    fn any_affinity_stays_among_the_hosts(url in "\\PC{0,60}", path in "\\PC{0,20}") {
        let allowed = ["mfa.example".to_owned()];
        for url in [url, format!("https://mfa.example{path}"), format!("https://{path}mfa.example/")] {
            if let Some((host, path)) = assumed::affinity_second_try(&url, &allowed) {
                prop_assert!(host == "mfa.example" && path.starts_with('/') && path.is_ascii());
            }
        }
    }
}

#[test]
fn other_user_is_refused_at_each_step() {
    let answer = |value: &str, result: &str| EndAnswerRead {
        value: Some(value.to_owned()),
        authentication_result: Some(result.to_owned()),
        upn: Some("bob@corp.example".to_owned()),
        ..EndAnswerRead::default()
    };
    let enforce = AskedAgain { upn: ANNA, upn_echo: UpnEcho::Enforce };
    let warn = AskedAgain { upn: ANNA, upn_echo: UpnEcho::Warn };
    let pending = "AuthenticationPending";
    assert_eq!(results::class(pending), results::Class::Pending);
    let other = Reason::AnswerForOtherUser;
    for (value, result) in [("Success", "true"), (pending, "false")] {
        assert_eq!(polled(&enforce, &answer(value, result)), PollAnswer::Denied(other), "{value}");
        assert_eq!(code_judged(&enforce, &answer(value, result)), CodeAnswer::Ended(other), "{value}");
    }
    assert_eq!(polled(&warn, &answer(pending, "false")), PollAnswer::Waiting);
    assert_eq!(polled(&warn, &answer("Success", "true")), PollAnswer::Approved);
}
