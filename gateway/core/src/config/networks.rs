//! Addresses and networks as people write them.

use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, SocketAddr};

use super::report::Report;

/// `net` with an IPv4-mapped address made plain, because a dual-stack socket shows the one where the other was sent.
fn plain(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let (Some(four), Some(length)) = (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) else {
        return net;
    };
    Ipv4Net::new(four, length).map_or(net, IpNet::V4)
}

fn parse(text: &str) -> Result<IpNet, (String, String)> {
    let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        let remedy = "Write an address (192.0.2.10, 2001:db8::10) or a network (192.0.2.0/24).";
        (format!("`{text}` is not an address or a network"), remedy.to_owned())
    })?;
    let net = plain(net);
    if net.addr() != net.network() {
        let problem = format!("`{text}` is an address inside a network");
        return Err((
            problem,
            format!("Write {} for the network or {} for the address alone.", net.trunc(), net.addr()),
        ));
    }
    Ok(net)
}

/// The networks of a list at `path`, each with its place.
pub(super) fn networks(report: &mut Report, path: &str, texts: &[String]) -> Vec<(String, IpNet)> {
    let mut found = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match parse(text) {
            Ok(net) => found.push((path, net)),
            Err((problem, remedy)) => report.fault(path, problem, remedy),
        }
    }
    found
}

/// The socket address at `path`.
pub(super) fn socket_address(report: &mut Report, path: &str, text: &str) -> Option<SocketAddr> {
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
        Err(_) => {
            let remedy =
                "Write an address and a port: 192.0.2.1:1812, [2001:db8::1]:1812 or, for all addresses, 0.0.0.0:1812.";
            report.fault(path, format!("`{text}` is not an address with a port"), remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_made_plain() {
        for (text, net) in [
            ("192.0.2.10", "192.0.2.10/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.10", "192.0.2.10/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse(text).map(|net| net.to_string()), Ok(net.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_network() {
        for text in ["", "vpn.example", "192.0.2.256", "192.0.2.0/33", "192.0.2.0/255.255.255.0", "192.0.2.1:1812"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let remedy = parse("192.0.2.10/24").map_err(|(_, remedy)| remedy);
        assert_eq!(remedy, Err("Write 192.0.2.0/24 for the network or 192.0.2.10 for the address alone.".to_owned()));
    }
}
