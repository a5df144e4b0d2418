use crate::host::endings;

/// How a connection ended.
pub struct Ending<'call> {
    ending: &'call endings::Ending,
}

impl<'call> Ending<'call> {
    pub(crate) fn new(ending: &'call endings::Ending) -> Self {
        Self { ending }
    }

    /// The word of the error frame, or what else ended it: `finalized`,
    /// `client_closed`, `idle_timeout`. A later gateway may have new words.
    pub fn cause(&self) -> String {
        self.ending.cause()
    }

    /// The close code that the client was sent.
    pub fn close_code(&self) -> u16 {
        self.ending.close_code()
    }

    /// Which side ended it: `client`, `gateway`, `transport`, or `upstream` where the backend closed the
    /// stream itself.
    pub fn closed_by(&self) -> String {
        self.ending.closed_by()
    }

    /// Whether it got as far as to stream.
    pub fn streamed(&self) -> bool {
        self.ending.streamed()
    }

    /// How long it lasted, in milliseconds.
    pub fn lasted_ms(&self) -> u64 {
        self.ending.lasted_ms()
    }

    /// Bytes of BINARY payload that came from the client.
    pub fn received_bytes(&self) -> u64 {
        self.ending.received_bytes()
    }

    /// Bytes of payload from the upstream that the client was sent.
    pub fn sent_bytes(&self) -> u64 {
        self.ending.sent_bytes()
    }
}
