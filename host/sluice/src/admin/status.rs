//! The gateway as a whole.

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;

/// The gateway as a whole.
pub(super) async fn status(State(admin): State<Admin>) -> Response {
    json(admin.status().await)
}
