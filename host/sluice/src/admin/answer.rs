//! Answers in JSON.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::schema::Answer;

/// Keeps answers out of caches: they are of this moment, and name users.
const NO_STORE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Answer of this run of the gateway.
pub(super) fn json<T: Serialize>(body: T) -> Response {
    ([NO_STORE], Json(Answer::of(body))).into_response()
}
