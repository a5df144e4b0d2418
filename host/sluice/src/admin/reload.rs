//! Reload of the configuration.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Admin;
use crate::reload::{ReloadError, Reloaded, Trigger};

/// Reloads the configuration.
pub(super) async fn reload(State(admin): State<Admin>) -> Response {
    // In its own task, so that a reload is complete even if the requester hangs up.
    let reloading = tokio::spawn(async move { admin.reloader.reload(Trigger::Request).await });
    match reloading.await {
        Ok(Ok(Reloaded {
            generation,
            needs_restart,
        })) => {
            let answer = json!({"generation": generation, "needs_restart": needs_restart});
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, format!("{answer}\n")).into_response()
        }
        Ok(Err(error @ ReloadError::Mistakes(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response()
        }
        Ok(Err(ReloadError::Panicked(error))) | Err(error) => {
            tracing::error!(%error, "a reload panicked");
            let answer = "the reload failed by a bug; the log says more\n";
            (StatusCode::INTERNAL_SERVER_ERROR, answer).into_response()
        }
    }
}
