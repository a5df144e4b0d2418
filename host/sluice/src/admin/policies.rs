//! Policies of the generation that serves newcomers, and their quarantine by hand.

use std::net::SocketAddr;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::answer::json;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::orders::What;
use crate::schema::{Policy, PolicyChanged};
use policy::component::ComponentPolicy;

/// All policies.
pub(super) async fn list(State(admin): State<Admin>) -> Response {
    json(admin.policies())
}

/// Puts a policy in quarantine, until it is released.
pub(super) async fn quarantine(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Path(name): Path<String>,
) -> Response {
    let quarantined = |policy: &Policy| What::Quarantine {
        policy: policy.name.clone(),
        digest: policy.digest.clone(),
    };
    let apply = ComponentPolicy::quarantine;
    change(&admin, by, "quarantine", &name, apply, quarantined).await
}

/// Ends the quarantine of a policy, whoever began it.
pub(super) async fn release(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Path(name): Path<String>,
) -> Response {
    let released = |policy: &Policy| What::Release {
        policy: policy.name.clone(),
    };
    let apply = ComponentPolicy::release;
    change(&admin, by, "release", &name, apply, released).await
}

async fn change(
    admin: &Admin,
    by: SocketAddr,
    action: &'static str,
    name: &str,
    apply: fn(&ComponentPolicy),
    order: fn(&Policy) -> What,
) -> Response {
    let changed = {
        let generation = admin.gateway.generation.load();
        let policy = generation.policies.get(name).and_then(Option::as_ref);
        policy.map(|policy| {
            apply(policy);
            Policy::of(name, policy)
        })
    };
    let change = Change {
        by,
        action,
        to: &format!("policy {name}"),
        reason: "",
        result: changed.as_ref().map_or("not found", |policy| &policy.state),
    };
    change.log();
    match changed {
        Some(policy) => json(PolicyChanged {
            other_gateways: admin.order(by, order(&policy)).await,
            policy,
        }),
        None => {
            let sentence = "no policy of this name serves newcomers; GET /policies lists them\n";
            (StatusCode::NOT_FOUND, sentence).into_response()
        }
    }
}
