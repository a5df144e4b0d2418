//! Admin listener: health, metrics, the state of the gateway, and reloads, for operators only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::reload::Reloader;
use crate::schema::Check;
use gateway::routes::Gateway;
use gateway::server;
use session::registry::unix_ms;

mod answer;
mod close;
mod generations;
mod guard;
mod health;
mod metrics;
mod policies;
mod refusals;
mod reload;
mod sessions;
mod status;
mod upstreams;

use guard::Guard;

/// State of the handlers.
#[derive(Clone)]
struct Admin {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    recorder: PrometheusHandle,
    health: Health,
    /// Time of the start, in milliseconds since 1970.
    started_ms: u64,
}

/// Address of whoever sends the requests of a connection.
#[derive(Debug, Clone, Copy)]
struct Requester(SocketAddr);

impl Admin {
    /// Every check of the readiness.
    fn checks(&self) -> Vec<Check> {
        let missing_keys = self.reloader.missing_keys();
        self.health.checks(&self.gateway, &missing_keys)
    }
}

/// Serves the admin listener until the gateway closes.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    recorder: PrometheusHandle,
    settings: config::Server,
) {
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => {
            tracing::error!(%error, "the admin listener has no address, and is not served");
            return;
        }
    };
    let health = Health::default();
    tokio::spawn(health.clone().watch(Arc::clone(&gateway)));
    let guard = Guard::new(address, &settings.admin_hosts, settings.admin_token.clone());
    let header_timeout = settings.header_timeout;
    let changes = Router::new()
        .route(guard::RELOAD, post(reload::reload))
        .route("/sessions/{id}/close", post(close::one))
        .route("/sessions/close", post(close::all))
        .route_layer(from_fn_with_state(guard.clone(), changing));
    let router = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", get(sessions::one))
        .route("/refusals", get(refusals::list))
        .route("/policies", get(policies::list))
        .route("/upstreams", get(upstreams::list))
        .route("/generations", get(generations::list))
        .route("/status", get(status::status))
        .merge(changes)
        .layer(from_fn_with_state(guard, guarded))
        .with_state(Admin {
            gateway,
            reloader,
            recorder,
            health,
            started_ms: unix_ms(),
        });
    loop {
        let (stream, requester) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                tokio::time::sleep(server::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service =
            TowerToHyperService::new(router.clone().layer(Extension(Requester(requester))));
        let answering = server::http()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = answering.await {
                tracing::debug!(%error, "an admin connection ended");
            }
        });
    }
}

/// Makes the changes that [`Guard`] allows.
async fn changing(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check_change(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Answers the requests that [`Guard`] allows.
async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}
