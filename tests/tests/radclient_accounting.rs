//! Real `radclient` (FreeRADIUS) sends accounting.

use tests::accounting::{records, start};
use tests::radclient::radclient;
use tests::{SECRET, Setup};

#[test]
fn radclient_accounts_for_a_session() {
    let (gateway, address) = start(Setup::new());
    for (status, more) in [
        ("Accounting-On", ""),
        ("Start", ""),
        ("Interim-Update", "Acct-Input-Octets = 7\nAcct-Input-Gigawords = 1\nAcct-Session-Time = 60"),
        ("Stop", "Acct-Terminate-Cause = User-Request\nAcct-Session-Time = 90"),
    ] {
        let status = format!("Acct-Status-Type = {status}");
        let mut lines = vec![status.as_str(), "Acct-Session-Id = \"5e55\"", "User-Name = alice", "NAS-Port = 3"];
        lines.extend(["Framed-IP-Address = 10.9.8.7", "Class = 0x01ff"]);
        lines.extend(more.lines());
        let printed = radclient(address, "acct", SECRET, &lines);
        assert!(printed.success && printed.reply() == Some("Accounting-Response"), "{}", printed.text);
    }
    let written = records(&gateway.path("accounting"));
    let status: Vec<_> = written.iter().map(|record| record["attributes"]["Acct-Status-Type"].clone()).collect();
    assert_eq!(status, ["Accounting-On", "Start", "Interim-Update", "Stop"]);
    let stop = &written[3]["attributes"];
    assert_eq!((&stop["Acct-Terminate-Cause"], &stop["Acct-Session-Time"]), (&"User-Request".into(), &90.into()));
    assert_eq!((&stop["Class"], &stop["Framed-IP-Address"]), (&"0x01ff".into(), &"10.9.8.7".into()));
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_accounting_records_total", &[]), 4);
    assert_eq!(metrics.count("orthrus_accounting_sessions", &[]), 0);
}

#[test]
fn radclient_takes_answer_to_signed_record() {
    let (gateway, address) = start(Setup::new());
    for status in ["Start", "Interim-Update", "Stop"] {
        let status = format!("Acct-Status-Type = {status}");
        let lines = [&status, "Acct-Session-Id = \"1\"", "User-Name = alice", "Message-Authenticator = 0x00"];
        let printed = radclient(address, "acct", SECRET, &lines);
        assert!(printed.success && printed.reply() == Some("Accounting-Response"), "{}", printed.text);
    }
    assert_eq!(records(&gateway.path("accounting")).len(), 3);
    let printed = radclient(address, "status", SECRET, &["Message-Authenticator = 0x00"]);
    assert!(printed.success, "{}", printed.text);
}

#[test]
fn radclient_with_another_secret_hears_nothing() {
    let (gateway, address) = start(Setup::new());
    let lines = ["Acct-Status-Type = Start", "Acct-Session-Id = \"1\"", "User-Name = alice"];
    let printed = radclient(address, "acct", "another secret", &lines);
    assert!(!printed.success && printed.reply().is_none(), "{}", printed.text);
    gateway.await_dropped("bad_accounting_authenticator", 1);
    assert!(records(&gateway.path("accounting")).is_empty());
}
