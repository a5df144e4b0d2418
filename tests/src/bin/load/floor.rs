//! The least that the exchange of an admission can cost: the same messages from bare tokio, which
//! checks nothing, logs nothing and counts nothing.
//!
//! It is a process of its own, so that its CPU time can be told from the generator's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;

use crate::frames::{self, Control, Data, OpCode};

/// A path that begins with this is refused.
pub const REFUSED: &str = "/refused/";

/// The gateway's default: the time between the last message and the Close.
const SETTLE: Duration = Duration::from_millis(100);
/// Maximum length of what a client has sent and is not handled yet, in bytes.
const MAX_RECEIVED: usize = 64 * 1024;

const REFUSAL: &str = r#"{"type":"error","status":"error","code":"auth_failed","message":"auth failed: token expired","close_code":4001,"retryable":false,"retry_after_ms":null,"session_id":"019ac1b1-8c53-7b52-a3c8-5f4d6b1d2c3e"}"#;
const ACK: &str = r#"{"type":"handshake-ack","ok":true,"status":"ready","protocol":"ingest.v1","session_id":"019ac1b1-8c53-7b52-a3c8-5f4d6b1d2c3e"}"#;
const FINALIZED: &str = r#"{"type":"status","status":"finalized","bytes":0,"duration_ms":0}"#;

/// Serves until the process is killed. Prints its address first.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A client that has gone is not what is measured.
            drop(one(stream).await);
        });
    }
}

async fn one(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(2048);
    let refused = upgrade(&mut stream, &mut received).await?;
    let code: u16 = if refused {
        stream.write_all(&text(REFUSAL)).await?;
        4001
    } else {
        message(&mut stream, &mut received).await?;
        stream.write_all(&text(ACK)).await?;
        message(&mut stream, &mut received).await?;
        stream.write_all(&text(FINALIZED)).await?;
        1000
    };
    sleep(SETTLE).await;
    let close = frames::unmasked(OpCode::Control(Control::Close), &code.to_be_bytes());
    stream.write_all(&close).await?;
    message(&mut stream, &mut received).await?;
    stream.shutdown().await?;
    Ok(())
}

fn text(text: &str) -> Vec<u8> {
    frames::unmasked(OpCode::Data(Data::Text), text.as_bytes())
}

/// Answers the upgrade. Returns whether its path is one that is refused.
async fn upgrade(stream: &mut TcpStream, received: &mut Vec<u8>) -> anyhow::Result<bool> {
    let end = loop {
        if let Some(at) = received.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        fill(stream, received).await?;
    };
    let head = std::str::from_utf8(&received[..end])?;
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .context("the upgrade has no key")?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    let refused = head
        .strip_prefix("GET ")
        .is_some_and(|path| path.starts_with(REFUSED));
    received.drain(..end);
    stream.write_all(answer.as_bytes()).await?;
    Ok(refused)
}

/// Reads a message, and unmasks it in place, as every server must.
async fn message(stream: &mut TcpStream, received: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        let parsed = FrameHeader::parse(&mut std::io::Cursor::new(&*received))?;
        if let Some((header, length)) = parsed {
            let (head, length) = (header.len(length), usize::try_from(length)?);
            if received.len() >= head + length {
                let mask = header.mask.context("a client's frame is masked")?;
                let payload = &mut received[head..head + length];
                for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                    *byte ^= key;
                }
                received.drain(..head + length);
                return Ok(());
            }
        }
        fill(stream, received).await?;
    }
}

async fn fill(stream: &mut TcpStream, received: &mut Vec<u8>) -> anyhow::Result<()> {
    anyhow::ensure!(received.len() < MAX_RECEIVED, "the client sends too much");
    anyhow::ensure!(stream.read_buf(received).await? > 0, "the client has gone");
    Ok(())
}
