//! Upstreams of the generation that serves newcomers.

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;

/// All upstreams.
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    json(admin.upstreams())
}
