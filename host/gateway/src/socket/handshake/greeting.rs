//! The client's first message.

use std::task::Poll;

use bytes::Bytes;
use tokio::time::timeout;

use crate::routes::Route;
use crate::socket::cause::Cause;
use crate::socket::connection::{Connection, interrupted};
use crate::socket::open_socket::Parts;
use crate::socket::wire::Wire;
use base::text;
use policy::Question;
use session::facts::{Credentials, Facts, source_name};
use session::handshake::Handshake;
use wire::frame::Message;

/// Bytes of a handshake. The largest that any client sends has a few hundred. It is less than a
/// message may have, because parsing makes many times as much memory of it as it has bytes.
const MAX_HANDSHAKE: usize = 64 * 1024;

/// A handshake, parsed and as it came.
pub(super) struct Greeting {
    pub(super) handshake: Handshake,
    pub(super) text: Bytes,
}

/// Reads the handshake, and asks the policies that look at it.
pub(super) async fn greet(connection: &mut Connection, route: &Route) -> Result<Greeting, Cause> {
    let message = first_message(&mut connection.socket).await?;
    let text = match message {
        Message::Text(text) => text,
        Message::Close(close) => return Err(Cause::ClientClosed(close)),
        Message::Binary(_) => {
            return Err(Cause::HandshakeInvalid(
                "expected a TEXT message, got BINARY".to_owned(),
            ));
        }
        // `first_message` answers these.
        Message::Ping(_) | Message::Pong(_) => return Err(Cause::Internal),
    };
    if text.len() > MAX_HANDSHAKE {
        return Err(Cause::HandshakeInvalid(format!(
            "it has {} bytes; {MAX_HANDSHAKE} are the most",
            text.len()
        )));
    }
    // The reader has checked it.
    let json = std::str::from_utf8(&text).map_err(|_| Cause::Internal)?;
    let handshake = Handshake::parse(json).map_err(|error| Cause::HandshakeInvalid(error.0))?;
    agree_on_source(&connection.session().facts, &handshake)?;
    connection
        .ask(&route.on_handshake, || Question::Handshake(json.into()))
        .await?;
    Ok(Greeting { handshake, text })
}

/// The first message that is not a Ping or a Pong.
async fn first_message(open: &mut Parts) -> Result<Message, Cause> {
    let Parts {
        wire,
        session,
        limits,
        gateway,
        ..
    } = open;
    let limit = limits.handshake_timeout;
    let request = session.facts.weight();
    tokio::select! {
        biased;
        cause = interrupted(session, gateway) => Err(cause),
        message = timeout(limit, next_data(wire, request)) => {
            message.unwrap_or(Err(Cause::HandshakeTimeout))
        }
    }
}

async fn next_data(wire: &mut Wire, request: usize) -> Result<Message, Cause> {
    std::future::poll_fn(|cx| {
        loop {
            wire.write_some(cx);
            // A client that pings and does not read is not read either; the
            // handshake's deadline ends it.
            if !wire.has_room() {
                return Poll::Pending;
            }
            let next = wire.reader.poll_next(cx)?;
            wire.weigh(request)?;
            match std::task::ready!(next) {
                Message::Ping(payload) => wire.writer.pong(&payload),
                Message::Pong(_) => {}
                message => return Poll::Ready(Ok(message)),
            }
        }
    })
    .await
}

/// The query decides; a handshake that names another source is wrong.
fn agree_on_source(facts: &Facts, handshake: &Handshake) -> Result<(), Cause> {
    let Some(named) = handshake.source.as_deref() else {
        return Ok(());
    };
    let expected = facts.query("source", Credentials::Withheld);
    let expected = expected.as_deref().unwrap_or("mic");
    if source_name(named) == Some(expected) {
        return Ok(());
    }
    let named = text::clean(named, 40);
    Err(Cause::HandshakeInvalid(format!(
        "source \"{named}\" in the handshake is not the \"{expected}\" of the URL"
    )))
}
