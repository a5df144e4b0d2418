//! Connections that come and go.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cycles::{Kind, cycles};
use crate::cli::ChurnArgs;
use crate::held::Held;
use crate::process::Usage;
use crate::report::{Failures, Rows, kib, micros_each, per_second};
use crate::target::Target;

/// A short stream.
const FINALIZED: Kind = Kind::Finalized { frames: 5 };
/// The gateway may still be closing its side of the last connections.
const REST: Duration = Duration::from_secs(3);

/// Both kinds, measured one after the other.
pub async fn run(target: Target, args: &ChurnArgs) -> anyhow::Result<Rows> {
    let target = Arc::new(target);
    let mut rows = Rows::default();
    let mut failures = Failures::default();
    let half = args.cycles / 2;
    for kind in [Kind::Refused, FINALIZED] {
        cycles(&target, kind, args.warm_up / 2, args.workers, &mut failures).await?;
    }
    let before = rest(&target).await?;
    let phases = [
        ("connect-refuse", Kind::Refused),
        ("connect-stream-finalize", FINALIZED),
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
