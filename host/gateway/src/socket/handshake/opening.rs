//! The upstream of a stream: a new one, or the one that the client comes back to.

use std::borrow::Cow;
use std::sync::Arc;

use super::greeting::Greeting;
use crate::parking::{Found, Returning, Taken};
use crate::routes::Route;
use crate::socket::cause::Cause;
use crate::socket::connection::{Connection, interrupted};
use crate::socket::open_socket::Parts;
use crate::socket::restore::{self, Brought};
use crate::socket::resume;
use session::facts::Credentials;
use session::handshake::{self, Handshake};
use session::registry::{Client, Session};
use upstream::{Counted, Destination, Link, Receipts, StreamInfo};

/// Where the stream goes.
pub(super) enum Opened {
    /// To a new upstream.
    Fresh(Box<dyn Link>, Arc<Destination>),
    /// On with the stream that the client resumes.
    Resumed(Box<Resumed>),
}

/// Stream that a client resumes.
pub(super) struct Resumed {
    pub(super) taken: Taken,
    /// Token that the client presented.
    pub(super) token: String,
    /// Where the stream was, if that is another gateway.
    pub(super) left: Option<Left>,
}

/// Gateway that a stream has left.
pub(super) struct Left {
    /// Instance id of the gateway.
    pub(super) gateway: String,
    pub(super) stream: Arc<str>,
    /// Session that had the stream there.
    pub(super) session_id: String,
}

/// Takes the stream that the client wants to resume.
pub(super) async fn take_up(
    connection: &mut Connection,
    route: &Route,
    returning: &Returning,
    handshake: &Handshake,
) -> Result<Opened, Cause> {
    let session = Arc::clone(connection.session());
    let gateway = Arc::clone(&connection.socket.gateway);
    tokio::select! {
        biased;
        cause = interrupted(&session, &gateway) => Err(cause),
        taken = resume::take(connection, route, returning, handshake) => {
            Ok(Opened::Resumed(Box::new(Resumed {
                taken: taken?,
                token: returning.token().to_owned(),
                left: None,
            })))
        }
    }
}

/// Brings the stream of another gateway here, and takes it.
pub(super) async fn bring_here(
    connection: &mut Connection,
    route: &Route,
    found: Found,
    handshake: &Handshake,
) -> Result<Opened, Cause> {
    let session = Arc::clone(connection.session());
    let gateway = Arc::clone(&connection.socket.gateway);
    let token = found.token.clone();
    let left = found.session_id().map(|session_id| Left {
        gateway: found.gateway().to_owned(),
        stream: Arc::clone(&found.stream),
        session_id: session_id.to_owned(),
    });
    let bringing = async {
        bring(connection, route, found, handshake).await?;
        let returning = gateway.parking.find(&token);
        let returning = returning.ok_or(Cause::ResumeRefused)?;
        resume::take(connection, route, &returning, handshake).await
    };
    tokio::select! {
        biased;
        cause = interrupted(&session, &gateway) => Err(cause),
        taken = bringing => Ok(Opened::Resumed(Box::new(Resumed {
            taken: taken?,
            token: token.clone(),
            left,
        }))),
    }
}

/// Brings the stream of another gateway here, where it waits for this connection. A client that it
/// does not belong to leaves it as it is.
async fn bring(
    connection: &mut Connection,
    route: &Route,
    found: Found,
    handshake: &Handshake,
) -> Result<(), Cause> {
    if !found.is_of(&resume::owner(connection, route, handshake)) {
        return Err(Cause::ResumeRefused);
    }
    let gateway = Arc::clone(&connection.socket.gateway);
    let bringing = restore::bring(&gateway, found);
    match connection.budget.spend(bringing).await {
        Some(Ok(())) => Ok(()),
        Some(Err(Brought::Gone(error))) => {
            tracing::info!(
                error = format!("{error:#}"),
                "a stream of another gateway is gone"
            );
            Err(Cause::ResumeRefused)
        }
        Some(Err(Brought::NotNow(error))) => Err(Cause::UpstreamClosed(error)),
        None => Err(Cause::UpstreamSlow),
    }
}

/// Opens the upstream, once every connection that this one took over from has sealed its own.
pub(super) async fn open(
    connection: &mut Connection,
    route: &Route,
    greeting: Option<&Greeting>,
) -> Result<Opened, Cause> {
    let destination = Arc::<Destination>::default();
    let mut info = stream_info(connection.session(), route, greeting, &destination);
    info.traceparent = connection.socket.log.traceparent();
    let Parts {
        session, gateway, ..
    } = &**connection.socket;
    let budget = &mut connection.budget;
    let opening = async {
        budget
            .spend(session.evicted_have_ended())
            .await
            .ok_or(Cause::PredecessorStays)?;
        // What another gateway does not end in time keeps nobody out, because its claim is gone.
        budget
            .spend_half(session.evicted_elsewhere_have_ended())
            .await;
        // Counted from before they are open until the last one is closed.
        let descriptors = route.upstream.descriptors();
        let descriptors = gateway.permits.upstream(descriptors);
        let descriptors = descriptors.ok_or(Cause::Overloaded)?;
        let link = budget
            .spend(route.upstream.open(info))
            .await
            .ok_or(Cause::UpstreamSlow)?
            .map_err(Cause::UpstreamClosed)?;
        let link = Box::new(Counted::new(link, descriptors));
        Ok(Opened::Fresh(link, destination))
    };
    tokio::select! {
        biased;
        cause = interrupted(session, gateway) => Err(cause),
        opened = opening => opened,
    }
}

fn stream_info(
    session: &Session,
    route: &Route,
    greeting: Option<&Greeting>,
    destination: &Arc<Destination>,
) -> StreamInfo {
    let facts = &session.facts;
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
        client: Client::of(session),
        identified_by: Arc::clone(&route.identified_by),
        destination: Arc::clone(destination),
        traceparent: None,
    }
}
