//! Drain: newcomers are refused at an operator's word, and live streams go on.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::answer::json;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::schema::Draining;
use base::shutdown::Newcomers;

/// Refuses newcomers.
pub(super) async fn drain(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
) -> Response {
    change(&admin, by, "drain", Newcomers::Refused, "refused")
}

/// Takes newcomers again.
pub(super) async fn undrain(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
) -> Response {
    change(&admin, by, "undrain", Newcomers::Taken, "taken")
}

fn change(
    admin: &Admin,
    by: std::net::SocketAddr,
    action: &'static str,
    newcomers: Newcomers,
    result: &str,
) -> Response {
    let shutdown = &admin.gateway.shutdown;
    let stops = shutdown.is_stopping();
    if !stops {
        shutdown.operate(newcomers);
    }
    let change = Change {
        by,
        action,
        to: "newcomers",
        reason: "",
        result: if stops { "the gateway stops" } else { result },
    };
    change.log();
    if stops {
        let sentence = "the gateway stops, and takes no newcomers any more\n";
        return (StatusCode::CONFLICT, sentence).into_response();
    }
    json(Draining {
        draining: shutdown.is_draining(),
    })
}
