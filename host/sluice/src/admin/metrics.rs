//! Metrics, in the text format of Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Admin;
use base::metrics;
use gateway::routes::Gateway;

/// Content type of the format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric.
pub(super) async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
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
