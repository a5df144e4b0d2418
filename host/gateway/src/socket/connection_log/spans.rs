//! Spans of a connection: one for each stage, each decision, and the whole. Their attributes follow
//! OpenTelemetry's conventions where there are any. Nothing in them is a client's or a policy's
//! text.

use tokio::time::Instant;

use super::ConnectionEnd;
use crate::connections::{LiveConnection, Stage};
use policy::{Hook, Record, Verdict};
use traces::span::{Attributes, Span, SpanId, SpanKind};
use traces::trace::Trace;
use upstream::Places;

/// Causes for which the gateway or what it depends on is to blame: the 5xx of HTTP.
const FAULTS: [&str; 6] = [
    "internal_error",
    "overloaded",
    "upstream_unavailable",
    "policy_failed",
    "auth_unavailable",
    "service_unavailable",
];

/// Span of a stage.
pub(super) fn stage(
    trace: &Trace,
    id: SpanId,
    stage: Stage,
    (began, ended): (Instant, Instant),
) -> Span {
    Span {
        id,
        parent: Some(trace.root()),
        name: stage.word().to_owned(),
        kind: SpanKind::Internal,
        began: trace.at(began),
        ended: trace.at(ended),
        attributes: Attributes::default(),
        failed: None,
    }
}

/// Span of a policy's decision within a stage.
pub(super) fn decision(trace: &Trace, parent: SpanId, record: &Record, hook: Hook) -> Span {
    let ended = record.at_ms.saturating_mul(1_000_000);
    let took = u64::try_from(record.took.as_nanos()).unwrap_or(u64::MAX);
    let outcome = record.outcome();
    let (code, failed) = match &record.verdict {
        Some(Verdict::Reject(rejection)) => (Some(u64::from(rejection.close_code)), None),
        Some(Verdict::Failed(_) | Verdict::Unanswered(_)) => (None, Some(outcome)),
        _ => (None, None),
    };
    let attributes = Attributes::default()
        .text("sluice.policy.name", &*record.policy)
        .maybe("sluice.policy.digest", record.digest.as_deref())
        .text("sluice.policy.hook", hook.name())
        .text("sluice.policy.outcome", outcome)
        .maybe_number("sluice.policy.close_code", code)
        .maybe("error.type", failed);
    Span {
        id: trace.next(),
        parent: Some(parent),
        name: format!("policy {}", record.policy),
        kind: SpanKind::Internal,
        began: ended.saturating_sub(took),
        ended,
        attributes,
        failed: failed.map(str::to_owned),
    }
}

/// Span of the whole connection, which ends now.
pub(super) fn connection(
    trace: &Trace,
    live: &LiveConnection,
    places: &Places,
    ending: &ConnectionEnd<'_>,
) -> Span {
    let facts = &live.session().facts;
    let is_fault = FAULTS.contains(&ending.cause);
    let attributes = Attributes::default()
        .text("http.request.method", "GET")
        .number("http.response.status_code", 101)
        .text("network.protocol.name", "websocket")
        .text("client.address", facts.remote.ip().to_string())
        .number("client.port", u64::from(facts.remote.port()))
        .text("session.id", &*facts.session_id)
        .text("sluice.route", &*facts.route)
        .number("sluice.generation", live.generation())
        .text("sluice.cause", ending.cause)
        .number("sluice.close_code", u64::from(ending.close_code))
        .text("sluice.closed_by", ending.closed_by.word())
        .text("sluice.delivery", ending.delivery.word())
        .number("sluice.received_bytes", live.received())
        .number("sluice.sent_bytes", live.sent())
        .maybe(
            "sluice.backend.address",
            places.address().map(|address| address.to_string()),
        )
        .maybe("error.type", ending.refused.then_some(ending.cause));
    Span {
        id: trace.root(),
        parent: None,
        name: format!("websocket {}", facts.route).trim_end().to_owned(),
        kind: SpanKind::Server,
        began: trace.at(trace.began()),
        ended: trace.at(Instant::now()),
        attributes,
        failed: is_fault.then(|| ending.cause.to_owned()),
    }
}
