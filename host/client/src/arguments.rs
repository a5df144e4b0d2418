//! Arguments of `sluice stream`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use base::secret::Secret;
use base::units;
use clap::{Args, ValueEnum};

/// `sluice stream`
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// The recording: a WAV file with PCM samples, of any rate and channels, or
    /// `-` for one that comes by standard input, as it is made.
    #[arg(value_name = "FILE.wav")]
    pub file: PathBuf,
    /// Where to: ws://HOST:PORT/PATH, or wss: for TLS.
    // A URL or token that clap rejects would be quoted in its error. So both are parsed later.
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub url: Secret,
    /// Certificate authorities in PEM to trust for wss:, and no others. Without
    /// it, those of this machine.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The token. Visible to others in `ps`.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", value_parser = secret)]
    pub token: Option<Secret>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Which of the meeting's two sockets this is, unless the URL says so.
    #[arg(long, value_enum, default_value_t = MeetingSource::Mic)]
    pub source: MeetingSource,
    /// Send as fast as the gateway takes it.
    #[arg(long)]
    pub fast: bool,
    /// For how long to try again while nothing gets on: `90s`, `5m`. `0s` is
    /// not at all.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = units::duration)]
    pub retry_for: Duration,
    /// Ask for neither acknowledgements nor resuming, like clients that know of
    /// neither. A connection that is lost then ends the stream.
    #[arg(long)]
    pub plain: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "clap asks for this signature")]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Sources of the audio of one meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MeetingSource {
    /// Microphone.
    Mic,
    /// Sound output of the computer.
    Sys,
}

impl MeetingSource {
    /// Name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mic => "mic",
            Self::Sys => "sys",
        }
    }
}
