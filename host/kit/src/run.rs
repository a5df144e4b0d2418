//! `sluice policy run`: one case, and everything that there is to see.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytesize::ByteSize;

use super::fixture::{self, Case};
use super::subject::Subject;
use super::trial::{Trial, TrialResult};
use crate::arguments::RunArgs;
use policy::Verdict;
use policy::engine::Engine;

/// The policy decided, whatever that was.
const DECIDED: u8 = 0;
/// It could not be asked about the case.
const NOT_ASKED: u8 = 1;
/// It trapped, or passed one of its limits.
const BROKE: u8 = 2;

/// Runs `sluice policy run`.
///
/// # Errors
/// Where the case cannot be tried.
pub async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let case = choose(&args.file, args.case.as_deref())?;
    let subject = Subject::load(&args.subject, Engine::new()?).await?;
    let trial = Trial::of(&subject, &case).await?;
    // Counting makes a guest slower: it is asked a second time, in a world as
    // it was, by an engine that counts.
    let metered = subject.on(Engine::metered()?).await?;
    let counted = Trial::of(&metered, &case).await?;

    println!("case     {}", case.name);
    println!("verdict  {}", trial.result);
    let attributes = trial.scene.connection.session().facts.attributes();
    let own = format!("{}.", subject.settings.speaks_as(&subject.name));
    for (name, value) in attributes.iter().filter(|(name, _)| name.starts_with(&own)) {
        println!("leaves   {name} = \"{}\"", base::text::clean(value, 200));
    }
    for line in &trial.log {
        println!("log      {line}");
    }
    for notice in trial.notices() {
        println!("notice   {} \"{}\"", notice.code, notice.message);
    }
    for (key, amount) in trial.metrics() {
        println!("counts   {key} {amount}");
    }
    for amendment in &trial.looked.amendments {
        println!("changed  {amendment}");
    }
    for (call, counted) in trial.calls.iter().zip(&counted.calls) {
        print!(
            "{:<8} {:?} of {:?}",
            call.hook.name(),
            call.took,
            subject.settings.limits.timeout
        );
        if let Some(usage) = call.usage {
            let limit = ByteSize(subject.settings.limits.max_memory as u64)
                .display()
                .iec();
            print!(
                ", {} of {limit}",
                ByteSize(usage.memory as u64).display().iec()
            );
        }
        match counted.usage.and_then(|usage| usage.fuel) {
            Some(fuel) => println!(", fuel {fuel}"),
            None => println!(),
        }
    }
    Ok(ExitCode::from(match trial.result {
        TrialResult::Asked(Verdict::Failed(_)) => BROKE,
        TrialResult::NotAsked(_) => NOT_ASKED,
        _ => DECIDED,
    }))
}

/// The case of that name, or the only one.
pub(super) fn choose(file: &Path, name: Option<&str>) -> anyhow::Result<Case> {
    let mut cases = fixture::load(file)?;
    let names = || {
        cases
            .iter()
            .map(|case| format!("\n  {}", case.name))
            .collect::<String>()
    };
    let place = match name {
        Some(name) => cases
            .iter()
            .position(|case| case.name == name)
            .with_context(|| format!("there is no case \"{name}\"; there are:{}", names()))?,
        None if cases.len() == 1 => 0,
        None => bail!("choose a case with --case:{}", names()),
    };
    Ok(cases.swap_remove(place))
}
