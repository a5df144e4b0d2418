//! Admitted connections without traffic.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::admit::admit;
use crate::cli::IdleArgs;
use crate::ingest::{Script, Stream};
use crate::process::Usage;
use crate::report::{Failures, Rows, kib};
use crate::target::Target;

/// Time without a change after which memory counts as settled.
const STEADY: Duration = Duration::from_secs(2);
/// Maximum time to wait for that.
const PATIENCE: Duration = Duration::from_secs(15);

/// Opens connections up to each number, and compares.
pub async fn run(target: Target, args: &IdleArgs) -> anyhow::Result<Rows> {
    let target = Arc::new(target);
    let script = Arc::new(Script::new(0));
    let (ended, mut endings) = mpsc::unbounded_channel();
    let mut rows = Rows::default();
    let mut points = vec![(0_usize, steady(&target).await?)];
    for count in [args.at.0, args.at.1] {
        let (have, _) = points[points.len() - 1];
        let mut admitted = admit(&target, &script, have..count.max(have)).await?;
        admitted.report(&mut rows);
        let opened = admitted.streams.len();
        for (_, stream) in admitted.streams {
            tokio::spawn(hold(stream, ended.clone()));
        }
        points.push((have + opened, steady(&target).await?));
    }
    for (count, usage) in &points {
        rows.add(format!("memory of {count} connections"), kib(usage.rss));
    }
    for pair in points.windows(2) {
        let ((fewer, before), (more, after)) = (pair[0], pair[1]);
        let used = after - before;
        let each = used.rss / i64::try_from((more - fewer).max(1))?;
        rows.add(
            format!("memory per connection from {fewer} to {more}"),
            kib(each),
        );
    }
    let mut dropped = Failures::default();
    while let Ok(kind) = endings.try_recv() {
        dropped.count(kind);
    }
    rows.add_failures("connections dropped", &dropped);
    Ok(rows)
}

async fn hold(mut stream: Stream, ended: mpsc::UnboundedSender<String>) {
    let failed = stream.hold().await;
    // The connections are not needed after the report.
    let _ = ended.send(failed.kind());
}

/// Usage of the target after it has settled.
async fn steady(target: &Target) -> anyhow::Result<Usage> {
    let began = Instant::now();
    let mut last = target.usage()?;
    let mut since = Instant::now();
    while since.elapsed() < STEADY && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
        let now = target.usage()?;
        if now.rss != last.rss {
            since = Instant::now();
        }
        last = now;
    }
    Ok(last)
}
