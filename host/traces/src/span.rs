//! Spans, and what they say.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{self as otlp, SpanFlags, status::StatusCode};

/// Id of a span within its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub(crate) u64);

impl SpanId {
    /// A new id.
    #[must_use]
    pub(crate) fn random() -> Self {
        Self(fastrand::u64(1..))
    }
}

/// Side of a conversation that a span describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// The gateway serves a request.
    Server,
    /// The gateway asks another server.
    Client,
    /// Something within the gateway.
    Internal,
}

/// Attributes of a span or of a resource.
#[derive(Debug, Clone, Default)]
pub struct Attributes(pub(crate) Vec<KeyValue>);

impl Attributes {
    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.with(name, Value::StringValue(value.into()))
    }

    /// Adds a text, if there is one.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.with(name, Value::IntValue(value))
    }

    /// Adds a number, if there is one.
    #[must_use]
    pub fn maybe_number(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.push(KeyValue {
            key: name.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
        self
    }
}

/// A span that has ended.
#[derive(Debug)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// Span that it is part of; `None` for the whole connection.
    pub parent: Option<SpanId>,
    /// Its name, one of few.
    pub name: String,
    /// Side of a conversation that it describes.
    pub kind: SpanKind,
    /// Time of its beginning, in nanoseconds since 1970.
    pub began: u64,
    /// Time of its end, in nanoseconds since 1970.
    pub ended: u64,
    /// What it says.
    pub attributes: Attributes,
    /// Why it failed, if the gateway or what it depends on is to blame.
    pub failed: Option<String>,
}

impl Span {
    /// The message of OTLP. `remote` is the client's span that the whole connection belongs to.
    pub(crate) fn message(self, trace_id: u128, remote: Option<SpanId>) -> otlp::Span {
        let is_remote = self.parent.is_none() && remote.is_some();
        let mut flags = SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32;
        if is_remote {
            flags |= SpanFlags::ContextIsRemoteMask as u32;
        }
        let kind = match self.kind {
            SpanKind::Server => otlp::span::SpanKind::Server,
            SpanKind::Client => otlp::span::SpanKind::Client,
            SpanKind::Internal => otlp::span::SpanKind::Internal,
        };
        let parent = self.parent.or(remote);
        otlp::Span {
            trace_id: trace_id.to_be_bytes().to_vec(),
            span_id: self.id.0.to_be_bytes().to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.0.to_be_bytes().to_vec()),
            flags,
            name: self.name,
            kind: kind.into(),
            start_time_unix_nano: self.began.min(self.ended),
            end_time_unix_nano: self.ended,
            attributes: self.attributes.0,
            status: self.failed.map(|message| otlp::Status {
                message,
                code: StatusCode::Error.into(),
            }),
            ..otlp::Span::default()
        }
    }
}

/// Flag of a trace that is recorded (W3C Trace Context, section 3.2.2.5).
const SAMPLED: u32 = 1;
