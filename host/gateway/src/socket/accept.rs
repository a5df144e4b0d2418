//! Accept: an HTTP request that is a valid upgrade becomes a connection.
//!
//! Whatever is wrong with a *valid* upgrade is said after the 101, where the
//! client can read it. Only a request that is no upgrade gets an HTTP answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderName, header};
use bytes::BytesMut;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::cause::Cause;
use super::connection::{Budget, Connection};
use super::connection_log::ConnectionLog;
use super::open_socket::Parts;
use super::resume;
use super::wire::{Transport, Wire};
use crate::connections::Beginning;
use crate::parking::{Found, Returning, Sought};
use crate::routes::{Gateway, Route};
use base::limits::Limits;
use base::metrics::Live;
use base::permits::{ConnectionPermit, ShareHolder, network};
use base::tls::peer::ClientCertificate;
use session::facts::{Facts, Headers};
use session::handshake::HandshakeMode;
use session::origin::Security;
use session::registry::{Session, SessionGuard};
use traces::trace::Trace;
use wire::http1::{Answer, Head};

mod request;

/// Header with the span of the client (W3C Trace Context).
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where a request came from.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The peer's address.
    pub remote: SocketAddr,
    /// How it is spoken to.
    pub security: Security,
    /// The certificate that the client has shown.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A valid upgrade, whose 101 is still to be written.
pub struct Accepting {
    facts: Facts,
    verdict: Result<Arc<Route>, Cause>,
    limits: Arc<Limits>,
    generation: u64,
    gateway: Arc<Gateway>,
    trace: Option<Box<Trace>>,
    response: Vec<u8>,
}

/// A connection whose 101 has been written.
pub struct Accepted {
    pub(super) connection: Connection,
    /// Where the connection goes, unless the request itself is wrong.
    pub(super) entry: Result<Entry, Cause>,
}

/// What a valid request asks for.
pub(super) struct Entry {
    pub(super) route: Arc<Route>,
    /// The stream that the client wants to resume.
    pub(super) returning: Comeback,
}

/// Stream that a client wants to resume.
pub(super) enum Comeback {
    /// It wants none.
    None,
    /// It is here.
    Here(Returning),
    /// It may be at another gateway.
    Sought(Sought),
    /// It is, or was, at another gateway.
    Elsewhere(Box<Found>),
}

impl Comeback {
    /// Whether the client is a newcomer.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Checks that a request is a valid upgrade (RFC 6455, section 4.2.1), and
/// decides what can be decided of it at the door.
///
/// # Errors
/// The answer to a request that is none.
pub fn begin(
    head: &Head<'_>,
    arrival: &Arrival,
    permit: &ConnectionPermit,
    gateway: &Arc<Gateway>,
) -> Result<Accepting, Answer> {
    let upgrade = request::check(head)?;
    let generation = gateway.generation.load();
    let (route, params) = match generation.routes.find(head.uri.path()) {
        Some(matched) => (Some(matched.route), matched.params),
        None => (None, Vec::new()),
    };
    let subprotocols = route.as_ref().map_or(&[][..], |route| &route.subprotocols);
    let subprotocol = request::subprotocol(head, subprotocols);
    let accept = derive_accept_key(upgrade.key);
    let response = request::switching_protocols(&accept, subprotocol);
    let session_id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let name = route.as_ref().map(|route| Arc::clone(&route.name));
    let name = name.unwrap_or_else(|| "".into());
    let field = gateway.proxies.field.name();
    let lines = head.values(&field);
    let remote = gateway.proxies.client(arrival.remote, lines);
    // What a client is refused for without a look at what it sent is decided
    // before anything is made of that.
    let welcome = match (permit.has_place(), &route) {
        (false, _) => Err(Cause::Overloaded),
        (_, None) => Err(Cause::NotFound),
        (true, Some(route)) => request::check_size(head).map(|()| Arc::clone(route)),
    };
    let (facts, verdict) = match welcome {
        Ok(route) => {
            let (uri, headers) = (&head.uri, Headers::of(head, arrival.certificate.as_deref()));
            let mut facts = Facts::new(session_id, name, uri, params, headers, remote);
            let checked = at_the_door(&route, &mut facts, upgrade.host, arrival.security);
            (facts, checked.map(|()| route))
        }
        Err(cause) => {
            let facts = Facts::without_request(session_id, name, params, remote);
            (facts, Err(cause))
        }
    };
    let limits = route.map_or_else(
        || Arc::clone(&gateway.default_limits),
        |route| Arc::clone(&route.limits),
    );
    let trace = gateway.tracer.get().and_then(|tracer| {
        let mut parents = head.values(&TRACEPARENT);
        // Two of them are none.
        let parent = parents.next().filter(|_| parents.next().is_none());
        tracer.begin(parent)
    });
    Ok(Accepting {
        facts,
        verdict,
        limits,
        generation: generation.number,
        gateway: Arc::clone(gateway),
        trace: trace.map(Box::new),
        response,
    })
}

/// What the host itself asks before any policy is, the cheapest first.
fn at_the_door(
    route: &Route,
    facts: &mut Facts,
    host: &str,
    security: Security,
) -> Result<(), Cause> {
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
    let origins = facts.header_lines(&header::ORIGIN);
    if !route.origins.allow(origins, host, security) {
        return Err(Cause::OriginDenied);
    }
    source.map_err(|error| Cause::HandshakeInvalid(error.0))
}

/// The stream that the client wants to resume, if it asks for one. The policies of the route are
/// asked all the same.
fn comes_back(route: &Route, session: &Session, gateway: &Gateway) -> Result<Comeback, Cause> {
    let speaks = route.handshake == HandshakeMode::IngestV1;
    let Some(token) = session.facts.resume().filter(|_| speaks) else {
        return Ok(Comeback::None);
    };
    if let Some(returning) = gateway.parking.find(&token) {
        session.resumes(returning.stream());
        return Ok(Comeback::Here(returning));
    }
    let sought = gateway.parking.seek(&token);
    let sought = sought.ok_or_else(|| resume::not_there(gateway))?;
    Ok(Comeback::Sought(sought))
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
            client = %self.facts.remote.ip(),
            meeting = self
                .facts
                .param("meeting_id")
                .map(|id| base::text::clean(&self.facts.presentable(id), 128)),
            user = tracing::field::Empty,
        )
    }

    /// The 101.
    #[must_use]
    pub fn response(&self) -> &[u8] {
        &self.response
    }

    /// Takes the connection over, once the 101 is written. `received` came
    /// behind the request.
    #[must_use]
    pub fn complete(
        self: Box<Self>,
        io: Box<dyn Transport>,
        received: BytesMut,
        permit: ConnectionPermit,
    ) -> Box<Accepted> {
        let Self {
            mut facts,
            verdict,
            limits,
            generation,
            gateway,
            trace,
            response: _,
        } = *self;
        if verdict.is_err() {
            facts.forget_request();
        }
        let route = verdict.as_ref().ok();
        let identified_by = route.map(|route| Arc::clone(&route.identified_by));
        let identified_by = identified_by.unwrap_or_default();
        let address = ShareHolder::Address(network(facts.remote.ip()));
        let charge = gateway.permits.memory.charge(address);
        let claims = SessionGuard::new(facts, gateway.registry.clone());
        let entry = verdict.and_then(|route| {
            let returning = comes_back(&route, claims.session(), &gateway)?;
            Ok(Entry { route, returning })
        });
        let live = gateway.connections.begin(Beginning {
            session: Arc::clone(claims.session()),
            generation,
            identified_by,
            trace,
        });
        let parts = Box::new(Parts {
            wire: Wire::new(io, received, &limits, charge, permit.socket),
            session: Arc::clone(claims.session()),
            limits: Arc::clone(&limits),
            gateway,
            log: ConnectionLog::begin(live),
            report: None,
            live: Live::begin(),
        });
        let connection = Connection {
            claims,
            place: permit.place,
            shares: Vec::new(),
            budget: Budget::new(limits.admission_timeout),
            socket: parts.guarded(),
        };
        Box::new(Accepted { connection, entry })
    }
}
