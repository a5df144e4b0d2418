//! A client of `ingest.v1`, as the deployed Mac app behaves.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, ClientError, Incoming};
use crate::frames::{Control, Data, OpCode, frame};
use crate::target::Target;

/// How often the app pings.
const PING: Duration = Duration::from_secs(30);
/// What the app says first.
pub const HANDSHAKE: &str = r#"{"type":"handshake","source":"mic","sample_rate":16000,"channels":1,"codec":"pcm_s16le","device_id":"load-1","language":"en","ai_mode":"standard","client":"macclient","version":"1.0.0"}"#;

/// Why a stream did not end well.
#[derive(Debug)]
pub enum Failed {
    /// The server closed it.
    Closed {
        /// The close code.
        code: u16,
        /// The close reason.
        reason: String,
    },
    /// The transport or the protocol broke.
    Broken(ClientError),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self::Broken(error)
    }
}

impl Failed {
    /// What happened, in words under which it can be counted.
    pub fn kind(&self) -> String {
        match self {
            Self::Closed { code, reason } => format!("closed {code} \"{reason}\""),
            Self::Broken(error) => error.to_string(),
        }
    }
}

/// The messages that all streams send, built once.
pub struct Script {
    handshake: Vec<u8>,
    ping: Vec<u8>,
    finalize: Vec<u8>,
    audio: Vec<u8>,
    size: usize,
}

impl Script {
    /// With `size` bytes of audio in each frame.
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

    /// Bytes of audio in a frame.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// When a stream sends.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first frame.
    pub first: Instant,
    /// Between two frames.
    pub every: Duration,
    /// How many.
    pub frames: u64,
}

/// What a stream sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Frames of audio.
    pub frames: u64,
    /// The most that a frame was behind its time: how far this generator, or
    /// a server that does not read, fell back.
    pub late: Duration,
}

/// A stream that has its ack.
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

    /// Says nothing, and answers what it is asked, for ever.
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
