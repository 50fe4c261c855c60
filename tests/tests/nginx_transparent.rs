//! Three nodes with addresses of their own, a NAS and nginx as their balancer, each of the last two in a network namespace: what
//! reaches a node comes from the NAS's address (`proxy_bind $remote_addr transparent`), as a node must see it. It takes root.

use entra_cloud::{Cloud, Settings};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};
use std::time::Duration;
use tests::entra::{PASSWORD, setup, upn};
use tests::namespace::Namespace;
use tests::{Balancer, Gateway, NAS, Redis, SECRET};

const NODES: [u8; 3] = [11, 12, 13];

fn at(subnet: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 218, subnet, host)
}

fn ip(arguments: &[&str]) {
    let Output { status, stderr, .. } = Command::new("ip").args(arguments).output().expect("tests/run installs it");
    assert!(status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr));
}

/// The NAS's network and the balancer between it and the machine, where the nodes are.
fn network() -> (Namespace, Namespace) {
    let (nas, between) = (Namespace::new("nas"), Namespace::new("balancer"));
    between.cable(at(1, 2), None, at(1, 1));
    nas.cable(at(2, 2), Some(&between), at(2, 1));
    let number = std::process::id() % 1_000_000;
    let (machine, inside) = (format!("of{number}-1"), format!("on{number}-1"));
    for node in NODES {
        ip(&["addr", "add", &format!("{}/24", at(1, node)), "dev", &machine]);
    }
    // The nodes' replies go to the NAS, and so to the balancer, which must take them for its own.
    ip(&["route", "add", "10.218.2.0/24", "via", "10.218.1.2"]);
    between.ip(&["rule", "add", "iif", &inside, "ipproto", "udp", "sport", "1812", "lookup", "100"]);
    between.ip(&["route", "add", "local", "default", "dev", "lo", "table", "100"]);
    for key in ["all", &inside] {
        let set = between.command("sysctl").args(["-qw", &format!("net.ipv4.conf.{key}.rp_filter=0")]).status();
        assert!(set.is_ok_and(|status| status.success()), "sysctl");
    }
    (nas, between)
}

fn received(node: &Gateway) -> u64 {
    node.metrics().count("orthrus_radius_requests_total", &[])
}

#[test]
fn nginx_transparent_one_prompt_whichever_node_a_retransmission_reaches() {
    let (nas, between) = network();
    // Somebody who takes longer than a NAS waits before it repeats.
    let cloud = Cloud::start(Settings { takes: Duration::from_secs(6), ..Settings::default() });
    let redis = Redis::start();
    let node = |(host, name): (u8, &str)| {
        setup(&cloud, &["approve", "approve@signin.example"])
            .of_entra("begin", "polled")
            .of_client(NAS, "addresses", vec![at(2, 2).to_string()])
            .listen(&[SocketAddr::from((at(1, host), 1812))])
            .sharing(&redis, name)
            .start()
    };
    let nodes: Vec<Gateway> = NODES.into_iter().zip(["a", "b", "c"]).map(node).collect();
    let addresses: Vec<_> = nodes.iter().map(Gateway::address).collect();
    let front = SocketAddr::from((at(2, 1), 1812));
    let _balancer = Balancer::transparent(&between, front, &addresses);

    let request = format!(
        "printf 'User-Name=approve\\nUser-Password=\"{PASSWORD}\"\\nCalling-Station-Id=laptop\\nMessage-Authenticator=0x00\\n' | \
         radclient -x -r 8 -t 2 {front} auth {SECRET}"
    );
    let Output { stdout, stderr, .. } = nas.command("sh").args(["-c", &request]).output().expect("it runs");
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(text.contains("Received Access-Accept"), "{text}");
    assert_eq!(cloud.prompts(&upn("approve")), 1);
    let each: Vec<u64> = nodes.iter().map(received).collect();
    assert!(each.iter().all(|count| *count >= 1), "retransmissions reached every node: {each:?}");
    let dropped: u64 = nodes.iter().map(|node| node.metrics().count("orthrus_radius_dropped_total", &[])).sum();
    assert_eq!(dropped, 0, "all of them came from the NAS's own address");

    // The project's own client, from the same place.
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).expect("the folder is ours");
    let signin = format!(
        "echo '{PASSWORD}' | {} signin --server {front} --secret-file {} --user approve@signin.example --stdin --timeout 4 \
         --tries 8",
        tests::binary::orthrus().display(),
        secret.display()
    );
    let Output { stdout, stderr, .. } = nas.command("sh").args(["-c", &signin]).output().expect("it runs");
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(text.contains("Access-Accept"), "{text}");
    assert_eq!(cloud.prompts("approve@signin.example"), 1);
}
