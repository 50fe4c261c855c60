//! TLS to Microsoft: rustls with aws-lc-rs, verification always on.

use gateway_core::config::{EntraFactor, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::sync::Arc;

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The configuration for all connections. `authorities`: the content of `ca_file`, which takes the place of the system's.
///
/// # Errors
///
/// There is no authority, or no cipher suite for an allowed version.
pub(super) fn client(factor: &EntraFactor, authorities: Option<&str>) -> Result<ClientConfig, String> {
    let roots = match authorities {
        Some(pem) => from_pem(pem)?,
        None => of_the_system()?,
    };
    let mut provider: CryptoProvider = rustls::crypto::aws_lc_rs::default_provider();
    if !factor.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            factor.cipher_suites.iter().any(|wanted| *wanted == name || *wanted == name.replacen("TLS13_", "TLS_", 1))
        });
    }
    let versions = if factor.tls_min_version == TlsVersion::Tls13 { NEWEST } else { BOTH };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("cipher_suites and tls_min_version leave nothing: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The authorities of a PEM file: all of them, or none.
pub(super) fn from_pem(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let fault = |what: &dyn std::fmt::Display| format!("certificate {} cannot be used: {what}", index + 1);
        roots.add(certificate.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it; it must hold PEM blocks".to_owned());
    }
    Ok(roots)
}

fn of_the_system() -> Result<RootCertStore, String> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Stores of systems hold odd certificates; those that cannot be used are passed over.
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let more: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
        return Err(format!(
            "this system has no certificate authorities, so that nobody can be trusted: install the package ca-certificates, or \
             set ca_file{more}"
        ));
    }
    Ok(roots)
}
