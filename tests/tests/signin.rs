//! `orthrus signin` is a conforming client (RFC 2865 §4.1, RFC 5080 §2.2.1), and believes nothing that somebody on the way can forge.

use gateway_core::radius::{Attributes, Code, Packet, SharedSecret, attribute, encode_reply};
use gateway_core::secret::Secret;
use md5::{Digest, Md5};
use std::net::{SocketAddr, UdpSocket};
use std::process::Output;
use std::thread::JoinHandle;
use tests::SECRET;

/// A server that answers each request with what `answer` makes of it, and hands back the requests when `count` have come.
fn server(count: usize, answer: fn(&Packet<'_>) -> Option<Vec<u8>>) -> (SocketAddr, JoinHandle<Vec<Vec<u8>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    socket.set_read_timeout(Some(tests::PATIENCE)).expect("it is a span of time");
    let address = socket.local_addr().expect("it is bound");
    let serve = move || {
        let mut requests = Vec::new();
        while requests.len() < count {
            let mut buffer = [0; 4096];
            let (length, from) = socket.recv_from(&mut buffer).expect("a request comes");
            let octets = buffer[..length].to_vec();
            if let Some(reply) = answer(&Packet::parse(&octets).expect("it is RADIUS")) {
                socket.send_to(&reply, from).expect("loopback takes it");
            }
            requests.push(octets);
        }
        requests
    };
    (address, std::thread::spawn(serve))
}

fn signin(server: SocketAddr, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("there is a folder");
    std::fs::write(folder.path().join("secret"), SECRET).expect("it is ours");
    let server = server.to_string();
    let asked =
        ["signin", "--server", &server, "--secret-file", "secret", "--user", "alice", "--stdin", "--timeout", "1"];
    tests::gateway::run(folder.path(), &[&asked[..], more].concat(), "wonderland\n")
}

fn shared() -> SharedSecret {
    SharedSecret::new(Secret::new(SECRET.as_bytes().to_vec()))
}

/// An Access-Accept of a header alone, with a right Response Authenticator: what CVE-2024-3596 makes of an Access-Reject.
fn bare(request: &Packet<'_>) -> Option<Vec<u8>> {
    let header = [u8::from(Code::ACCESS_ACCEPT), request.identifier(), 0, 20];
    let digest = Md5::new_with_prefix(header).chain_update(request.authenticator()).chain_update(SECRET).finalize();
    Some([&header[..], &digest].concat())
}

fn signed(request: &Packet<'_>) -> Option<Vec<u8>> {
    Some(encode_reply(Code::ACCESS_ACCEPT, request, &Attributes::new(), &shared()).expect("it fits"))
}

fn first(octets: &[u8], kind: u8) -> Option<Vec<u8>> {
    Packet::parse(octets).expect("it is RADIUS").first(kind).map(<[u8]>::to_vec)
}

#[test]
fn bare_accept_is_not_believed() {
    let (address, served) = server(2, bare);
    let output = signin(address, &["--tries", "2"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && !said.contains("Signed in."), "{said}");
    assert!(said.contains("without Message-Authenticator"), "{said}");
    // What was sent again is the same packet.
    let requests = served.join().expect("the server lives");
    assert_eq!(requests[0], requests[1]);
    // Whoever asks for the old ways gets them.
    let (address, _served) = server(1, bare);
    assert!(signin(address, &["--unsigned"]).status.success());
}

#[test]
fn request_names_its_nas() {
    for (more, kind, value) in [
        (&[][..], attribute::NAS_IDENTIFIER, b"orthrus-signin".to_vec()),
        (&["--attribute", "NAS-Identifier=vpn"], attribute::NAS_IDENTIFIER, b"vpn".to_vec()),
        (&["--attribute", "NAS-IP-Address=192.0.2.1"], attribute::NAS_IP_ADDRESS, vec![192, 0, 2, 1]),
    ] {
        let (address, served) = server(1, signed);
        assert!(signin(address, more).status.success());
        let requests = served.join().expect("the server lives");
        assert_eq!(first(&requests[0], kind), Some(value));
        let names = [attribute::NAS_IDENTIFIER, attribute::NAS_IP_ADDRESS];
        assert_eq!(names.iter().filter(|kind| first(&requests[0], **kind).is_some()).count(), 1);
    }
}

#[test]
fn silence_is_told_after_the_last_try() {
    let (address, served) = server(2, |_| None);
    let output = signin(address, &["--tries", "2"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("the same packet again") && said.contains("No answer from"),
        "{said}"
    );
    let requests = served.join().expect("the server lives");
    assert_eq!(requests[0], requests[1], "a retransmission is the same octets (RFC 5080 §2.2.1)");
}
