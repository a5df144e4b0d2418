//! What has changed since the start.

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;
use crate::schema::Generations;

/// The start and the latest reloads.
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    json(Generations {
        generations: admin.reloader.history(),
    })
}
