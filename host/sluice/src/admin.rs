//! Admin listener: health, metrics and reloads, for operators only.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;

use crate::reload::{ReloadError, Reloaded, Reloader, Trigger};
use base::metrics;
use gateway::routes::Gateway;
use gateway::server;

mod guard;

use guard::Guard;

/// Content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// State of the handlers.
#[derive(Clone)]
struct Admin {
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    recorder: PrometheusHandle,
}

/// Serves the admin listener until the gateway closes.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    reloader: Arc<Reloader>,
    recorder: PrometheusHandle,
    hosts: Vec<String>,
    header_timeout: Duration,
) {
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => {
            tracing::error!(%error, "the admin listener has no address, and is not served");
            return;
        }
    };
    let guard = Guard::new(address, &hosts);
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .route("/reload", post(reload))
        .layer(from_fn_with_state(guard, guarded))
        .with_state(Admin {
            gateway,
            reloader,
            recorder,
        });
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                tokio::time::sleep(server::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
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

/// Liveness: the process runs.
async fn livez() -> &'static str {
    "live\n"
}

/// Readiness: clients may connect here. Policies are loaded and listeners bound before this
/// listener answers at all, so only the shutdown is left to check.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.gateway.shutdown.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn show_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let Gateway {
        registry, permits, ..
    } = &*admin.gateway;
    metrics::held(
        registry.len(),
        admin.reloader.instances(),
        permits.memory.held(),
    );
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        admin.recorder.render(),
    )
}

/// Answers the requests that [`Guard`] allows.
async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Reloads the configuration.
async fn reload(State(admin): State<Admin>) -> Response {
    // In its own task, so that a reload is complete even if the requester hangs up.
    let reloading = tokio::spawn(async move { admin.reloader.reload(Trigger::Request).await });
    match reloading.await {
        Ok(Ok(Reloaded {
            generation,
            needs_restart,
        })) => {
            let answer = json!({"generation": generation, "needs_restart": needs_restart});
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, format!("{answer}\n")).into_response()
        }
        Ok(Err(error @ ReloadError::Mistakes(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response()
        }
        Ok(Err(ReloadError::Panicked(error))) | Err(error) => {
            tracing::error!(%error, "a reload panicked");
            let answer = "the reload failed by a bug; the log says more\n";
            (StatusCode::INTERNAL_SERVER_ERROR, answer).into_response()
        }
    }
}
