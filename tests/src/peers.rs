//! Nodes that speak to each other: their authority, their certificates, their sections.

use crate::Setup;
use crate::setup::{free_tcp_port, own_address};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::SocketAddr;
use toml::Table;

/// Who signs for nodes.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// There are no random numbers.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this node, and its key, PEM.
    pub fn certificate(&self, node: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![node.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.0).expect("it signs").pem(), key.serialize_pem())
    }
}

impl Setup {
    /// Speaks to other nodes, under a certificate of `authority` for the node `name`. Where others connect to it.
    #[must_use]
    pub fn meeting(self, authority: &Authority, name: &str) -> (Self, SocketAddr) {
        let address = own_address();
        let address = SocketAddr::from((address, free_tcp_port(address)));
        let mut section = Table::new();
        for (key, value) in [
            ("listen", address.to_string()),
            ("certificate_file", "peer.pem".to_owned()),
            ("key_file", "peer.key".to_owned()),
            ("ca_file", "peers-ca.pem".to_owned()),
            ("timeout", "1s".to_owned()),
        ] {
            section.insert(key.into(), value.into());
        }
        let (certificate, key) = authority.certificate(name);
        let setup = self
            .set("cluster.peers", section)
            .secret("peer.pem", &certificate)
            .secret("peer.key", &key)
            .secret("peers-ca.pem", &authority.pem());
        (setup, address)
    }
}
