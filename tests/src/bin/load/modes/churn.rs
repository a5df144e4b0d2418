//! Connections that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cli::ChurnArgs;
use crate::held::Held;
use crate::ingest::{Failed, Pace, Script, Sent, Stream};
use crate::process::Usage;
use crate::report::{Failures, Rows, kib, micros_each, per_second};
use crate::target::Target;
use crate::token;

/// What a short stream sends.
const FRAMES: u64 = 5;
const FRAME_SIZE: usize = 3200;
/// The gateway may still be closing its side of the last connections.
const REST: Duration = Duration::from_secs(3);

/// What one connection does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Comes with a token that has expired.
    Refused,
    /// Streams for a moment and finalizes.
    Finalized,
}

/// Both kinds, measured one after the other.
pub async fn run(target: Target, args: &ChurnArgs) -> anyhow::Result<Rows> {
    let target = Arc::new(target);
    let mut rows = Rows::default();
    let mut failures = Failures::default();
    let half = args.cycles / 2;
    for kind in [Kind::Refused, Kind::Finalized] {
        cycles(&target, kind, args.warm_up / 2, args.workers, &mut failures).await?;
    }
    let before = rest(&target).await?;
    let phases = [
        ("connect-refuse", Kind::Refused),
        ("connect-stream-finalize", Kind::Finalized),
    ];
    let mut points = vec![("before", before)];
    for (name, kind) in phases {
        let start = target.usage()?;
        let began = Instant::now();
        cycles(&target, kind, half, args.workers, &mut failures).await?;
        let (took, used) = (began.elapsed(), target.usage()? - start);
        rows.add(name, half);
        rows.add(format!("{name}, rate"), per_second(half as u64, took));
        rows.add(
            format!("{name}, CPU each"),
            micros_each(used.cpu, half as u64),
        );
        points.push((name, rest(&target).await?));
    }
    rows.add_failures("cycles that went otherwise", &failures);
    for (name, (usage, held)) in points {
        let when = if name == "before" {
            format!("after {} cycles of warm-up", args.warm_up)
        } else {
            format!("after {half} of {name}")
        };
        rows.add(
            when.clone(),
            format!(
                "{}, {} descriptors, {} threads",
                kib(usage.rss),
                usage.descriptors,
                usage.threads
            ),
        );
        if let Some(held) = held {
            rows.add(format!("{when}, held"), held);
        }
    }
    Ok(rows)
}

async fn rest(target: &Target) -> anyhow::Result<(Usage, Option<Held>)> {
    sleep(REST).await;
    Ok((target.usage()?, target.held().await?))
}

async fn cycles(
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
            Kind::Finalized => token::good(&target.secret, worker)?,
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
    let mut stream = match (kind, opened) {
        (Kind::Refused, Err(Failed::Closed { code: 4001, .. })) => return Ok(()),
        (Kind::Refused, Ok(_)) => return Err("admitted with an expired token".to_owned()),
        (_, Err(failed)) => return Err(failed.kind()),
        (Kind::Finalized, Ok(stream)) => stream,
    };
    let pace = Pace {
        first: Instant::now(),
        every: Duration::ZERO,
        frames: FRAMES,
    };
    let sent = stream.send(script, pace, &mut Sent::default()).await;
    sent.map_err(|failed| failed.kind())?;
    match stream.finalize(script).await {
        Ok(bytes) if bytes == FRAMES * FRAME_SIZE as u64 => Ok(()),
        Ok(bytes) => Err(format!("finalized with {bytes} bytes")),
        Err(failed) => Err(failed.kind()),
    }
}
