//! Upgrade request to a backend, and its answer.
//!
//! The request is new. Only the parts of the client's own request that the configuration names are
//! in it. So a client cannot claim an identity with its own headers, and its credentials do not
//! leak to the backend.

use anyhow::{Context as _, bail, ensure};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::{Buf as _, BytesMut};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_key};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;

use super::transport::BackendTransport;
use super::{TokenForwarding, WebSocket, header_word};
use crate::link::StreamInfo;
use session::facts::{Credentials, Facts};
use traces::parent::Parent;
use wire::headers;

/// Maximum length of an answer to an upgrade, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Maximum number of interim answers (`100 Continue`, `103 Early Hints`) before the answer.
const MAX_INTERIM: usize = 8;
/// Prefix of the gateway's own headers.
const OURS: &str = "x-sluice-";
/// Characters of an attribute that are percent-encoded in a header.
const NOT_IN_HEADERS: &AsciiSet = &CONTROLS.add(b'%');

/// Error: a backend answered an upgrade with another status.
#[derive(Debug, thiserror::Error)]
#[error("it answered HTTP {0}")]
pub(super) struct Answered(pub(super) StatusCode);

/// Upgrade request.
pub(super) struct UpgradeRequest {
    key: String,
    head: Vec<u8>,
}

impl UpgradeRequest {
    pub(super) fn new(backend: &WebSocket, target: &str, stream: &StreamInfo) -> Self {
        let key = generate_key();
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            backend.url.authority()
        )
        .into_bytes();
        for (name, value) in &chosen(backend, stream) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Self { key, head }
    }

    /// Sends the request and reads the answer. Returns the bytes behind it.
    ///
    /// # Errors
    /// If the answer is no valid 101 (RFC 6455, section 4.1).
    pub(super) async fn upgrade(
        self,
        transport: &mut BackendTransport,
    ) -> anyhow::Result<BytesMut> {
        transport.write_all(&self.head).await?;
        transport.flush().await?;
        let mut received = BytesMut::new();
        let mut interim = 0;
        let (length, response) = loop {
            let parsed = Response::try_parse(&received).context("its answer is not HTTP")?;
            match parsed {
                Some((length, response)) if is_interim(response.status()) => {
                    interim += 1;
                    ensure!(
                        interim <= MAX_INTERIM,
                        "it sent more than {MAX_INTERIM} interim answers"
                    );
                    received.advance(length);
                    continue;
                }
                Some(parsed) => break parsed,
                None => {}
            }
            ensure!(
                received.len() < MAX_HEAD,
                "its answer has no end in {MAX_HEAD} bytes"
            );
            let read = transport.read_buf(&mut received).await?;
            ensure!(read > 0, "it hung up instead of an answer");
        };
        self.check(&response)?;
        received.advance(length);
        Ok(received)
    }

    fn check(&self, response: &Response) -> anyhow::Result<()> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            bail!(Answered(response.status()));
        }
        let headers = response.headers();
        let lines = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        ensure!(
            headers::has_token(lines(header::UPGRADE), "websocket"),
            "its 101 has no Upgrade: websocket"
        );
        ensure!(
            headers::has_token(lines(header::CONNECTION), "upgrade"),
            "its 101 has no Connection: Upgrade"
        );
        let accept = derive_accept_key(self.key.as_bytes());
        ensure!(
            lines(header::SEC_WEBSOCKET_ACCEPT).eq([accept.as_bytes()]),
            "its 101 has the wrong Sec-WebSocket-Accept"
        );
        for name in [
            header::SEC_WEBSOCKET_EXTENSIONS,
            header::SEC_WEBSOCKET_PROTOCOL,
        ] {
            ensure!(
                !headers.contains_key(&name),
                "its 101 has a {name} that was not offered"
            );
        }
        Ok(())
    }
}

/// Whether another answer follows (RFC 9110, section 15.2).
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Headers about the client, as the configuration names them.
fn chosen(backend: &WebSocket, stream: &StreamInfo) -> HeaderMap {
    let facts = &stream.facts;
    let mut headers = HeaderMap::new();
    for name in &backend.forward_headers {
        if let Some(value) = facts.header(name.as_str(), Credentials::Withheld)
            && let Ok(value) = value.parse()
        {
            headers.insert(name, value);
        }
    }
    trace(facts, stream.traceparent.as_deref(), &mut headers);
    if backend.token == TokenForwarding::Forwarded
        && let Some(token) = facts.token()
        && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}"))
    {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let mut ours = |name: &str, value: &str| {
        if let Ok(name) = HeaderName::try_from(format!("{OURS}{name}")) {
            headers.insert(name, encoded(value));
        }
    };
    for attribute in &backend.attributes {
        if let Some(value) = facts.attribute(attribute) {
            ours(&header_word(attribute), &value);
        }
    }
    for (name, attribute) in [("user", &backend.user), ("tenant", &backend.tenant)] {
        if let Some(value) = facts.attribute(attribute) {
            ours(name, &value);
        }
    }
    ours("session", &stream.session_id);
    headers
}

/// Forwards the client's trace context if it is valid (W3C Trace Context, section 3.2). `ours` is
/// the gateway's own span, if it traces the connection: the backend's spans belong to that one then.
fn trace(facts: &Facts, ours: Option<&str>, headers: &mut HeaderMap) {
    let header = |name| facts.header(name, Credentials::Withheld);
    let theirs = header("traceparent").filter(|parent| Parent::parse(parent).is_some());
    let Some(parent) = ours.or(theirs.as_deref()) else {
        return;
    };
    // The state belongs to the client's trace, which the gateway may have left.
    let continues = theirs
        .as_deref()
        .is_some_and(|theirs| id(theirs) == id(parent));
    let state = continues.then(|| header("tracestate")).flatten();
    for (name, value) in [
        ("traceparent", Some(parent)),
        ("tracestate", state.as_deref()),
    ] {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
}

/// Id of the trace in a valid header.
fn id(parent: &str) -> Option<&str> {
    parent.split('-').nth(1)
}

/// Value of a header for an attribute. Everything but printable ASCII is percent-encoded, as are
/// spaces at the ends. The percent sign is encoded too, so that all values stay distinct.
fn encoded(value: &str) -> HeaderValue {
    let encoded = utf8_percent_encode(value, NOT_IN_HEADERS).to_string();
    // White space at the ends is not part of a header's value (RFC 9110, section 5.5).
    let inner = encoded.trim_start_matches(' ');
    let before = "%20".repeat(encoded.len() - inner.len());
    let value = inner.trim_end_matches(' ');
    let after = "%20".repeat(inner.len() - value.len());
    let encoded = format!("{before}{value}{after}");
    // Only printable ASCII is left.
    HeaderValue::try_from(encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
