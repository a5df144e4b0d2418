//! What RFC 6455 asks of an upgrade request, and the HTTP answers.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};

/// The version that RFC 6455 defines.
const VERSION: &str = "13";

/// The client's key, where everything that the RFC demands is there.
#[allow(
    clippy::result_large_err,
    reason = "the error is the answer, and is written at once"
)]
pub(super) fn check(request: &Request) -> Result<HeaderValue, Response<Body>> {
    let headers = request.headers();
    if request.method() != Method::GET {
        let mut refusal = answer(
            StatusCode::METHOD_NOT_ALLOWED,
            "a WebSocket upgrade is a GET",
        );
        refusal
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return Err(refusal);
    }
    if request.version() != Version::HTTP_11 {
        return Err(answer(
            StatusCode::BAD_REQUEST,
            "a WebSocket upgrade needs HTTP/1.1",
        ));
    }
    if !has_token(headers, header::CONNECTION, "upgrade")
        || !has_token(headers, header::UPGRADE, "websocket")
    {
        return Err(upgrade_required(
            "this address speaks WebSocket only: connect with a WebSocket client",
        ));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != VERSION)
    {
        return Err(upgrade_required("the WebSocket version must be 13"));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_nonce(key) => Ok(key.clone()),
        (None, _) => Err(answer(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key is missing",
        )),
        _ => Err(answer(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key must be there once, as 16 bytes in Base64",
        )),
    }
}

fn is_nonce(key: &HeaderValue) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(key.as_bytes())
        .is_ok_and(|nonce| nonce.len() == 16)
}

/// Whether a list header has a token, in any case (RFC 9110, section 5.6.1).
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// The answer to a valid upgrade. No extension is ever accepted, and no
/// subprotocol but one that was configured and offered.
pub(super) fn switching_protocols(accept: &str, subprotocol: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    // Base64 and tokens are always valid header values.
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(Ok(subprotocol)) = subprotocol.map(HeaderValue::from_str) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

/// The first subprotocol that the client offers and the route has (section
/// 4.2.2).
pub(super) fn subprotocol<'a>(headers: &HeaderMap, configured: &'a [String]) -> Option<&'a str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|offered| configured.iter().find(|name| *name == offered.trim()))
        .map(String::as_str)
}

fn upgrade_required(message: &'static str) -> Response<Body> {
    let mut refusal = answer(StatusCode::UPGRADE_REQUIRED, message);
    let headers = refusal.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static(VERSION),
    );
    refusal
}

pub(super) fn answer(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
