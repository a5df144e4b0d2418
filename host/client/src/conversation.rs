//! Protocol exchange on one connection: handshake, ack, audio, finalize, finalized, Close.
//!
//! The gateway may refuse at any moment, so the client reads from it while it sends audio.

use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use super::peer::{GatewayEvent, GatewayReader, Welcome, lost};
use super::upload::{Positions, Upload};
use crate::outcome::{Confirmation, Receipt, RequestedFeatures, StreamOutcome};
use crate::progress::Progress;
use crate::tokens::Tokens;
use session::handshake::{ACK, RENEW, RESUME};

mod speak;

use speak::{Keepalive, SendError, SendSchedule, speak};

/// Time to wait for the ack. A gateway promises an answer within four seconds.
const ACK_TIMEOUT: Duration = Duration::from_secs(15);

/// Time to wait for a Close after the end, or after a failed write whose reason the gateway may
/// have sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of pongs that wait to be sent.
const PONGS: usize = 16;

/// Runs the exchange on one connection. Its results are kept in `upload`.
pub async fn run<W, R>(
    mut sink: W,
    stream: R,
    upload: &mut Upload,
    progress: &mut Progress,
) -> StreamOutcome
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let mut peer = GatewayReader::new(stream);
    let welcomed = match shake_hands(&mut sink, &mut peer, upload).await {
        Ok(welcome) => upload.welcomed(welcome, progress),
        Err(outcome) => return outcome,
    };
    let outcome = match welcomed {
        Ok(()) => stream_all(&mut sink, &mut peer, upload, progress).await,
        Err(outcome) => outcome,
    };
    let closes = match &outcome {
        StreamOutcome::Local(_) => true,
        // A Close would end a stream that can be resumed.
        StreamOutcome::Lost(_) => upload.token().is_none(),
        StreamOutcome::Finished(_) | StreamOutcome::Refused(_) | StreamOutcome::Usage(_) => false,
    };
    if closes {
        // The gateway has not closed, so the client does. It does not matter whether that works.
        let _ = timeout(CLOSE_TIMEOUT, sink.close()).await;
    }
    outcome
}

/// Sends all audio, and reads from the gateway meanwhile.
async fn stream_all<W, R>(
    sink: &mut W,
    peer: &mut GatewayReader<R>,
    upload: &mut Upload,
    progress: &Progress,
) -> StreamOutcome
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let clock = SendSchedule::new(upload.manner.pace, upload.started);
    let Upload {
        audio,
        tally,
        tokens,
        ..
    } = upload;
    let (pongs, owed) = mpsc::channel(PONGS);
    let mut listening = std::pin::pin!(listen(peer, pongs, tally, tokens, progress));
    let speaking = speak(
        sink,
        audio,
        tally,
        &clock,
        Keepalive::new(owed, tokens),
        progress,
    );
    tokio::select! {
        biased;
        outcome = &mut listening => outcome,
        fault = speaking => match fault {
            Ok(never) => match never {},
            Err(SendError::Local(error)) => StreamOutcome::Local(error),
            // A message that came before the failure says more than the failure.
            Err(SendError::Broken(error)) => timeout(CLOSE_TIMEOUT, listening).await.unwrap_or(StreamOutcome::Lost(error)),
        },
    }
}

/// Sends the handshake and waits for its ack.
async fn shake_hands<W, R>(
    sink: &mut W,
    peer: &mut GatewayReader<R>,
    upload: &Upload,
) -> Result<Welcome, StreamOutcome>
where
    W: Sink<Message, Error = tungstenite::Error> + Unpin,
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let audio = &upload.audio;
    let mut handshake = json!({
        "type": "handshake",
        "sample_rate": audio.sample_rate(),
        "channels": audio.channels(),
        "codec": audio.codec(),
        "device_id": uuid::Uuid::now_v7().to_string(),
        "client": "sluice-stream",
        "version": env!("CARGO_PKG_VERSION"),
    });
    if upload.manner.features == RequestedFeatures::Asked {
        let mut features = vec![ACK, RESUME];
        // Who has no other token need not know when this one expires.
        features.extend(upload.tokens.file().map(|_| RENEW));
        handshake["features"] = json!(features);
    }
    // If the gateway has refused already, this write may fail, and the refusal can still be read.
    let sent = say(sink, &handshake).await;
    let answer = async {
        loop {
            match peer.next().await {
                GatewayEvent::Ack(welcome) => return Ok(welcome),
                GatewayEvent::Ping => {
                    // A failed write also fails the next read.
                    let _ = say(sink, &json!({"type": "pong"})).await;
                }
                GatewayEvent::Finalized { .. }
                | GatewayEvent::Kept(_)
                | GatewayEvent::UpstreamLost
                | GatewayEvent::UpstreamRestored
                | GatewayEvent::TokenExpiring(_)
                | GatewayEvent::TokenRenewed
                | GatewayEvent::RenewalRefused(_) => {}
                GatewayEvent::Closed(refusal) => return Err(StreamOutcome::Refused(refusal)),
                GatewayEvent::Lost(error) => {
                    return Err(StreamOutcome::Lost(sent.err().unwrap_or(error)));
                }
            }
        }
    };
    timeout(ACK_TIMEOUT, answer).await.unwrap_or_else(|_| {
        let waited = ACK_TIMEOUT.as_secs();
        Err(StreamOutcome::Lost(anyhow::anyhow!(
            "no answer to the handshake within {waited} s"
        )))
    })
}

/// Reads from the gateway until the stream is over.
async fn listen<R>(
    peer: &mut GatewayReader<R>,
    pongs: mpsc::Sender<()>,
    tally: &Positions,
    tokens: &Tokens,
    progress: &Progress,
) -> StreamOutcome
where
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    loop {
        match peer.next().await {
            GatewayEvent::Ack(_) => {}
            GatewayEvent::Kept(bytes) => {
                tally.kept(bytes);
                progress.acked(tally.acked());
            }
            GatewayEvent::UpstreamLost => {
                progress.note("the gateway's upstream is not there: it holds the audio");
            }
            GatewayEvent::UpstreamRestored => {
                progress.note("the gateway's upstream is there again")
            }
            GatewayEvent::TokenExpiring(left) => {
                if let Some(file) = tokens.file() {
                    let (seconds, file) = (left.as_secs(), file.display());
                    progress.note(&format!(
                        "the token expires in {seconds} s; another one is taken from {file}"
                    ));
                    tokens.want();
                }
            }
            GatewayEvent::TokenRenewed => progress.note("the token was renewed"),
            GatewayEvent::RenewalRefused(why) => {
                progress.note(&format!("the gateway does not take the other token: {why}"));
                tokens.want();
            }
            // If the gateway pings faster than pongs are written, enough of them wait already.
            GatewayEvent::Ping => drop(pongs.try_send(())),
            GatewayEvent::Finalized { bytes, duration } => {
                let confirmation = Confirmation::Finalized;
                let receipt = Receipt {
                    bytes,
                    duration,
                    confirmation,
                };
                return part(peer, receipt).await;
            }
            GatewayEvent::Closed(refusal) => return StreamOutcome::Refused(refusal),
            GatewayEvent::Lost(error) => return StreamOutcome::Lost(error),
        }
    }
}

/// Waits for the Close after `finalized`. The audio is safe with or without it, but a refusal
/// instead of it counts.
async fn part<R>(peer: &mut GatewayReader<R>, receipt: Receipt) -> StreamOutcome
where
    R: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    let close = async {
        loop {
            match peer.next().await {
                GatewayEvent::Closed(refusal) => return Some(refusal),
                GatewayEvent::Lost(_) => return None,
                GatewayEvent::Ack(_)
                | GatewayEvent::Kept(_)
                | GatewayEvent::UpstreamLost
                | GatewayEvent::UpstreamRestored
                | GatewayEvent::TokenExpiring(_)
                | GatewayEvent::TokenRenewed
                | GatewayEvent::RenewalRefused(_)
                | GatewayEvent::Finalized { .. }
                | GatewayEvent::Ping => {}
            }
        }
    };
    match timeout(CLOSE_TIMEOUT, close).await {
        Ok(Some(refusal)) if !refusal.is_plain_close() => StreamOutcome::Refused(refusal),
        _ => StreamOutcome::Finished(receipt),
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
