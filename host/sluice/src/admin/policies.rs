//! Policies of the generation that serves newcomers.

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;
use crate::schema::{Policies, Policy};

/// All policies.
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    let generation = admin.gateway.generation.load();
    let policies = generation.policies.iter();
    let loaded = policies.filter_map(|(name, policy)| Some(Policy::of(name, policy.as_ref()?)));
    json(Policies {
        generation: generation.number,
        policies: loaded.collect(),
    })
}
