//! The client's certificates and their keys, read from PEM files and read again when those change.

use crate::backends::watched::{Reload, Watched};
use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use gateway_core::config::{EntraCertificate, Thumbprint};
use gateway_core::factor::entra::certificates::{Validity, order};
use gateway_core::factor::entra::token::{Algorithm, Fingerprints};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate and its key, fit to sign.
pub(super) struct Credential {
    /// What it is called in logs: the start of its SHA-1 thumbprint.
    pub(super) name: String,
    /// When it is valid.
    pub(super) validity: Validity,
    /// What the token endpoint knows it by.
    pub(super) fingerprints: Fingerprints,
    /// What is odd about it and no obstacle.
    pub(super) warnings: Vec<String>,
    /// The certificate itself, DER.
    pub(super) der: Vec<u8>,
    key: RsaKeyPair,
}

impl Credential {
    /// From the two PEM texts. `pinned`: what the certificate must be.
    fn read(certificate: &str, key: &Secret, pinned: Option<Thumbprint>) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| format!("there is no certificate in it: {error}"))?;
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|error| format!("the certificate is damaged: {error}"))?;
        if !rest.is_empty() {
            return Err("there is something behind the certificate".to_owned());
        }
        let fingerprints = fingerprints(&der);
        let is_pinned = match pinned {
            None => true,
            Some(Thumbprint::Sha1(octets)) => octets == fingerprints.sha1,
            Some(Thumbprint::Sha256(octets)) => octets == fingerprints.sha256,
        };
        if !is_pinned {
            let found = hexadecimal(&fingerprints.sha1);
            return Err(format!("`thumbprint` names another certificate than this one ({found})"));
        }
        let key = private_key(key)?;
        if key.public_key().as_ref() != parsed.public_key().subject_public_key.data.as_ref() {
            return Err("the key in key_file is not the key of this certificate".to_owned());
        }
        let moment = |seconds: i64| Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = Validity {
            not_before: moment(parsed.validity().not_before.timestamp()),
            not_after: moment(parsed.validity().not_after.timestamp()),
        };
        let usage = parsed.extended_key_usage().ok().flatten();
        let mut warnings = Vec::new();
        if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
            warnings.push("it is not made for client authentication (extended key usage)".to_owned());
        }
        Ok(Self {
            name: hexadecimal(&fingerprints.sha1).chars().take(12).collect(),
            validity,
            fingerprints,
            warnings,
            der: der.to_vec(),
            key,
        })
    }

    /// Signs; it takes a millisecond of CPU.
    pub(super) fn sign(&self, algorithm: Algorithm, input: &str) -> Result<Vec<u8>, String> {
        let encoding = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
            // With a salt as long as the digest.
            Algorithm::Ps256 => &RSA_PSS_SHA256,
        };
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .map_err(|_| "the key does not sign".to_owned())?;
        Ok(signature)
    }
}

fn fingerprints(der: &[u8]) -> Fingerprints {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref().try_into().unwrap_or([0; 20]);
    let sha256 = digest(&SHA256, der).as_ref().try_into().unwrap_or([0; 32]);
    Fingerprints { sha1, sha256 }
}

pub(super) fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

fn private_key(pem: &Secret) -> Result<RsaKeyPair, String> {
    const WHAT: &str = "it must be an RSA key of 2048 bits or more";
    // Errors of the reader could quote what they read.
    let key = PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(|_| "there is no private key in key_file; an encrypted one cannot be read".to_owned())?;
    match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(format!("the key in key_file is not of RSA: {WHAT}")),
    }
    .map_err(|_| format!("the key in key_file cannot be used: {WHAT}"))
}

/// One pair of files.
struct Pair {
    certificate: Watched<String>,
    key: Watched<Secret>,
    pinned: Option<Thumbprint>,
    current: ArcSwap<Credential>,
}

impl Pair {
    fn load(configured: &EntraCertificate) -> Result<Self, Vec<String>> {
        let certificate = Watched::load(configured.certificate_file.clone(), |text| Ok(text.to_owned()));
        let key = Watched::load(configured.key_file.clone(), |text| Ok(Secret::new(text.as_bytes().to_vec())));
        let (certificate, key) = match (certificate, key) {
            (Ok(certificate), Ok(key)) => (certificate, key),
            (certificate, key) => {
                return Err(certificate.err().into_iter().chain(key.err()).flatten().collect());
            }
        };
        let first = Credential::read(&certificate.current(), &key.current(), configured.thumbprint)
            .map_err(|fault| vec![format!("{}: {fault}", configured.certificate_file.display())])?;
        let current = ArcSwap::from_pointee(first);
        Ok(Self { certificate, key, pinned: configured.thumbprint, current })
    }

    fn reload_if_changed(&self) -> Reload {
        let looks = [self.certificate.reload_if_changed(), self.key.reload_if_changed()];
        if looks.iter().all(|look| *look == Reload::Unchanged) {
            return Reload::Unchanged;
        }
        let mut faults = Vec::new();
        for look in looks {
            if let Reload::Faulty(more) = look {
                faults.extend(more);
            }
        }
        // Halfway through a change, the key is that of the other certificate; the second half comes.
        match Credential::read(&self.certificate.current(), &self.key.current(), self.pinned) {
            Ok(credential) => self.current.store(Arc::new(credential)),
            Err(fault) => faults.push(fault),
        }
        if faults.is_empty() { Reload::Reloaded } else { Reload::Faulty(faults) }
    }
}

/// The certificates of one factor.
pub(super) struct Certificates(Vec<Pair>);

impl Certificates {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// All faults, each with its path. That a certificate is over is none.
    pub(super) fn load(configured: &[EntraCertificate]) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut pairs = Vec::new();
        for pair in configured {
            match Pair::load(pair) {
                Ok(pair) => pairs.push(pair),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(Self(pairs)) } else { Err(faults) }
    }

    pub(super) fn reload_if_changed(&self) -> Reload {
        let mut outcome = Reload::Unchanged;
        for pair in &self.0 {
            outcome = match (outcome, pair.reload_if_changed()) {
                (Reload::Faulty(mut faults), Reload::Faulty(more)) => {
                    faults.extend(more);
                    Reload::Faulty(faults)
                }
                (faulty @ Reload::Faulty(_), _) | (_, faulty @ Reload::Faulty(_)) => faulty,
                (Reload::Reloaded, _) | (_, Reload::Reloaded) => Reload::Reloaded,
                (Reload::Unchanged, Reload::Unchanged) => Reload::Unchanged,
            };
        }
        outcome
    }

    /// All of them, in the order of the configuration.
    pub(super) fn all(&self) -> Vec<Arc<Credential>> {
        self.0.iter().map(|pair| pair.current.load_full()).collect()
    }

    /// Those that may be used at `now`, in the order in which to try them.
    pub(super) fn usable(&self, now: Timestamp) -> Vec<Arc<Credential>> {
        let all = self.all();
        let validities: Vec<Validity> = all.iter().map(|credential| credential.validity).collect();
        order(&validities, now).into_iter().filter_map(|place| all.get(place).cloned()).collect()
    }
}
