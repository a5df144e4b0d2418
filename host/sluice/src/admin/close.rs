//! End of sessions at an operator's word.

use std::fmt;
use std::ops::ControlFlow;

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::answer::json;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::schema::Closed;
use base::text;
use gateway::connections::{LiveConnection, Stage};

/// Maximum length of the sentence for the client, in bytes.
const MAX_REASON: usize = 512;
/// Sentence for the client, if the operator gives none.
const NO_REASON: &str = "an operator ended this session";

/// Why a session is ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    reason: Option<String>,
}

/// Whose sessions are ended, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    user: Option<String>,
    tenant: Option<String>,
    reason: Option<String>,
}

/// Whose sessions are ended.
enum Owner {
    User(String),
    Tenant(String),
}

impl Owner {
    /// Whether a policy has verified that the connection is theirs.
    fn has(&self, live: &LiveConnection) -> bool {
        match self {
            Self::User(user) => live.is_of_user(user),
            Self::Tenant(tenant) => live.is_of_tenant(tenant),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
        }
    }
}

/// Ends one session.
pub(super) async fn one(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Path(id): Path<String>,
    Query(because): Query<Because>,
) -> Response {
    let told = sentence(because.reason.as_deref());
    let found = admin.gateway.connections.get(&id);
    let closed = found.is_some_and(|live| end(&live, &told));
    let result = if closed { "told to end" } else { "not found" };
    let change = Change {
        by,
        action: "close",
        to: &format!("session {id}"),
        reason: &told,
        result,
    };
    change.log();
    if closed {
        return json(Closed { closed: 1 });
    }
    let sentence = "no session of this id is live or parked, or it is ending already\n";
    (StatusCode::NOT_FOUND, sentence).into_response()
}

/// Ends all sessions of a user or of a tenant.
pub(super) async fn all(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Query(whose): Query<Whose>,
) -> Response {
    let owner = match (whose.user, whose.tenant) {
        (Some(user), None) => Owner::User(user),
        (None, Some(tenant)) => Owner::Tenant(tenant),
        (Some(_), Some(_)) | (None, None) => {
            let sentence = "say whose: user=ID or tenant=ID, one of the two\n";
            return (StatusCode::BAD_REQUEST, sentence).into_response();
        }
    };
    let told = sentence(whose.reason.as_deref());
    let mut closed = 0;
    let closing = admin.gateway.connections.visit("", |live| {
        closed += u64::from(owner.has(live) && end(live, &told));
        ControlFlow::Continue(())
    });
    closing.await;
    let change = Change {
        by,
        action: "close",
        to: &owner.to_string(),
        reason: &told,
        result: &format!("{closed} sessions told to end"),
    };
    change.log();
    json(Closed { closed })
}

fn sentence(reason: Option<&str>) -> String {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    text::clean(reason.unwrap_or(NO_REASON), MAX_REASON)
}

/// Ends a session, unless it is ending already. Says whether it did.
fn end(live: &LiveConnection, told: &str) -> bool {
    if matches!(live.stage(), Stage::Seal | Stage::Close) || live.session().is_evicted() {
        return false;
    }
    live.session().end(told);
    true
}
