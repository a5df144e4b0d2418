//! Handshake: the client's first message, the policies that look at it, and
//! the upstream that must be open before the ack.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::time::timeout;

use super::cause::Cause;
use super::connect::Admitted;
use super::connection::{Connection, Refused, interrupted};
use super::message::HostMessage;
use super::resume;
use super::wire::Wire;
use crate::parking::pace::Pace;
use crate::parking::{Attachment, Stream, Taken};
use base::permits::Charge;
use base::text;
use policy::Question;
use session::facts::{Credentials, source_name};
use session::handshake::HandshakeMode;
use session::handshake::{self, Handshake};
use session::registry::Client;
use upstream::{Counted, Link, Receipts, StreamInfo};
use wire::frame::Message;

/// A connection whose ack is queued.
pub struct Ready {
    pub(super) connection: Box<Connection>,
    pub(super) handshake: Option<Handshake>,
    pub(super) negotiated: Negotiated,
}

/// Result of the handshake.
pub(super) enum Negotiated {
    /// The upstream is open. The stream is attached to a slot if it may be resumed.
    Stream(Stream, Option<Attachment>),
    /// The stream was complete before, with this many bytes: the client has to be told.
    Complete(u64),
}

/// What the client is to be told it can go on with.
enum Opened {
    /// An upstream that has taken nothing yet.
    Fresh(Box<dyn Link>),
    /// What it came back for with this token.
    Resumed(Taken, String),
}

/// The features of a stream that may be resumed.
const RESUMABLE: [&str; 2] = [handshake::ACK, handshake::RESUME];

/// Bytes of a handshake. The largest that any client sends has a few hundred. It is less than a
/// message may have, because parsing makes many times as much memory of it as it has bytes.
const MAX_HANDSHAKE: usize = 64 * 1024;

/// A handshake, read and as it came.
struct Greeting {
    handshake: Handshake,
    text: Bytes,
}

/// Takes the handshake, where the route has one, and opens the upstream.
///
/// # Errors
/// The connection to close, and why.
pub(crate) async fn negotiate(admitted: Admitted) -> Result<Box<Ready>, Refused> {
    let Admitted { mut connection } = admitted;
    let shaken = match connection.route.as_ref().map(|route| route.handshake) {
        Some(HandshakeMode::IngestV1) => shake_hands(&mut connection).await.map(Some),
        Some(HandshakeMode::None) => Ok(None),
        None => Err(Cause::NotFound),
    };
    connection.log.stage_ended("handshake");
    let greeting = match shaken {
        Ok(greeting) => greeting,
        Err(cause) => return Err(connection.refuse(cause)),
    };
    let opened = open(&mut connection, greeting.as_ref()).await;
    connection.log.stage_ended("open");
    let opened = match opened {
        Ok(opened) => opened,
        Err(cause) => return Err(connection.refuse(cause)),
    };
    let handshake = greeting.map(|greeting| greeting.handshake);
    let negotiated = match opened {
        Opened::Fresh(link) => start(&mut connection, handshake.as_ref(), link),
        Opened::Resumed(taken, token) => go_on(&mut connection, taken, &token),
    };
    Ok(Box::new(Ready {
        connection,
        handshake,
        negotiated,
    }))
}

/// Begins a stream, and says so to a client that greeted.
fn start(
    connection: &mut Connection,
    handshake: Option<&Handshake>,
    link: Box<dyn Link>,
) -> Negotiated {
    let attachment = handshake.and_then(|handshake| resume::attach(connection, handshake, &*link));
    if handshake.is_some() {
        let features: &[&str] = match (link.receipts(), &attachment) {
            (Receipts::Given, Some(_)) => &RESUMABLE,
            (Receipts::Given, None) => &[handshake::ACK],
            (Receipts::None, _) => &[],
        };
        let token = attachment.as_ref().map(Attachment::token);
        acknowledge(connection, features, token, None);
    }
    let pace = Pace::begin(&connection.limits, handshake);
    let charge = charge(connection);
    Negotiated::Stream(Stream::begin(link, pace, charge), attachment)
}

/// Goes on with a stream, and says where. What its upstream has said meanwhile
/// comes right behind that.
fn go_on(connection: &mut Connection, taken: Taken, token: &str) -> Negotiated {
    match taken {
        Taken::Stream(mut stream, attachment) => {
            // It may be with another address now.
            stream.charge = charge(connection);
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

/// What the connection's stream makes the gateway hold.
fn charge(connection: &mut Connection) -> Charge {
    let wire = connection.wire();
    wire.map_or_else(Charge::default, |wire| wire.charge.another())
}

fn acknowledge(
    connection: &mut Connection,
    features: &[&str],
    token: Option<&str>,
    from_bytes: Option<u64>,
) {
    let session_id = connection.session.facts.session_id.clone();
    let ack = HostMessage::ack(&session_id, features, token, from_bytes);
    if let Some(wire) = connection.wire() {
        wire.writer.text(&ack.to_json());
    }
}

async fn shake_hands(connection: &mut Connection) -> Result<Greeting, Cause> {
    let message = first_message(connection).await?;
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
    agree_on_source(connection, &handshake)?;
    connection
        .ask(|route| &route.on_handshake, Question::Handshake(json))
        .await?;
    Ok(Greeting { handshake, text })
}

/// The first message that is not a Ping or a Pong.
async fn first_message(connection: &mut Connection) -> Result<Message, Cause> {
    let limit = connection.limits.handshake_timeout;
    let session = connection.session.clone();
    let gateway = connection.gateway.clone();
    let Some(wire) = connection.wire() else {
        return Err(Cause::Internal);
    };
    let request = session.facts.weight();
    tokio::select! {
        biased;
        cause = interrupted(&session, &gateway) => Err(cause),
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
fn agree_on_source(connection: &Connection, handshake: &Handshake) -> Result<(), Cause> {
    let Some(named) = handshake.source.as_deref() else {
        return Ok(());
    };
    let facts = &connection.session.facts;
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

/// Opens the upstream, once every connection that this one took over from has
/// sealed its own.
async fn open(connection: &mut Connection, greeting: Option<&Greeting>) -> Result<Opened, Cause> {
    let Some(route) = connection.route.clone() else {
        return Err(Cause::NotFound);
    };
    let session = connection.session.clone();
    let gateway = connection.gateway.clone();
    if let (Some(returning), Some(greeting)) = (connection.resuming.take(), greeting) {
        return tokio::select! {
            biased;
            cause = interrupted(&session, &gateway) => Err(cause),
            taken = resume::take(connection, &returning, &greeting.handshake) => {
                Ok(Opened::Resumed(taken?, returning.token().to_owned()))
            }
        };
    }
    let info = stream_info(connection, greeting);
    let budget = &mut connection.budget;
    let opening = async {
        budget
            .spend(session.evicted_have_ended())
            .await
            .ok_or(Cause::PredecessorStays)?;
        // Counted from before they are open until the last one is closed.
        let descriptors = route.upstream.descriptors();
        let descriptors = gateway.permits.upstream(descriptors);
        let descriptors = descriptors.ok_or(Cause::Overloaded)?;
        let link = budget
            .spend(route.upstream.open(info))
            .await
            .ok_or(Cause::UpstreamSlow)?
            .map_err(Cause::UpstreamClosed)?;
        Ok(Opened::Fresh(Box::new(Counted::new(link, descriptors))))
    };
    tokio::select! {
        biased;
        cause = interrupted(&session, &gateway) => Err(cause),
        opened = opening => opened,
    }
}

fn stream_info(connection: &Connection, greeting: Option<&Greeting>) -> StreamInfo {
    let facts = &connection.session.facts;
    StreamInfo {
        session_id: facts.session_id.to_string(),
        route: facts.route.to_string(),
        params: facts.params.clone(),
        source: greeting
            .and_then(|_| facts.query("source", Credentials::Withheld))
            .map(Cow::into_owned),
        handshake: greeting.map(|greeting| greeting.handshake.clone()),
        greeting: greeting.map(|greeting| greeting.text.clone()),
        receipts: match greeting {
            Some(greeting) if greeting.handshake.has(handshake::ACK) => Receipts::Given,
            _ => Receipts::None,
        },
        facts: Arc::clone(facts),
        client: Client::of(&connection.session),
        identified_by: connection
            .route
            .as_ref()
            .map_or_else(Arc::default, |route| Arc::clone(&route.identified_by)),
    }
}
