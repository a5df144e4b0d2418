//! Records that gateways compare and set, and messages between them: what the claims stand on.

use std::time::Duration;

use futures_util::future::BoxFuture;

pub(crate) use crate::compared::{Found, Written};
use crate::connection::Away;

/// Result of a request to another gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has done what it was asked.
    Done,
    /// There is no such gateway.
    Nobody,
    /// It has not answered.
    Nothing,
}

/// Records that gateways compare and set, and messages between them.
pub(crate) trait Records: Send + Sync {
    /// Reads a record; `None` if there is none.
    fn read(&self, name: &str) -> BoxFuture<'_, Result<Option<Found>, Away>>;

    /// Writes a record in place of the one with the sequence number `after`, which is 0 if there is
    /// none. The record is removed after `life`, if that is limited.
    ///
    /// # Errors
    /// [`Away`]. Unless that is [`Away::NotConnected`], the record may be stored, or may be later.
    fn write(
        &self,
        name: &str,
        after: u64,
        content: Vec<u8>,
        life: Option<Duration>,
    ) -> BoxFuture<'_, Result<Written, Away>>;

    /// Asks another gateway for something, and waits for its answer for at most `limit`.
    fn ask(&self, gateway: &str, message: Vec<u8>, limit: Duration) -> BoxFuture<'_, Heard>;
}
