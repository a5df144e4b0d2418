//! Real-time streams.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::admit::admit;
use crate::cli::StreamArgs;
use crate::ingest::{Failed, Pace, Script, Sent, Stream};
use crate::process::Usage;
use crate::report::{Failures, Latencies, Rows, kib, micros_each, share};
use crate::target::Target;

/// Pause between the last admission and the first frame.
const BREATH: Duration = Duration::from_millis(500);

/// Admits all streams, lets them send, finalizes them.
pub async fn run(target: Target, args: &StreamArgs) -> anyhow::Result<Rows> {
    let target = Arc::new(target);
    let script = Arc::new(Script::new(args.size));
    let mut rows = Rows::default();
    let before = target.usage()?;
    let mut admitted = admit(&target, &script, 0..args.streams).await?;
    admitted.report(&mut rows);

    let every = Duration::from_secs(1) / args.rate;
    let frames = u64::from(args.rate) * u64::from(args.seconds);
    let start = Instant::now() + BREATH;
    let mut sending = JoinSet::new();
    let count = u32::try_from(admitted.streams.len().max(1))?;
    for (place, (_, stream)) in (0_u32..).zip(admitted.streams) {
        let script = Arc::clone(&script);
        let pace = Pace {
            // The streams are spread over the time between two frames.
            first: start + every * place / count,
            every,
            frames,
        };
        sending.spawn(one(stream, script, pace));
    }
    sleep_until(start).await;
    let (quiet, own_quiet) = (target.usage()?, Usage::own()?);
    // The streams send their last frames within the last interval. Until here all of them send, and
    // none finalizes.
    let window = every * u32::try_from(frames.saturating_sub(1))?;
    sleep_until(start + window).await;
    let busy = target.usage()?;
    let (used, own) = (busy - quiet, Usage::own()? - own_quiet);

    let mut sums = Sums::default();
    while let Some(ended) = sending.join_next().await {
        let (sent, ended) = ended.context("a client panicked")?;
        sums.add(script.size() as u64, sent, ended);
    }
    let in_window = u64::from(count) * frames.saturating_sub(1);
    rows.add("frames sent", sums.sent);
    rows.add("frames lost", sums.lost);
    rows.add_failures("streams dropped", &sums.dropped);
    rows.add("most that a stream's frames were late", sums.late.summary());
    rows.add("CPU per frame", micros_each(used.cpu, in_window));
    rows.add("CPU while all send", share(used.cpu, window));
    rows.add("CPU of this generator", share(own.cpu, window));
    rows.add("memory while all send", kib((busy - before).rss));
    Ok(rows)
}

async fn one(mut stream: Stream, script: Arc<Script>, pace: Pace) -> (Sent, Result<u64, Failed>) {
    let mut sent = Sent::default();
    let ended = match stream.send(&script, pace, &mut sent).await {
        Ok(()) => stream.finalize(&script).await,
        Err(failed) => Err(failed),
    };
    (sent, ended)
}

#[derive(Default)]
struct Sums {
    sent: u64,
    lost: u64,
    dropped: Failures,
    late: Latencies,
}

impl Sums {
    fn add(&mut self, size: u64, sent: Sent, ended: Result<u64, Failed>) {
        self.sent += sent.frames;
        self.late.add(sent.late);
        match ended {
            Ok(bytes) => self.lost += sent.frames.abs_diff(bytes / size),
            Err(failed) => {
                self.lost += sent.frames;
                self.dropped.count(failed.kind());
            }
        }
    }
}
