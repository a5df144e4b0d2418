//! Many short connections, a few at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ingest::{Failed, Pace, Script, Sent, Stream};
use crate::report::Failures;
use crate::target::Target;
use crate::token;

/// Bytes of a frame.
const FRAME_SIZE: usize = 3200;

/// What one connection does.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Comes with a token that has expired.
    Refused,
    /// Streams for a moment and finalizes.
    Finalized {
        /// Number of frames of audio.
        frames: u64,
    },
}

/// Makes `count` connections, `workers` of them at once. What goes otherwise is counted in
/// `failures`.
pub async fn cycles(
    target: &Arc<Target>,
    kind: Kind,
    count: usize,
    workers: usize,
    failures: &mut Failures,
) -> anyhow::Result<()> {
    let script = Arc::new(Script::new(FRAME_SIZE));
    let next = Arc::new(AtomicUsize::new(0));
    let mut working = JoinSet::new();
    for worker in 0..workers {
        let token = match kind {
            Kind::Refused => token::expired(&target.secret, worker)?,
            Kind::Finalized { .. } => token::good(&target.secret, worker)?,
        };
        let meeting = format!("meeting-{worker}");
        let (target, script, next) = (Arc::clone(target), Arc::clone(&script), Arc::clone(&next));
        working.spawn(async move {
            let mut failures = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return failures;
                }
                let opened = Stream::open(&target, &script, &meeting, &token, number).await;
                if let Err(kind) = cycle(kind, opened, &script).await {
                    failures.push(kind);
                }
            }
        });
    }
    while let Some(done) = working.join_next().await {
        for kind in done.context("a client panicked")? {
            failures.count(kind);
        }
    }
    Ok(())
}

async fn cycle(kind: Kind, opened: Result<Stream, Failed>, script: &Script) -> Result<(), String> {
    let (mut stream, frames) = match (kind, opened) {
        (Kind::Refused, Err(Failed::Closed { code: 4001, .. })) => return Ok(()),
        (Kind::Refused, Ok(_)) => return Err("admitted with an expired token".to_owned()),
        (_, Err(failed)) => return Err(failed.kind()),
        (Kind::Finalized { frames }, Ok(stream)) => (stream, frames),
    };
    let pace = Pace {
        first: Instant::now(),
        every: Duration::ZERO,
        frames,
    };
    let sent = stream.send(script, pace, &mut Sent::default()).await;
    sent.map_err(|failed| failed.kind())?;
    match stream.finalize(script).await {
        Ok(bytes) if bytes == frames * FRAME_SIZE as u64 => Ok(()),
        Ok(bytes) => Err(format!("finalized with {bytes} bytes")),
        Err(failed) => Err(failed.kind()),
    }
}
