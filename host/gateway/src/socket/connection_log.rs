//! Log entries of a connection: a line when its stream begins, and one at its end.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::linger::Delivery;
use crate::connections::{LiveConnection, Stage};
use base::closed_by::ClosedBy;
use base::metrics;
use base::text;
use policy::{Hook, OnFailure, Record, Verdict};
use traces::span::SpanId;
use traces::trace::Trace;
use upstream::{Destination, Places};

mod spans;

/// Maximum number of decisions in the log entry of one connection.
const MAX_TOLD: usize = 32;
/// Maximum length of the sentence that the client was told, in bytes.
const MAX_SENTENCE: usize = 512;

/// Log entry of one connection, collected until the connection ends.
#[derive(Debug)]
pub struct ConnectionLog {
    started: Instant,
    stage_began: Instant,
    stages: Vec<(Stage, Duration)>,
    /// What operators see of the connection meanwhile.
    pub live: Arc<LiveConnection>,
    /// Number of messages of an unknown type.
    pub unknown_messages: u64,
    /// Number of times that the client paused.
    pub pauses: u32,
    /// Whether the connection reached the stream stage.
    pub streamed: bool,
    windows: u64,
    /// Span of the stage, if the connection is traced.
    span: Option<SpanId>,
}

/// How a connection ended, for the log.
#[derive(Debug)]
pub struct ConnectionEnd<'a> {
    /// Code of the error frame, or another name of the cause.
    pub cause: &'static str,
    /// The close code that was sent.
    pub close_code: u16,
    /// Who closed: `client`, `gateway`, `upstream` or `transport`.
    pub closed_by: ClosedBy,
    /// Sentence that the client was told.
    pub told: &'a str,
    /// Detail for the operator.
    pub detail: &'a str,
    /// Whether the client got the Close.
    pub delivery: Delivery,
    /// Whether the client got an error frame.
    pub refused: bool,
}

impl ConnectionLog {
    /// Log entry of a connection that begins now, at its upgrade.
    #[must_use]
    pub fn begin(live: Arc<LiveConnection>) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            stage_began: now,
            stages: Vec::with_capacity(4),
            span: live.trace().map(Trace::next),
            live,
            unknown_messages: 0,
            pauses: 0,
            streamed: false,
            windows: 0,
        }
    }

    /// Records that this stage has ended.
    pub(crate) fn stage_ended(&mut self, stage: Stage) {
        let now = Instant::now();
        let took = now - self.stage_began;
        if matches!(stage, Stage::Connect | Stage::Handshake | Stage::Open) {
            metrics::admission_stage(stage.word(), took);
        }
        self.stages.push((stage, took));
        if let (Some(trace), Some(id)) = (self.live.trace(), self.span) {
            trace.end(spans::stage(trace, id, stage, (self.stage_began, now)));
            // What follows the close stage belongs to no stage.
            let is_last = stage == Stage::Close;
            self.span = Some(if is_last { trace.root() } else { trace.next() });
        }
        self.stage_began = now;
        self.live.has_left(stage);
    }

    /// Records that the stream begins, and writes the line. `from` are the bytes of audio that an
    /// earlier connection has brought. Refused connections have only their last line, so that a
    /// storm of them is not twice as long.
    pub(crate) fn stream_begins(&mut self, destination: &Arc<Destination>, from: u64) {
        self.streamed = true;
        self.live.streams_to(destination, from);
        let places = destination.places();
        tracing::info!(
            streamed = true,
            address = %self.live.session().facts.remote,
            backend = places.address().map(tracing::field::display),
            recording = recording(&places),
            trace_id = self.live.trace().map(Trace::id),
            from,
            "stream began"
        );
    }

    /// Records the decisions of policies.
    pub fn decided(&mut self, records: Vec<Record>) {
        let hook = match self.live.stage() {
            Stage::Connect => Hook::Connect,
            Stage::Handshake => Hook::Handshake,
            Stage::Open | Stage::Stream | Stage::Seal | Stage::Close | Stage::Parked => Hook::Close,
        };
        records.iter().for_each(|record| record.count(hook));
        self.trace(&records, hook);
        self.live.decided(records.into_iter(), usize::MAX);
    }

    /// Records the decisions of policies about a window of the stream. A stream may last for days,
    /// so acceptances are only counted.
    pub fn watched(&mut self, records: Vec<Record>) {
        self.windows += 1;
        records.iter().for_each(|record| record.count(Hook::Frames));
        let mut telling = records;
        telling.retain(|record| record.verdict != Some(Verdict::Accept));
        if telling.is_empty() {
            return;
        }
        let told = self.live.decisions_told();
        telling.truncate(MAX_TOLD.saturating_sub(told));
        self.trace(&telling, Hook::Frames);
        self.live.decided(telling.into_iter(), MAX_TOLD);
    }

    /// Hands over a span for each of these decisions.
    fn trace(&self, records: &[Record], hook: Hook) {
        if let (Some(trace), Some(parent)) = (self.live.trace(), self.span) {
            for record in records {
                trace.end(spans::decision(trace, parent, record, hook));
            }
        }
    }

    /// The header for a backend that is asked now, if the connection is traced.
    pub(crate) fn traceparent(&self) -> Option<String> {
        Some(self.live.trace()?.traceparent(self.span?))
    }

    /// Records the decisions of policies about another token. A stream may have many of them, so
    /// acceptances are only counted.
    pub(crate) fn renewal_decided(&mut self, records: Vec<Record>) {
        records
            .iter()
            .for_each(|record| record.count(Hook::Connect));
        let telling = records
            .into_iter()
            .filter(|record| record.verdict != Some(Verdict::Accept));
        self.live.decided(telling, MAX_TOLD);
    }

    /// Stage in which the connection was when its end began.
    pub(crate) fn last_stage(&self) -> Stage {
        let mut stages = self.stages.iter().rev().map(|(stage, _)| *stage);
        let last = stages.find(|stage| !matches!(stage, Stage::Seal | Stage::Close));
        last.unwrap_or(Stage::Close)
    }

    /// Time since the connection began.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes the line, and counts it in the metrics.
    pub fn write(&self, ending: &ConnectionEnd<'_>) {
        let (received, sent) = (self.live.received(), self.live.sent());
        metrics::moved(received, sent, self.unknown_messages);
        metrics::closed(
            ending.cause,
            ending.close_code,
            ending.closed_by,
            ending.delivery.word(),
        );
        let places = self.live.destination().map(|to| to.places());
        let places = places.unwrap_or_default();
        let trace = self.live.trace();
        if let Some(trace) = trace {
            trace.end(spans::connection(trace, &self.live, &places, ending));
        }
        tracing::info!(
            cause = ending.cause,
            close_code = ending.close_code,
            closed_by = ending.closed_by.word(),
            delivery = ending.delivery.word(),
            told = text::clean(ending.told, MAX_SENTENCE),
            detail = ending.detail,
            address = %self.live.session().facts.remote,
            backend = places.address().map(tracing::field::display),
            recording = recording(&places),
            trace_id = trace.map(Trace::id),
            generation = self.live.generation(),
            stages = %self.stages(),
            decisions = %self.decisions(),
            bytes_up = received,
            bytes_down = sent,
            unknown_messages = self.unknown_messages,
            pauses = self.pauses,
            windows = self.windows,
            streamed = self.streamed,
            total_ms = millis(self.started.elapsed()),
            "connection ended"
        );
    }

    fn stages(&self) -> String {
        let mut text = String::new();
        for (stage, took) in &self.stages {
            // Writing to a String has no way to fail.
            let (comma, stage) = (separator(&text), stage.word());
            let _ = write!(text, "{comma}{stage}={:.1}ms", millis(*took));
        }
        text
    }

    fn decisions(&self) -> String {
        let mut text = String::new();
        for record in &self.live.decisions() {
            let outcome = match &record.verdict {
                Some(Verdict::Accept) => "accept".to_owned(),
                Some(Verdict::Reject(rejection)) => format!("reject({})", rejection.code),
                Some(Verdict::KeysUnavailable(_)) => "reject(auth_unavailable)".to_owned(),
                Some(Verdict::Unanswered(unanswered)) => format!("refused({unanswered})"),
                Some(Verdict::ClientFault(fault)) => format!("refused({})", fault.excess),
                Some(Verdict::Failed(failure)) => match record.on_failure {
                    OnFailure::Closed => format!("failed-closed({failure})"),
                    OnFailure::Open => format!("failed-open({failure})"),
                },
                None => "abandoned".to_owned(),
            };
            let _ = write!(
                text,
                "{}{}={outcome} in {:.2}ms",
                separator(&text),
                record.policy,
                millis(record.took)
            );
        }
        text
    }
}

/// The file of a stream's recording.
fn recording(places: &Places) -> Option<String> {
    let file = places.recording.as_ref()?;
    Some(text::clean(&file.to_string_lossy(), MAX_SENTENCE))
}

fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ", " }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
