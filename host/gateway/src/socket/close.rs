//! Close stage: sends the error frame and the Close, and makes sure that they arrive.
//!
//! This is the only place that writes a Close frame. [`CloseMessage::of`] decides what it says.
//!
//! If a socket is closed with unread input, the kernel sends RST, which destroys what the client
//! has not read yet. So the gateway keeps reading and discards what it reads, until the client has
//! closed or the time for that is over.

use scopeguard::ScopeGuard;

use super::cause::Cause;
use super::close_message::CloseMessage;
use super::connection::Refused;
use super::linger::{Delivery, Heard, Peer};
use super::open_socket::OpenSocket;
use super::resume;
use super::stream::Finished;
use crate::connections::Stage;
use crate::parking::Remembered;

/// Closes a connection that was refused or cut short.
pub async fn refuse(refused: Refused) {
    let Refused { connection, cause } = refused;
    let heard = Heard::of(Peer::Speaking);
    close(connection.release(), cause, heard, None, None).await;
}

/// Closes a connection whose stream is sealed.
pub async fn finish(finished: Finished) {
    let Finished {
        socket,
        cause,
        heard,
        finalized,
        remembered,
    } = finished;
    close(socket, cause, heard, finalized, remembered).await;
}

async fn close(
    socket: OpenSocket,
    cause: Cause,
    heard: Heard,
    finalized: Option<Vec<u8>>,
    remembered: Option<Remembered>,
) {
    let close_message = CloseMessage::of(&cause);
    let mut parts = ScopeGuard::into_inner(socket);
    parts.log.live.enter(Stage::Close);
    let delivery = parts.deliver(&close_message, heard, finalized).await;
    // A client that answered the Close has read the message before it.
    if let Some(remembered) = remembered
        && delivery != Delivery::Confirmed
    {
        resume::remember(&parts.gateway, &parts.limits, remembered);
    }
    parts.finish(&close_message, delivery).await;
}
