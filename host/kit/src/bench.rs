//! `sluice policy bench`: what a decision costs, in a fresh instance each, as
//! in the gateway.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::run::choose;
use super::scene::Scene;
use super::subject::Subject;
use super::trial::{self, Trial, TrialResult};
use crate::arguments::BenchArgs;
use policy::Verdict;
use policy::engine::Engine;

/// Decisions that are made first and not counted: the first ones pay for what
/// later ones find ready.
const WARM_UP: usize = 10;

/// Runs `sluice policy bench`.
///
/// # Errors
/// Where the case cannot be tried, or the policy breaks.
pub async fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let case = choose(&args.run.file, args.run.case.as_deref())?;
    let subject = Subject::load(&args.run.subject, Engine::new()?).await?;
    let first = Trial::of(&subject, &case).await?;
    ensure!(
        matches!(&first.result, TrialResult::Asked(verdict) if !matches!(verdict, Verdict::Failed(_))),
        "there is nothing to measure: {}",
        first.result
    );
    let mut times = Vec::new();
    let end = Instant::now() + args.duration;
    while times.len() < WARM_UP + 1 || Instant::now() < end {
        let scene = Scene::of(&case, &subject.name, &subject.config, subject.lists()?)?;
        let policy = subject.policy(scene.world.clone(), &case.config)?;
        let mut calls = Vec::new();
        let result = TrialResult::Asked(trial::ask(&policy, &scene, &mut calls).await);
        ensure!(
            result == first.result,
            "it does not always answer the same: {result}"
        );
        times.push(calls.iter().map(|call| call.took).sum::<Duration>());
    }
    let times = &mut times[WARM_UP..];
    times.sort_unstable();
    println!("case     {}", case.name);
    println!("verdict  {}", first.result);
    println!(
        "decided  {} times, one after the other, a fresh instance each",
        times.len()
    );
    for (name, share) in [("median", 0.5), ("p99", 0.99), ("slowest", 1.0)] {
        println!("{name:<8} {:?}", quantile(times, share));
    }
    Ok(())
}

/// Of times in order, which are some.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list of some thousands"
)]
fn quantile(times: &[Duration], share: f64) -> Duration {
    let place = (times.len() as f64 * share).ceil() as usize;
    times[place.clamp(1, times.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!(quantile(&times, 0.5), Duration::from_micros(50));
        assert_eq!(quantile(&times, 0.99), Duration::from_micros(99));
        assert_eq!(quantile(&times, 1.0), Duration::from_micros(100));
        assert_eq!(quantile(&times[..1], 0.5), Duration::from_micros(1));
    }
}
