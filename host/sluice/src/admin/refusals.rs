//! The latest refusals.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::Admin;
use super::answer::json;
use crate::schema::{Refusal, Refusals};

/// Which refusals are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Verified or claimed.
    user: Option<String>,
    session: Option<String>,
}

/// The latest refusals that the filters let through.
pub(super) async fn list(State(admin): State<Admin>, Query(wanted): Query<Wanted>) -> Response {
    let latest = admin.gateway.refusals.latest();
    let of_session = latest.iter().filter(|refusal| {
        let session = wanted.session.as_deref();
        session.is_none_or(|session| session == &*refusal.session)
    });
    let refusals = of_session.map(|refusal| Refusal::of(refusal));
    let of_user = refusals.filter(|refusal| {
        let user = wanted.user.as_deref();
        user.is_none_or(|user| refusal.is_of(user))
    });
    json(Refusals {
        refusals: of_user.collect(),
    })
}
