//! Sampling of repeated log lines, so that a storm of refusals does not become a storm of lines.
//!
//! Lines are of one kind if they come from one place in the code and name the same cause. Each kind
//! has a budget. Lines beyond it are left out, and about once a second one line reports their
//! number. Detailed lines (`debug`, `trace`) are never left out.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::audit;
use base::metrics;
use base::text;

/// Budget of a kind: lines per second, and in a burst.
const BUDGET: (u32, u32) = (10, 100);
/// Budget of lines about streams, which are fewer and matter more than lines about refusals.
const STREAMS: (u32, u32) = (500, 10_000);
/// Interval between two reports of lines that were left out.
const PERIOD: Duration = Duration::from_secs(1);
/// Maximum number of kinds. Beyond it, all lines of one place in the code are one kind.
const MAX_KINDS: usize = 1024;

/// Fields with text that distinguish the kinds of one place in the code.
const CAUSES: [&str; 4] = ["cause", "policy", "upstream", "at"];
/// Field with a number that does the same.
const CODE: &str = "close_code";
/// Field that tells whether a connection got as far as streaming.
const STREAMED: &str = "streamed";

/// Target of the log's lines about itself, which are never left out.
const TARGET: &str = "sluice::logs";

/// Counter of lines by kind.
#[derive(Default)]
pub(super) struct Sampler(Mutex<SamplerState>);

#[derive(Default)]
struct SamplerState {
    kinds: HashMap<(Identifier, u64), LineKind>,
    told: Option<Instant>,
}

struct LineKind {
    budget: DefaultDirectRateLimiter,
    left_out: u64,
    /// First line that was left out.
    first: LeftOutLine,
}

/// Layer that receives only the lines within the budget of their kind.
///
/// It is not a `Filter`: the registry does not support a filter that changes its answer from one
/// event to the next, because it caches the answer for the thread.
pub(super) struct Sampled<L> {
    pub(super) sampler: Arc<Sampler>,
    pub(super) layer: L,
}

impl<S, L> Layer<S> for Sampled<L>
where
    S: Subscriber,
    L: Layer<S>,
{
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        if self.sampler.takes(event) {
            self.layer.on_event(event, cx);
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        self.layer.on_new_span(attributes, id, cx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        self.layer.on_record(id, values, cx);
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, S>) {
        self.layer.on_enter(id, cx);
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        self.layer.on_exit(id, cx);
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        self.layer.on_close(id, cx);
    }
}

impl Sampler {
    /// Whether the line is to be written. Counts it otherwise.
    fn takes(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || [TARGET, audit::TARGET].contains(&metadata.target()) {
            return true;
        }
        let mut features = KindFields::default();
        event.record(&mut features);
        let mut key = (metadata.callsite(), features.causes.finish());
        let mut state = self.state();
        if !state.kinds.contains_key(&key) && state.kinds.len() >= MAX_KINDS {
            key.1 = 0;
        }
        let kind = state.kinds.entry(key).or_insert_with(|| {
            let (a_second, at_once) = if features.streamed { STREAMS } else { BUDGET };
            LineKind {
                budget: RateLimiter::direct(quota(a_second, at_once)),
                left_out: 0,
                first: LeftOutLine::default(),
            }
        });
        if kind.budget.check().is_ok() {
            return true;
        }
        if kind.left_out == 0 {
            event.record(&mut kind.first);
        }
        kind.left_out += 1;
        drop(state);
        metrics::log_lines_dropped("sampled", 1);
        false
    }

    /// Reports the lines that were left out, at most once in [`PERIOD`].
    pub(super) fn tell_when_due(&self) {
        let is_due = self
            .state()
            .told
            .is_none_or(|told| told.elapsed() >= PERIOD);
        if is_due {
            self.tell();
        }
    }

    /// Reports the lines that were left out since the last report.
    pub(super) fn tell(&self) {
        let mut state = self.state();
        state.told = Some(Instant::now());
        let left_out: Vec<_> = state
            .kinds
            .values_mut()
            .filter_map(LineKind::told)
            .collect();
        // The report itself is a line, which locks the state again.
        drop(state);
        for (lines, of) in left_out {
            tracing::warn!(
                target: TARGET, lines, of = of.message, cause = of.cause, close_code = of.close_code,
                "repeated lines of one kind were left out"
            );
        }
    }

    // Counts are consistent after every step, so poisoning does not matter.
    fn state(&self) -> MutexGuard<'_, SamplerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineKind {
    fn told(&mut self) -> Option<(u64, LeftOutLine)> {
        let lines = std::mem::take(&mut self.left_out);
        (lines > 0).then(|| (lines, std::mem::take(&mut self.first)))
    }
}

fn quota(a_second: u32, at_once: u32) -> Quota {
    let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(a_second)).allow_burst(at_least_one(at_once))
}

/// Properties that determine the kind of a line.
#[derive(Default)]
struct KindFields {
    causes: DefaultHasher,
    streamed: bool,
}

impl Visit for KindFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if CAUSES.contains(&field.name()) {
            (field.name(), value).hash(&mut self.causes);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == CODE {
            value.hash(&mut self.causes);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == STREAMED {
            self.streamed = value;
            value.hash(&mut self.causes);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if CAUSES.contains(&field.name()) {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

/// Content of a line that was left out, for the report.
#[derive(Default)]
struct LeftOutLine {
    message: String,
    cause: String,
    close_code: Option<u64>,
}

impl Visit for LeftOutLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = text::clean(value, 256),
            name if CAUSES.contains(&name) => self.cause = text::clean(value, 256),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == CODE {
            self.close_code = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" || CAUSES.contains(&field.name()) {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are written when `log` runs.
    fn lines(log: impl FnOnce(&Sampler)) -> Vec<String> {
        let (written, sampler) = (Written::default(), Arc::new(Sampler::default()));
        let to = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .without_time()
            .with_ansi(false)
            .with_writer(move || to.clone());
        let layer = Sampled {
            sampler: Arc::clone(&sampler),
            layer,
        };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || log(&sampler));
        let written = written.0.lock().unwrap();
        let text = String::from_utf8(written.clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn refuse(cause: &str) {
        tracing::info!(cause, streamed = false, "connection ended");
    }

    #[test]
    fn a_line_that_does_not_repeat_is_always_written() {
        let lines = lines(|sampler| {
            (0..5000).for_each(|_| refuse("auth_failed"));
            refuse("not_found");
            tracing::error!("something else");
            tracing::info!(cause = "auth_failed", streamed = true, "connection ended");
            sampler.tell();
        });
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        assert!(has("not_found") && has("something else") && has("streamed=true"));
        assert!(lines.len() < 1000, "{} lines", lines.len());
    }

    #[test]
    fn what_was_left_out_is_said_once_with_its_number() {
        let lines = lines(|sampler| {
            (0..500).for_each(|_| refuse("auth_failed"));
            sampler.tell();
            sampler.tell();
        });
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("were left out"))
            .collect();
        let [told] = told[..] else {
            panic!("one line: {told:?}")
        };
        let written = lines.len() - 1;
        assert!(written >= BUDGET.1 as usize, "{written}");
        for part in [
            format!("lines={}", 500 - written),
            r#"of="connection ended""#.to_owned(),
            r#"cause="auth_failed""#.to_owned(),
        ] {
            assert!(told.contains(&part), "{part} in {told}");
        }
    }

    #[test]
    fn lines_of_detail_are_all_written() {
        let lines = lines(|_| (0..500).for_each(|_| tracing::debug!("detail")));
        assert_eq!(lines.len(), 500);
    }
}
