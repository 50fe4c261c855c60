//! Which client a packet comes from: single addresses by hash, then networks, the longest prefix first.

use ipnet::IpNet;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::clients::Client;

/// Finds the client of a source address.
#[derive(Debug, Default)]
pub struct ClientTable {
    hosts: HashMap<IpAddr, Arc<Client>>,
    /// One table for each prefix length in use, the longest first, so that a thousand networks cost no more than the few
    /// lengths they have.
    networks: BTreeMap<Reverse<u8>, HashMap<IpNet, Arc<Client>>>,
}

impl ClientTable {
    /// From checked clients, in which no network stands twice.
    pub fn new<'a>(clients: impl IntoIterator<Item = &'a Arc<Client>>) -> Self {
        let mut table = Self::default();
        for client in clients {
            for net in &client.networks {
                if net.prefix_len() == net.max_prefix_len() {
                    table.hosts.insert(net.addr(), Arc::clone(client));
                } else {
                    table.networks.entry(Reverse(net.prefix_len())).or_default().insert(*net, Arc::clone(client));
                }
            }
        }
        table
    }

    /// The client with the longest prefix that contains `source`; an IPv4-mapped IPv6 address is made plain first.
    pub fn find(&self, source: IpAddr) -> Option<&Arc<Client>> {
        let source = source.to_canonical();
        self.hosts.get(&source).or_else(|| {
            self.networks.iter().find_map(|(Reverse(length), networks)| {
                let net = IpNet::new(source, *length).ok()?;
                networks.get(&net.trunc())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Require;

    fn client(name: &str, networks: &[&str]) -> Arc<Client> {
        Arc::new(Client {
            name: name.into(),
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
            secrets: Vec::new(),
            require_message_authenticator: Require::Yes,
            limit_proxy_state: true,
            challenge: true,
            appended: None,
            answer_within: None,
            first_factor: None,
            attempt_group: name.into(),
            accounting: true,
            max_sessions: None,
            dynamic_authorization: crate::config::DynamicAuthorization::default(),
        })
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = ClientTable::new(&[
            client("everybody", &["0.0.0.0/0"]),
            client("site", &["192.0.2.0/24", "2001:db8::/32"]),
            client("floor", &["192.0.2.64/26"]),
            client("server", &["192.0.2.70/32", "2001:db8::7/128"]),
        ]);
        for (source, name) in [
            ("192.0.2.70", Some("server")),
            ("::ffff:192.0.2.70", Some("server")),
            ("192.0.2.71", Some("floor")),
            ("::ffff:192.0.2.71", Some("floor")),
            ("192.0.2.1", Some("site")),
            ("198.51.100.1", Some("everybody")),
            ("2001:db8::7", Some("server")),
            ("2001:db8::8", Some("site")),
            ("2001:db9::8", None),
            ("::", None),
        ] {
            let found = table.find(source.parse().unwrap()).map(|client| &*client.name);
            assert_eq!(found, name, "{source}");
        }
    }

    #[test]
    fn nobody_is_in_an_empty_table() {
        assert!(ClientTable::default().find("192.0.2.1".parse().unwrap()).is_none());
    }

    #[test]
    fn the_default_route_of_one_family_is_not_that_of_the_other() {
        let table = ClientTable::new(&[client("six", &["::/0"])]);
        assert!(table.find("192.0.2.1".parse().unwrap()).is_none());
        assert!(table.find("2001:db8::1".parse().unwrap()).is_some());
    }
}
