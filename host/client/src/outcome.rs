//! How a recording is streamed, and how that ends.

use std::fmt;
use std::time::Duration;

use base::text::clean;

use crate::refusal::Refusal;

/// How fast audio is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it was spoken.
    RealTime,
    /// As fast as the gateway takes it.
    Unbounded,
}

/// Whether the client asks for what the protocol's first version did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// To be told what is safe, and to come back to a stream that was cut.
    Asked,
    /// Nothing, as the deployed clients.
    None,
}

/// How a recording is streamed.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// How fast.
    pub pace: Pace,
    /// With what.
    pub features: Features,
    /// For how long to come back while nothing gets on.
    pub retry_for: Duration,
}

/// How a stream ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was sent, and the gateway has confirmed it.
    Finished(Receipt),
    /// The gateway refused or closed, at whatever stage.
    Refused(Refusal),
    /// Something is wrong on this side: the file, the token.
    Local(anyhow::Error),
    /// The command line is wrong.
    Usage(anyhow::Error),
    /// There was no connection, no WebSocket, or it was lost.
    Lost(anyhow::Error),
}

impl Outcome {
    /// The exit status that stands for it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Finished(_) => 0,
            Self::Local(_) => 1,
            // As clap exits.
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Lost(_) => 4,
        }
    }

    /// The same in one line, for a user who will hear more.
    pub(crate) fn headline(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.headline(),
            Self::Local(error) | Self::Usage(error) | Self::Lost(error) => {
                clean(&format!("{error:#}"), 2000)
            }
            Self::Finished(_) => self.to_string(),
        }
    }
}

/// What the gateway has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Bytes of audio that it received.
    pub bytes: u64,
    /// How long that lasts.
    pub duration: Duration,
    /// In which way it did.
    pub confirmation: Confirmation,
}

/// What stands behind a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// The stream is finalized.
    Finalized,
    /// Every byte was acknowledged; the connection was lost before more was
    /// said, and the stream is no more there to ask.
    Acknowledged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(receipt) => {
                let (bytes, seconds) = (receipt.bytes, receipt.duration.as_secs_f64());
                match receipt.confirmation {
                    Confirmation::Finalized => {
                        write!(f, "finalized: {bytes} bytes, {seconds:.1} s")
                    }
                    Confirmation::Acknowledged => write!(
                        f,
                        "acknowledged: {bytes} bytes, {seconds:.1} s; that the stream is finalized was not confirmed"
                    ),
                }
            }
            Self::Refused(refusal) => refusal.fmt(f),
            // The causes may quote what came over the network.
            Self::Local(_) | Self::Usage(_) | Self::Lost(_) => {
                write!(f, "error: {}", self.headline())
            }
        }
    }
}
