//! WebSocket client of the load generator.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::frames::{self, Control, Data, OpCode};

/// Maximum length of an answer's head, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Number of loopback addresses of clients. Each has 28,232 ephemeral ports, and a used one rests
/// for a minute.
const SOURCES: usize = 32;

/// Error of a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The machine or the transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The answer to the upgrade was not 101.
    #[error("the upgrade was answered \"{0}\"")]
    NotUpgraded(String),
    /// The server violated the protocol.
    #[error("{0}")]
    Protocol(&'static str),
}

/// Message of a server.
#[derive(Debug)]
pub enum Incoming {
    /// TEXT.
    Text(String),
    /// BINARY.
    Binary,
    /// Ping, with the payload for the Pong.
    Ping(Vec<u8>),
    /// Pong.
    Pong,
    /// Close, with its code (1005 without one) and reason.
    Close(u16, String),
}

/// Upgraded connection.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects and upgrades. `number` selects the source address.
    pub async fn connect(
        server: SocketAddr,
        path: &str,
        token: Option<&str>,
        number: usize,
    ) -> Result<Self, ClientError> {
        let mut stream = open(server, number).await?;
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let request = format!(
            "GET {path} HTTP/1.1\r\n\
             Host: {server}\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\
             {authorization}\
             User-Agent: load/1.0 CFNetwork/1492.0.1 Darwin/23.3.0\r\n\
             Accept: */*\r\n\
             Accept-Language: en-US,en;q=0.9\r\n\
             Accept-Encoding: gzip, deflate\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut client = Self {
            stream,
            received: Vec::with_capacity(1024),
        };
        client.read_head().await?;
        Ok(client)
    }

    async fn read_head(&mut self) -> Result<(), ClientError> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|end| end == b"\r\n\r\n") {
                break at;
            }
            if self.received.len() > MAX_HEAD {
                return Err(ClientError::Protocol(
                    "the server's answer has no end to its head",
                ));
            }
            self.fill().await?;
        };
        if !self.received.starts_with(b"HTTP/1.1 101 ") {
            let answer = String::from_utf8_lossy(&self.received[..end]).into_owned();
            let line = answer.lines().next().unwrap_or_default().to_owned();
            return Err(ClientError::NotUpgraded(line));
        }
        self.received.drain(..end + 4);
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), ClientError> {
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    /// Sends frames that are built already.
    pub async fn send(&mut self, frames: &[u8]) -> Result<(), ClientError> {
        Ok(self.stream.write_all(frames).await?)
    }

    /// Next message. Cancel-safe.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        loop {
            if let Some((header, head, length)) =
                frames::header(&self.received).map_err(ClientError::Protocol)?
                && self.received.len() >= head + length
            {
                let payload = self.received[head..head + length].to_vec();
                self.received.drain(..head + length);
                if !header.is_final {
                    return Err(ClientError::Protocol("the server sent a fragment"));
                }
                return understand(header.opcode, payload);
            }
            self.fill().await?;
        }
    }

    /// Reads until `wanted` messages have come in, and only counts them.
    pub async fn count(&mut self, wanted: usize) -> Result<(), ClientError> {
        let mut counted = 0;
        let mut at = 0;
        while counted < wanted {
            match frames::header(&self.received[at..]).map_err(ClientError::Protocol)? {
                Some((header, head, length)) if self.received.len() - at >= head + length => {
                    at += head + length;
                    match header.opcode {
                        OpCode::Control(Control::Close) => {
                            return Err(ClientError::Protocol("the server closed"));
                        }
                        OpCode::Control(_) => {}
                        OpCode::Data(_) => counted += usize::from(header.is_final),
                    }
                }
                _ => {
                    self.received.drain(..at);
                    at = 0;
                    self.fill().await?;
                }
            }
        }
        self.received.drain(..at);
        Ok(())
    }

    /// Answers the server's Close, and waits until it has hung up.
    pub async fn part(&mut self, code: u16) -> Result<(), ClientError> {
        let close = frames::frame(OpCode::Control(Control::Close), &code.to_be_bytes());
        self.send(&close).await?;
        loop {
            self.received.clear();
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(());
            }
        }
    }
}

async fn open(server: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
    let stream = match server {
        SocketAddr::V4(v4) if v4.ip().is_loopback() => {
            let last = u8::try_from(2 + number % SOURCES).unwrap_or(2);
            let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(server).await?
        }
        _ => TcpStream::connect(server).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn understand(opcode: OpCode, payload: Vec<u8>) -> Result<Incoming, ClientError> {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| ClientError::Protocol("the server's text is no UTF-8"))
    };
    Ok(match opcode {
        OpCode::Data(Data::Text) => Incoming::Text(text(payload)?),
        OpCode::Data(_) => Incoming::Binary,
        OpCode::Control(Control::Ping) => Incoming::Ping(payload),
        OpCode::Control(Control::Close) => match payload.split_first_chunk::<2>() {
            Some((code, reason)) => {
                Incoming::Close(u16::from_be_bytes(*code), text(reason.to_vec())?)
            }
            None => Incoming::Close(1005, String::new()),
        },
        OpCode::Control(_) => Incoming::Pong,
    })
}
