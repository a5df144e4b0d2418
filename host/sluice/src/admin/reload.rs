//! Reload of the configuration.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::answer::json;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::reload::{ReloadError, Reloaded, Trigger};
use crate::schema;

/// Reloads the configuration.
pub(super) async fn reload(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
) -> Response {
    // In its own task, so that a reload is complete even if the requester hangs up.
    let reloading = tokio::spawn(async move {
        let reloaded = admin.reloader.reload(Trigger::Request).await;
        let change = Change {
            by,
            action: "reload",
            to: "configuration",
            reason: "",
            result: &match &reloaded {
                Ok(reloaded) => format!("swapped, generation {}", reloaded.generation),
                Err(_) => "refused, nothing has changed".to_owned(),
            },
        };
        change.log();
        reloaded
    });
    match reloading.await {
        Ok(Ok(Reloaded {
            generation,
            needs_restart,
            ..
        })) => json(schema::Reloaded {
            generation,
            needs_restart: needs_restart.into_iter().map(str::to_owned).collect(),
        }),
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
