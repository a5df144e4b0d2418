//! What the tests of all upstreams need.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use crate::{Link, Lost, Receipts, StreamEnd, StreamInfo, Upward};
use session::facts::Facts;
use session::handshake::Handshake;
use session::registry::Client;
use wire::frame::PeerClose;

pub(super) fn handshake(codec: &str, sample_rate: u32, channels: u16) -> Handshake {
    Handshake {
        source: None,
        sample_rate,
        channels,
        codec: codec.to_owned(),
        device_id: "device".to_owned(),
        language: None,
        client: None,
        version: None,
        features: Vec::new(),
    }
}

/// Facts about a client that requests `uri` with these headers.
pub(super) fn facts(uri: &str, headers: &[(&'static str, &'static str)]) -> Facts {
    facts_with(uri, vec![], headers)
}

fn facts_with(
    uri: &str,
    params: Vec<(String, String)>,
    headers: &[(&'static str, &'static str)],
) -> Facts {
    let headers = headers.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    Facts::new(
        "s".into(),
        "r".into(),
        &uri.parse().expect("a URI"),
        params,
        headers.collect::<HeaderMap>(),
        "127.0.0.1:9".parse().expect("an address"),
    )
}

pub(super) fn stream_info(meeting: &str) -> StreamInfo {
    let params = vec![("meeting_id".to_owned(), meeting.to_owned())];
    StreamInfo {
        session_id: "019ab1de-0c3a-7b52-8a05-9f1e6a1b7c5f".to_owned(),
        route: "ingest".to_owned(),
        params: params.clone(),
        source: Some("mic".to_owned()),
        handshake: Some(handshake("pcm_s16le", 16_000, 1)),
        greeting: None,
        receipts: Receipts::None,
        facts: Arc::new(facts_with("/", params, &[])),
        client: Client::numbered(0),
        identified_by: ["auth".to_owned()].into(),
        destination: Arc::default(),
        traceparent: None,
    }
}

/// A stretch of audio, at a place in a stream that never repeats itself. Read as
/// floats, it is finite.
pub(super) fn audio(place: Range<u64>) -> Vec<u8> {
    place
        .map(|position| position.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] >> 1)
        .collect()
}

/// Sends as the connection does: when the link is ready.
pub(super) async fn send(link: &mut dyn Link, bytes: &[u8]) -> Result<(), Lost> {
    poll_fn(|cx| link.poll_ready(cx)).await?;
    link.start_send(Upward::Binary(Bytes::copy_from_slice(bytes)));
    Ok(())
}

/// The end of a stream whose client vanished.
pub(super) fn cut() -> StreamEnd {
    StreamEnd::Cut(PeerClose {
        code: 1001,
        reason: "eof".to_owned(),
    })
}
