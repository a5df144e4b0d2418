//! Users and tenants who are refused for a time.

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::answer::json;
use super::close::owner;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::orders::What;
use crate::schema::Lifted;
use gateway::revocations::Revocation;

/// Who may come again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    user: Option<String>,
    tenant: Option<String>,
}

/// Revocations in force.
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    json(admin.revocations())
}

/// Ends one before its time.
pub(super) async fn lift(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Query(whose): Query<Whose>,
) -> Response {
    let owner = match owner(whose.user, whose.tenant) {
        Ok(owner) => owner,
        Err(sentence) => return (StatusCode::BAD_REQUEST, sentence).into_response(),
    };
    let lifted = admin.gateway.revocations.lift(&owner);
    let change = Change {
        by,
        action: "lift",
        to: &owner.to_string(),
        reason: "",
        result: if lifted.is_some() {
            "may come again"
        } else {
            "not found"
        },
    };
    change.log();
    if let Some(Revocation { until_ms, .. }) = lifted {
        return json(Lifted {
            lifted: 1,
            other_gateways: admin.order(by, What::Lift { owner, until_ms }).await,
        });
    }
    let sentence = match admin.reloader.neighbours() {
        Some(neighbours) if !neighbours.knows_orders() => {
            "no revocation of this user or tenant is in force here, but this gateway has not read the \
             orders of the others yet: ask again once it is connected to NATS\n"
        }
        _ => "no revocation of this user or tenant is in force\n",
    };
    (StatusCode::NOT_FOUND, sentence).into_response()
}
