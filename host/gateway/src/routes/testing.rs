//! A gateway in memory, for tests of what takes long: over streams that no
//! kernel is behind, with paused time.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "for tests alone"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Defects, Gateway, Generation, Policies, Route, Routes};
use crate::parking::Parking;
use crate::refusals::Refusals;
use crate::revocations::Revocations;
use crate::server;
use crate::socket::accept::Arrival;
use base::limits::{Limits, Metering};
use base::permits::Permits;
use base::shutdown::Shutdown;
use policy::Chain;
use session::handshake::HandshakeMode;
use session::origin::{Origins, Security};
use session::registry::Registry;
use upstream::Upstream;
use wire::proxies::Proxies;

/// A valid upgrade.
pub fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A route `/stream` without a handshake and without policies.
pub fn routes(before: &Routes, limits: Limits, upstream: impl Upstream + 'static) -> Routes {
    let route = Route {
        name: "stream".into(),
        handshake: HandshakeMode::None,
        on_connect: Chain::default(),
        on_handshake: Chain::default(),
        on_frames: Chain::default(),
        on_close: Chain::default(),
        identified_by: Arc::default(),
        renews: false,
        metering: Metering::default(),
        upstream: Arc::new(upstream),
        limits: Arc::new(limits),
        origins: Origins::default(),
        subprotocols: Vec::new(),
        attempts: None,
    };
    let mut routes = Routes::after(before);
    routes
        .insert("/stream", Arc::new(route))
        .expect("the only path");
    routes
}

pub fn generation(number: u64, routes: Routes) -> Arc<Generation> {
    Arc::new(Generation {
        number,
        routes,
        upstreams: Vec::new(),
        folders: BTreeSet::new(),
        policies: Policies::default(),
    })
}

/// Serves these routes to ten connections at once.
pub fn gateway(routes: Routes, default_limits: Limits) -> Arc<Gateway> {
    Arc::new(Gateway {
        generation: generation(1, routes).into(),
        default_limits: Arc::new(default_limits),
        permits: Permits::new(10, 0),
        proxies: Proxies::default(),
        registry: Registry::default(),
        connections: Arc::default(),
        refusals: Refusals::default(),
        revocations: Revocations::default(),
        tracer: std::sync::OnceLock::new(),
        parking: Parking::new(0, 0),
        tasks: TaskTracker::new(),
        shutdown: Shutdown::default(),
        defects: Defects::default(),
    })
}

/// Connects a client by any byte stream, as the listener does.
pub async fn connect<I>(gateway: &Arc<Gateway>, io: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let permit = gateway.permits.grant(gateway.permits.socket().await);
    let arrival = Arrival {
        remote: ([127, 0, 0, 1], 9).into(),
        security: Security::Plain,
        certificate: None,
    };
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    let http = server::speak_http(io, arrival, permit, Arc::clone(gateway), deadline);
    gateway.tasks.spawn(http);
}
