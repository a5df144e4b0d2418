//! `sluice sessions`: who streams now.

use std::process::ExitCode;

use anyhow::Context as _;

use super::admin::AdminListener;
use super::table::{bytes, duration, or_dash, render, shown, table};
use super::{SessionsArgs, print};
use crate::schema::{Answer, Session, Sessions};

/// Sessions that are asked for at once.
const PAGE: &str = "1000";

/// Prints the sessions that the filters let through.
///
/// # Errors
/// If the gateway does not answer.
pub async fn sessions(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(&args.admin)?;
    let filters = [
        ("user", &args.user),
        ("tenant", &args.tenant),
        ("meeting", &args.meeting),
        ("route", &args.route),
        ("stage", &args.stage),
    ];
    let filters = filters
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let filters: Vec<_> = filters.collect();
    let answer = every(&listener, &filters).await?;
    print(args.admin.output(), &answer, |answer| {
        show(&answer.body.sessions)
    })
}

/// Every session that these filters let through, page by page.
///
/// # Errors
/// If the gateway does not answer.
pub(super) async fn every(
    listener: &AdminListener,
    filters: &[(&str, &str)],
) -> anyhow::Result<Answer<Sessions>> {
    let mut all: Option<Answer<Sessions>> = None;
    loop {
        let after = all.as_ref().and_then(|answer| answer.body.next.clone());
        let mut parameters = filters.to_vec();
        parameters.push(("limit", PAGE));
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let page = listener.get::<Sessions>(&["sessions"], &parameters).await?;
        let page = page.context("the gateway is older than this sluice, and has no sessions")?;
        let answer = match all.take() {
            None => page,
            Some(mut answer) => {
                answer.body.sessions.extend(page.body.sessions);
                answer.body.next = page.body.next;
                answer
            }
        };
        if answer.body.next.is_none() {
            return Ok(answer);
        }
        all = Some(answer);
    }
}

fn show(sessions: &[Session]) -> String {
    if sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let mut table = table(&[
        "SESSION", "USER", "TENANT", "MEETING", "SOURCE", "ROUTE", "STAGE", "AGE", "RECEIVED",
        "SENT", "CLIENT", "BACKEND",
    ]);
    for session in sessions {
        let backend = session.backend.as_ref().map(|backend| {
            let address = backend.address.as_deref().unwrap_or("unknown");
            format!("{address} {}", backend.state)
        });
        table.add_row([
            shown(&session.id),
            who(
                session.user.as_deref(),
                session
                    .claimed
                    .as_ref()
                    .and_then(|claimed| claimed.user.as_deref()),
            ),
            or_dash(session.tenant.as_deref()),
            or_dash(session.meeting.as_deref()),
            or_dash(session.source.as_deref()),
            shown(&session.route),
            shown(&session.stage),
            duration(session.age_ms),
            bytes(session.received_bytes),
            bytes(session.sent_bytes),
            shown(&session.client),
            or_dash(backend.as_deref()),
        ]);
    }
    render(&table)
}

/// A user, or the one that a token claims, which is said to be unverified.
pub(super) fn who(verified: Option<&str>, claimed: Option<&str>) -> String {
    match (verified, claimed) {
        (Some(user), _) => shown(user),
        (None, Some(claimed)) => format!("{} (unverified)", shown(claimed)),
        (None, None) => "-".to_owned(),
    }
}
