//! What RFC 6455 asks of an upgrade request, and the answers to what is none.

use axum::http::{Method, StatusCode, header};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use crate::socket::cause::Cause;
use session::facts;
use wire::http1::{Answer, Body, Head, HeadError};

/// Bytes of the largest head that is admitted. Tokens are a few KiB at the most.
const MAX_ADMITTED_HEAD: usize = 32 * 1024;
/// Headers of a request that is admitted, and parameters of its query: whoever asks for one looks
/// through all of them.
const MAX_HEADERS: usize = 128;
const MAX_PARAMETERS: usize = 128;

/// Takes a nonce whose last character has stray bits, as that of RFC 6455, section 1.3, has.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A valid upgrade.
pub(super) struct Upgrade<'a> {
    /// The client's nonce, as it wrote it.
    pub(super) key: &'a [u8],
    /// The host and port that it asks.
    pub(super) host: &'a str,
}

/// Checks that a request is a valid upgrade (RFC 6455, section 4.2.1).
pub(super) fn check<'a>(head: &'a Head<'_>) -> Result<Upgrade<'a>, Answer> {
    let host = head.host()?;
    let body = head.body()?;
    if head.method != Method::GET.as_str() {
        return Err(Answer {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: "a WebSocket upgrade is a GET",
            headers: &[("allow", "GET")],
        });
    }
    if !head.uri.path().starts_with('/') {
        return Err(HeadError::Malformed.into());
    }
    if head.minor_version != 1 {
        return Err(Answer::bad_request("a WebSocket upgrade needs HTTP/1.1"));
    }
    if !head.lists(&header::CONNECTION, "upgrade") || !head.lists(&header::UPGRADE, "websocket") {
        return Err(upgrade_required(
            "this address speaks WebSocket only: connect with a WebSocket client",
        ));
    }
    let mut versions = head.values(&header::SEC_WEBSOCKET_VERSION);
    if versions.next() != Some(b"13") {
        return Err(upgrade_required("the WebSocket version must be 13"));
    }
    // It would be read as frames.
    if body == Body::Some {
        return Err(Answer::bad_request("a WebSocket upgrade has no body"));
    }
    if head.values(&header::EXPECT).next().is_some() {
        return Err(Answer::bad_request(
            "a WebSocket upgrade has no body, so it can expect nothing before it: leave Expect out",
        ));
    }
    let mut keys = head.values(&header::SEC_WEBSOCKET_KEY);
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_nonce(key) => Ok(Upgrade { key, host }),
        (None, _) => Err(Answer::bad_request("Sec-WebSocket-Key is missing")),
        _ => Err(Answer::bad_request(
            "Sec-WebSocket-Key must be there once, as 16 bytes in Base64",
        )),
    }
}

fn is_nonce(key: &[u8]) -> bool {
    BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// Refuses an upgrade that is valid and larger than will be kept and looked through.
pub(super) fn check_size(head: &Head<'_>) -> Result<(), Cause> {
    let query = head.uri.query().unwrap_or_default();
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let too_many = if head.size > MAX_ADMITTED_HEAD {
        format!("the request's head is larger than {MAX_ADMITTED_HEAD} bytes")
    } else if head.fields().len() > MAX_HEADERS {
        format!("the request has more than {MAX_HEADERS} headers")
    } else if parameters.count() > MAX_PARAMETERS {
        format!("the query has more than {MAX_PARAMETERS} parameters")
    } else {
        return Ok(());
    };
    Err(Cause::HandshakeInvalid(too_many))
}

/// The answer to a valid upgrade. No extension is ever accepted.
pub(super) fn switching_protocols(accept: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        text += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

/// The first subprotocol that the client offers and the route has (section 4.2.2). A token is never
/// agreed on; who offers one may offer `sluice` beside it, for a route that has none of its own.
pub(super) fn subprotocol<'a>(head: &Head<'_>, configured: &'a [String]) -> Option<&'a str> {
    let offered = || head.list(&header::SEC_WEBSOCKET_PROTOCOL);
    let configured = offered().find_map(|offer| configured.iter().find(|name| *name == offer));
    if let Some(name) = configured {
        return Some(name);
    }
    let is_companion = offered().any(facts::is_entry) && offered().any(|it| it == facts::COMPANION);
    is_companion.then_some(facts::COMPANION)
}

fn upgrade_required(message: &'static str) -> Answer {
    Answer {
        status: StatusCode::UPGRADE_REQUIRED,
        message,
        headers: &[("upgrade", "websocket"), ("sec-websocket-version", "13")],
    }
}
