//! Store of what must outlive the process: small records by key.
//!
//! A [`Store`] makes a record safe before it says so. What uses it decides what a record means.
//! [`embedded::EmbeddedStore`] keeps the records in one file on this machine's disk. Gateways that
//! share their streams have a [`SharedStore`] as well.

use futures_util::future::BoxFuture;

pub mod embedded;

/// Reason why a record is not safe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too many records wait for the disk.
    #[error("too many records wait for the disk")]
    Busy,
    /// The disk refused it.
    #[error("{0}")]
    Disk(String),
    /// The servers that keep it cannot be reached, or refused it.
    #[error("{0}")]
    Away(String),
    /// Another process has saved the record since this one did.
    #[error("another gateway has saved the record")]
    Taken,
    /// The store has ended.
    #[error("the store has ended")]
    Ended,
}

/// Store of small records by key.
///
/// Changes take effect in the order of the calls. A call never waits: whoever must know that a
/// record is safe awaits the future.
pub trait Store: Send + Sync {
    /// Saves a record, in place of an earlier one with this key. The future is ready when the record
    /// survives the end of the process, and the loss of power as far as the disk promises. The
    /// record is saved also if nobody polls the future.
    ///
    /// # Errors
    /// [`StoreError`]. An earlier record with this key may be there or not.
    fn save(&self, key: &str, record: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Removes a record, if there is one.
    fn forget(&self, key: &str);

    /// Ends the store, and waits until all earlier changes are safe or have failed and another
    /// process can open it. Later ones fail.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// Store of small records by key, which several gateways share.
///
/// A record belongs to the gateway that saved it last. A call never waits: whoever must know awaits
/// the future.
pub trait SharedStore: Send + Sync {
    /// Saves a record, in place of an earlier one with this key. The record is saved also if nobody
    /// polls the future.
    ///
    /// # Errors
    /// [`StoreError`]. It is [`StoreError::Taken`] if this gateway has saved the record before, and
    /// another one since then: theirs stays. Else an earlier record may be there or not.
    fn save(&self, key: &str, record: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Removes a record, if this gateway saved it last.
    fn forget(&self, key: &str);

    /// Finds a record, whoever saved it.
    ///
    /// # Errors
    /// [`StoreError`] if it is not known whether there is one.
    fn find(&self, key: &str) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>>;
}
