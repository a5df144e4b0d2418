//! Kinds of failed TLS handshakes of clients, as counted in metrics.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// Kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    /// The handshake took too long.
    Late,
    /// The client hung up.
    Ended,
    /// The client sent something other than TLS.
    NotTls,
    /// Client and gateway have no version, cipher or protocol in common.
    Incompatible,
    /// The client does not trust the gateway's certificate.
    CertificateRejected,
    /// The client ended the handshake with another alert.
    Alert,
    /// The client showed no certificate, and needs one.
    ClientCertificateMissing,
    /// The certificate of the client is not valid.
    ClientCertificateRefused,
    /// The certificate of the client was revoked.
    ClientCertificateRevoked,
    /// The revocation list for the certificate of the client has expired.
    RevocationListExpired,
    /// Any other failure.
    Other,
}

impl TlsFailure {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Late,
        Self::Ended,
        Self::NotTls,
        Self::Incompatible,
        Self::CertificateRejected,
        Self::Alert,
        Self::ClientCertificateMissing,
        Self::ClientCertificateRefused,
        Self::ClientCertificateRevoked,
        Self::RevocationListExpired,
        Self::Other,
    ];

    /// Kind of the error of a handshake.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        match (tls, error.kind()) {
            (Some(Error::InvalidMessage(_)), _) => Self::NotTls,
            (Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol), _) => {
                Self::Incompatible
            }
            (Some(Error::AlertReceived(alert)), _) => Self::of_alert(*alert),
            (Some(Error::NoCertificatesPresented), _) => Self::ClientCertificateMissing,
            (Some(Error::InvalidCertificate(CertificateError::Revoked)), _) => {
                Self::ClientCertificateRevoked
            }
            (
                Some(Error::InvalidCertificate(
                    CertificateError::ExpiredRevocationList
                    | CertificateError::ExpiredRevocationListContext { .. },
                )),
                _,
            ) => Self::RevocationListExpired,
            (Some(Error::InvalidCertificate(_)), _) => Self::ClientCertificateRefused,
            (Some(_), _) => Self::Other,
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe,
            ) => Self::Ended,
            (None, _) => Self::Other,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            // The client found another key than the authority's in the signature.
            | AlertDescription::DecryptError => Self::CertificateRejected,
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                Self::Incompatible
            }
            _ => Self::Alert,
        }
    }

    /// Name of the kind in metrics and in the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Ended => "ended",
            Self::NotTls => "not-tls",
            Self::Incompatible => "incompatible",
            Self::CertificateRejected => "certificate-rejected",
            Self::Alert => "alert",
            Self::ClientCertificateMissing => "client-certificate-missing",
            Self::ClientCertificateRefused => "client-certificate-refused",
            Self::ClientCertificateRevoked => "client-certificate-revoked",
            Self::RevocationListExpired => "revocation-list-expired",
            Self::Other => "other",
        }
    }
}
