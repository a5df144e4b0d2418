//! Both halves of an upgraded connection.

use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;

use base::limits::Limits;
use base::permits::{Charge, NoMemory};
use wire::frame::{FrameReader, FrameWriter};

/// The byte stream under a connection: TCP, TLS or, in tests, memory.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<I: AsyncRead + AsyncWrite + Send + Unpin> Transport for I {}

type Io = Box<dyn Transport>;

/// The one thing that speaks to the client.
pub struct Wire {
    /// What the client sends.
    pub reader: FrameReader<ReadHalf<Io>>,
    /// What the client is sent.
    pub writer: FrameWriter<WriteHalf<Io>>,
    max_outbound: usize,
    /// What the connection makes the gateway hold, beside its stream.
    pub charge: Charge,
    socket: OwnedSemaphorePermit,
}

impl Wire {
    /// Takes over the connection after the 101. `received` came behind the request.
    #[must_use]
    pub fn new(
        io: Box<dyn Transport>,
        received: BytesMut,
        limits: &Limits,
        charge: Charge,
        socket: OwnedSemaphorePermit,
    ) -> Self {
        let (read, write) = tokio::io::split(io);
        Self {
            reader: FrameReader::of_client(read, limits.max_message, received),
            writer: FrameWriter::new(write),
            max_outbound: limits.max_outbound,
            charge,
            socket,
        }
    }

    /// Closes the descriptor. What is returned counted it, and may go on to
    /// count what is left of the connection.
    pub fn close(self) -> OwnedSemaphorePermit {
        self.socket
    }

    /// Whether more may be queued for the client. While it may not, the host
    /// neither reads from the client nor from the upstream, so a peer that
    /// does not read is held back by TCP and costs bounded memory.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.writer.queued() < self.max_outbound
    }

    /// Charges what waits in memory, beside so many bytes of something else.
    ///
    /// # Errors
    /// Where that is too much.
    pub(crate) fn weigh(&mut self, beside: usize) -> Result<(), NoMemory> {
        let waiting = self.reader.buffered() + self.writer.queued();
        self.charge.hold(waiting + beside)
    }

    /// Writes what can be written now; what is left stays queued.
    ///
    /// A failed write is no end of the connection. The client may have sent audio before it reset
    /// the connection, and the kernel still has it: the reader gives all of that, and then says
    /// that the client is gone. What was queued for the client is thrown away.
    pub(crate) fn write_some(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.writer.poll_flush(cx) {
            tracing::debug!(%error, "the client cannot be written to");
            self.writer.discard();
        }
    }
}
