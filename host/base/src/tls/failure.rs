//! Why a client's TLS handshake failed, in a few words that can be counted.

use std::io;

use tokio_rustls::rustls::{AlertDescription, Error};

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    /// It took too long.
    Late,
    /// The client hung up.
    Ended,
    /// What it sent is not TLS.
    NotTls,
    /// It has no version, cipher or protocol in common with the gateway.
    Incompatible,
    /// It does not trust the gateway's certificate.
    CertificateRejected,
    /// It ended the handshake with another alert.
    Alert,
    /// Anything else.
    Other,
}

impl TlsFailure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Late,
        Self::Ended,
        Self::NotTls,
        Self::Incompatible,
        Self::CertificateRejected,
        Self::Alert,
        Self::Other,
    ];

    /// The kind of a handshake's error.
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
            // Its signature, by an authority of another key.
            | AlertDescription::DecryptError => Self::CertificateRejected,
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                Self::Incompatible
            }
            _ => Self::Alert,
        }
    }

    /// Its word in metrics and in the log.
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
