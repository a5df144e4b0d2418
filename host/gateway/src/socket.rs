//! The life of one connection.
//!
//! ```text
//! Accepted --connect--> Admitted --handshake--> Ready --stream--> Finished
//!     \                     \                     \                 |
//!      `---- Refused --------`------ Refused ------`--- Refused ----+--> close
//! ```
//!
//! Each stage is a value that only the stage before can make, and that the next
//! consumes, so a second Close, a message before the 101 or one after the Close
//! does not compile. An `OpenSocket` is never dropped in silence: its guard hands
//! it to a task that closes it.

pub mod accept;
pub mod cause;
pub mod close;
pub mod close_message;
pub mod connect;
mod connection;
pub mod connection_log;
#[cfg(test)]
mod document;

pub mod handshake;
pub mod linger;
pub mod message;
mod open_socket;
mod refused;
pub mod report;
pub mod restore;
pub(crate) mod resume;
pub mod stream;
pub mod watch;
pub mod wire;

/// Drives a connection from its upgrade to its end. The sequence of calls is the protocol.
///
/// All stages but the one that lasts are boxed, because a future keeps the room for whatever it
/// holds at any time. So an idle connection holds no memory for stages that it has behind it.
pub async fn drive(accepted: Box<accept::Accepted>) {
    if let Some(ready) = Box::pin(until_ready(accepted)).await {
        let finished = stream::relay(ready).await;
        Box::pin(close::finish(finished)).await;
    }
}

/// The stages before the stream. `None` if the connection was refused and is closed.
async fn until_ready(accepted: Box<accept::Accepted>) -> Option<Box<handshake::Ready>> {
    let refused = match connect::admit(accepted).await {
        Ok(admitted) => match handshake::negotiate(admitted).await {
            Ok(ready) => return Some(ready),
            Err(refused) => refused,
        },
        Err(refused) => refused,
    };
    close::refuse(refused).await;
    None
}
