//! Admitting many streams as fast as the target goes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ingest::{Failed, Script, Stream};
use crate::process::Usage;
use crate::report::{Failures, Latencies, Rows, micros_each, per_second};
use crate::target::Target;
use crate::token;

/// Streams that were admitted, and what that took.
pub struct Admitted {
    /// Each with its number.
    pub streams: Vec<(usize, Stream)>,
    refused: Failures,
    latencies: Latencies,
    took: Duration,
    used: Usage,
}

/// Opens the streams with these numbers, a bounded number at a time. Each has
/// a meeting and a token of its own.
pub async fn admit(
    target: &Arc<Target>,
    script: &Arc<Script>,
    numbers: Range<usize>,
) -> anyhow::Result<Admitted> {
    // Tokens are made before the clock starts.
    let tokens = numbers
        .clone()
        .map(|number| token::good(&target.secret, number))
        .collect::<Result<Vec<_>, _>>()?;
    let permits = Arc::new(Semaphore::new(target.connecting));
    let mut opening = JoinSet::new();
    let before = target.usage()?;
    let began = Instant::now();
    for (number, token) in numbers.zip(tokens) {
        let (target, script) = (Arc::clone(target), Arc::clone(script));
        let permits = Arc::clone(&permits);
        opening.spawn(async move {
            // The semaphore is never closed, so there is always a permit.
            let _permit = permits.acquire().await;
            let began = Instant::now();
            let meeting = format!("meeting-{number}");
            let opened = Stream::open(&target, &script, &meeting, &token, number).await;
            (number, opened, began.elapsed())
        });
    }
    let mut admitted = Admitted {
        streams: Vec::with_capacity(opening.len()),
        refused: Failures::default(),
        latencies: Latencies::default(),
        took: Duration::ZERO,
        used: Usage::default(),
    };
    while let Some(opened) = opening.join_next().await {
        let (number, opened, latency) = opened.context("a client panicked")?;
        match opened {
            Ok(stream) => {
                admitted.latencies.add(latency);
                admitted.streams.push((number, stream));
            }
            Err(failed) => admitted.refused.count(Failed::kind(&failed)),
        }
    }
    admitted.took = began.elapsed();
    admitted.used = target.usage()? - before;
    Ok(admitted)
}

impl Admitted {
    /// Adds what the admission took.
    pub fn report(&mut self, rows: &mut Rows) {
        let count = self.streams.len() as u64;
        rows.add("streams admitted", count);
        rows.add_failures("streams not admitted", &self.refused);
        rows.add("admissions", per_second(count, self.took));
        rows.add("connect to ack", self.latencies.summary());
        rows.add("CPU per admission", micros_each(self.used.cpu, count));
    }
}
