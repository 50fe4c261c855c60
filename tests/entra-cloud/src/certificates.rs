//! Certificates: the throw-away authority of the simulator, its servers', and those of clients as the vendor's setup script makes
//! them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{IpAddr, Ipv4Addr};

/// The authority of one simulated cloud.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&[(DnType::CommonName, "Orthrus simulator, not Microsoft")]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("it is well-formed") }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for this address.
    pub(crate) fn server(&self, address: IpAddr) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&[(DnType::CommonName, "orthrus-sim")]);
        params.subject_alt_names = vec![SanType::IpAddress(address), SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        let certificate = params.signed_by(&key, issuer).expect("it is well-formed");
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

fn name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    parts.iter().for_each(|(kind, value)| name.push(kind.clone(), *value));
    name
}

/// A client's certificate and its key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    pub(crate) der: Vec<u8>,
    certificate: String,
    key: String,
}

impl ClientCertificate {
    /// As ENTRA.md describes the vendor's: self-signed, the tenant in its subject, RSA 2048, for client authentication.
    pub(crate) fn new(tenant: &str, expired: bool) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name =
            name(&[(DnType::CommonName, tenant), (DnType::OrganizationalUnitName, "Microsoft NPS Extension")]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = if expired { date_time_ymd(2022, 1, 1) } else { date_time_ymd(2099, 1, 1) };
        let certificate = params.self_signed(&key).expect("it is well-formed");
        Self { der: certificate.der().to_vec(), certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.clone()
    }

    /// The private key, PEM.
    pub fn key_pem(&self) -> String {
        self.key.clone()
    }

    /// `x5t` and `x5t#S256`.
    pub(crate) fn thumbprints(&self) -> [String; 2] {
        [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].map(|kind| URL_SAFE_NO_PAD.encode(digest(kind, &self.der)))
    }
}
