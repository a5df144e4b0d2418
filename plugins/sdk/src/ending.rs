use crate::host::endings;

/// End of a connection.
pub struct Ending<'call> {
    ending: &'call endings::Ending,
}

impl<'call> Ending<'call> {
    pub(crate) fn new(ending: &'call endings::Ending) -> Self {
        Self { ending }
    }

    /// Code of the error message, or another cause: `finalized`, `client_closed`, `idle_timeout`.
    /// Later gateways may have new ones.
    pub fn cause(&self) -> String {
        self.ending.cause()
    }

    /// Close code that was sent to the client.
    pub fn close_code(&self) -> u16 {
        self.ending.close_code()
    }

    /// Side that ended the connection: `client`, `gateway`, `transport`, or `upstream` if the
    /// backend closed the stream.
    pub fn closed_by(&self) -> String {
        self.ending.closed_by()
    }

    /// Whether the client streamed.
    pub fn streamed(&self) -> bool {
        self.ending.streamed()
    }

    /// Duration of the connection, in milliseconds.
    pub fn lasted_ms(&self) -> u64 {
        self.ending.lasted_ms()
    }

    /// Number of bytes of BINARY payload from the client.
    pub fn received_bytes(&self) -> u64 {
        self.ending.received_bytes()
    }

    /// Number of bytes of payload that were sent from the upstream to the client.
    pub fn sent_bytes(&self) -> u64 {
        self.ending.sent_bytes()
    }
}
