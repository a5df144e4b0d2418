//! Health: for whoever restarts the gateway, and for whoever sends clients to it.

use std::fmt::Write as _;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Admin;
use crate::schema::Check;

/// How much is to be said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// With any value, every check.
    verbose: Option<String>,
}

/// Liveness: the process runs. It depends on nothing else, because a restart would help nobody
/// whose backend or disk is gone.
pub(super) async fn livez() -> &'static str {
    "live\n"
}

/// Readiness: clients may be sent here. Policies are loaded and listeners bound before this
/// listener answers at all.
pub(super) async fn readyz(
    State(admin): State<Admin>,
    Query(wanted): Query<Wanted>,
) -> (StatusCode, String) {
    let checks = admin.checks();
    let failed = checks
        .iter()
        .filter_map(|check| Some((check, check.reason.as_deref()?)));
    let failed: Vec<_> = failed.collect();
    let (status, mut text) = match &*failed {
        [] => (StatusCode::OK, "ready\n".to_owned()),
        _ if admin.gateway.shutdown.is_draining() => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
        [(check, reason), ..] => {
            let text = format!("not ready: {}: {reason}\n", check.name);
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    };
    if wanted.verbose.is_some() {
        for Check { name, reason } in &checks {
            // Writing to a String cannot fail.
            let _ = match reason {
                None => writeln!(text, "ok {name}"),
                Some(reason) => writeln!(text, "failed {name}: {reason}"),
            };
        }
    }
    (status, text)
}
