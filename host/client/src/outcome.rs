//! Options and result of streaming a recording.

use std::fmt;
use std::time::Duration;

use base::text::clean;

use crate::refusal::GatewayRefusal;

/// Speed of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendPace {
    /// Real time.
    RealTime,
    /// As fast as the gateway reads.
    Unbounded,
}

/// Whether the client asks for features beyond the protocol's first version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedFeatures {
    /// Acknowledgements, and resuming an interrupted stream.
    Asked,
    /// None, as deployed clients.
    None,
}

/// Options of streaming a recording.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Speed of sending.
    pub pace: SendPace,
    /// Requested features.
    pub features: RequestedFeatures,
    /// Time without progress after which the client gives up.
    pub retry_for: Duration,
}

/// Result of streaming.
#[derive(Debug)]
pub enum StreamOutcome {
    /// Everything was sent, and the gateway has confirmed it.
    Finished(Receipt),
    /// The gateway refused or closed, at any stage.
    Refused(GatewayRefusal),
    /// An error on the client's side: the file or the token.
    Local(anyhow::Error),
    /// Invalid arguments.
    Usage(anyhow::Error),
    /// The connection or the upgrade failed, or the connection was lost.
    Lost(anyhow::Error),
}

impl StreamOutcome {
    /// Exit status of the program.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Finished(_) => 0,
            Self::Local(_) => 1,
            // Exit status of clap.
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Lost(_) => 4,
        }
    }

    /// The result in one line, without details.
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

/// Confirmation of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Number of bytes of audio that the gateway received.
    pub bytes: u64,
    /// Duration of that audio.
    pub duration: Duration,
    /// Kind of confirmation.
    pub confirmation: Confirmation,
}

/// Kind of confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// The stream is finalized.
    Finalized,
    /// Every byte was acknowledged. The connection was lost before the end, and the stream cannot
    /// be resumed to ask.
    Acknowledged,
}

impl fmt::Display for StreamOutcome {
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
            // The causes may quote text from the network.
            Self::Local(_) | Self::Usage(_) | Self::Lost(_) => {
                write!(f, "error: {}", self.headline())
            }
        }
    }
}
