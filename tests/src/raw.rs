//! A peer that does what no library would: it writes bytes to a socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::DEADLINE;
use crate::tls::Authority;

/// The key and the answer of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A socket, and what was read from it and not used yet.
pub struct Raw {
    stream: Stream,
    pending: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    head: String,
    /// What follows the head, as long as the head says; empty after a 101.
    pub body: String,
}

impl Response {
    /// A header by its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// Its kind.
    pub opcode: OpCode,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Received {
    /// The code and reason of a Close.
    pub fn close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.payload.split_first_chunk::<2>()?;
        let is_close =
            self.opcode == OpCode::Control(tungstenite::protocol::frame::coding::Control::Close);
        is_close.then_some((u16::from_be_bytes(*code), std::str::from_utf8(reason).ok()?))
    }
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Self {
        Self::from(
            Socket::new(Domain::IPV4, Type::STREAM, None).unwrap(),
            address,
        )
    }

    /// Connects from this address of the machine.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        Self::from(socket, address)
    }

    /// Connects with a receive buffer so small that the peer cannot get rid of
    /// much before we read, and a send buffer so small that what is written has
    /// been taken by the peer, but for a little.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect_with_small_window(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
        // As over a network: segments of loopback's 64 KiB do not fit into windows as small as these,
        // and where one is dropped the kernel waits for up to two minutes between its next tries.
        socket.set_tcp_mss(1400).unwrap();
        Self::from(socket, address)
    }

    fn from(socket: Socket, address: SocketAddr) -> Self {
        socket
            .connect(&address.into())
            .expect("the gateway listens");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self {
            stream: Stream::Plain(stream),
            pending: Vec::new(),
        }
    }

    /// Speaks TLS from here on; the handshake comes with the first byte that
    /// is written or read.
    ///
    /// # Panics
    /// When it does already, or has read something.
    #[must_use]
    pub fn over_tls(self, authority: &Authority) -> Self {
        let Stream::Plain(stream) = self.stream else {
            panic!("TLS within TLS");
        };
        assert!(self.pending.is_empty());
        let name = stream.peer_addr().expect("it is connected").ip().into();
        let client = ClientConnection::new(authority.client(), name).expect("a client");
        Self {
            stream: Stream::Tls(Box::new(StreamOwned::new(client, stream))),
            pending: Vec::new(),
        }
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// When the peer has reset the connection.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Another handle for writing to a connection without TLS, so that one
    /// thread can read meanwhile.
    ///
    /// # Panics
    /// When there are no file descriptors left.
    pub fn writer(&self) -> TcpStream {
        self.stream.tcp().try_clone().expect("a descriptor is left")
    }

    /// Sends a request, and returns the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn request(&mut self, request: &str) -> Response {
        self.write(request.as_bytes()).expect("the gateway reads");
        self.response()
    }

    /// Reads an answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn response(&mut self) -> Response {
        let mut response = self.response_to_head();
        let length = response.header("Content-Length");
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        while self.pending.len() < length {
            assert!(self.fill(), "the connection ended within the body");
        }
        let body = self.pending.drain(..length).collect();
        response.body = String::from_utf8(body).expect("answers are text");
        response
    }

    /// Reads an answer that has no body, whatever its head says.
    ///
    /// # Panics
    /// When there is none.
    pub fn response_to_head(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.fill(),
                "the connection ended within the head: {:?}",
                self.pending
            );
        };
        let head = String::from_utf8(self.pending.drain(..end).collect()).expect("a head is ASCII");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status line");
        Response {
            status,
            head,
            body: String::new(),
        }
    }

    /// Upgrades to a WebSocket.
    ///
    /// # Panics
    /// When the answer is not 101.
    pub fn upgrade(&mut self, path: &str) {
        let response = self.request(&upgrade_request(path));
        assert_eq!(response.status, 101, "{response:?}");
    }

    /// The next frame; none at the end of the stream.
    ///
    /// # Panics
    /// When the peer resets the connection, or sends what is no frame.
    pub fn frame(&mut self) -> Option<Received> {
        self.try_frame().expect("the end is clean, and no reset")
    }

    /// The same, for a peer that may reset the connection.
    ///
    /// # Errors
    /// When it does, or when the stream ends within a frame.
    ///
    /// # Panics
    /// When it sends what is no frame.
    pub fn try_frame(&mut self) -> std::io::Result<Option<Received>> {
        loop {
            let mut bytes = std::io::Cursor::new(&self.pending[..]);
            if let Some((header, length)) =
                FrameHeader::parse(&mut bytes).expect("frames are well-formed")
            {
                let start = usize::try_from(bytes.position()).unwrap();
                let end = start + usize::try_from(length).unwrap();
                if self.pending.len() >= end {
                    assert!(header.is_final && header.mask.is_none(), "{header:?}");
                    let payload = self.pending[start..end].to_vec();
                    self.pending.drain(..end);
                    return Ok(Some(Received {
                        opcode: header.opcode,
                        payload,
                    }));
                }
            }
            if !self.read()? {
                // A reset that a write has learned of already is an end like
                // any other to a read.
                let whole = self.pending.is_empty();
                return if whole {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Waits until the peer has sent something, and leaves it where it is.
    ///
    /// # Panics
    /// When nothing comes.
    pub fn wait_for_input(&mut self) {
        let unread = match &mut self.stream {
            Stream::Plain(_) => false,
            // What was decrypted with the last read and not asked for yet.
            Stream::Tls(stream) => stream
                .conn
                .process_new_packets()
                .is_ok_and(|state| state.plaintext_bytes_to_read() > 0),
        };
        if !unread && self.pending.is_empty() {
            let tcp = self.stream.tcp();
            let peeked = tcp.peek(&mut [0]).expect("the peer says something");
            assert!(peeked > 0, "the connection ended");
        }
    }

    /// The next frame, which must be a TEXT message with JSON in it.
    ///
    /// # Panics
    /// When it is something else.
    pub fn message(&mut self) -> Value {
        let frame = self.frame().expect("a message");
        assert_eq!(frame.opcode, OpCode::Data(Data::Text), "{frame:?}");
        serde_json::from_slice(&frame.payload).expect("messages are JSON")
    }

    /// Sends a frame, masked.
    ///
    /// # Panics
    /// When the peer has reset the connection.
    pub fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        self.write(&masked(opcode, payload))
            .expect("the gateway reads");
    }

    /// Waits for the end of the stream, whatever comes before it. A reset is
    /// an end as well.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait_for_end(&mut self) {
        loop {
            self.pending.clear();
            match self.read() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if is_end(error.kind()) => return,
                Err(error) => panic!("waited in vain for the end: {error}"),
            }
        }
    }

    /// Waits until the peer's kernel has everything that was written: a reset throws away what
    /// was not sent, or not acknowledged.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn wait_until_sent(&self) {
        crate::eventually("an acknowledgement of what was written", || {
            let unsent = unsent(self.stream.tcp());
            (unsent == 0).then_some(())
        });
    }

    /// Ends the connection with a reset, as the kernel does for a process that
    /// dies with unread input.
    pub fn reset(self) {
        let socket = SockRef::from(self.stream.tcp());
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> bool {
        self.read().expect("the end of the stream is no reset")
    }

    fn read(&mut self) -> std::io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut buffer)?,
            Stream::Tls(stream) => stream.read(&mut buffer)?,
        };
        self.pending.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}

/// Bytes that the peer's kernel has not acknowledged yet, as Linux lists them.
fn unsent(socket: &TcpStream) -> u64 {
    let port = socket.local_addr().expect("it is connected").port();
    let peer = socket.peer_addr().expect("it is connected").port();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let connection = table.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let ours = columns.next()?.ends_with(&format!(":{port:04X}"));
        let theirs = columns.next()?.ends_with(&format!(":{peer:04X}"));
        let queues = columns.nth(1)?;
        let (sending, _) = queues.split_once(':')?;
        (ours && theirs).then(|| u64::from_str_radix(sending, 16).ok())?
    });
    connection.expect("the connection is listed")
}

/// Whether a connection ended, though not as it should: by a reset, or within TLS.
fn is_end(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
    )
}

/// A valid upgrade request.
pub fn upgrade_request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A whole message in one masked frame.
///
/// # Panics
/// Never: a vector takes everything.
pub fn masked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let header = FrameHeader {
        opcode,
        mask: Some(mask),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    let length = payload.len() as u64;
    header
        .format(length, &mut bytes)
        .expect("a vector takes everything");
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// A TEXT message in one masked frame.
pub fn text(message: &str) -> Vec<u8> {
    masked(OpCode::Data(Data::Text), message.as_bytes())
}

/// A BINARY message in one masked frame.
pub fn binary(message: &[u8]) -> Vec<u8> {
    masked(OpCode::Data(Data::Binary), message)
}
