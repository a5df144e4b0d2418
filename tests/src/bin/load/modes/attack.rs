//! Delay of messages while the policies of other clients are hostile.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::cli::AttackArgs;
use crate::client::Client;
use crate::frames::{Data, OpCode, frame};
use crate::gateway::HOSTILE;
use crate::report::{Rows, as_float};
use crate::target::Target;

/// Interval in which each neighbour sends a message and waits for its echo.
const PACE: Duration = Duration::from_millis(20);

/// Measures the neighbours in peace and during each attack. Peace and attack alternate, so that
/// other load on the machine affects both.
pub async fn run(target: Target, args: &AttackArgs) -> anyhow::Result<Rows> {
    let mut rows = Rows::default();
    let time = Duration::from_secs(args.seconds.into());
    let target = Arc::new(target);
    for (kind, _) in HOSTILE {
        let calm = neighbours(&target, args, time).await?;
        let mut attackers = JoinSet::new();
        for number in 0..args.attackers {
            attackers.spawn(attack(Arc::clone(&target), kind, number));
        }
        let attacked = neighbours(&target, args, time).await?;
        attackers.shutdown().await;
        for (when, times) in [("calm", &calm), (kind, &attacked)] {
            let [half, most] = [0.5, 0.99].map(|share| quantile(times, share).as_micros());
            rows.add(
                format!("round trip, {when}"),
                format!("p50 {half} µs, p99 {most} µs"),
            );
        }
        let [calm, attacked] = [&calm, &attacked].map(|times| quantile(times, 0.99).as_secs_f64());
        let ratio = format!("{:.2}", attacked / calm);
        rows.add(format!("p99 under {kind} to calm"), ratio);
    }
    Ok(rows)
}

async fn neighbours(
    target: &Target,
    args: &AttackArgs,
    time: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let message = frame(OpCode::Data(Data::Binary), &vec![0x5a; 640]);
    let mut echoing = JoinSet::new();
    for number in 0..args.neighbours {
        let path = target.path("echo");
        let client = Client::connect(target.address, &path, None, number).await;
        let mut client = client.context("a neighbour could not connect")?;
        let message = message.clone();
        echoing.spawn(async move {
            let mut times = Vec::new();
            let mut pace = interval(PACE);
            let end = Instant::now() + time;
            while Instant::now() < end {
                pace.tick().await;
                let sent = Instant::now();
                client.send(&message).await?;
                client.count(1).await?;
                times.push(sent.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = echoing.join_next().await {
        all.extend(
            done.context("a neighbour panicked")?
                .context("a neighbour was dropped")?,
        );
    }
    all.sort_unstable();
    Ok(all)
}

/// Reconnects as soon as it is refused.
async fn attack(target: Arc<Target>, kind: &str, number: usize) {
    loop {
        let path = format!("/attack/{kind}");
        if let Ok(mut client) = Client::connect(target.address, &path, None, number).await {
            // The refusal, in any form.
            drop(client.count(1).await);
        }
    }
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list, from a share of its length"
    )]
    let place = (as_float(sorted.len() as u64) * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(place.min(last)).copied().unwrap_or_default()
}
