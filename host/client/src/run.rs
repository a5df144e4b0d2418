//! `sluice stream`: from the arguments to the end of the stream.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use crate::arguments::StreamArgs;
use crate::audio::Audio;
use crate::outcome::{Manner, RequestedFeatures, SendPace, StreamOutcome};
use crate::progress::Progress;
use crate::target::{ResumeToken, Target};
use crate::tokens::{self, TokenSource, Tokens};

/// Time limit for the TCP connection, and for the answer to the upgrade.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `sluice stream`. The session id and the receipt go to stdout, everything else to stderr.
pub async fn run(args: &StreamArgs) -> StreamOutcome {
    let manner = Manner {
        pace: if args.fast {
            SendPace::Unbounded
        } else {
            SendPace::RealTime
        },
        features: if args.plain {
            RequestedFeatures::None
        } else {
            RequestedFeatures::Asked
        },
        retry_for: args.retry_for,
    };
    let mut progress = Progress::on_terminal();
    let environment = std::env::var("SLUICE_TOKEN").ok();
    let outcome = match prepare(args, environment) {
        Ok((target, tokens, audio)) => {
            stream(&target, tokens.into(), audio, manner, &mut progress).await
        }
        Err(outcome) => outcome,
    };
    progress.finish();
    match outcome {
        StreamOutcome::Finished(_) => println!("{outcome}"),
        _ => eprintln!("{outcome}"),
    }
    outcome
}

/// Checks everything that can be checked before there is a connection.
pub(crate) fn prepare(
    args: &StreamArgs,
    environment: Option<String>,
) -> Result<(Target, TokenSource, Audio), StreamOutcome> {
    let url = String::from_utf8_lossy(args.url.expose());
    let mut target: Target = url.parse().context("--url").map_err(StreamOutcome::Usage)?;
    if let Some(file) = &args.ca {
        target = target
            .trusting_only(file.clone())
            .context("--ca")
            .map_err(StreamOutcome::Usage)?;
    }
    let audio = Audio::open(&args.file).map_err(StreamOutcome::Local)?;
    let token = choose_token(args, environment).map_err(StreamOutcome::Local)?;
    Ok((target.with_source(args.source.name()), token, audio))
}

pub(crate) fn choose_token(
    args: &StreamArgs,
    environment: Option<String>,
) -> anyhow::Result<TokenSource> {
    let (token, from) = match (&args.token, &args.token_file, environment) {
        (Some(token), _, _) => (
            String::from_utf8_lossy(token.expose()).into_owned(),
            "--token",
        ),
        (None, Some(file), _) => {
            tokens::read(file)?;
            return Ok(TokenSource::File(file.clone()));
        }
        (None, None, Some(token)) => (token, "SLUICE_TOKEN"),
        (None, None, None) => return Ok(TokenSource::None),
    };
    let token = token
        .parse()
        .with_context(|| format!("the token in {from}"))?;
    Ok(TokenSource::Given(token))
}

/// Streams `audio` to `target`.
pub async fn stream(
    target: &Target,
    tokens: Tokens,
    audio: Audio,
    manner: Manner,
    progress: &mut Progress,
) -> StreamOutcome {
    let connector = match crate::connect::connector(target) {
        Ok(connector) => connector,
        Err(error) => return StreamOutcome::Local(error),
    };
    let tokens = Arc::new(tokens);
    let dial = async |resume: Option<&ResumeToken>| {
        let token = tokens.current().await.map_err(StreamOutcome::Local)?;
        let request = target
            .request(token.as_ref(), resume)
            .map_err(StreamOutcome::Local)?;
        let opening = crate::connect::open(target, connector.clone(), request);
        match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(StreamOutcome::Lost),
            Err(_) => {
                let waited = CONNECT_TIMEOUT.as_secs();
                Err(StreamOutcome::Lost(anyhow::anyhow!(
                    "{target} did not answer within {waited} s"
                )))
            }
        }
    };
    crate::journey::run(dial, audio, manner, Arc::clone(&tokens), progress).await
}
