//! What is said on the socket, in order: handshake, ack, audio, finalize,
//! finalized, Close.
//!
//! The gateway may refuse at any moment, so it is listened to all the while
//! that audio is sent.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};

use super::audio::CHUNK;
use super::peer::{Heard, Peer, lost};
use super::{Audio, Outcome, Pace, Progress, Receipt};

/// The host promises an answer within four seconds.
const ACK_TIMEOUT: Duration = Duration::from_secs(15);

/// Sealing a long recording on a slow disk takes a while.
const FINALIZED_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a Close may take when everything is said, or when sending failed
/// and the gateway may have said why.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pongs that may wait to be sent.
const PONGS: usize = 16;

/// Runs the whole conversation.
pub async fn run<W, R>(
    mut sink: W,
    stream: R,
    audio: Audio,
    pace: Pace,
    progress: &mut Progress,
) -> Outcome
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let mut peer = Peer::new(stream);
    match shake_hands(&mut sink, &mut peer, &audio).await {
        Ok(session_id) => progress.ready(&session_id, &audio),
        Err(outcome) => return outcome,
    }
    let (pongs, owed) = mpsc::channel(PONGS);
    let mut listening = std::pin::pin!(listen(&mut peer, pongs));
    let speaking = speak(&mut sink, audio, pace, owed, progress);
    let outcome = tokio::select! {
        biased;
        outcome = &mut listening => outcome,
        fault = speaking => match fault {
            Ok(never) => match never {},
            Err(Fault::Local(error)) => Outcome::Local(error),
            // What the gateway said before it went is worth more than how the
            // socket broke.
            Err(Fault::Broken(error)) => timeout(CLOSE_TIMEOUT, listening).await.unwrap_or(Outcome::Lost(error)),
        },
    };
    progress.finish();
    if matches!(outcome, Outcome::Local(_) | Outcome::Lost(_)) {
        // The gateway has not closed, so we do; whether that still works is of
        // no interest.
        let _ = timeout(CLOSE_TIMEOUT, sink.close()).await;
    }
    outcome
}

/// Sends the handshake and waits for the session id in its ack.
async fn shake_hands<W, R>(
    sink: &mut W,
    peer: &mut Peer<R>,
    audio: &Audio,
) -> Result<String, Outcome>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let handshake = json!({
        "type": "handshake",
        "sample_rate": audio.sample_rate(),
        "channels": audio.channels(),
        "codec": audio.codec(),
        "device_id": uuid::Uuid::now_v7().to_string(),
        "client": "sluice-stream",
        "version": env!("CARGO_PKG_VERSION"),
    });
    // A gateway that has refused by now may not take it, but will have said why.
    let sent = say(sink, &handshake).await;
    let answer = async {
        loop {
            match peer.next().await {
                Heard::Ack { session_id } => return Ok(session_id),
                Heard::Ping => {
                    // A failure shows at the next thing that is heard.
                    let _ = say(sink, &json!({"type": "pong"})).await;
                }
                Heard::Finalized { .. } => {}
                Heard::Closed(refusal) => return Err(Outcome::Refused(refusal)),
                Heard::Lost(error) => return Err(Outcome::Lost(sent.err().unwrap_or(error))),
            }
        }
    };
    timeout(ACK_TIMEOUT, answer).await.unwrap_or_else(|_| {
        let waited = ACK_TIMEOUT.as_secs();
        Err(Outcome::Lost(anyhow::anyhow!(
            "no answer to the handshake within {waited} s"
        )))
    })
}

/// Listens until it is over.
async fn listen<R>(peer: &mut Peer<R>, pongs: mpsc::Sender<()>) -> Outcome
where
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    loop {
        match peer.next().await {
            Heard::Ack { .. } => {}
            // A gateway that pings faster than its pongs can be written has
            // enough of them coming.
            Heard::Ping => drop(pongs.try_send(())),
            Heard::Finalized { bytes, duration } => {
                return part(peer, Receipt { bytes, duration }).await;
            }
            Heard::Closed(refusal) => return Outcome::Refused(refusal),
            Heard::Lost(error) => return Outcome::Lost(error),
        }
    }
}

/// Waits for the Close that follows `finalized`. The audio is safe whether or
/// not it comes; but a refusal that comes instead is one.
async fn part<R>(peer: &mut Peer<R>, receipt: Receipt) -> Outcome
where
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let close = async {
        loop {
            match peer.next().await {
                Heard::Closed(refusal) => return Some(refusal),
                Heard::Lost(_) => return None,
                Heard::Ack { .. } | Heard::Finalized { .. } | Heard::Ping => {}
            }
        }
    };
    match timeout(CLOSE_TIMEOUT, close).await {
        Ok(Some(refusal)) if !refusal.is_plain_close() => Outcome::Refused(refusal),
        _ => Outcome::Finished(receipt),
    }
}

/// Why nothing more can be said.
enum Fault {
    /// The file.
    Local(anyhow::Error),
    /// The connection, or a gateway that does not confirm.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

/// Sends everything, then only pongs, for as long as that is possible.
async fn speak<W>(
    sink: &mut W,
    mut audio: Audio,
    pace: Pace,
    mut owed: mpsc::Receiver<()>,
    progress: &Progress,
) -> Result<Infallible, Fault>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    let mut clock = Clock::new(pace);
    let mut sent = 0;
    while let Some(chunk) = audio.next_chunk().map_err(Fault::Local)? {
        pong_until(sink, &mut owed, clock.tick()).await?;
        let length = chunk.len() as u64;
        send(sink, Message::Binary(chunk)).await?;
        sent += length;
        progress.sent(sent, length, &audio);
    }
    progress.finish();
    say(sink, &json!({"type": "finalize"})).await?;
    pong_until(sink, &mut owed, sleep(FINALIZED_TIMEOUT)).await?;
    let waited = FINALIZED_TIMEOUT.as_secs();
    Err(Fault::Broken(anyhow::anyhow!(
        "the gateway did not confirm within {waited} s that it has everything"
    )))
}

/// Answers pings until `done`.
async fn pong_until<W>(
    sink: &mut W,
    owed: &mut mpsc::Receiver<()>,
    done: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            biased;
            () = &mut done => return Ok(()),
            Some(()) = owed.recv() => say(sink, &json!({"type": "pong"})).await?,
        }
    }
}

async fn say<W>(sink: &mut W, message: &serde_json::Value) -> anyhow::Result<()>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    send(sink, Message::text(message.to_string())).await
}

async fn send<W>(sink: &mut W, message: Message) -> anyhow::Result<()>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    sink.send(message).await.map_err(lost)
}

/// When the next chunk is due.
enum Clock {
    RealTime(Interval),
    Unbounded,
}

impl Clock {
    fn new(pace: Pace) -> Self {
        match pace {
            Pace::RealTime => {
                let mut interval = interval(CHUNK);
                // Like a recording device: what was late is made up for.
                interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
                Self::RealTime(interval)
            }
            Pace::Unbounded => Self::Unbounded,
        }
    }

    async fn tick(&mut self) {
        match self {
            Self::RealTime(interval) => drop(interval.tick().await),
            // Gives the listening half its turn between two chunks.
            Self::Unbounded => tokio::task::yield_now().await,
        }
    }
}
