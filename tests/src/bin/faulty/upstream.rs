//! Upstreams that fail.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cluster::Cluster;
use config::Config;
use futures_util::future::{BoxFuture, FutureExt as _};
use sluice::assemble::upstreams;
use upstream::{
    Downward, Link, Lost, OpenError, Sealed, StreamEnd, StreamInfo, Upstream, Upstreams, Upward,
};

/// Moment of the fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// While it is opened.
    Open,
    /// In a check whether it can take a message, after the first.
    Ready,
    /// With its first message.
    Message,
    /// In a poll for a message, after its first.
    Event,
    /// While it is sealed.
    Seal,
}

/// Kind of fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Panic,
    Error,
    /// It never answers.
    Never,
    /// It fails when nothing may wait for it any more.
    Late,
    /// It blocks the thread until a file [`UNBLOCK`] is in the data folder.
    Block,
}

/// Name of the file that ends [`How::Block`].
const UNBLOCK: &str = "unblock";

#[derive(Clone, Copy)]
struct Fault {
    when: When,
    how: How,
}

impl Fault {
    fn named(name: &str) -> Option<Self> {
        let (when, how) = name.strip_prefix("fault-")?.split_once('-')?;
        Some(Self {
            when: match when {
                "open" => When::Open,
                "ready" => When::Ready,
                "message" => When::Message,
                "event" => When::Event,
                "seal" => When::Seal,
                _ => return None,
            },
            how: match how {
                "panic" => How::Panic,
                "error" => How::Error,
                "never" => How::Never,
                "late" => How::Late,
                "block" => How::Block,
                _ => return None,
            },
        })
    }

    fn strike(self) -> Poll<anyhow::Error> {
        match self.how {
            How::Panic => panic!("the fault that was asked for"),
            How::Error | How::Late | How::Block => {
                Poll::Ready(anyhow::anyhow!("the fault that was asked for"))
            }
            How::Never => Poll::Pending,
        }
    }

    fn lose(self) -> Poll<Lost> {
        self.strike().map(|detail| Lost {
            public: "lost on demand".to_owned(),
            detail,
        })
    }
}

/// Configured upstreams, with faults if their names ask for them.
pub fn build(config: &Config, cluster: Option<&Cluster>) -> Upstreams {
    let built = upstreams::build(config, cluster).into_iter();
    let unblock: Arc<Path> = config.data_dir.join(UNBLOCK).into();
    built
        .map(|(name, real)| match Fault::named(&name) {
            Some(fault) => {
                let unblock = Arc::clone(&unblock);
                let faulty = Faulty {
                    fault,
                    real,
                    unblock,
                };
                (name, Arc::new(faulty) as _)
            }
            None => (name, real),
        })
        .collect()
}

struct Faulty {
    fault: Fault,
    real: Arc<dyn Upstream>,
    unblock: Arc<Path>,
}

impl Upstream for Faulty {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        async move {
            let fault = self.fault;
            if fault.when == When::Open && fault.how == How::Late {
                // It opens, in its own time.
                tokio::time::sleep(Duration::from_secs(2)).await;
            } else if fault.when == When::Open {
                let detail = std::future::poll_fn(|_| fault.strike()).await;
                let public = "closed on demand".to_owned();
                return Err(OpenError::Unavailable { public, detail });
            }
            let real = self.real.open(stream).await?;
            let taken = 0;
            let unblock = Arc::clone(&self.unblock);
            Ok(Box::new(FaultyLink {
                fault,
                real,
                unblock,
                taken,
            }) as _)
        }
        .boxed()
    }
}

struct FaultyLink {
    fault: Fault,
    real: Box<dyn Link>,
    unblock: Arc<Path>,
    taken: u64,
}

impl FaultyLink {
    fn strikes(&self, when: When) -> bool {
        self.fault.when == when && self.taken > 0
    }
}

impl Link for FaultyLink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.strikes(When::Ready) {
            return self.fault.lose().map(Err);
        }
        self.real.poll_ready(cx)
    }

    fn start_send(&mut self, message: Upward) {
        self.taken += 1;
        if self.strikes(When::Message) {
            // There is no error to return here, and nothing to wait for.
            assert!(self.fault.how != How::Panic, "the fault that was asked for");
            while self.fault.how == How::Block && !self.unblock.exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.real.start_send(message);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        if self.strikes(When::Event) {
            return self.fault.lose().map(Err);
        }
        self.real.poll_event(cx)
    }

    fn seal(self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            if self.fault.when == When::Seal {
                if self.fault.how == How::Late {
                    // Longer than the route's `write_timeout`.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                return Err(std::future::poll_fn(|_| self.fault.lose()).await);
            }
            self.real.seal(ending).await
        }
        .boxed()
    }
}
