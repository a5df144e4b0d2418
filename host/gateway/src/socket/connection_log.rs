//! Log entry of a connection: one line, written at its end.

use base::closed_by::ClosedBy;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::linger::Delivery;
use base::metrics;
use policy::{OnFailure, Record, Verdict};

/// Maximum number of decisions in the log entry of one connection.
const MAX_TOLD: usize = 32;

/// Log entry of one connection, collected until the connection ends.
#[derive(Debug)]
pub struct ConnectionLog {
    started: Instant,
    generation: u64,
    stage_began: Instant,
    stages: Vec<(&'static str, Duration)>,
    decisions: Vec<Record>,
    /// Bytes of BINARY payload from the client.
    pub bytes_up: u64,
    /// Bytes of payload from the upstream to the client.
    pub bytes_down: u64,
    /// Number of messages of an unknown type.
    pub unknown_messages: u64,
    /// Number of times that the client paused.
    pub pauses: u32,
    /// Whether the connection reached the stream stage.
    pub streamed: bool,
    windows: u64,
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
    /// Detail for the operator.
    pub detail: &'a str,
    /// Whether the client got the Close.
    pub delivery: Delivery,
}

impl ConnectionLog {
    /// Log entry of a connection that begins now, at its upgrade, under this generation.
    #[must_use]
    pub fn begin(generation: u64) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            generation,
            stage_began: now,
            stages: Vec::with_capacity(4),
            decisions: Vec::new(),
            bytes_up: 0,
            bytes_down: 0,
            unknown_messages: 0,
            pauses: 0,
            streamed: false,
            windows: 0,
        }
    }

    /// Records that this stage has ended.
    pub(crate) fn stage_ended(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.stages.push((stage, now - self.stage_began));
        self.stage_began = now;
    }

    /// Records the decisions of policies.
    pub fn decided(&mut self, records: Vec<Record>) {
        records.iter().for_each(Record::count);
        self.decisions.extend(records);
    }

    /// Records the decisions of policies about a window of the stream. A stream may last for days,
    /// so acceptances are only counted.
    pub fn watched(&mut self, records: Vec<Record>) {
        self.windows += 1;
        records.iter().for_each(Record::count);
        let telling = records
            .into_iter()
            .filter(|record| record.verdict != Some(Verdict::Accept));
        let room = MAX_TOLD.saturating_sub(self.decisions.len());
        self.decisions.extend(telling.take(room));
    }

    /// Time since the connection began.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes the line, and counts it in the metrics.
    pub fn write(&self, ending: &ConnectionEnd<'_>) {
        metrics::moved(self.bytes_up, self.bytes_down, self.unknown_messages);
        metrics::closed(
            ending.cause,
            ending.close_code,
            ending.closed_by,
            ending.delivery.word(),
        );
        tracing::info!(
            cause = ending.cause,
            close_code = ending.close_code,
            closed_by = ending.closed_by.word(),
            delivery = ending.delivery.word(),
            detail = ending.detail,
            generation = self.generation,
            stages = %self.stages(),
            decisions = %self.decisions(),
            bytes_up = self.bytes_up,
            bytes_down = self.bytes_down,
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
            let _ = write!(text, "{}{stage}={:.1}ms", separator(&text), millis(*took));
        }
        text
    }

    fn decisions(&self) -> String {
        let mut text = String::new();
        for record in &self.decisions {
            let outcome = match &record.verdict {
                Some(Verdict::Accept) => "accept".to_owned(),
                Some(Verdict::Reject(rejection)) => format!("reject({})", rejection.code),
                Some(Verdict::KeysUnavailable(_)) => "reject(auth_unavailable)".to_owned(),
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

fn separator(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ", " }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
