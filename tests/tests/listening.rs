//! Where packets come in, and that replies leave from there: a NAS believes nobody else.

use gateway_core::radius::Code;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tests::setup::{free_udp_port, own_address};
use tests::{Client, NAS, Request, SECRET, Setup};

fn setup(addresses: &[SocketAddr]) -> Setup {
    let policy = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\n";
    Setup::new().user("alice", "correct horse").policies(policy).listen(addresses)
}

/// The client ends the test if a reply comes from another address than it asked.
fn signs_in(server: SocketAddr) {
    let mut nas = Client::new(server, SECRET);
    nas.ask(&Request::access("alice").password("correct horse")).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn several_addresses_and_ports_are_served_in_both_families() {
    let four = own_address();
    let six = Ipv6Addr::LOCALHOST;
    let addresses = [
        SocketAddr::from((four, free_udp_port(four))),
        SocketAddr::from((four, free_udp_port(four))),
        SocketAddr::from((own_address(), 1812)),
        SocketAddr::from((six, free_udp_port(six))),
    ];
    let gateway = setup(&addresses).start();
    for address in addresses {
        signs_in(address);
    }
    let metrics = gateway.metrics();
    for address in addresses {
        let labels = [("listener", &*address.to_string()), ("code", "Access-Request")];
        assert_eq!(metrics.count("orthrus_radius_requests_total", &labels), 1, "{address}");
    }
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked_though_the_socket_has_them_all() {
    let port = free_udp_port(Ipv4Addr::UNSPECIFIED);
    let wildcards = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))];
    let _gateway = setup(&wildcards).start();
    for asked in
        [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]), own_address().into(), Ipv6Addr::LOCALHOST.into()]
    {
        signs_in(SocketAddr::from((asked, port)));
    }
}

#[test]
fn the_same_identifier_at_two_ports_is_two_packets() {
    let four = own_address();
    let addresses = [four; 2].map(|ip| SocketAddr::from((ip, free_udp_port(ip))));
    let gateway = setup(&addresses).start();
    for address in addresses {
        signs_in(address);
    }
    assert_eq!(gateway.metrics().ended("accept"), 2);
}

#[test]
fn a_client_is_its_longest_prefix() {
    let address = own_address();
    let address = SocketAddr::from((address, free_udp_port(address)));
    let gateway = setup(&[address])
        .of_client(NAS, "addresses", vec!["127.0.0.0/8"])
        .client("one", &["127.0.0.77"], "another-secret-of-33-characters-4")
        .start();
    let request = Request::access("alice").password("correct horse");
    let mut one = Client::at([127, 0, 0, 77].into(), address, "another-secret-of-33-characters-4");
    one.ask(&request).expect(Code::ACCESS_ACCEPT);
    Client::at([127, 0, 0, 78].into(), address, SECRET).ask(&request).expect(Code::ACCESS_ACCEPT);
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_sign_ins_total", &[("client", "one")]), 1);
    assert_eq!(metrics.count("orthrus_sign_ins_total", &[("client", NAS)]), 1);
}

#[test]
fn an_address_that_cannot_be_had_is_named_and_nothing_starts() {
    let taken = std::net::UdpSocket::bind((own_address(), 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap();
    setup(&[address]).write(folder.path());
    let output = tests::gateway::run(folder.path(), &["serve", "--config", "orthrus.toml"], "");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains(&address.to_string()), "{error}");
}
