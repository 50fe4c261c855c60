//! A real switch port, guarded by hostapd, with a real user behind it, wpa_supplicant: hostapd reports the session to Orthrus and
//! obeys its Disconnect-Request. Who the user is hostapd finds out by itself (EAP-MD5), as Orthrus serves no EAP. Each lives in a
//! network namespace of its own, so this takes root; `tests/run` installs both.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tests::namespace::Namespace;
use tests::process::Process;
use tests::setup::free_udp_port;
use tests::{NAS, SECRET, Setup, eventually};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn hostapd_obeys_a_disconnect() {
    let (switch, user) = (Namespace::new("switch"), Namespace::new("supplicant"));
    let at = |subnet, host| Ipv4Addr::new(10, 214, subnet, host);
    switch.cable(at(1, 2), None, at(1, 1));
    user.cable(at(2, 2), Some(&switch), at(2, 1));
    let number = std::process::id() % 1_000_000;
    let (port, card) = (format!("of{number}-2"), format!("on{number}-2"));

    let accounting = SocketAddr::from((at(1, 1), free_udp_port(at(1, 1))));
    // With its own EAP server hostapd reports the station as User-Name, and does not know it by that name itself.
    let mut dae = toml::Table::new();
    dae.insert("send_attributes".into(), vec!["Acct-Session-Id", "Calling-Station-Id", "NAS-Identifier"].into());
    let gateway = Setup::new()
        .of_client(NAS, "dynamic_authorization", dae)
        .of_client(NAS, "addresses", vec![at(1, 2).to_string()])
        .set("accounting.listen", vec![accounting.to_string()])
        .set("accounting.folder", "accounting")
        .start();

    let folder = tempfile::tempdir().unwrap();
    let users = write(folder.path(), "users", "\"alice\" MD5 \"wonderland\"\n");
    let (server, server_port) = (accounting.ip(), accounting.port());
    let config = write(
        folder.path(),
        "hostapd.conf",
        &format!(
            "interface={port}\ndriver=wired\nlogger_stdout=-1\nlogger_stdout_level=1\nieee8021x=1\nuse_pae_group_addr=1\n\
             eap_server=1\neap_user_file={users}\nown_ip_addr={own}\nnas_identifier=switch1\n\
             acct_server_addr={server}\nacct_server_port={server_port}\nacct_server_shared_secret={SECRET}\n\
             radius_das_port=3799\nradius_das_client={server} {SECRET}\nradius_das_time_window=300\n\
             radius_das_require_event_timestamp=1\nradius_das_require_message_authenticator=1\n",
            own = at(1, 2)
        ),
    );
    let supplicant = write(
        folder.path(),
        "supplicant.conf",
        "ap_scan=0\nnetwork={\n key_mgmt=IEEE8021X\n eapol_flags=0\n eap=MD5\n identity=\"alice\"\n password=\"wonderland\"\n}\n",
    );
    let hostapd = Process::start(&switch, "hostapd", &["-t", &config], folder.path().join("hostapd.log"));
    hostapd.awaits("AP-ENABLED");
    let arguments = ["-D", "wired", "-i", &card, "-c", &supplicant];
    let wpa = Process::start(&user, "wpa_supplicant", &arguments, folder.path().join("supplicant.log"));
    wpa.awaits("CTRL-EVENT-EAP-SUCCESS");

    let run = |arguments: &[&str]| {
        let output = gateway.run(&[arguments, &["--config", "orthrus.toml"]].concat(), "");
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
    };
    let session = eventually("hostapd has begun a session", || {
        let (_, rest) =
            hostapd.output().split_once("starting accounting session ").map(|(a, b)| (a.len(), b.to_owned()))?;
        rest.lines().next().map(|id| id.trim().to_owned())
    });
    eventually("hostapd has reported the session", || run(&["sessions"]).contains(&session).then_some(()));
    assert!(!hostapd.output().contains("AP-STA-DISCONNECTED"));
    let text = run(&["disconnect", "--session", &session]);
    assert!(text.contains(": ACK"), "{text}\n{}", hostapd.output());
    hostapd.awaits("AP-STA-DISCONNECTED");
}
