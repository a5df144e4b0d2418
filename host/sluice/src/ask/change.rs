//! Commands that change something: they end sessions, drain, reload, and quarantine policies.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::admin::AdminListener;
use super::table::{render, shown, table};
use super::{AdminArgs, CloseArgs, LiftArgs, OwnerArgs, PolicyArgs, print};
use crate::schema::{
    Answer, Closed, Draining, Lifted, Policy, PolicyChanged, Reloaded, Revocation, Revocations,
};

/// Ends a session, or all of a user or a tenant.
///
/// # Errors
/// If the gateway does not answer, or refuses.
pub async fn close(args: &CloseArgs) -> anyhow::Result<ExitCode> {
    let mut parameters = args.owner.parameters();
    let until = match (&args.until, args.for_) {
        (Some(until), _) => Some(until.clone()),
        (None, Some(time)) => Some(from_now(time)?),
        (None, None) => None,
    };
    parameters.extend(until.as_deref().map(|until| ("until", until)));
    parameters.extend(args.reason.as_deref().map(|reason| ("reason", reason)));
    let path = match &args.session {
        Some(session) => vec!["sessions", session, "close"],
        None => vec!["sessions", "close"],
    };
    ask(&args.admin, &path, &parameters, |closed: &Closed| {
        let sessions = match closed.closed {
            1 => "1 session is".to_owned(),
            number => format!("{number} sessions are"),
        };
        match &closed.revoked_until {
            None => format!("{sessions} told to end\n"),
            Some(until) => format!(
                "{sessions} told to end, and new ones are refused until {until}\n{}",
                elsewhere(closed.other_gateways.as_deref())
            ),
        }
    })
    .await
}

/// The time that is so far away, in the form of RFC 3339.
fn from_now(time: Duration) -> anyhow::Result<String> {
    let now = jiff::Timestamp::now();
    let until = now.checked_add(time).context("--for is too long")?;
    Ok(until.to_string())
}

/// Shows who is refused for a time.
///
/// # Errors
/// If the gateway does not answer.
pub async fn revocations(args: &AdminArgs) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(args)?;
    let answer = listener.get::<Revocations>(&["revocations"], &[]).await?;
    let answer = answer.context("the gateway is older than this sluice")?;
    print(args.output(), &answer, |answer| {
        if answer.body.revocations.is_empty() {
            return "nobody is refused\n".to_owned();
        }
        let mut table = table(&["WHO", "UNTIL", "SINCE", "REASON"]);
        for revocation in &answer.body.revocations {
            let Revocation {
                user,
                tenant,
                until,
                since,
                reason,
            } = revocation;
            let who = match (user, tenant) {
                (Some(user), _) => format!("user {user}"),
                (None, tenant) => format!("tenant {}", tenant.as_deref().unwrap_or_default()),
            };
            table.add_row([shown(&who), shown(until), shown(since), shown(reason)]);
        }
        render(&table)
    })
}

/// Lets a user or a tenant come again.
///
/// # Errors
/// If the gateway does not answer, or nobody of this name is refused.
pub async fn lift(args: &LiftArgs) -> anyhow::Result<ExitCode> {
    let parameters = args.owner.parameters();
    let path = ["revocations", "lift"];
    ask(&args.admin, &path, &parameters, |lifted: &Lifted| {
        let elsewhere = elsewhere(lifted.other_gateways.as_deref());
        format!("they may come again\n{elsewhere}")
    })
    .await
}

/// Refuses newcomers.
///
/// # Errors
/// If the gateway does not answer, or refuses.
pub async fn drain(args: &AdminArgs) -> anyhow::Result<ExitCode> {
    ask(args, &["drain"], &[], |_: &Draining| {
        "newcomers are refused, and live streams go on; `sluice undrain` ends this\n".to_owned()
    })
    .await
}

/// Takes newcomers again.
///
/// # Errors
/// As [`drain`].
pub async fn undrain(args: &AdminArgs) -> anyhow::Result<ExitCode> {
    ask(args, &["undrain"], &[], |_: &Draining| {
        "newcomers are taken again\n".to_owned()
    })
    .await
}

/// Reads the configuration again.
///
/// # Errors
/// If the gateway does not answer, or the configuration has mistakes.
pub async fn reload(args: &AdminArgs) -> anyhow::Result<ExitCode> {
    ask(args, &["reload"], &[], |reloaded: &Reloaded| {
        let generation = reloaded.generation;
        match &*reloaded.needs_restart {
            [] => format!("generation {generation} serves newcomers\n"),
            options => format!(
                "generation {generation} serves newcomers; these options need a restart: {}\n",
                options.join(", ")
            ),
        }
    })
    .await
}

/// Stops calling a policy until it is released.
///
/// # Errors
/// If the gateway does not answer, or has no such policy.
pub async fn quarantine(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    policy(args, "quarantine").await
}

/// Calls a policy again.
///
/// # Errors
/// As [`quarantine`].
pub async fn release(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    policy(args, "release").await
}

async fn policy(args: &PolicyArgs, action: &str) -> anyhow::Result<ExitCode> {
    let path = ["policies", &args.policy, action];
    ask(&args.admin, &path, &[], |changed: &PolicyChanged| {
        let Policy {
            name,
            state,
            on_failure,
            ..
        } = &changed.policy;
        format!(
            "{} is {}; it fails {}\n{}",
            shown(name),
            shown(state),
            shown(on_failure),
            elsewhere(changed.other_gateways.as_deref())
        )
    })
    .await
}

/// What other gateways know of a change, as a line; empty if there are none.
fn elsewhere(other_gateways: Option<&str>) -> &'static str {
    match other_gateways {
        None => "",
        Some("told") => "the other gateways do the same within a second\n",
        Some("told-later") => "the other gateways do the same once NATS answers\n",
        Some(_) => "the other gateways are not told: too many orders are in force\n",
    }
}

/// Asks for a change, and prints what came of it.
async fn ask<T: Serialize + DeserializeOwned>(
    args: &AdminArgs,
    path: &[&str],
    parameters: &[(&str, &str)],
    show: impl FnOnce(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(args)?;
    let answer: Answer<T> = listener.post(path, parameters).await?;
    print(args.output(), &answer, |answer| show(&answer.body))
}

impl OwnerArgs {
    fn parameters(&self) -> Vec<(&str, &str)> {
        let named = [("user", &self.user), ("tenant", &self.tenant)];
        let named = named.into_iter();
        named
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect()
    }
}
