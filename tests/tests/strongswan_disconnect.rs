//! strongSwan as the VPN server: a real client signs in by IKEv1 with XAuth, whose name and password strongSwan passes on as an
//! Access-Request; it reports the session, and obeys the Disconnect-Request. Server and client live in network namespaces of their
//! own with IPsec in the process (kernel-libipsec), so this takes root; `tests/run` installs both.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::namespace::Namespace;
use tests::process::Process;
use tests::setup::free_udp_port;
use tests::{NAS, SECRET, Setup, eventually};

const PLUGINS: &str =
    "random nonce aes sha1 sha2 hmac kdf openssl vici kernel-libipsec kernel-netlink socket-default updown";

/// One charon, with a folder of its own.
struct Charon {
    process: Process,
    folder: PathBuf,
}

impl Charon {
    fn start(namespace: &Namespace, folder: PathBuf, plugins: &str, more: &str, swanctl: &str) -> Self {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("swanctl.conf"), swanctl).unwrap();
        let (at, config) = (folder.display(), folder.join("strongswan.conf"));
        let text = format!(
            "charon {{\n load = {PLUGINS} {plugins}\n install_virtual_ip = yes\n\
             filelog {{ log {{ path = {at}/log\n default = 1\n flush_line = yes }} }}\n\
             plugins {{ vici {{ socket = unix://{at}/vici }}\n kernel-libipsec {{ allow_peer_ts = yes }}\n {more} }} }}\n"
        );
        fs::write(&config, text).unwrap();
        // It keeps its process number in /run, where only one can be.
        let script =
            format!("mount -t tmpfs tmpfs /run && STRONGSWAN_CONF={} exec /usr/lib/ipsec/charon", config.display());
        let arguments = ["-m", "sh", "-c", &script];
        let process = Process::start(namespace, "unshare", &arguments, folder.join("output"));
        let charon = Self { process, folder };
        eventually("charon listens", || charon.folder.join("vici").exists().then_some(()));
        let loaded = charon.swanctl(&["--load-all"]);
        assert!(loaded.contains("successfully loaded"), "{loaded}\n{}", charon.log());
        charon
    }

    fn swanctl(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let socket = format!("unix://{}/vici", self.folder.display());
        let mut command = Command::new("swanctl");
        let output = command.args(arguments).args(["--uri", &socket]).env("SWANCTL_DIR", &self.folder).output();
        output.unwrap_or_else(|error| panic!("swanctl: {error}; tests/run installs it"))
    }

    /// Whether it has a tunnel. Standard error does not count: swanctl complains there of plugins that it was built with and that are not
    /// installed.
    fn has_tunnel(&self) -> bool {
        let output = self.run(&["--list-sas"]);
        assert!(output.status.success(), "swanctl: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).contains("ESTABLISHED")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Charon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}{}", self.folder.display(), self.log(), self.process.output());
        }
    }
}

fn child(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

#[test]
fn strongswan_obeys_a_disconnect() {
    let (server, user) = (Namespace::new("ipsec"), Namespace::new("roadwarrior"));
    let at = |subnet, host| Ipv4Addr::new(10, 215, subnet, host);
    server.cable(at(1, 2), None, at(1, 1));
    user.cable(at(2, 2), Some(&server), at(2, 1));

    let [authentication, accounting] = [(); 2].map(|()| SocketAddr::from((at(1, 1), free_udp_port(at(1, 1)))));
    let gateway = Setup::new()
        .policies("[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\n")
        .user("alice", "wonderland")
        .listen(&[authentication])
        .of_client(NAS, "dynamic_authorization", toml::Table::new())
        .of_client(NAS, "addresses", vec![at(1, 2).to_string()])
        .set("accounting.listen", vec![accounting.to_string()])
        .set("accounting.folder", "accounting")
        .start();

    let folder = tempfile::tempdir().unwrap();
    let radius = format!(
        "eap-radius {{ accounting = yes\n servers {{ orthrus {{ address = {}\n auth_port = {}\n acct_port = {}\n\
         secret = {SECRET}\n nas_identifier = strongswan }} }}\n\
         dae {{ enable = yes\n listen = {}\n port = 3799\n secret = {SECRET} }} }}",
        at(1, 1),
        authentication.port(),
        accounting.port(),
        at(1, 2),
    );
    let vpn = Charon::start(
        &server,
        child(folder.path(), "server"),
        "eap-radius",
        &radius,
        &format!(
            "connections {{ vpn {{ version = 1\n local_addrs = {}\n encap = yes\n pools = pool\n local {{ auth = psk }}\n\
             remote {{ auth = psk }}\n remote-xauth {{ auth = xauth-radius }}\n\
             children {{ net {{ local_ts = 10.216.0.0/24\n esp_proposals = aes256-sha256 }} }} }} }}\n\
             pools {{ pool {{ addrs = 10.217.0.0/24 }} }}\nsecrets {{ ike {{ secret = shared }} }}\n",
            at(2, 1)
        ),
    );
    let client = Charon::start(
        &user,
        child(folder.path(), "client"),
        "xauth-generic",
        "",
        &format!(
            "connections {{ vpn {{ version = 1\n remote_addrs = {}\n encap = yes\n vips = 0.0.0.0\n local {{ auth = psk }}\n\
             local-xauth {{ auth = xauth\n xauth_id = alice }}\n remote {{ auth = psk }}\n\
             children {{ net {{ remote_ts = 10.216.0.0/24\n esp_proposals = aes256-sha256 }} }} }} }}\n\
             secrets {{ ike {{ secret = shared }}\n xauth {{ id = alice\n secret = wonderland }} }}\n",
            at(2, 1)
        ),
    );
    let begun = client.swanctl(&["--initiate", "--child", "net", "--timeout", "20"]);
    assert!(begun.contains("initiate completed successfully"), "{begun}");
    assert_eq!(gateway.await_sign_in_lines(1)[0]["result"], "accept", "strongSwan has asked us");

    let run = |arguments: &[&str]| {
        let output = gateway.run(&[arguments, &["--config", "orthrus.toml"]].concat(), "");
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
    };
    eventually("strongSwan has reported the session", || run(&["sessions"]).contains("alice").then_some(()));
    assert!(vpn.has_tunnel());
    let text = run(&["disconnect", "--user", "alice"]);
    assert!(text.contains(": ACK"), "{text}");
    eventually("the tunnel is gone at the server", || (!vpn.has_tunnel()).then_some(()));
    eventually("and at the client", || (!client.has_tunnel()).then_some(()));
    eventually("the session is over", || (!run(&["sessions"]).contains("alice")).then_some(()));
}
