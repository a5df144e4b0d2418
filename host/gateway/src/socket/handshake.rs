//! Handshake: the client's first message, the policies that look at it, and
//! the upstream that must be open before the ack.

use std::sync::Arc;

use super::accept::{Comeback, Entry};
use super::cause::Cause;
use super::connect::Admitted;
use super::connection::{Connection, Refused};
use super::message::HostMessage;
use super::resume::{self, Moved};
use crate::connections::Stage;
use crate::parking::pace::Pace;
use crate::parking::{Attachment, Stream, Taken};
use crate::routes::Route;
use base::limits::TokenExpiry;
use session::handshake::{self, Handshake, HandshakeMode};
use upstream::Receipts;

mod greeting;
mod opening;

use greeting::{Greeting, greet};
use opening::{Left, Opened, Resumed, bring_here, open, take_up};

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
        /// Whether the client is told before its token expires.
        renews: bool,
    },
}

impl ClientProtocol {
    /// Whether the client is told before its token expires.
    pub(super) fn renews(self) -> bool {
        matches!(self, Self::IngestV1 { renews: true, .. })
    }
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
        (Comeback::Here(returning), Some(Greeting { handshake, .. })) => {
            take_up(&mut connection, &route, &returning, handshake).await
        }
        (Comeback::Elsewhere(found), Some(Greeting { handshake, .. })) => {
            bring_here(&mut connection, &route, *found, handshake).await
        }
        (_, greeting) => open(&mut connection, &route, greeting.as_ref()).await,
    };
    connection.socket.log.stage_ended(Stage::Open);
    let opened = match opened {
        Ok(opened) => opened,
        Err(cause) => return Err(connection.refuse(cause)),
    };
    let handshake = greeting.map(|greeting| greeting.handshake);
    let renews = handshake
        .as_ref()
        .is_some_and(|handshake| renews(&connection, &route, handshake));
    let negotiated = match opened {
        Opened::Fresh(link, destination) => {
            let pace = Pace::begin(&connection.socket.limits, handshake.as_ref());
            let charge = connection.socket.wire.charge.another();
            let stream = Stream::begin(link, destination, pace, charge);
            match &handshake {
                Some(handshake) => start(&mut connection, &route, handshake, renews, stream).await,
                None => Negotiated::Stream(stream, None),
            }
        }
        Opened::Resumed(resumed) => {
            let gone_on = match &handshake {
                Some(handshake) => {
                    go_on_anywhere(&mut connection, &route, handshake, renews, resumed).await
                }
                // Whoever resumes has sent one.
                None => Err(Cause::Internal),
            };
            match gone_on {
                Ok(negotiated) => negotiated,
                Err(cause) => return Err(connection.refuse(cause)),
            }
        }
    };
    Ok(Box::new(Ready {
        connection,
        route,
        speaks: handshake.map_or(ClientProtocol::Plain, |handshake| {
            ClientProtocol::IngestV1 {
                bytes_per_second: handshake.bytes_per_second(),
                renews,
            }
        }),
        negotiated,
    }))
}

/// Whether the client wants to know before its token expires, and can send another one.
fn renews(connection: &Connection, route: &Route, handshake: &Handshake) -> bool {
    let limits = &route.limits;
    handshake.has(handshake::RENEW)
        && route.renews
        && limits.token_expiry == TokenExpiry::Close
        && !limits.token_notice.is_zero()
        && connection.session().expires_in().is_some()
}

/// Attaches a stream that begins to a slot, if it may be resumed, and says so to a client that
/// greeted.
async fn start(
    connection: &mut Connection,
    route: &Route,
    handshake: &Handshake,
    renews: bool,
    stream: Stream,
) -> Negotiated {
    let attachment = match resume::attach(connection, route, handshake, &stream) {
        // Nobody can have taken a stream that begins.
        Some(attachment) => {
            let stored = resume::store(connection, handshake, &stream, attachment).await;
            stored.unwrap_or_default()
        }
        None => None,
    };
    acknowledge(connection, renews, &stream, attachment.as_ref(), None);
    Negotiated::Stream(stream, attachment)
}

/// Goes on with a stream. A client that comes back to a gateway from which the stream was taken, and
/// that does not know it yet, takes the stream back.
async fn go_on_anywhere(
    connection: &mut Connection,
    route: &Route,
    handshake: &Handshake,
    renews: bool,
    resumed: Box<Resumed>,
) -> Result<Negotiated, Cause> {
    let token = resumed.token.clone();
    match go_on(connection, handshake, renews, resumed).await {
        Ok(negotiated) => return Ok(negotiated),
        Err(Moved) => tracing::info!("another gateway has taken the stream: it is taken back"),
    }
    let gateway = Arc::clone(&connection.socket.gateway);
    let sought = gateway.parking.seek(&token).ok_or(Cause::ResumeRefused)?;
    let found = resume::seek(connection, sought).await?;
    match bring_here(connection, route, found, handshake).await? {
        Opened::Resumed(resumed) => go_on(connection, handshake, renews, resumed)
            .await
            .map_err(|Moved| Cause::PredecessorStays),
        Opened::Fresh(..) => Err(Cause::Internal),
    }
}

/// Goes on with a stream, and says where. What its upstream has said meanwhile
/// comes right behind that.
async fn go_on(
    connection: &mut Connection,
    handshake: &Handshake,
    renews: bool,
    resumed: Box<Resumed>,
) -> Result<Negotiated, Moved> {
    let Resumed { taken, token, left } = *resumed;
    match taken {
        Taken::Stream(mut stream, attachment) => {
            // It may be with another address now.
            stream.charge = connection.socket.wire.charge.another();
            let storing = resume::store(connection, handshake, &stream, attachment);
            let attachment = storing.await?;
            take_over(connection, left).await;
            let from = Some(stream.bytes);
            acknowledge(connection, renews, &stream, attachment.as_ref(), from);
            Ok(Negotiated::Stream(stream, attachment))
        }
        Taken::Complete(bytes) => {
            say(connection, &RESUMABLE, Some(&token), Some(bytes));
            Ok(Negotiated::Complete(bytes))
        }
    }
}

/// Takes over the keys of a stream that goes on, which its policies have let the client have. Those of
/// a stream that has left another gateway are its own before the client is told.
async fn take_over(connection: &mut Connection, left: Option<Left>) {
    let session = Arc::clone(connection.session());
    let registry = connection.socket.gateway.registry.clone();
    let Some(left) = left else {
        registry.restored(&session);
        return;
    };
    let taken = connection.budget.spend_half(registry.take_over(&session));
    if taken.await.is_none() {
        // Before the other gateway lets go of them.
        registry.restored(&session);
        tracing::debug!("the keys of the stream are taken over in the background");
    }
    // It would find out with its next write, and hold the stream's place until then.
    registry.let_go(&left.gateway, &left.stream, &left.session_id);
}

/// Says that the stream begins, or goes on, and what its client can rely on.
fn acknowledge(
    connection: &mut Connection,
    renews: bool,
    stream: &Stream,
    attachment: Option<&Attachment>,
    from_bytes: Option<u64>,
) {
    let is_resumable = stream.link.receipts() == Receipts::Given && attachment.is_some();
    let features = [
        (handshake::ACK, stream.link.receipts() == Receipts::Given),
        (handshake::RESUME, is_resumable),
        (handshake::RENEW, renews),
    ];
    let features = features.into_iter().filter(|(_, holds)| *holds);
    let features: Vec<_> = features.map(|(feature, _)| feature).collect();
    say(
        connection,
        &features,
        attachment.map(Attachment::token),
        from_bytes,
    );
}

fn say(
    connection: &mut Connection,
    features: &[&str],
    token: Option<&str>,
    from_bytes: Option<u64>,
) {
    let session_id = &connection.session().facts.session_id;
    let ack = HostMessage::ack(session_id, features, token, from_bytes).to_json();
    connection.socket.wire.writer.text(&ack);
}
