//! `sluice policy replay`: recorded decisions, made again by another component
//! or with another configuration.
//!
//! The component runs in the real engine, within its limits. What it asks is
//! answered out of the record (`replay::past`), so that a decision which needed a
//! token, a clock or other connections can be made where there is none of
//! them. Where the record has no answer there is no decision either: such a
//! line is reported as undecided, and never taken for agreement.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{bail, ensure};
use serde::Serialize;

use super::lines::Lines;
use super::subject::Subject;
use crate::arguments::{ReplayArgs, ReplayOutput};
use base::text;
use policy::engine::Engine;
use policy::record::{Line, RecordedVerdict};
use policy::{Hook, Policy as _};

mod again;
mod past;

#[cfg(test)]
mod tests;

use again::Again;

/// What became of the decisions of a record.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    same: u64,
    different: u64,
    undecided: u64,
    /// By why there is nothing to compare with.
    passed_over: BTreeMap<&'static str, u64>,
    /// Differences by what was answered, then and now.
    groups: BTreeMap<String, Group>,
    /// Options with values that no record has, by where they are read now.
    secrets: BTreeMap<String, String>,
}

/// Differences of one kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Group {
    count: u64,
    /// Tenants that policies had verified, as many as are shown.
    tenants: BTreeSet<String>,
    /// The first sessions.
    examples: Vec<String>,
}

/// Maximum number of tenants, and of examples, of a group.
const MAX_SHOWN: usize = 5;

/// A decision that did not come out the same.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    time: &'a str,
    session: &'a str,
    #[serde(rename = "stage")]
    hook: Hook,
    was: &'a RecordedVerdict,
    #[serde(flatten)]
    found: Found<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "found", rename_all = "kebab-case")]
enum Found<'a> {
    Different { now: &'a RecordedVerdict },
    Undecided { why: String },
}

/// Runs `sluice policy replay`, and says what differs.
///
/// # Errors
/// Where the component does not build or load, or a file is no record.
pub async fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let subject = Subject::load(&args.subject, Engine::new()?).await?;
    let digest = accepts_its_configuration(&subject).await?;
    let mut summary = Summary::default();
    let (mut others, mut options) = (BTreeSet::new(), BTreeSet::new());
    for file in &args.files {
        for line in Lines::of(file)? {
            let line = line?;
            if line.policy != subject.name {
                others.insert(line.policy);
                continue;
            }
            let again = again::decide(&subject, &line, &mut options).await?;
            summary.add(&line, &again);
            if let Some(finding) = Finding::of(&line, &again) {
                finding.print(args.output());
            }
        }
    }
    ensure_some(&summary, &subject.name, &others)?;
    let secrets = subject.settings.secrets.iter();
    let used = secrets.filter(|(key, _)| options.contains(*key));
    summary.secrets = used
        .map(|(key, secret)| (key.clone(), secret.source.clone()))
        .collect();
    summary.print(&subject.name, &digest, args.output());
    Ok(if summary.different == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What does not load in a gateway decides nothing in one. Tells the digest of
/// what does.
async fn accepts_its_configuration(subject: &Subject) -> anyhow::Result<String> {
    let nowhere = past::Past::default();
    let policy = subject.policy(std::sync::Arc::new(nowhere), &serde_json::Map::new())?;
    if let Err(complaint) = policy.try_out().await? {
        let complaint = text::clean(&complaint, 1024);
        bail!(
            "\"{}\" does not accept its configuration: {complaint}",
            subject.name
        );
    }
    Ok(policy.digest().map(ToString::to_string).unwrap_or_default())
}

/// A name that is mistaken would differ in nothing.
fn ensure_some(summary: &Summary, name: &str, others: &BTreeSet<String>) -> anyhow::Result<()> {
    let others: Vec<_> = others.iter().map(|name| text::clean(name, 64)).collect();
    ensure!(
        *summary != Summary::default(),
        "there is no decision of \"{name}\" here; there are some of: {}",
        others.join(", ")
    );
    Ok(())
}

impl Summary {
    fn add(&mut self, line: &Line, again: &Again) {
        match again {
            Again::Same => self.same += 1,
            Again::Different(now) => {
                self.different += 1;
                let kind = format!("{} -> {}", word(&line.verdict), word(now));
                self.groups.entry(kind).or_default().add(line);
            }
            Again::Undecided(_) => self.undecided += 1,
            Again::PassedOver(why) => *self.passed_over.entry(*why).or_default() += 1,
        }
    }

    fn print(&self, policy: &str, digest: &str, output: ReplayOutput) {
        if output == ReplayOutput::Json {
            print_json(&serde_json::json!({"policy": policy, "digest": digest, "summary": self}));
            return;
        }
        println!("policy      {policy}, {digest}");
        println!(
            "decided     {} again: {} the same, {} different",
            self.same + self.different,
            self.same,
            self.different
        );
        for (kind, group) in &self.groups {
            println!("            {kind}: {}", group.count);
            let tenants: Vec<_> = group.tenants.iter().map(String::as_str).collect();
            if !tenants.is_empty() {
                println!("            of {}", tenants.join(", "));
            }
            println!("            for example {}", group.examples.join(", "));
        }
        println!("undecided   {}", self.undecided);
        for (option, source) in &self.secrets {
            println!("needs       `{option}` as it was then: {source} has the value of now");
        }
        for (why, count) in &self.passed_over {
            println!("passed over {count}: {why}");
        }
    }
}

impl Group {
    fn add(&mut self, line: &Line) {
        self.count += 1;
        let mut attributes = line.input.attributes.iter();
        let tenant = attributes.find(|(name, _)| name.ends_with(".tenant_id"));
        if let Some((_, tenant)) = tenant
            && self.tenants.len() < MAX_SHOWN
        {
            self.tenants.insert(text::clean(tenant, 64));
        }
        if self.examples.len() < MAX_SHOWN {
            self.examples.push(text::clean(&line.session, 64));
        }
    }
}

/// A verdict in a word or two.
fn word(verdict: &RecordedVerdict) -> String {
    match verdict {
        RecordedVerdict::Accept => "accept".to_owned(),
        RecordedVerdict::Reject { code, .. } => format!("reject {}", text::clean(code, 64)),
        RecordedVerdict::Unanswered { .. } => "reject service_unavailable".to_owned(),
        RecordedVerdict::Failed { failure, .. } => format!("failed {}", text::clean(failure, 64)),
        RecordedVerdict::Abandoned => "abandoned".to_owned(),
    }
}

impl<'a> Finding<'a> {
    fn of(line: &'a Line, again: &'a Again) -> Option<Self> {
        let found = match again {
            Again::Same | Again::PassedOver(_) => return None,
            Again::Different(now) => Found::Different { now },
            Again::Undecided(gap) => Found::Undecided {
                why: gap.to_string(),
            },
        };
        Some(Self {
            time: &line.time,
            session: &line.session,
            hook: line.hook,
            was: &line.verdict,
            found,
        })
    }

    fn print(&self, output: ReplayOutput) {
        if output == ReplayOutput::Json {
            print_json(self);
            return;
        }
        // A file is what somebody made it.
        let [time, session] = [self.time, self.session].map(|it| text::clean(it, 64));
        let place = format!("{time} {session} {}", self.hook.name());
        match &self.found {
            Found::Different { now } => {
                println!("different   {place}");
                println!("        was {}", shown(self.was));
                println!("        now {}", shown(now));
            }
            Found::Undecided { why } => {
                println!("undecided   {place}");
                println!("        was {}", shown(self.was));
                println!("        {}", text::clean(why, 512));
            }
        }
    }
}

fn print_json(value: &impl Serialize) {
    // All of it is made here, of texts and numbers.
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}

fn shown(verdict: &RecordedVerdict) -> String {
    match verdict {
        RecordedVerdict::Accept => "accept".to_owned(),
        RecordedVerdict::Reject {
            close_code,
            code,
            message,
            keys_unavailable,
            ..
        } => {
            let (code, message) = (text::clean(code, 64), text::clean(message, 512));
            let told = if *keys_unavailable {
                ", and the client is told auth_unavailable (4012)"
            } else {
                ""
            };
            format!("reject {code} ({close_code}) \"{message}\"{told}")
        }
        RecordedVerdict::Unanswered { destination, error } => format!(
            "reject service_unavailable (1013): the destination {} gave no answer: {error}",
            text::clean(destination, 64)
        ),
        RecordedVerdict::Failed { failure, detail } => {
            let (failure, detail) = (text::clean(failure, 64), text::clean(detail, 512));
            format!("failed, {failure}: it {detail}")
        }
        RecordedVerdict::Abandoned => "abandoned".to_owned(),
    }
}
