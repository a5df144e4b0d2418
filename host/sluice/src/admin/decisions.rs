//! Decisions about one session, as the decision record has them: what the policies saw and were
//! answered. They have claims of tokens, so whoever reads them needs the token of those who operate.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::answer::json;
use crate::recorded;
use crate::schema::RecordedDecisions;
use base::blocking::LOADING;

/// The decisions about a session, in their order.
pub(super) async fn of_session(
    State(admin): State<Admin>,
    Path(session): Path<String>,
) -> Response {
    let Some(file) = admin.reloader.decision_record() else {
        return json(RecordedDecisions::default());
    };
    let Ok(_place) = admin.readers.clone().try_acquire_owned() else {
        let sentence = "too many are reading the record or recordings: try again in a moment\n";
        return (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
    };
    let reading = LOADING.run(move || {
        // The first decision makes the file.
        if !file.try_exists()? {
            return Ok(Vec::new());
        }
        let mut lines = recorded::about(&session, &file)?.lines;
        // Those of a user who is called like a session are another matter.
        lines.retain(|line| line.session == session);
        anyhow::Ok(lines)
    });
    match reading.await.map_err(anyhow::Error::from).flatten() {
        Ok(decisions) => json(RecordedDecisions {
            recorded: true,
            decisions,
        }),
        Err(error) => {
            let sentence = format!("the decision record cannot be read: {error:#}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, sentence).into_response()
        }
    }
}
