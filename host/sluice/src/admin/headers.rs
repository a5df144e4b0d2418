//! Headers of every answer, which tell a browser to do nothing with it on its own.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// Headers that an answer gets unless its handler has set them. No answer allows another origin to
/// read it (CORS).
const STRICT: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    // Answers are of this moment, and name users.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Adds [`STRICT`] to the answer.
pub(super) async fn strict(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    for (name, value) in STRICT {
        answer.headers_mut().entry(name).or_insert(value);
    }
    answer
}
