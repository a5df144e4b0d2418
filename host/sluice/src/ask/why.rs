//! `sluice why`: why a session or a user was refused.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;

use super::admin::AdminListener;
use super::sessions::who;
use super::table::{Row, list, or_dash, shown};
use super::{AdminArgs, WhyArgs, print};
use crate::recorded;
use crate::schema::{Decision, OneSession, Refusal, Refusals, Session, Sessions};
use config::Config;
use policy::record::{Line, RecordedVerdict};

/// Why somebody was refused, as far as is known.
#[derive(Debug, Serialize)]
struct Why {
    /// Refusals that the gateway has kept, the latest first.
    refusals: Vec<Refusal>,
    /// Decisions in the record about the session of the latest refusal.
    recorded: Vec<Line>,
    /// The record.
    #[serde(skip)]
    file: Option<PathBuf>,
    /// The configuration that was named.
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// Prints why.
///
/// # Errors
/// If nothing is known, or the gateway does not answer.
pub async fn why(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let refusals = match args.record {
        Some(_) => Vec::new(),
        None => refusals(&args.admin, &args.whom).await?,
    };
    let file = args.record.clone().or_else(|| recorded_in(&args.admin));
    let session = refusals.first().map(|refusal| refusal.session.clone());
    let session = session.unwrap_or_else(|| args.whom.clone());
    let (recorded, file, left_out) = match file {
        Some(file) => {
            let found = recorded::about(&session, &file)?;
            (latest(found.lines), Some(found.file), found.left_out)
        }
        None => (Vec::new(), None, None),
    };
    if refusals.is_empty() && !recorded.iter().any(recorded::is_refusal) {
        if args.record.is_none()
            && let Some(live) = live_of(&args.admin, &args.whom).await?
        {
            bail!(not_refused(&live));
        }
        let unknown = unknown(&args.whom, file.as_deref());
        return Err(match left_out {
            Some(error) => error.context(unknown + ", and a line that names them is left out"),
            None => anyhow!(unknown),
        });
    }
    let why = Why {
        refusals,
        recorded,
        file,
        config: args.admin.config.clone(),
    };
    print(args.admin.output(), &why, show)
}

/// Refusals that the gateway has kept.
async fn refusals(args: &AdminArgs, whom: &str) -> anyhow::Result<Vec<Refusal>> {
    let listener = AdminListener::of(args)?;
    for filter in ["session", "user"] {
        let filter = [(filter, whom)];
        let answer = listener.get::<Refusals>(&["refusals"], &filter).await?;
        let answer = answer.context("the gateway is older than this sluice")?;
        if !answer.body.refusals.is_empty() {
            return Ok(answer.body.refusals);
        }
    }
    if let Some(live) = listener.get::<OneSession>(&["sessions", whom], &[]).await? {
        bail!(not_refused(&live.body.session));
    }
    Ok(Vec::new())
}

/// A live session of a user.
async fn live_of(args: &AdminArgs, user: &str) -> anyhow::Result<Option<Session>> {
    let listener = AdminListener::of(args)?;
    let of_user = [("user", user), ("limit", "1")];
    let answer = listener.get::<Sessions>(&["sessions"], &of_user).await?;
    Ok(answer.and_then(|answer| answer.body.sessions.into_iter().next()))
}

fn not_refused(live: &Session) -> String {
    let (id, stage) = (shown(&live.id), shown(&live.stage));
    format!("session {id} was not refused: it is in the stage {stage}")
}

/// The record of the configuration that was named.
fn recorded_in(args: &AdminArgs) -> Option<PathBuf> {
    let (config, _) = Config::load(Some(args.config.as_deref()?)).ok()?;
    let file = config.data_dir.join(config.decisions.file?);
    file.exists().then_some(file)
}

/// The decisions about one session: that of the latest refusal.
fn latest(mut lines: Vec<Line>) -> Vec<Line> {
    let last = lines.iter().rev().find(|line| recorded::is_refusal(line));
    let session = last.or(lines.last()).map(|line| line.session.clone());
    lines.retain(|line| Some(&line.session) == session.as_ref());
    lines
}

fn unknown(whom: &str, file: Option<&Path>) -> String {
    let whom = shown(whom);
    match file {
        Some(file) => format!(
            "no refusal of {whom} is known: neither the gateway has kept one, nor is one in {}",
            file.display()
        ),
        None => format!(
            "no refusal of {whom} is known: the gateway keeps the latest ones alone; the decision \
             record has all of them (--record FILE, or --config of a gateway that writes one)"
        ),
    }
}

fn show(why: &Why) -> String {
    let mut rows = why.refusals.first().map(refused).unwrap_or_default();
    let mut recorded = why.recorded.iter().rev();
    if let Some(line) = recorded.find(|line| recorded::is_refusal(line)) {
        if rows.is_empty() {
            rows = decided_in_the_record(line);
        }
        rows.extend(grounds(line, why));
    }
    let mut text = list(&rows);
    if let [_, others @ ..] = &*why.refusals
        && !others.is_empty()
    {
        text += &format!("\n{} earlier refusals; the one before: ", others.len());
        text += &format!("sluice why {}\n", shown(&others[0].session));
    }
    text
}

fn refused(refusal: &Refusal) -> Vec<Row> {
    let claimed = refusal.claimed.as_ref();
    let retry = if refusal.retryable {
        "may try again"
    } else {
        "should not try again"
    };
    let mut rows = vec![
        ("session", refusal.session.clone()),
        (
            "refused",
            format!("{} in the stage {}", refusal.at, refusal.stage),
        ),
        ("told", format!("\"{}\"", refusal.message)),
        (
            "code",
            format!(
                "{} {}, the client {retry}",
                refusal.close_code, refusal.code
            ),
        ),
        ("cause", refusal.cause.clone()),
        ("detail", refusal.detail.clone()),
        ("client", refusal.client.clone()),
        (
            "user",
            who(
                refusal.user.as_deref(),
                claimed.and_then(|claimed| claimed.user.as_deref()),
            ),
        ),
        (
            "tenant",
            who(
                refusal.tenant.as_deref(),
                claimed.and_then(|claimed| claimed.tenant.as_deref()),
            ),
        ),
        (
            "meeting",
            format!(
                "{}, source {}",
                or_dash(refusal.meeting.as_deref()),
                or_dash(refusal.source.as_deref())
            ),
        ),
        (
            "route",
            format!("{}, generation {}", refusal.route, refusal.generation),
        ),
        ("delivery", refusal.delivery.clone()),
    ];
    rows.extend(
        refusal
            .decisions
            .iter()
            .map(|decision| ("policy", decided(decision))),
    );
    rows
}

fn decided(decision: &Decision) -> String {
    let Decision {
        policy,
        digest,
        at: _,
        outcome,
        code,
        message,
        duration_us,
    } = decision;
    let code = code
        .as_deref()
        .map_or_else(String::new, |code| format!(" {code}"));
    let message = message.as_deref();
    let message = message.map_or_else(String::new, |message| format!(": \"{message}\""));
    let digest = digest.as_deref().unwrap_or("without a digest");
    format!("{policy} {outcome}{code}{message} in {duration_us} µs, {digest}")
}

/// A refusal of which only the record knows.
fn decided_in_the_record(line: &Line) -> Vec<Row> {
    let (told, code) = match &line.verdict {
        RecordedVerdict::Reject {
            close_code,
            code,
            message,
            ..
        } => (format!("\"{message}\""), format!("{close_code} {code}")),
        RecordedVerdict::Failed { failure, detail } => (
            String::new(),
            format!("4007 policy_failed, {failure}: {detail}"),
        ),
        RecordedVerdict::Unanswered { destination, error } => (
            String::new(),
            format!(
                "1013 service_unavailable, the destination {destination} gave no answer: {error}"
            ),
        ),
        RecordedVerdict::Accept | RecordedVerdict::Abandoned => (String::new(), String::new()),
    };
    let digest = line.digest.as_deref().unwrap_or("without a digest");
    let signer = line.signer.as_deref();
    let signer = signer.map_or_else(String::new, |signer| format!(", signed by {signer}"));
    vec![
        ("session", line.session.clone()),
        (
            "refused",
            format!("{} at the hook {}", line.time, line.hook.name()),
        ),
        ("told", told),
        ("code", code),
        ("client", line.input.remote.clone()),
        ("user", attribute(line, ".user_id")),
        ("tenant", attribute(line, ".tenant_id")),
        (
            "route",
            format!("{}, generation {}", line.route, line.generation),
        ),
        (
            "policy",
            format!(
                "{} in {} µs, {digest}{signer}",
                line.policy, line.duration_us
            ),
        ),
    ]
}

/// What a policy had verified by then.
fn attribute(line: &Line, name: &str) -> String {
    let mut attributes = line.input.attributes.iter();
    let found = attributes.find(|(full, _)| full.ends_with(name));
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What the policy saw and was answered, and the command that makes the decision again.
fn grounds(line: &Line, why: &Why) -> Vec<Row> {
    let mut rows = vec![
        (
            "input",
            serde_json::to_string(&line.input).unwrap_or_default(),
        ),
        (
            "calls",
            serde_json::to_string(&line.calls).unwrap_or_default(),
        ),
    ];
    if let Some(file) = &why.file {
        let config = why.config.as_ref();
        let config = config.map_or_else(|| "FILE".to_owned(), |file| file.display().to_string());
        let (file, policy) = (file.display(), &line.policy);
        let command = format!("sluice policy replay {file} --policy {policy} --config {config}");
        rows.push(("replay", command));
    }
    rows
}
