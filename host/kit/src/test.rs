//! `sluice policy test`: every case of a project's fixtures.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use super::fixture::{self, Case, Expect, ExpectedVerdict};
use super::subject::Subject;
use super::trial::{Trial, TrialResult, told};
use crate::arguments::{OnWarning, TestArgs};
use policy::engine::Engine;
use policy::{Failure, Verdict};

mod warnings;

use warnings::Options;

/// Runs `sluice policy test`, and says what differs.
///
/// # Errors
/// Where nothing can be tried: the policy does not build or load, a file of
/// cases has mistakes.
pub async fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let files = files(args)?;
    let fixtures = files
        .into_iter()
        .map(|file| Ok((fixture::load(&file)?, file)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let subject = Subject::load(&args.subject, Engine::new()?).await?;
    let mut options = Options::of(&subject);
    let mut tally = Tally::default();
    for (cases, file) in fixtures {
        println!("{}", file.display());
        for case in &cases {
            let trial = Trial::of(&subject, case)
                .await
                .with_context(|| format!("{}: case \"{}\"", file.display(), case.name))?;
            options.tried(case, &trial);
            tally.show(&case.name, &differences(&subject, case, &trial), &trial);
        }
    }
    let mut warnings = options.warnings(&subject.name);
    warnings.extend(subject.stale.clone());
    for warning in &warnings {
        println!("warning: {warning}");
    }
    tally.warnings += warnings.len();
    println!("{tally}");
    Ok(tally.status(args.on_warning()))
}

/// What came of all cases.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    warnings: usize,
}

impl Tally {
    fn show(&mut self, case: &str, differences: &[String], trial: &Trial) {
        if differences.is_empty() {
            self.passed += 1;
            println!("  ok    {case}");
        } else {
            self.failed += 1;
            println!("  FAIL  {case}");
        }
        for line in differences {
            println!("          {line}");
        }
        for amendment in &trial.looked.amendments {
            self.warnings += 1;
            println!("          warning: {amendment}");
        }
    }

    fn status(&self, on_warning: OnWarning) -> ExitCode {
        match (self.failed, self.warnings, on_warning) {
            (0, 0, _) | (0, _, OnWarning::Tell) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.warnings {
            0 => Ok(()),
            1 => f.write_str(", 1 warning"),
            several => write!(f, ", {several} warnings"),
        }
    }
}

/// The files that are named, or those in the project's folder `tests`.
fn files(args: &TestArgs) -> anyhow::Result<Vec<PathBuf>> {
    if !args.files.is_empty() {
        return Ok(args.files.clone());
    }
    let folder = args.subject.project.join("tests");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("there are no cases: {} cannot be read", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_toml(path))
        .collect();
    files.sort();
    ensure!(
        !files.is_empty(),
        "there are no cases: {} has no .toml file",
        folder.display()
    );
    Ok(files)
}

fn is_toml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "toml")
}

/// How what came of a case differs from what it expects, in lines.
fn differences(subject: &Subject, case: &Case, trial: &Trial) -> Vec<String> {
    let mut lines = compare(&case.expect, trial, &subject.name);
    if !lines.is_empty() {
        lines.extend(trial.log.iter().map(|line| format!("log: {line}")));
    }
    if let TrialResult::Asked(Verdict::Failed(Failure::Limit(_))) = &trial.result {
        lines.push(format!(
            "that limit is in [policies.{}] of the configuration",
            subject.name
        ));
    }
    lines
}

fn compare(expect: &Expect, trial: &Trial, policy: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if !is_met(&expect.verdict, &trial.result) {
        lines.push(format!("expected {}", shown(&expect.verdict)));
        lines.push(format!("but was  {}", trial.result));
    }
    let connection = &trial.scene.connection;
    for (name, wanted) in &expect.attributes {
        let left = connection.session().facts.attribute(name);
        if left.as_ref() != Some(wanted) {
            let left = left.map_or_else(|| "not there".to_owned(), |left| format!("\"{left}\""));
            lines.push(format!("the attribute {name} is {left}, not \"{wanted}\""));
        }
    }
    for key in &expect.holds {
        if !trial.scene.world.holds(connection, key) {
            lines.push(format!("the connection does not hold the key \"{key}\""));
        }
    }
    for (key, wanted) in &expect.counters {
        let stands = trial.scene.world.counter(policy, key);
        if stands != *wanted {
            lines.push(format!(
                "the counter {key} stands at {stands}, not at {wanted}"
            ));
        }
    }
    for id in &expect.evicts {
        let evicted =
            trial.scene.others.iter().any(|other| {
                *other.session().facts.session_id == **id && other.session().is_evicted()
            });
        if !evicted {
            lines.push(format!("the session {id} was not evicted"));
        }
    }
    for code in &expect.notices {
        if !trial.notices().any(|notice| notice.code == *code) {
            lines.push(format!("the client is sent no notice \"{code}\""));
        }
    }
    let metrics = trial.metrics();
    for (key, wanted) in &expect.metrics {
        let added = metrics.get(key).copied().unwrap_or_default();
        if i128::from(added) != i128::from(*wanted) {
            lines.push(format!(
                "{added} is added to the metric {key}, not {wanted}"
            ));
        }
    }
    for text in &expect.log {
        if !trial.log.iter().any(|line| line.contains(text)) {
            lines.push(format!("nothing in the log says \"{text}\""));
        }
    }
    lines
}

fn is_met(expected: &ExpectedVerdict, result: &TrialResult) -> bool {
    match (expected, result) {
        (ExpectedVerdict::ConfigError(text), TrialResult::ConfigError(complaint)) => {
            complaint.contains(text)
        }
        (ExpectedVerdict::Accept, TrialResult::Asked(verdict)) => *verdict == Verdict::Accept,
        (ExpectedVerdict::Reject { code, .. }, TrialResult::Asked(Verdict::KeysUnavailable(_))) => {
            code == "auth_unavailable"
        }
        (ExpectedVerdict::Reject { code, .. }, TrialResult::Asked(Verdict::Unanswered(_))) => {
            code == "service_unavailable"
        }
        (
            ExpectedVerdict::Reject {
                code,
                close_code,
                message,
                retryable,
                retry_after_ms,
            },
            TrialResult::Asked(verdict),
        ) => told(verdict).is_some_and(|rejection| {
            let retry_after = rejection.retry_after;
            *code == rejection.code
                && close_code.is_none_or(|wanted| wanted == rejection.close_code)
                && message
                    .as_ref()
                    .is_none_or(|wanted| *wanted == rejection.message)
                && retryable.is_none_or(|wanted| wanted == rejection.retryable)
                && retry_after_ms.is_none_or(|wanted| {
                    retry_after.is_some_and(|after| after.as_millis() == u128::from(wanted))
                })
        }),
        _ => false,
    }
}

fn shown(expected: &ExpectedVerdict) -> String {
    match expected {
        ExpectedVerdict::Accept => "accept".to_owned(),
        ExpectedVerdict::ConfigError(text) => format!("config error: …{text}…"),
        ExpectedVerdict::Reject {
            code,
            close_code,
            message,
            retryable,
            retry_after_ms,
        } => {
            let mut shown = format!("reject {code}");
            if let Some(close_code) = close_code {
                shown.push_str(&format!(" ({close_code})"));
            }
            if let Some(message) = message {
                shown.push_str(&format!(" \"{message}\""));
            }
            if let Some(retryable) = retryable {
                shown.push_str(if *retryable {
                    ", may be tried again"
                } else {
                    ", final"
                });
            }
            if let Some(after) = retry_after_ms {
                shown.push_str(&format!(", retry after {after} ms"));
            }
            shown
        }
    }
}
