//! Admin listener: health, metrics, the state of the gateway, and changes, for operators only. The
//! probe listener offers health and metrics alone.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;

use crate::console;
use crate::credentials::ListenerCredentials;
use ::config::Server;

mod answer;
mod close;
mod config;
mod decisions;
mod drain;
mod generations;
mod guard;
mod headers;
mod health;
mod listener;
mod metrics;
mod policies;
mod range;
mod recordings;
mod refusals;
mod reload;
mod revocations;
mod sessions;
mod shares;
mod status;
mod trial;
mod upstreams;

pub use crate::admin_state::Admin;
use crate::admin_state::{MayOperate, StillAllowed};
use guard::{Guard, Need};

/// Address of whoever sends the requests of a connection.
#[derive(Debug, Clone, Copy)]
struct Requester(SocketAddr);

/// Sockets of the admin listener and the probe listener.
pub struct AdminListeners {
    /// For operators.
    pub admin: Option<TcpListener>,
    /// For a kubelet and Prometheus.
    pub probes: Option<TcpListener>,
}

impl AdminListeners {
    /// Says in the log where they listen.
    ///
    /// # Errors
    /// If a socket has no address.
    pub fn log(&self) -> std::io::Result<()> {
        if let Some(admin) = &self.admin {
            tracing::info!(address = %admin.local_addr()?, "admin listening");
        }
        if let Some(probes) = &self.probes {
            tracing::info!(address = %probes.local_addr()?, "probes listening");
        }
        Ok(())
    }
}

/// Serves the listeners, in tasks of their own, until the process ends.
pub fn serve(
    listeners: AdminListeners,
    admin: &Admin,
    settings: &Server,
    credentials: &ListenerCredentials,
) {
    let AdminListeners {
        admin: for_operators,
        probes,
    } = listeners;
    if for_operators.is_none() && probes.is_none() {
        return;
    }
    tokio::spawn(admin.watch());
    let timeout = settings.header_timeout;
    let guard = |address: SocketAddr| {
        let tokens = Arc::clone(&credentials.admin_tokens);
        Guard::new(address, &settings.admin.hosts, tokens)
    };
    for (socket, tls, routes) in [
        (
            for_operators,
            credentials.admin.clone(),
            operators as Routes,
        ),
        (probes, None, for_probes as Routes),
    ] {
        let Some(socket) = socket else { continue };
        match socket.local_addr() {
            Ok(address) => {
                let guard = guard(address);
                let router = routes(&guard)
                    .layer(from_fn_with_state(guard, guarded))
                    .layer(from_fn(headers::strict))
                    .with_state(admin.clone());
                let shutdown = admin.gateway.shutdown.clone();
                let serving = listener::serve(socket, tls, router, timeout);
                tokio::spawn(async move {
                    tokio::select! {
                        () = shutdown.handed_over() => {}
                        () = serving => {}
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "an admin listener has no address, and is not served");
            }
        }
    }
}

/// Routes of a listener that this guard protects.
type Routes = fn(&Guard) -> Router<Admin>;

/// Routes of the admin listener.
fn operators(guard: &Guard) -> Router<Admin> {
    let of = |need: Need, routes: &[(&str, MethodRouter<Admin>)]| {
        let routes = routes.iter().fold(Router::new(), |router, (path, route)| {
            router.route(path, route.clone())
        });
        routes.route_layer(from_fn_with_state((guard.clone(), need), allowed))
    };
    let reads = of(
        Need::Read,
        &[
            ("/readyz", get(health::readyz)),
            ("/metrics", get(metrics::metrics)),
            ("/sessions", get(sessions::list)),
            ("/sessions/{id}", get(sessions::one)),
            ("/refusals", get(refusals::list)),
            ("/revocations", get(revocations::list)),
            ("/policies", get(policies::list)),
            ("/upstreams", get(upstreams::list)),
            ("/generations", get(generations::list)),
            ("/config/diff", get(config::diff)),
            ("/status", get(status::status)),
            ("/console/feed", get(console::feed)),
        ],
    );
    let changes = of(
        Need::Operate,
        &[
            ("/sessions/{id}/close", post(close::one)),
            ("/sessions/close", post(close::all)),
            ("/sessions/{id}/decisions", get(decisions::of_session)),
            ("/revocations/lift", post(revocations::lift)),
            ("/recordings", get(recordings::list)),
            (
                "/recordings/{*path}",
                get(recordings::audio).delete(recordings::delete),
            ),
            ("/console/tickets", post(trial::ticket)),
            ("/drain", post(drain::drain)),
            ("/undrain", post(drain::undrain)),
            ("/policies/{name}/quarantine", post(policies::quarantine)),
            ("/policies/{name}/release", post(policies::release)),
        ],
    );
    let reload = of(Need::Reload, &[("/reload", post(reload::reload))]);
    Router::new()
        .route("/livez", get(health::livez))
        .merge(console::page())
        // A browser's WebSocket sends no token: it has a ticket.
        .route("/console/try/{ticket}/{*path}", get(trial::connect))
        .merge(reads)
        .merge(changes)
        .merge(reload)
}

/// Routes of the probe listener, for whoever can reach it.
fn for_probes(_: &Guard) -> Router<Admin> {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
}

/// Answers the requests that [`Guard::allow`] allows.
async fn allowed(
    State((guard, need)): State<(Guard, Need)>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(refusal) = guard.allow(need, request.headers()) {
        return refusal.into_response();
    }
    let headers = request.headers().clone();
    let asking = (guard.clone(), headers.clone());
    let operates = Arc::new(move || asking.0.allow(Need::Operate, &asking.1).is_ok());
    request.extensions_mut().insert(MayOperate(operates));
    let still = Arc::new(move || guard.allow(need, &headers).is_ok());
    request.extensions_mut().insert(StillAllowed(still));
    next.run(request).await
}

/// Answers the requests that [`Guard::check`] allows.
async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}
