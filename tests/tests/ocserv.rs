//! A real VPN server and a real VPN user: ocserv shows the challenge, openconnect answers it, and a tunnel comes up with what
//! the policy gave. Each lives in a network namespace of its own, so this takes root; `tests/run` installs both.

use entra_cloud::{Cloud, Settings};
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::namespace::Namespace;
use tests::setup::free_udp_port;
use tests::wait::eventually_within;
use tests::{Gateway, NAS, Setup, SoftToken, eventually};

const PASSWORD: &str = "correct horse";

/// The machine with the gateway, the one with the VPN server, and the user's, in a row.
struct Networks {
    vpn: Namespace,
    user: Namespace,
    /// Where the gateway stands, as the VPN server sees it.
    gateway: Ipv4Addr,
    /// Where the VPN server stands, as the gateway sees it.
    nas: Ipv4Addr,
    /// Where the VPN server stands, as the user sees it.
    door: Ipv4Addr,
}

/// `subnet`: the tests of this file run side by side.
fn networks(subnet: u8) -> Networks {
    let (vpn, user) = (Namespace::new(&format!("vpn{subnet}")), Namespace::new(&format!("user{subnet}")));
    let at = |subnet, host| Ipv4Addr::new(10, 213, subnet, host);
    vpn.cable(at(subnet, 2), None, at(subnet, 1));
    user.cable(at(subnet + 1, 2), Some(&vpn), at(subnet + 1, 1));
    Networks { vpn, user, gateway: at(subnet, 1), nas: at(subnet, 2), door: at(subnet + 1, 1) }
}

fn gateway(networks: &Networks, require: &str) -> Gateway {
    let policy = r#"
        [[policies]]
        name = "vpn"
        reply = { Class = "staff", Framed-IP-Address = "10.79.0.77", Framed-IP-Netmask = "255.255.255.0" }
    "#;
    Setup::new()
        .user("alice", PASSWORD)
        .token(&SoftToken::totp("alice"))
        .policies(policy)
        .of_client(NAS, "addresses", vec![networks.nas.to_string()])
        .of_client(NAS, "require_message_authenticator", require)
        .listen(&[SocketAddr::from((networks.gateway, free_udp_port(networks.gateway)))])
        .start()
}

/// A process in a namespace; its output is in a file.
struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    fn start(namespace: &Namespace, arguments: &[&str], output: PathBuf, patience: &Patience) -> Self {
        let log = File::create(&output).unwrap();
        let script = tests::workspace().join("tests/interop/ocserv.sh");
        let mut command = namespace.command(script.to_str().unwrap());
        command.args(arguments).env("RADIUS_TIMEOUT", patience.interval.to_string());
        command.env("RADIUS_RETRIES", patience.retries.to_string()).env("AUTH_TIMEOUT", "180");
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        Self { child: command.spawn().expect("tests/run installs iproute2"), output }
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn await_output(&mut self, text: &str) {
        eventually(&format!("it prints {text:?}"), || {
            let output = self.output();
            if output.contains(text) {
                return Some(());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "it ended without {text:?} (tests/run installs ocserv and openconnect):\n{output}"
            );
            None
        });
    }

    fn keyboard(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::killpg(id, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.output.display(), self.output());
        }
    }
}

/// How long the VPN server waits for the gateway.
struct Patience {
    /// Seconds until it sends a packet again.
    interval: u32,
    /// How often it does.
    retries: u32,
}

const SHORT: Patience = Patience { interval: 2, retries: 1 };

fn serve(networks: &Networks, gateway: &Gateway, folder: &Path, patience: &Patience) -> Process {
    let port = gateway.address().port().to_string();
    let secret = gateway.path("secret-nas");
    let arguments = ["serve", folder.to_str().unwrap(), &networks.gateway.to_string(), &port, secret.to_str().unwrap()];
    let mut server = Process::start(&networks.vpn, &arguments, folder.join("ocserv.log"), patience);
    server.await_output("listening (TCP)");
    server
}

fn connect(networks: &Networks, folder: &Path) -> Process {
    connect_as(networks, folder, "alice")
}

fn connect_as(networks: &Networks, folder: &Path, user: &str) -> Process {
    let arguments = ["connect", folder.to_str().unwrap(), &networks.door.to_string(), user];
    let mut user = Process::start(&networks.user, &arguments, folder.join("openconnect.log"), &SHORT);
    user.await_output("Password:");
    user
}

fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    // ocserv's workers are nobody.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn ocserv_shows_the_challenge_and_the_tunnel_comes_up() {
    let networks = networks(10);
    let gateway = gateway(&networks, "no");
    let folder = folder();
    let _server = serve(&networks, &gateway, folder.path(), &SHORT);
    let mut user = connect(&networks, folder.path());
    writeln!(user.keyboard(), "{PASSWORD}").unwrap();
    user.await_output("Enter the code from your authenticator app");
    writeln!(user.keyboard(), "{}", SoftToken::totp("alice").code_now()).unwrap();
    // The address is the policy's: it came in the Access-Accept behind the code.
    user.await_output("granted 10.79.0.77");
    assert!(networks.user.ip(&["addr", "show", "oc0"]).contains("10.79.0.77/24"));
    // Through the tunnel, to the inner address of the VPN server.
    let mut through = networks.user.command("timeout");
    through.args(["10", "bash", "-c", "exec 3<>/dev/tcp/10.79.0.1/8443"]);
    assert!(through.status().unwrap().success(), "nothing passes through the tunnel");
    let metrics = gateway.metrics();
    assert_eq!((metrics.ended("challenge"), metrics.ended("accept"), metrics.ended("reject")), (1, 1, 0));
}

#[test]
fn ocserv_refuses_a_wrong_code() {
    let networks = networks(20);
    let gateway = gateway(&networks, "no");
    let folder = folder();
    let _server = serve(&networks, &gateway, folder.path(), &SHORT);
    let mut user = connect(&networks, folder.path());
    let token = SoftToken::totp("alice");
    let wrong = token.wrong_code(tests::token::now().as_secs() / 30);
    writeln!(user.keyboard(), "{PASSWORD}").unwrap();
    user.await_output("Enter the code");
    writeln!(user.keyboard(), "{wrong}").unwrap();
    user.await_output("That code was not right");
    writeln!(user.keyboard(), "{}", token.code_now()).unwrap();
    user.await_output("granted 10.79.0.77");
}

#[test]
fn ocserv_gets_nothing_where_its_client_must_sign() {
    let networks = networks(30);
    let gateway = gateway(&networks, "yes");
    let folder = folder();
    let _server = serve(&networks, &gateway, folder.path(), &SHORT);
    let mut user = connect(&networks, folder.path());
    writeln!(user.keyboard(), "{PASSWORD}").unwrap();
    gateway.await_metrics("its packets are dropped", |metrics| metrics.dropped("missing_message_authenticator") >= 1);
    let ended = eventually("openconnect gives up", || {
        let output = user.output();
        (user.child.try_wait().unwrap().is_some() || output.matches("Password:").count() > 1).then_some(output)
    });
    assert!(!ended.contains("granted"), "{ended}");
    assert_eq!(gateway.metrics().count("orthrus_sign_ins_total", &[]), 0);
}

/// The user approves after 70 seconds, and the VPN server waits half a minute for an answer.
#[test]
fn ocserv_rescues_a_push_that_takes_longer_than_it_waits() {
    let networks = networks(40);
    let cloud = Cloud::start(Settings::default());
    let policy = r#"
        [[policies]]
        name = "vpn"
        reply = { Class = "staff", Framed-IP-Address = "10.79.0.77", Framed-IP-Netmask = "255.255.255.0" }
    "#;
    let gateway = Setup::new()
        .set("identity.default_realm", tests::entra::DOMAIN)
        .entra(&cloud)
        .user("manual", PASSWORD)
        .policies(policy)
        .of_client(NAS, "addresses", vec![networks.nas.to_string()])
        .of_client(NAS, "require_message_authenticator", "no")
        .of_client(NAS, "answer_within", "25s")
        .listen(&[SocketAddr::from((networks.gateway, free_udp_port(networks.gateway)))])
        .start();
    let folder = folder();
    let _server = serve(&networks, &gateway, folder.path(), &Patience { interval: 10, retries: 2 });
    let mut user = connect_as(&networks, folder.path(), "manual");
    let begun = Instant::now();
    writeln!(user.keyboard(), "{PASSWORD}").unwrap();
    for round in 1..=2 {
        let asked = || user.output().matches("Approve the sign-in on your phone, then press Enter").count();
        eventually_within(Duration::from_secs(40), "the user is asked to come back", || {
            (asked() >= round).then_some(())
        });
        writeln!(user.keyboard(), "ok").unwrap();
    }
    tests::wait::pass(Duration::from_secs(70).saturating_sub(begun.elapsed()));
    cloud.person(&tests::entra::upn("manual")).approve();
    user.await_output("granted 10.79.0.77");
    assert_eq!(cloud.prompts(&tests::entra::upn("manual")), 1);
    assert_eq!((gateway.metrics().ended("challenge"), gateway.metrics().ended("accept")), (2, 1));
}
