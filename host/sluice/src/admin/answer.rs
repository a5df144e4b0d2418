//! Answers in JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::schema::Answer;

/// Answer of this run of the gateway.
pub(super) fn json<T: Serialize>(body: T) -> Response {
    Json(Answer::of(body)).into_response()
}
