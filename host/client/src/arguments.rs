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
    /// Recording to stream: a WAV file with PCM samples, of any sample rate and number of channels.
    /// `-` reads it from standard input while it is being recorded.
    #[arg(value_name = "FILE.wav")]
    pub file: PathBuf,
    /// Address of the gateway: ws://HOST:PORT/PATH, or wss://HOST:PORT/PATH for TLS.
    // A URL or token that clap rejects would be quoted in its error. So both are parsed later.
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub url: Secret,
    /// PEM file with the certificate authorities to trust for wss://. Without it, those of this
    /// machine.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Token of the client. Other users of this machine can see it with `ps`.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", value_parser = secret)]
    pub token: Option<Secret>,
    /// File that holds the token. It is read again when the client comes back, and before the token
    /// expires: the stream goes on if the file has another one by then.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Source of the audio within its meeting. It is added to the URL as `source=…`, unless the URL
    /// has a `source`.
    #[arg(long, value_enum, default_value_t = MeetingSource::Mic)]
    pub source: MeetingSource,
    /// Send as fast as the gateway accepts, instead of at the speed of speech.
    #[arg(long)]
    pub fast: bool,
    /// How long to keep connecting again without any progress, with a unit: `90s`, `5m`. `0s` never
    /// connects again.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = units::duration)]
    pub retry_for: Duration,
    /// Use neither acknowledgements nor resumption, as the simplest client would. A lost connection
    /// then ends the stream.
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
