//! Raw client that writes arbitrary bytes to a socket, unlike any WebSocket library.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use crate::DEADLINE;
use crate::tls::Authority;

mod frames;
mod http;

pub use frames::{Received, binary, masked, text};
pub use http::{ACCEPT, KEY, Response, upgrade_request};

/// Socket, with the bytes that were read from it and not used yet.
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

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// If nothing listens there.
    pub fn connect(address: SocketAddr) -> Self {
        Self::from(
            Socket::new(Domain::IPV4, Type::STREAM, None).unwrap(),
            address,
        )
    }

    /// Connects from this address of the machine.
    ///
    /// # Panics
    /// If nothing listens there.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        Self::from(socket, address)
    }

    /// Connects with small buffers. The receive buffer stops a peer that is not read soon. Most of
    /// what was written has left the send buffer, and so been accepted by the peer.
    ///
    /// # Panics
    /// If nothing listens there.
    pub fn connect_with_small_window(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
        // As over a network. Loopback's segments of 64 KiB do not fit into such small windows, and
        // after a dropped segment the kernel waits up to two minutes before it tries again.
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

    /// Switches to TLS. The handshake happens with the first read or write.
    ///
    /// # Panics
    /// If the connection uses TLS already, or has unused input.
    #[must_use]
    pub fn over_tls(self, authority: &Authority) -> Self {
        self.over_tls_as(authority.client())
    }

    /// [`Raw::over_tls`] as this client.
    ///
    /// # Panics
    /// As [`Raw::over_tls`].
    #[must_use]
    pub fn over_tls_as(self, client: Arc<ClientConfig>) -> Self {
        let Stream::Plain(stream) = self.stream else {
            panic!("TLS within TLS");
        };
        assert!(self.pending.is_empty());
        let name = stream.peer_addr().expect("it is connected").ip().into();
        let client = ClientConnection::new(client, name).expect("a client");
        Self {
            stream: Stream::Tls(Box::new(StreamOwned::new(client, stream))),
            pending: Vec::new(),
        }
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// If the peer has reset the connection.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Second handle for writing to a connection without TLS, so that another thread can read.
    ///
    /// # Panics
    /// If there are no file descriptors left.
    pub fn writer(&self) -> TcpStream {
        self.stream.tcp().try_clone().expect("a descriptor is left")
    }

    /// Waits until the peer has sent something, without consuming it.
    ///
    /// # Panics
    /// If nothing comes.
    pub fn wait_for_input(&mut self) {
        let unread = match &mut self.stream {
            Stream::Plain(_) => false,
            // The last read may have decrypted more than was asked for.
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

    /// Waits for the end of the stream, and ignores what comes before it. A reset counts as an end.
    ///
    /// # Panics
    /// If it does not end in time.
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

    /// Waits until the peer's kernel has acknowledged everything that was written. A reset would
    /// discard the rest.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait_until_sent(&self) {
        crate::eventually("an acknowledgement of what was written", || {
            let unsent = unsent(self.stream.tcp());
            (unsent == 0).then_some(())
        });
    }

    /// Resets the connection, as the kernel does for a process that dies with unread input.
    pub fn reset(self) {
        let socket = SockRef::from(self.stream.tcp());
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Reads once. False at the end of the stream.
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

/// Number of bytes that the peer's kernel has not acknowledged yet, from Linux' `/proc`.
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

/// Whether an error is an unclean end of the connection: a reset, or an end within TLS.
fn is_end(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
    )
}
