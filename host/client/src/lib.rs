//! The reference client: streams a WAV file to a gateway, comes back where it
//! was cut off, and reports every way in which that can end.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use crate::arguments::StreamArgs;
use base::files::text;
use base::text::clean;

pub mod arguments;
mod audio;
mod connect;
mod conversation;
mod course;
mod journey;
mod patience;
mod peer;
mod progress;
mod refusal;
mod target;

#[cfg(test)]
mod tests;

pub use audio::Audio;
pub use progress::Progress;
pub use refusal::{Close, Refusal};
pub use target::{ResumeToken, Security, Target, Token};

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
    fn headline(&self) -> String {
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

/// Runs `sluice stream`: the session id and the receipt go to stdout,
/// everything else to stderr.
pub async fn run(args: &StreamArgs) -> Outcome {
    let manner = Manner {
        pace: if args.fast {
            Pace::Unbounded
        } else {
            Pace::RealTime
        },
        features: if args.plain {
            Features::None
        } else {
            Features::Asked
        },
        retry_for: args.retry_for,
    };
    let mut progress = Progress::on_terminal();
    let environment = std::env::var("SLUICE_TOKEN").ok();
    let outcome = match prepare(args, environment) {
        Ok((target, token, audio)) => {
            stream(&target, token.as_ref(), audio, manner, &mut progress).await
        }
        Err(outcome) => outcome,
    };
    progress.finish();
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
    let (token, from) = match (&args.token, &args.token_file, environment) {
        (Some(token), _, _) => (
            String::from_utf8_lossy(token.expose()).into_owned(),
            "--token".to_owned(),
        ),
        (None, Some(path), _) => {
            let shown = path.display();
            let token = text::read(path)
                .with_context(|| format!("the token file {shown} cannot be read"))?;
            (token, shown.to_string())
        }
        (None, None, Some(token)) => (token, "SLUICE_TOKEN".to_owned()),
        (None, None, None) => return Ok(None),
    };
    let token = token
        .parse()
        .with_context(|| format!("the token in {from}"))?;
    Ok(Some(token))
}

/// Streams `audio` to `target`.
pub async fn stream(
    target: &Target,
    token: Option<&Token>,
    audio: Audio,
    manner: Manner,
    progress: &mut Progress,
) -> Outcome {
    let connector = match connect::connector(target) {
        Ok(connector) => connector,
        Err(error) => return Outcome::Local(error),
    };
    let dial = async |resume: Option<&ResumeToken>| {
        let request = target.request(token, resume).map_err(Outcome::Local)?;
        let opening = connect::open(target, connector.clone(), request);
        match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(Outcome::Lost),
            Err(_) => {
                let waited = CONNECT_TIMEOUT.as_secs();
                Err(Outcome::Lost(anyhow::anyhow!(
                    "{target} did not answer within {waited} s"
                )))
            }
        }
    };
    journey::run(dial, audio, manner, progress).await
}
