//! What a reload would change.

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;

/// Compares the configuration as it is written now with the one that serves.
pub(super) async fn diff(State(admin): State<Admin>) -> Response {
    json(admin.reloader.preview().await)
}
