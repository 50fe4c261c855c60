//! Who a node is to others: certificate, key, and the authority that signs for all of them. TLS 1.3 only, no resumption: each
//! connection proves both sides anew.

use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who a node is to others.
pub struct Identity {
    /// From when the certificate is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    pub(super) server: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// From three PEM texts, for the node `name`. A certificate that is over, or not valid yet, is none the less one.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn read(name: &str, certificate: &str, key: &Secret, authorities: &str) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("certificate_file is not PEM: {error}"))?;
        let first = chain.first().ok_or("there is no certificate in certificate_file")?;
        // Errors of the reader could quote what they read.
        let key = PrivateKeyDer::from_pem_slice(key.expose())
            .map_err(|_| "there is no private key in key_file; an encrypted one cannot be read")?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            let fault = |error: &dyn std::fmt::Display| format!("a certificate in ca_file cannot be used: {error}");
            roots.add(authority.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
        }
        if roots.is_empty() {
            return Err("there is no certificate in ca_file".to_owned());
        }
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| "the certificate is damaged")?;
        if !names(first).iter().any(|known| known == name) {
            return Err(format!(
                "the certificate does not carry `{name}` (cluster.node_id) as a DNS name among its alternative names"
            ));
        }
        let moment = |seconds: i64| Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0));
        let (not_before, not_after) = (parsed.validity().not_before, parsed.validity().not_after);
        // At a moment when it was valid: that it is over is told elsewhere, and is no reason not to start.
        let begun = UnixTime::since_unix_epoch(Duration::from_secs(moment(not_before.timestamp()).as_secs()));
        signed(first, chain.get(1..).unwrap_or_default(), &roots, begun, &provider)
            .map_err(|error| format!("the certificate is not one of ca_file, or not for servers: {error}"))?;
        let roots = Arc::new(roots);
        let refused = |error: &dyn std::fmt::Display| format!("the certificate cannot be used: {error}");
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| refused(&error))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| refused(&error))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| format!("certificate_file and key_file do not fit together: {error}"))?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            not_before: moment(not_before.timestamp()),
            not_after: moment(not_after.timestamp()),
            server: Arc::new(server),
            chain,
            key,
            roots,
            provider,
        })
    }

    /// For a connection to the node `name`: nobody else is spoken to.
    pub(super) fn client(&self, name: &str) -> Result<ClientConfig, Error> {
        let verifier = Named { name: name.to_owned(), roots: self.roots.clone(), provider: self.provider.clone() };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }

    /// Whether the certificate is valid at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

/// What is spoken inside TLS.
const PROTOCOL: &[u8] = b"orthrus-peer";

/// The DNS names of a certificate, exactly as they stand there.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

fn signed(
    certificate: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, rest, now, algorithms)
}

/// Takes a certificate of the authority with one name. The usual verifier reads names as host names, for which `Node-1` is
/// `node-1` and `*.example` many; the name of a node is itself and nothing else.
#[derive(Debug)]
struct Named {
    name: String,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        signed(certificate, rest, &self.roots, now, &self.provider)?;
        if !names(certificate).contains(&self.name) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    /// Only TLS 1.3 is spoken.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
