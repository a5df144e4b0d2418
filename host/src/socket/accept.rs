//! Accept: an HTTP request that is a valid upgrade becomes a connection.
//!
//! Whatever is wrong with a *valid* upgrade is said after the 101, where the
//! client can read it. Only a request that is no upgrade gets an HTTP answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::cause::Cause;
use super::story::Story;
use super::wire::Wire;
use super::{Budget, Connection};
use crate::config::HandshakeMode;
use crate::facts::{Credentials, Facts};
use crate::gateway::{Gateway, Route};
use crate::lanes::Seat;
use crate::metrics::Live;
use crate::parking::Returning;
use crate::session::{Session, SessionGuard};

mod request;

/// An upgrade that is answered with the returned response, and completed when
/// that has been written.
pub struct Accepting {
    on_upgrade: OnUpgrade,
    facts: Facts,
    verdict: Result<(), Cause>,
    route: Option<Arc<Route>>,
    generation: u64,
    seat: Seat,
    gateway: Arc<Gateway>,
}

/// A connection whose 101 has been written.
pub struct Accepted {
    pub(super) connection: Box<Connection>,
    /// What is already known to be wrong.
    pub(super) verdict: Result<(), Cause>,
}

/// Checks that a request is a valid upgrade (RFC 6455, section 4.2.1).
///
/// # Errors
/// The HTTP answer to a request that is not.
#[allow(
    clippy::result_large_err,
    reason = "the error is the answer, and is written at once"
)]
pub fn begin(
    mut request: Request,
    remote: SocketAddr,
    seat: impl FnOnce() -> Option<Seat>,
    gateway: &Arc<Gateway>,
) -> Result<(Accepting, Response<Body>), Response<Body>> {
    let key = request::check(&request)?;
    let accept = derive_accept_key(key.as_bytes());
    let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(request::answer(
            StatusCode::BAD_REQUEST,
            "this connection cannot be upgraded",
        ));
    };
    let seat = seat().ok_or_else(|| {
        request::answer(
            StatusCode::BAD_REQUEST,
            "this connection has been upgraded already",
        )
    })?;
    let (parts, _body) = request.into_parts();
    let session_id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let generation = gateway.generation.load();
    let (route, params) = match generation.routes.find(parts.uri.path()) {
        Some(matched) => (Some(matched.route), matched.params),
        None => (None, Vec::new()),
    };
    let name = route
        .as_ref()
        .map_or_else(|| "".into(), |route| Arc::clone(&route.name));
    let subprotocols = route.as_ref().map_or(&[][..], |route| &route.subprotocols);
    let subprotocol = request::subprotocol(&parts.headers, subprotocols);
    let response = request::switching_protocols(&accept, subprotocol);
    let mut facts = Facts::new(session_id, name, &parts.uri, params, parts.headers, remote);
    let verdict = match &seat.place {
        Some(_) => at_the_door(route.as_deref(), &mut facts),
        None => Err(Cause::Overloaded),
    };
    let accepting = Accepting {
        on_upgrade,
        facts,
        verdict,
        route,
        generation: generation.number,
        seat,
        gateway: Arc::clone(gateway),
    };
    Ok((accepting, response))
}

/// The answer to a request of plain HTTP where TLS is spoken.
#[must_use]
pub fn tls_required() -> Response<Body> {
    let mut refusal = request::answer(
        StatusCode::BAD_REQUEST,
        "this port speaks TLS: connect with wss://",
    );
    let close = HeaderValue::from_static("close");
    refusal.headers_mut().insert(header::CONNECTION, close);
    refusal
}

/// What the host itself asks before any policy is, the cheapest first.
fn at_the_door(route: Option<&Route>, facts: &mut Facts) -> Result<(), Cause> {
    let route = route.ok_or(Cause::NotFound)?;
    // Before attempts are counted: every other way to write a source would be
    // another client.
    let source = match route.handshake {
        HandshakeMode::None => Ok(()),
        HandshakeMode::IngestV1 => facts.normalise_source(),
    };
    if let Some(attempts) = &route.attempts {
        attempts.attempt(facts).map_err(Cause::RateLimited)?;
    }
    // Browsers always send an Origin, and nothing else has to (section 10.2).
    if let Some(origin) = facts.header(header::ORIGIN.as_str(), Credentials::Withheld) {
        let origin = origin.to_ascii_lowercase();
        if !route
            .origins
            .iter()
            .any(|allowed| *allowed == origin || allowed == "*")
        {
            return Err(Cause::OriginDenied);
        }
    }
    source.map_err(|error| Cause::HandshakeInvalid(error.0))
}

/// The stream that the client came back for, if it did. Its policies are asked
/// all the same.
fn comes_back(
    route: Option<&Route>,
    session: &Session,
    gateway: &Gateway,
) -> Result<Option<Returning>, Cause> {
    let speaks = route.is_some_and(|route| route.handshake == HandshakeMode::IngestV1);
    let Some(token) = session.facts.resume().filter(|_| speaks) else {
        return Ok(None);
    };
    let returning = gateway.parking.find(token).ok_or(Cause::ResumeRefused)?;
    session.resumes(returning.stream());
    Ok(Some(returning))
}

impl Accepting {
    /// The span in which everything about this connection is logged. Its level
    /// is the highest, so that a line of any level that is asked for has it.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        tracing::error_span!(
            "connection",
            session_id = &*self.facts.session_id,
            route = &*self.facts.route,
            meeting = self
                .facts
                .param("meeting_id")
                .map(|id| crate::text::clean(&self.facts.presentable(id), 128)),
            user = tracing::field::Empty,
        )
    }

    /// Waits until the 101 is written, and takes the connection over. `None`
    /// where the client was gone before that.
    pub async fn complete(self) -> Option<Accepted> {
        let Self {
            on_upgrade,
            facts,
            verdict,
            route,
            generation,
            seat,
            gateway,
        } = self;
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "the client was gone before its upgrade was answered");
                return None;
            }
        };
        let limits = route.as_ref().map_or_else(
            || Arc::clone(&gateway.default_limits),
            |route| Arc::clone(&route.limits),
        );
        let guard = SessionGuard::new(facts, gateway.registry.clone());
        let mut resuming = None;
        let verdict = verdict.and_then(|()| {
            resuming = comes_back(route.as_deref(), guard.session(), &gateway)?;
            Ok(())
        });
        let connection = Box::new(Connection {
            session: Arc::clone(guard.session()),
            guard: Some(guard),
            place: seat.place,
            wire: Some(Wire::new(upgraded, &limits, seat.socket)),
            route,
            budget: Budget::new(limits.admission_timeout),
            limits,
            gateway,
            story: Story::begin(generation),
            report: None,
            resuming,
            live: Some(Live::begin()),
        });
        Some(Accepted {
            connection,
            verdict,
        })
    }
}
