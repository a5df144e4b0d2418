//! Client of `ingest.v1`, which behaves as the deployed Mac app.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, ClientError, Incoming};
use crate::frames::{Control, Data, OpCode, frame};
use crate::target::Target;

/// Interval of the app's pings.
const PING: Duration = Duration::from_secs(30);
/// Handshake of the app.
pub const HANDSHAKE: &str = r#"{"type":"handshake","source":"mic","sample_rate":16000,"channels":1,"codec":"pcm_s16le","device_id":"load-1","language":"en","ai_mode":"standard","client":"macclient","version":"1.0.0"}"#;

/// Error of a stream.
#[derive(Debug)]
pub enum Failed {
    /// The server closed the stream.
    Closed {
        /// The close code.
        code: u16,
        /// The close reason.
        reason: String,
    },
    /// The transport or the protocol failed.
    Broken(ClientError),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self::Broken(error)
    }
}

impl Failed {
    /// Text under which the error is counted.
    pub fn kind(&self) -> String {
        match self {
            Self::Closed { code, reason } => format!("closed {code} \"{reason}\""),
            Self::Broken(error) => error.to_string(),
        }
    }
}

/// Messages of all streams, built once.
pub struct Script {
    handshake: Vec<u8>,
    ping: Vec<u8>,
    finalize: Vec<u8>,
    audio: Vec<u8>,
    size: usize,
}

impl Script {
    /// Script with `size` bytes of audio in each frame.
    pub fn new(size: usize) -> Self {
        let text = |json: &str| frame(OpCode::Data(Data::Text), json.as_bytes());
        Self {
            handshake: text(HANDSHAKE),
            ping: text(r#"{"type":"ping"}"#),
            finalize: text(r#"{"type":"finalize"}"#),
            audio: frame(OpCode::Data(Data::Binary), &vec![0x5a; size]),
            size,
        }
    }

    /// Number of bytes of audio in a frame.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Schedule of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time of the first frame.
    pub first: Instant,
    /// Interval between frames.
    pub every: Duration,
    /// Number of frames.
    pub frames: u64,
}

/// Frames that a stream has sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Number of frames of audio.
    pub frames: u64,
    /// Maximum delay of a frame, caused by this generator or by a server that does not read.
    pub late: Duration,
}

/// Stream after its ack.
pub struct Stream {
    client: Client,
}

impl Stream {
    /// Connects, shakes hands, and waits for the ack.
    pub async fn open(
        target: &Target,
        script: &Script,
        meeting: &str,
        token: &str,
        number: usize,
    ) -> Result<Self, Failed> {
        let path = target.path(meeting);
        let client = Client::connect(target.address, &path, Some(token), number).await?;
        let mut stream = Self { client };
        stream.client.send(&script.handshake).await?;
        loop {
            if let Some(message) = stream.message().await?
                && message["type"] == "handshake-ack"
            {
                return Ok(stream);
            }
        }
    }

    /// Sends audio at its pace. What was sent is counted in `sent` even when
    /// the stream fails.
    pub async fn send(
        &mut self,
        script: &Script,
        pace: Pace,
        sent: &mut Sent,
    ) -> Result<(), Failed> {
        let mut due = pace.first;
        let mut ping = pace.first + PING;
        while sent.frames < pace.frames {
            tokio::select! {
                biased;
                message = self.message() => { message?; }
                () = sleep_until(due) => {
                    self.client.send(&script.audio).await?;
                    sent.frames += 1;
                    sent.late = sent.late.max(due.elapsed());
                    due += pace.every;
                    if due > ping {
                        self.client.send(&script.ping).await?;
                        ping += PING;
                    }
                }
            }
        }
        Ok(())
    }

    /// Stays silent and answers pings until it is dropped.
    pub async fn hold(&mut self) -> Failed {
        loop {
            if let Err(failed) = self.message().await {
                return failed;
            }
        }
    }

    /// Finalizes. Returns the bytes that the server confirms.
    pub async fn finalize(mut self, script: &Script) -> Result<u64, Failed> {
        self.client.send(&script.finalize).await?;
        let bytes = loop {
            if let Some(message) = self.message().await?
                && message["status"] == "finalized"
            {
                break message["bytes"].as_u64().unwrap_or(0);
            }
        };
        match self.hold().await {
            Failed::Closed { code: 1000, .. } => Ok(bytes),
            failed => Err(failed),
        }
    }

    /// The next TEXT message, as JSON; `None` for anything else that needs no
    /// more than the answer it got.
    async fn message(&mut self) -> Result<Option<Value>, Failed> {
        match self.client.next().await? {
            Incoming::Text(text) => Ok(serde_json::from_str(&text).ok()),
            Incoming::Ping(payload) => {
                let pong = frame(OpCode::Control(Control::Pong), &payload);
                self.client.send(&pong).await?;
                Ok(None)
            }
            Incoming::Binary | Incoming::Pong => Ok(None),
            Incoming::Close(code, reason) => {
                self.client.part(code).await?;
                Err(Failed::Closed { code, reason })
            }
        }
    }
}
