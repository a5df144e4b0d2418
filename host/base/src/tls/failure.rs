//! Kinds of failed TLS handshakes of clients, as counted in metrics.

use std::io;

use tokio_rustls::rustls::{AlertDescription, Error};

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
    /// Any other failure.
    Other,
}

impl TlsFailure {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Late,
        Self::Ended,
        Self::NotTls,
        Self::Incompatible,
        Self::CertificateRejected,
        Self::Alert,
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
            Self::Other => "other",
        }
    }
}
