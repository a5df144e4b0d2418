//! End of sessions at an operator's word.

use std::net::SocketAddr;

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::answer::json;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::orders::{MAX_ID, MAX_REASON, What, end, end_all};
use crate::schema::{self, Closed};
use base::text;
use gateway::revocations::{Owner, Revocation};
use session::registry::unix_ms;

/// Sentence for the client, if the operator gives none.
const NO_REASON: &str = "an operator ended this session";

/// Why a session is ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    reason: Option<String>,
}

/// Whose sessions are ended, why, and until when new ones are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    user: Option<String>,
    tenant: Option<String>,
    reason: Option<String>,
    until: Option<String>,
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
        return json(Closed {
            closed: 1,
            revoked_until: None,
            other_gateways: None,
        });
    }
    let sentence = "no session of this id is live or parked, or it is ending already\n";
    (StatusCode::NOT_FOUND, sentence).into_response()
}

/// Ends all sessions of a user or of a tenant, and refuses new ones until the time that is given.
pub(super) async fn all(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Query(whose): Query<Whose>,
) -> Response {
    let asked = owner(whose.user, whose.tenant);
    let asked = asked.and_then(|owner| Ok((owner, whose.until.as_deref().map(time).transpose()?)));
    let (owner, until_ms) = match asked {
        Ok(asked) => asked,
        Err(sentence) => return (StatusCode::BAD_REQUEST, sentence).into_response(),
    };
    let told = sentence(whose.reason.as_deref());
    // In a task of its own: what has begun is done also if nobody waits for the answer.
    let closing = tokio::spawn(close(admin, by, owner, until_ms, told));
    closing.await.unwrap_or_else(|error| {
        tracing::error!(%error, "sessions are not ended");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

async fn close(
    admin: Admin,
    by: SocketAddr,
    owner: Owner,
    until_ms: Option<u64>,
    told: String,
) -> Response {
    let mut telling = None;
    if let Some(until_ms) = until_ms {
        let since_ms = unix_ms();
        let revocation = Revocation {
            until_ms,
            since_ms,
            reason: told.clone(),
        };
        if let Err(error) = admin.gateway.revocations.add(owner.clone(), revocation) {
            let change = Change {
                by,
                action: "close",
                to: &owner.to_string(),
                reason: &told,
                result: &error.to_string(),
            };
            change.log();
            return (StatusCode::CONFLICT, format!("{error}\n")).into_response();
        }
        let revoked = What::Revoke {
            owner: owner.clone(),
            until_ms,
            since_ms,
            reason: told.clone(),
        };
        // Before anything is waited for, so that no later order is taken for an earlier one.
        telling = Some(admin.order(by, revoked));
    }
    let closed = end_all(&admin.gateway, &owner, &told).await;
    let revoked_until = until_ms.map(schema::time);
    let and = revoked_until.as_ref();
    let and = and.map(|until| format!(", new ones refused until {until}"));
    let change = Change {
        by,
        action: "close",
        to: &owner.to_string(),
        reason: &told,
        result: &format!("{closed} sessions told to end{}", and.unwrap_or_default()),
    };
    change.log();
    let other_gateways = match telling {
        None => None,
        Some(telling) => telling.await,
    };
    json(Closed {
        closed,
        revoked_until,
        other_gateways,
    })
}

/// The user or the tenant that a request is about.
///
/// # Errors
/// What to write instead.
pub(super) fn owner(user: Option<String>, tenant: Option<String>) -> Result<Owner, String> {
    let owner = match (user, tenant) {
        (Some(user), None) => Some((user.clone(), Owner::User(user))),
        (None, Some(tenant)) => Some((tenant.clone(), Owner::Tenant(tenant))),
        (Some(_), Some(_)) | (None, None) => None,
    };
    match owner {
        Some((id, _)) if id.len() > MAX_ID => {
            Err(format!("an ID has {MAX_ID} bytes at the most\n"))
        }
        Some((id, owner)) if !id.is_empty() => Ok(owner),
        _ => Err("say whose: user=ID or tenant=ID, one of the two\n".to_owned()),
    }
}

/// A time to come, in milliseconds since 1970.
fn time(until: &str) -> Result<u64, String> {
    let help = "until=2026-11-27T08:00:00Z";
    let time: jiff::Timestamp = until
        .parse()
        .map_err(|_| format!("`until` is not a time in the form of RFC 3339: write {help}\n"))?;
    let ms = u64::try_from(time.as_millisecond()).unwrap_or_default();
    if ms <= unix_ms() {
        return Err(format!(
            "`until` is in the past: write a time to come, {help}\n"
        ));
    }
    Ok(ms)
}

fn sentence(reason: Option<&str>) -> String {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    text::clean(reason.unwrap_or(NO_REASON), MAX_REASON)
}
