//! Health: for whoever restarts the gateway, and for whoever sends clients to it.

use axum::extract::State;
use axum::http::StatusCode;

use super::Admin;

/// Liveness: the process runs.
pub(super) async fn livez() -> &'static str {
    "live\n"
}

/// Readiness: clients may connect here. Policies are loaded and listeners bound before this
/// listener answers at all, so only the shutdown is left to check.
pub(super) async fn readyz(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.gateway.shutdown.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
