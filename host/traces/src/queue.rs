//! Bounded queue of spans that wait to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc;

use base::metrics;

/// Maximum number of spans that wait.
const MAX_WAITING: usize = 4096;

/// Sending half of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Span>,
    /// Spans that are neither delivered nor dropped.
    pub(crate) waiting: Arc<AtomicU64>,
}

impl Queue {
    /// Adds a span. If there is no room, the span is dropped and counted.
    pub(crate) fn add(&self, span: Span) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(span).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            metrics::spans_dropped("queue-full", 1);
        }
    }
}

/// A queue and its receiving half.
pub(crate) fn queue() -> (Queue, mpsc::Receiver<Span>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let waiting = Arc::default();
    (Queue { sender, waiting }, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_finds_the_queue_full_is_dropped_at_once() {
        let (queue, mut receiver) = queue();
        for _ in 0..MAX_WAITING + 7 {
            queue.add(Span::default());
        }
        assert_eq!(queue.waiting.load(Ordering::Relaxed), MAX_WAITING as u64);
        receiver.recv().await.unwrap();
        queue.add(Span::default());
        assert_eq!(receiver.len(), MAX_WAITING);
    }
}
