//! Connections that came to nothing, and whose fault that is.

use gateway_core::reason::Reason;
use std::io;

/// What a failed connection was good for.
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Refused {
    pub(super) fn new(reason: Reason, detail: impl std::fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

/// Whose fault a failure is before the first word was understood.
pub(super) fn of_tls(error: &io::Error) -> Refused {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = match inner {
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
        )) => Reason::PeerOtherName,
        Some(rustls::Error::InvalidMessage(_)) => Reason::PeerGarbage,
        Some(_) => Reason::PeerUntrusted,
        None if error.kind() == io::ErrorKind::InvalidData => Reason::PeerGarbage,
        None => Reason::PeerSilent,
    };
    Refused::new(reason, error)
}
