//! One log line at the end of each connection with all that happened.

use base::closed_by::ClosedBy;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::linger::Delivery;
use base::metrics;
use policy::{Outcome, Record};

/// Decisions that are told of one connection.
const MAX_TOLD: usize = 32;

/// Collected while the connection lives.
#[derive(Debug)]
pub struct Story {
    started: Instant,
    generation: u64,
    stage_began: Instant,
    stages: Vec<(&'static str, Duration)>,
    decisions: Vec<Record>,
    /// Bytes of BINARY payload from the client.
    pub bytes_up: u64,
    /// Bytes of payload that the client was sent by the upstream.
    pub bytes_down: u64,
    /// Messages of a type that this host does not know.
    pub unknown_messages: u64,
    /// How often the client paused.
    pub pauses: u32,
    /// Whether it got as far as to stream.
    pub streamed: bool,
    windows: u64,
}

/// How a connection ended, in words for the log.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The word of the error frame, or what else ended it.
    pub cause: &'static str,
    /// The close code that was sent.
    pub close_code: u16,
    /// Who closed: `client`, `gateway`, `upstream` or `transport`.
    pub closed_by: ClosedBy,
    /// What the operator should know beyond that.
    pub detail: &'a str,
    /// Whether the client got it.
    pub delivery: Delivery,
}

impl Story {
    /// Begins with the upgrade, under this generation.
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

    /// The story so far, for whoever goes on with it.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let next = Self::begin(self.generation);
        std::mem::replace(self, next)
    }

    /// The stage that went on until now is over.
    pub(crate) fn stage_ended(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.stages.push((stage, now - self.stage_began));
        self.stage_began = now;
    }

    /// Policies were asked.
    pub fn decided(&mut self, records: Vec<Record>) {
        records.iter().for_each(Record::count);
        self.decisions.extend(records);
    }

    /// Policies were asked about a window of the stream. A stream may last for
    /// days, so that all went well is counted and not told.
    pub fn watched(&mut self, records: Vec<Record>) {
        self.windows += 1;
        records.iter().for_each(Record::count);
        let telling = records
            .into_iter()
            .filter(|record| record.outcome != Outcome::Accepted);
        let room = MAX_TOLD.saturating_sub(self.decisions.len());
        self.decisions.extend(telling.take(room));
    }

    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes the line, and counts.
    pub fn tell(&self, ending: &Ending<'_>) {
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
            let outcome = match &record.outcome {
                Outcome::Accepted => "accept".to_owned(),
                Outcome::Rejected(code) => format!("reject({code})"),
                Outcome::ClientFault(fault) => format!("refused({})", fault.excess),
                Outcome::FailedClosed(failure) => format!("failed-closed({failure})"),
                Outcome::FailedOpen(failure) => format!("failed-open({failure})"),
                Outcome::Abandoned => "abandoned".to_owned(),
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
