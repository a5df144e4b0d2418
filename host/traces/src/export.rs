//! Export: the task that sends spans from the queue to the collector.
//!
//! The task belongs to the runtime, as its HTTP client does. Nothing else waits for it: while the
//! collector is gone, slow or silent, the queue fills up, and spans that find no room are dropped
//! and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::queue::queue;
use crate::settings::Traces;
use crate::trace::Tracer;
use base::metrics;
use collector::{Collector, SendError};

mod collector;

/// Maximum number of spans in one request.
const MAX_BATCH: usize = 512;
/// Time that spans wait for others to be sent with.
const GATHERING: Duration = Duration::from_secs(1);
/// Number of times that a request is sent, where the collector says that it may take it later.
const TRIES: u32 = 4;
/// Pause before the second try. It doubles with each.
const PAUSE: Duration = Duration::from_millis(500);
/// Maximum pause, whatever the collector asks for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The running export.
#[derive(Debug)]
pub struct Export {
    finish: oneshot::Sender<()>,
    task: JoinHandle<()>,
    waiting: Arc<AtomicU64>,
}

/// An export that can be started.
pub struct Prepared {
    settings: Traces,
    collector: Collector,
}

impl Prepared {
    /// Prepares the export. Blocks while it reads certificates.
    ///
    /// # Errors
    /// If the certificate authorities cannot be read.
    pub fn new(settings: &Traces) -> anyhow::Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            collector: Collector::new(settings)?,
        })
    }

    /// Starts to export.
    #[must_use]
    pub fn start(self) -> (Tracer, Export) {
        let Self {
            settings,
            collector,
        } = self;
        let (queue, receiver) = queue();
        let (finish, finishing) = oneshot::channel();
        let waiting = Arc::clone(&queue.waiting);
        let task = Task {
            receiver,
            collector,
            waiting: Arc::clone(&waiting),
            failing: false,
        };
        let export = Export {
            finish,
            task: tokio::spawn(task.run(finishing)),
            waiting,
        };
        (Tracer::new(&settings, queue), export)
    }
}

impl Export {
    /// Sends what waits, for so long at the most. What is left then is lost.
    pub async fn finish(self, within: Duration) {
        let Self {
            finish,
            mut task,
            waiting,
        } = self;
        // The task has ended by itself only if it panicked, which was logged.
        let _ = finish.send(());
        if timeout(within, &mut task).await.is_err() {
            task.abort();
        }
        let lost = waiting.load(Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(spans = lost, "spans were not exported before the end");
        }
    }
}

struct Task {
    receiver: mpsc::Receiver<Span>,
    collector: Collector,
    waiting: Arc<AtomicU64>,
    /// Whether the latest request failed, which was logged.
    failing: bool,
}

impl Task {
    async fn run(mut self, mut finishing: oneshot::Receiver<()>) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                _ = &mut finishing => break,
                () = gather(&mut self.receiver, &mut batch) => {}
            }
            if batch.is_empty() {
                return;
            }
            let mut sending = std::pin::pin!(self.send(batch));
            tokio::select! {
                biased;
                () = &mut sending => continue,
                _ = &mut finishing => {}
            }
            // The request under way is not given up: what bounds it is the caller's patience.
            sending.await;
            break;
        }
        self.receiver.close();
        loop {
            let mut batch = Vec::new();
            if self.receiver.recv_many(&mut batch, MAX_BATCH).await == 0 {
                return;
            }
            self.send(batch).await;
        }
    }

    /// Sends a batch, again where that may help.
    async fn send(&mut self, batch: Vec<Span>) {
        let spans = batch.len() as u64;
        let request = self.collector.request(batch);
        let mut pause = PAUSE;
        let mut tries = 1;
        let result = loop {
            match self.collector.send(&request).await {
                Err(SendError::Later { wait, .. }) if tries < TRIES => {
                    sleep(wait.unwrap_or(pause).min(MAX_PAUSE)).await;
                    tries += 1;
                    pause *= 2;
                }
                result => break result,
            }
        };
        match result {
            Ok(rejected) => {
                let rejected = rejected.min(spans);
                metrics::spans_exported(spans - rejected);
                metrics::spans_dropped("rejected", rejected);
                self.succeeded(rejected);
            }
            Err(error) => {
                metrics::spans_dropped("not-taken", spans);
                self.failed(&error);
            }
        }
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }

    fn succeeded(&mut self, rejected: u64) {
        if rejected > 0 {
            tracing::warn!(spans = rejected, "the trace collector rejected spans");
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!("the trace collector takes spans again");
        }
    }

    fn failed(&mut self, error: &SendError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "the trace collector takes no spans; they are dropped");
        }
    }
}

/// Waits for spans, and for others that come soon. Nothing comes once every tracer is gone.
async fn gather(receiver: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    if receiver.recv_many(batch, MAX_BATCH).await == 0 {
        return;
    }
    let deadline = Instant::now() + GATHERING;
    while batch.len() < MAX_BATCH {
        let room = MAX_BATCH - batch.len();
        tokio::select! {
            biased;
            () = sleep_until(deadline) => return,
            added = receiver.recv_many(batch, room) => if added == 0 { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn settings(endpoint: String) -> Traces {
        Traces {
            endpoint,
            headers: Vec::new(),
            ca_file: None,
            sample_ratio: 1.0,
            continue_clients: true,
            service_name: "sluice".to_owned(),
            attributes: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_a_silent_collector_no_longer_than_it_may() {
        // Connections wait in its queue and are never answered.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/v1/traces");
        let (_tracer, export) = Prepared::new(&settings(url)).unwrap().start();
        let begun = Instant::now();
        export.finish(Duration::from_secs(2)).await;
        // Nothing waited, so there was nothing to wait for.
        assert!(begun.elapsed() < Duration::from_secs(1));
        let url = format!("http://{address}/v1/traces");
        let (tracer, export) = Prepared::new(&settings(url)).unwrap().start();
        let trace = tracer.begin(None).unwrap();
        trace.end(crate::span::Span {
            id: trace.next(),
            parent: None,
            name: "connect".to_owned(),
            kind: crate::span::SpanKind::Internal,
            began: 1,
            ended: 2,
            attributes: crate::span::Attributes::default(),
            failed: None,
        });
        let begun = Instant::now();
        export.finish(Duration::from_secs(2)).await;
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_secs(2) && waited < Duration::from_secs(3),
            "{waited:?}"
        );
    }
}
