//! Upstreams of the generation that serves newcomers.

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;
use crate::schema::{Upstream, Upstreams};

/// All upstreams.
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    let generation = admin.gateway.generation.load();
    json(Upstreams {
        generation: generation.number,
        upstreams: generation.upstreams.iter().map(Upstream::of).collect(),
    })
}
