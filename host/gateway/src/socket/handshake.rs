//! Handshake: the client's first message, the policies that look at it, and
//! the upstream that must be open before the ack.

use std::sync::Arc;

use super::accept::Entry;
use super::connect::Admitted;
use super::connection::{Connection, Refused};
use super::message::HostMessage;
use super::resume;
use crate::connections::Stage;
use crate::parking::pace::Pace;
use crate::parking::{Attachment, Stream, Taken};
use crate::routes::Route;
use session::handshake::{self, Handshake, HandshakeMode};
use upstream::{Link, Receipts};

mod greeting;
mod opening;

use greeting::{Greeting, greet};
use opening::{Opened, open, take_up};

/// A connection whose ack is queued.
pub struct Ready {
    pub(super) connection: Connection,
    pub(super) route: Arc<Route>,
    pub(super) speaks: ClientProtocol,
    pub(super) negotiated: Negotiated,
}

/// What a client speaks beside audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientProtocol {
    /// TEXT messages are passed on.
    Plain,
    /// TEXT messages are those of `ingest.v1`.
    IngestV1 {
        /// Bytes of a second of audio; 0 if that is not known.
        bytes_per_second: u64,
    },
}

/// Result of the handshake.
pub(super) enum Negotiated {
    /// The upstream is open. The stream is attached to a slot if it may be resumed.
    Stream(Stream, Option<Attachment>),
    /// The stream was complete before, with this many bytes: the client has to be told.
    Complete(u64),
}

impl Negotiated {
    /// The stream, or the bytes of one that was complete before.
    pub(super) fn stream(self) -> Result<(Stream, Option<Attachment>), u64> {
        match self {
            Self::Stream(stream, attachment) => Ok((stream, attachment)),
            Self::Complete(bytes) => Err(bytes),
        }
    }
}

/// The features of a stream that may be resumed.
const RESUMABLE: [&str; 2] = [handshake::ACK, handshake::RESUME];

/// Takes the handshake, where the route has one, and opens the upstream.
///
/// # Errors
/// The connection to close, and why.
pub(crate) async fn negotiate(admitted: Admitted) -> Result<Box<Ready>, Refused> {
    let Admitted {
        mut connection,
        entry: Entry { route, returning },
    } = admitted;
    let shaken = match route.handshake {
        HandshakeMode::IngestV1 => greet(&mut connection, &route).await.map(Some),
        HandshakeMode::None => Ok(None),
    };
    connection.socket.log.stage_ended(Stage::Handshake);
    let greeting = match shaken {
        Ok(greeting) => greeting,
        Err(cause) => return Err(connection.refuse(cause)),
    };
    if let Some(greeting) = &greeting {
        connection.socket.log.live.speaks(&greeting.handshake);
    }
    let opened = match (returning, &greeting) {
        (Some(returning), Some(Greeting { handshake, .. })) => {
            take_up(&mut connection, &route, &returning, handshake).await
        }
        (_, greeting) => open(&mut connection, &route, greeting.as_ref()).await,
    };
    connection.socket.log.stage_ended(Stage::Open);
    let opened = match opened {
        Ok(opened) => opened,
        Err(cause) => return Err(connection.refuse(cause)),
    };
    let handshake = greeting.map(|greeting| greeting.handshake);
    let negotiated = match opened {
        Opened::Fresh(link, destination) => {
            let attachment = start(&mut connection, &route, handshake.as_ref(), &*link);
            let pace = Pace::begin(&connection.socket.limits, handshake.as_ref());
            let charge = connection.socket.wire.charge.another();
            Negotiated::Stream(Stream::begin(link, destination, pace, charge), attachment)
        }
        Opened::Resumed(taken, token) => go_on(&mut connection, taken, &token),
    };
    Ok(Box::new(Ready {
        connection,
        route,
        speaks: handshake.map_or(ClientProtocol::Plain, |handshake| {
            ClientProtocol::IngestV1 {
                bytes_per_second: handshake.bytes_per_second(),
            }
        }),
        negotiated,
    }))
}

/// Attaches a stream that begins to a slot, if it may be resumed, and says so to a client that
/// greeted.
fn start(
    connection: &mut Connection,
    route: &Route,
    handshake: Option<&Handshake>,
    link: &dyn Link,
) -> Option<Attachment> {
    let attachment =
        handshake.and_then(|handshake| resume::attach(connection, route, handshake, link));
    if handshake.is_some() {
        let features: &[&str] = match (link.receipts(), &attachment) {
            (Receipts::Given, Some(_)) => &RESUMABLE,
            (Receipts::Given, None) => &[handshake::ACK],
            (Receipts::None, _) => &[],
        };
        let token = attachment.as_ref().map(Attachment::token);
        acknowledge(connection, features, token, None);
    }
    attachment
}

/// Goes on with a stream, and says where. What its upstream has said meanwhile
/// comes right behind that.
fn go_on(connection: &mut Connection, taken: Taken, token: &str) -> Negotiated {
    match taken {
        Taken::Stream(mut stream, attachment) => {
            // It may be with another address now.
            stream.charge = connection.socket.wire.charge.another();
            acknowledge(
                connection,
                &RESUMABLE,
                Some(attachment.token()),
                Some(stream.bytes),
            );
            Negotiated::Stream(stream, Some(attachment))
        }
        Taken::Complete(bytes) => {
            acknowledge(connection, &RESUMABLE, Some(token), Some(bytes));
            Negotiated::Complete(bytes)
        }
    }
}

fn acknowledge(
    connection: &mut Connection,
    features: &[&str],
    token: Option<&str>,
    from_bytes: Option<u64>,
) {
    let session_id = &connection.session().facts.session_id;
    let ack = HostMessage::ack(session_id, features, token, from_bytes).to_json();
    connection.socket.wire.writer.text(&ack);
}
