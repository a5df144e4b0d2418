//! Trace of one connection.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::parent::Parent;
use crate::queue::Queue;
use crate::settings::Traces;
use crate::span::{Span, SpanId};

/// Decides which connections are traced, and takes their spans.
#[derive(Debug, Clone)]
pub struct Tracer {
    queue: Queue,
    /// Traces whose number is below this are recorded, of 2^63.
    threshold: u64,
    continue_clients: bool,
}

/// Trace of one connection that is recorded.
#[derive(Debug)]
pub struct Trace {
    queue: Queue,
    id: u128,
    root: SpanId,
    /// The client's span.
    remote: Option<SpanId>,
    began: Instant,
    /// `began`, in nanoseconds since 1970.
    began_ns: u64,
}

impl Tracer {
    /// Tracer that hands its spans to this queue.
    #[must_use]
    pub(crate) fn new(settings: &Traces, queue: Queue) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a ratio is between 0 and 1"
        )]
        let threshold = (settings.sample_ratio * (1u64 << 63) as f64) as u64;
        Self {
            queue,
            threshold,
            continue_clients: settings.continue_clients,
        }
    }

    /// Begins the trace of a connection, whose client may have sent a `traceparent`. `None` if it is
    /// not recorded: the client decides that, where it has a trace, and else chance.
    #[must_use]
    pub fn begin(&self, parent: Option<&[u8]>) -> Option<Trace> {
        let parent = parent.filter(|_| self.continue_clients);
        let parent = parent.and_then(|value| Parent::parse(std::str::from_utf8(value).ok()?));
        let id = parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id);
        let recorded = parent.map_or_else(|| self.chooses(id), |parent| parent.sampled);
        recorded.then(|| Trace {
            queue: self.queue.clone(),
            id,
            root: SpanId::random(),
            remote: parent.map(|parent| SpanId(parent.span_id)),
            began: Instant::now(),
            began_ns: nanos(SystemTime::now()),
        })
    }

    /// Whether chance has it. The same trace gets the same answer of every service with this ratio,
    /// because it depends on the id alone.
    fn chooses(&self, id: u128) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "the low bits decide")]
        let low = id as u64;
        low >> 1 < self.threshold
    }
}

impl Trace {
    /// Its id, as other tools write it: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let mut text = String::with_capacity(32);
        // Writing to a String has no way to fail.
        let _ = write!(text, "{:032x}", self.id);
        text
    }

    /// Span of the whole connection.
    #[must_use]
    pub fn root(&self) -> SpanId {
        self.root
    }

    /// Id of a span that begins.
    #[must_use]
    pub fn next(&self) -> SpanId {
        SpanId::random()
    }

    /// Header for a server that is asked within this span.
    #[must_use]
    pub fn traceparent(&self, span: SpanId) -> String {
        format!("00-{:032x}-{:016x}-01", self.id, span.0)
    }

    /// Time of the beginning.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// A time in nanoseconds since 1970. It goes by the clock of the beginning, so that spans of one
    /// trace keep their order when the machine's clock is set.
    #[must_use]
    pub fn at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.began);
        self.began_ns.saturating_add(whole(since))
    }

    /// Hands over a span that has ended.
    pub fn end(&self, span: Span) {
        self.queue.add(span.message(self.id, self.remote));
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    whole(since.unwrap_or_default())
}

fn whole(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::queue;

    fn tracer(sample_ratio: f64) -> Tracer {
        let settings = Traces {
            endpoint: String::new(),
            headers: Vec::new(),
            ca_file: None,
            sample_ratio,
            continue_clients: true,
            service_name: String::new(),
            attributes: Vec::new(),
        };
        Tracer::new(&settings, queue().0)
    }

    #[tokio::test]
    async fn chance_records_the_share_that_was_configured() {
        for (ratio, from, to) in [(0.0, 0, 0), (0.5, 4_000, 6_000), (1.0, 10_000, 10_000)] {
            let tracer = tracer(ratio);
            let recorded = (0..10_000).filter(|_| tracer.begin(None).is_some());
            let recorded = recorded.count();
            assert!((from..=to).contains(&recorded), "{ratio}: {recorded}");
        }
    }

    #[tokio::test]
    async fn the_client_decides_whether_its_own_trace_is_recorded() {
        let parent =
            |flags: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let begun = tracer(0.0).begin(Some(parent("01").as_bytes())).unwrap();
        assert_eq!(begun.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(tracer(1.0).begin(Some(parent("00").as_bytes())).is_none());
        let ignored = Tracer {
            continue_clients: false,
            ..tracer(1.0)
        };
        let begun = ignored.begin(Some(parent("00").as_bytes())).unwrap();
        assert_ne!(begun.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        // What is no valid header is as if there were none.
        assert!(tracer(1.0).begin(Some(b"\xff")).is_some());
    }
}
