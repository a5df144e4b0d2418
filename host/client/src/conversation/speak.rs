//! Sending: audio when it is due, and pongs.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Sink};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at, sleep, sleep_until};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{say, send};
use crate::audio::Audio;
use crate::outcome::SendPace;
use crate::progress::Progress;
use crate::target::BearerToken;
use crate::tokens::Tokens;
use crate::upload::Positions;

/// Time to wait for `finalized`. Sealing a long recording on a slow disk takes a while.
const FINALIZED_TIMEOUT: Duration = Duration::from_mins(1);

/// Interval of pings, the same as of the Mac app.
const PING: Duration = Duration::from_secs(30);

/// Reason why sending stopped.
pub enum SendError {
    /// The file cannot be read.
    Local(anyhow::Error),
    /// The connection failed, or the gateway did not confirm.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for SendError {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

/// Schedule of the audio.
pub enum SendSchedule {
    /// In real time, with the first byte at this moment. Like a recording device, it catches up on
    /// late audio.
    RealTime(Instant),
    /// At once.
    Unbounded,
}

impl SendSchedule {
    pub fn new(pace: SendPace, started: Option<Instant>) -> Self {
        match pace {
            SendPace::RealTime => Self::RealTime(started.unwrap_or_else(Instant::now)),
            SendPace::Unbounded => Self::Unbounded,
        }
    }

    async fn due(&self, after: Duration) {
        if let Self::RealTime(started) = self {
            sleep_until(*started + after).await;
        }
        // Lets the receiving half run between two chunks.
        tokio::task::yield_now().await;
    }
}

/// Sends all audio, and then answers pings as long as possible.
pub async fn speak<W>(
    sink: &mut W,
    audio: &mut Audio,
    tally: &Positions,
    clock: &SendSchedule,
    mut manners: Keepalive<'_>,
    progress: &Progress,
) -> Result<Infallible, SendError>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    loop {
        let after = audio.duration_of(audio.position());
        audio.forget(tally.acked());
        let chunk = manners.keep(sink, audio.next_chunk()).await?;
        let Some(chunk) = chunk.map_err(SendError::Local)? else {
            break;
        };
        manners.keep(sink, clock.due(after)).await?;
        // A part may arrive even if the write fails.
        tally.sent(audio.position());
        let length = chunk.len() as u64;
        send(sink, Message::Binary(chunk)).await?;
        progress.sent(audio.position(), length, audio);
    }
    say(sink, &json!({"type": "finalize"})).await?;
    manners.keep(sink, sleep(FINALIZED_TIMEOUT)).await?;
    let waited = FINALIZED_TIMEOUT.as_secs();
    Err(SendError::Broken(anyhow::anyhow!(
        "the gateway did not confirm within {waited} s that it has everything"
    )))
}

/// State of pings, pongs and tokens, which are sent beside the audio.
pub struct Keepalive<'a> {
    /// Pings that need an answer.
    owed: mpsc::Receiver<()>,
    pings: Interval,
    tokens: &'a Tokens,
    /// The next token that the gateway wants.
    renewal: BoxFuture<'a, BearerToken>,
}

impl<'a> Keepalive<'a> {
    pub fn new(owed: mpsc::Receiver<()>, tokens: &'a Tokens) -> Self {
        Self {
            owed,
            pings: interval_at(Instant::now() + PING, PING),
            tokens,
            renewal: tokens.next().boxed(),
        }
    }

    /// Sends pings and tokens, and answers pings, until `done`.
    async fn keep<W, T>(&mut self, sink: &mut W, done: impl Future<Output = T>) -> anyhow::Result<T>
    where
        W: Sink<Message, Error = tungstenite::Error> + Unpin,
    {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                biased;
                it = &mut done => return Ok(it),
                Some(()) = self.owed.recv() => say(sink, &json!({"type": "pong"})).await?,
                token = &mut self.renewal => {
                    self.renewal = self.tokens.next().boxed();
                    say(sink, &json!({"type": "auth", "token": token.text()})).await?;
                }
                _ = self.pings.tick() => say(sink, &json!({"type": "ping"})).await?,
            }
        }
    }
}
