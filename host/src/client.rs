//! The reference client: streams a WAV file to a gateway as the deployed
//! clients do, and reports every way in which that can end.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::cli::StreamArgs;
use crate::text::clean;

mod audio;
mod connect;
mod conversation;
mod peer;
mod progress;
mod target;

#[cfg(test)]
mod tests;

pub use audio::Audio;
pub use peer::{Close, Refusal};
pub use progress::Progress;
pub use target::{Security, Target, Token};

/// How long to wait for the TCP connection and the answer to the upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How fast audio is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it was spoken.
    RealTime,
    /// As fast as the gateway takes it.
    Unbounded,
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
}

/// What the gateway has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Bytes of audio that it received.
    pub bytes: u64,
    /// How long that lasts.
    pub duration: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(receipt) => {
                write!(
                    f,
                    "finalized: {} bytes, {:.1} s",
                    receipt.bytes,
                    receipt.duration.as_secs_f64()
                )
            }
            Self::Refused(refusal) => refusal.fmt(f),
            // The causes may quote what came over the network.
            Self::Local(error) | Self::Usage(error) | Self::Lost(error) => {
                write!(f, "error: {}", clean(&format!("{error:#}"), 2000))
            }
        }
    }
}

/// Runs `sluice stream`: the session id and the receipt go to stdout,
/// everything else to stderr.
pub async fn run(args: &StreamArgs) -> Outcome {
    let pace = if args.fast {
        Pace::Unbounded
    } else {
        Pace::RealTime
    };
    let environment = std::env::var("SLUICE_TOKEN").ok();
    let outcome = match prepare(args, environment) {
        Ok((target, token, audio)) => {
            stream(
                &target,
                token.as_ref(),
                audio,
                pace,
                &mut Progress::on_terminal(),
            )
            .await
        }
        Err(outcome) => outcome,
    };
    match outcome {
        Outcome::Finished(_) => println!("{outcome}"),
        _ => eprintln!("{outcome}"),
    }
    outcome
}

/// Everything that can go wrong before there is a connection.
fn prepare(
    args: &StreamArgs,
    environment: Option<String>,
) -> Result<(Target, Option<Token>, Audio), Outcome> {
    let url = String::from_utf8_lossy(args.url.expose());
    let mut target: Target = url.parse().context("--url").map_err(Outcome::Usage)?;
    if let Some(file) = &args.ca {
        target = target
            .trusting_only(file.clone())
            .context("--ca")
            .map_err(Outcome::Usage)?;
    }
    let audio = Audio::open(&args.file).map_err(Outcome::Local)?;
    let token = choose_token(args, environment).map_err(Outcome::Local)?;
    Ok((target.with_source(args.source.name()), token, audio))
}

fn choose_token(args: &StreamArgs, environment: Option<String>) -> anyhow::Result<Option<Token>> {
    let (text, from) = match (&args.token, &args.token_file, environment) {
        (Some(token), _, _) => (
            String::from_utf8_lossy(token.expose()).into_owned(),
            "--token".to_owned(),
        ),
        (None, Some(path), _) => {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the token file {shown} cannot be read"))?;
            (text, shown.to_string())
        }
        (None, None, Some(text)) => (text, "SLUICE_TOKEN".to_owned()),
        (None, None, None) => return Ok(None),
    };
    let token = text
        .parse()
        .with_context(|| format!("the token in {from}"))?;
    Ok(Some(token))
}

/// Streams `audio` to `target`.
pub async fn stream(
    target: &Target,
    token: Option<&Token>,
    audio: Audio,
    pace: Pace,
    progress: &mut Progress,
) -> Outcome {
    let request = match target.request(token) {
        Ok(request) => request,
        Err(error) => return Outcome::Local(error),
    };
    let connector = match connect::connector(target) {
        Ok(connector) => connector,
        Err(error) => return Outcome::Local(error),
    };
    let opening = connect::open(target, connector, request);
    let socket = match timeout(CONNECT_TIMEOUT, opening).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Outcome::Lost(error),
        Err(_) => {
            let waited = CONNECT_TIMEOUT.as_secs();
            return Outcome::Lost(anyhow::anyhow!("{target} did not answer within {waited} s"));
        }
    };
    let (sink, stream) = socket.split();
    conversation::run(sink, stream, audio, pace, progress).await
}
