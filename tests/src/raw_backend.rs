//! Raw backend that writes arbitrary bytes to a socket, unlike any WebSocket library.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::SockRef;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;

use crate::DEADLINE;
use crate::raw::Received;

/// Listener for the gateway.
pub struct RawBackend(TcpListener);

/// Connection of the gateway.
pub struct Dialled {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl RawBackend {
    /// Listens.
    ///
    /// # Panics
    /// If there is no port left.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        // It limits `accept` as well.
        let socket = SockRef::from(&listener);
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Self(listener)
    }

    /// Address of the listener.
    ///
    /// # Panics
    /// Never: it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it listens")
    }

    /// Accepts the next connection, and upgrades it.
    ///
    /// # Panics
    /// If none comes.
    pub fn accept(&self) -> Dialled {
        self.accept_after("")
    }

    /// Accepts the next connection, and writes `before` in front of the 101.
    ///
    /// # Panics
    /// If none comes.
    pub fn accept_after(&self, before: &str) -> Dialled {
        let (stream, _) = self.0.accept().expect("the gateway dials");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
        let mut dialled = Dialled {
            stream,
            pending: Vec::new(),
        };
        let end = loop {
            let four = |four: &[u8]| four == b"\r\n\r\n";
            if let Some(end) = dialled.pending.windows(4).position(four) {
                break end + 4;
            }
            assert!(dialled.read(), "the gateway hung up within its request");
        };
        let head: Vec<u8> = dialled.pending.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let is_key = name.eq_ignore_ascii_case("sec-websocket-key");
            is_key.then_some(value)
        });
        let accept = derive_accept_key(key.expect("a key").as_bytes());
        dialled.write(
            format!(
                "{before}HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        );
        dialled
    }
}

impl Dialled {
    /// Writes bytes.
    ///
    /// # Panics
    /// If the gateway has reset the connection.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway reads");
    }

    /// Next frame of the gateway, unmasked; `None` at the end of the connection.
    ///
    /// # Panics
    /// If the connection is reset or ends within a frame, and when a frame is not masked.
    pub fn frame(&mut self) -> Option<Received> {
        loop {
            let mut bytes = std::io::Cursor::new(&self.pending[..]);
            if let Some((header, length)) = FrameHeader::parse(&mut bytes).expect("a frame") {
                let start = usize::try_from(bytes.position()).expect("a place");
                let end = start + usize::try_from(length).expect("a length");
                if self.pending.len() >= end {
                    let mask = header.mask.expect("a client masks its frames");
                    let masked = &self.pending[start..end];
                    let payload = masked.iter().zip(mask.iter().cycle());
                    let payload = payload.map(|(byte, mask)| byte ^ mask).collect();
                    self.pending.drain(..end);
                    return Some(Received {
                        opcode: header.opcode,
                        payload,
                    });
                }
            }
            if !self.read() {
                assert!(self.pending.is_empty(), "the end is between frames");
                return None;
            }
        }
    }

    /// Body of the gateway's Close, skipping what comes before it. The Close is the last message of
    /// the gateway, which leaves the end of the connection to the server.
    ///
    /// # Panics
    /// If there is none.
    pub fn close(mut self) -> Vec<u8> {
        use tungstenite::protocol::frame::coding::{Control, OpCode};
        let close = loop {
            let frame = self.frame().expect("a Close");
            if frame.opcode == OpCode::Control(Control::Close) {
                break frame.payload;
            }
        };
        self.stream
            .shutdown(std::net::Shutdown::Write)
            .expect("the connection is there");
        assert_eq!(self.frame(), None, "something came after the Close");
        close
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.pending.extend_from_slice(&buffer[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the gateway is to say something: {error}"),
            }
        }
    }
}
