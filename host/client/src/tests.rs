//! The client against a gateway made of scripted replies, over real sockets.

mod failures;
mod going_on;
mod inputs;
mod journeys;
mod streaming;
mod tokens;
mod waves;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::arguments::StreamArgs;
use crate::run::{choose_token, prepare};

const ACK: &str = r#"{"type":"handshake-ack","ok":true,"status":"ready","session_id":"s-1"}"#;
const ERROR: &str =
    r#"{"type":"error","code":"auth_failed","message":"auth failed: token expired"}"#;

/// A tenth of a second of 16 kHz mono, and a bit of the next.
const SAMPLES: usize = 2000;

/// The gateway's end of one WebSocket.
struct Gateway<S = TcpStream>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Gateway<S> {
    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.0.send(Message::Close(Some(frame))).await.unwrap();
    }

    async fn hear(&mut self) -> Message {
        self.0.next().await.unwrap().unwrap()
    }

    async fn hear_json(&mut self) -> Value {
        self.hear().await.to_text().unwrap().parse().unwrap()
    }

    /// Everything up to `finalize`: the audio's bytes.
    async fn hear_audio(&mut self) -> Vec<u8> {
        let mut audio = Vec::new();
        loop {
            match self.hear().await {
                Message::Binary(bytes) => audio.extend_from_slice(&bytes),
                message => {
                    assert_eq!(message.to_text().unwrap(), r#"{"type":"finalize"}"#);
                    return audio;
                }
            }
        }
    }

    /// What is still to come, until the client is gone.
    async fn drain(mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        while let Some(Ok(message)) = self.0.next().await {
            rest.push(message);
        }
        rest
    }
}

/// As the deployed clients would.
const PLAIN: Manner = Manner {
    pace: SendPace::Unbounded,
    features: RequestedFeatures::None,
    retry_for: Duration::ZERO,
};

/// Serves one connection as `script` says.
async fn gateway<F, T>(
    script: impl FnOnce(Gateway) -> F + Send + 'static,
) -> (Target, JoinHandle<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let (address, accepting) = listen().await;
    let serving = tokio::spawn(async move {
        let stream = accepting.await.unwrap();
        script(Gateway(
            tokio_tungstenite::accept_async(stream).await.unwrap(),
        ))
        .await
    });
    (target(address), serving)
}

async fn listen() -> (SocketAddr, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (
        address,
        tokio::spawn(async move { listener.accept().await.unwrap().0 }),
    )
}

fn target(address: SocketAddr) -> Target {
    format!("ws://{address}/ws/ingest/meetings/m1")
        .parse()
        .unwrap()
}

struct Recording {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Recording {
    fn new(samples: usize) -> Self {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        Self::with(
            spec,
            (0..samples).map(|at| i16::try_from(at % 3000).unwrap()),
        )
    }

    fn with<S: hound::Sample>(spec: hound::WavSpec, samples: impl Iterator<Item = S>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speech.wav");
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speech.wav");
        std::fs::write(&path, bytes).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    /// The samples as they stand in the file, behind its 44 bytes of header.
    fn pcm(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap().split_off(44)
    }

    fn audio(&self) -> Audio {
        Audio::open(&self.path).unwrap()
    }
}

async fn fast(target: &Target, recording: &Recording) -> StreamOutcome {
    let audio = recording.audio();
    let tokens = Tokens::default();
    stream(target, tokens, audio, PLAIN, &mut Progress::Silent).await
}
