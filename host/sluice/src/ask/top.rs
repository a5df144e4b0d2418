//! `sluice top`: the busiest sessions, again and again.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;

use super::TopArgs;
use super::admin::AdminListener;
use super::sessions::{every, who};
use super::table::{bytes, duration, or_dash, render, shown, table};
use crate::schema::{Session, Status};

/// Maximum number of sessions that are shown.
const MOST: usize = 40;
/// What a terminal does before each picture: it goes to the first place, and clears the rest.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows the busiest sessions until the number of pictures is reached, or for ever.
///
/// # Errors
/// If the gateway does not answer.
pub async fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(&args.admin)?;
    let mut out = std::io::stdout();
    let before_each = if out.is_terminal() { CLEAR } else { "" };
    for picture in 1.. {
        let status = listener.get::<Status>(&["status"], &[]).await?;
        let status = status.context("the gateway is older than this sluice, and has no status")?;
        let sessions = every(&listener, &[]).await?.body.sessions;
        let text = show(&status.body, &sessions);
        writeln!(out, "{before_each}{text}")?;
        out.flush()?;
        if args.count.is_some_and(|count| picture >= count.get()) {
            break;
        }
        tokio::time::sleep(args.interval).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The gateway in a line or two, and its busiest sessions.
fn show(status: &Status, sessions: &[Session]) -> String {
    let Status {
        generation,
        draining,
        checks,
        connections,
        memory_held_bytes,
        uptime_ms,
        ..
    } = status;
    let mut text = format!(
        "{}, up {}, generation {generation}: {} live, {} of them streaming, {} parked, {} held\n",
        if *draining { "draining" } else { "serving" },
        duration(*uptime_ms),
        connections.live,
        connections.streaming,
        connections.parked,
        bytes(*memory_held_bytes),
    );
    for check in checks {
        if let Some(reason) = &check.reason {
            text += &format!("not ready: {}: {}\n", shown(&check.name), shown(reason));
        }
    }
    let moves = |session: &Session| {
        let rates = [
            session.received_bytes_per_second,
            session.sent_bytes_per_second,
        ];
        let moved = rates.into_iter().flatten().fold(0, u64::saturating_add);
        (moved, session.received_bytes)
    };
    let mut busiest: Vec<_> = sessions.iter().collect();
    busiest.sort_by_key(|session| std::cmp::Reverse(moves(session)));
    let mut table = table(&[
        "SESSION", "USER", "TENANT", "MEETING", "ROUTE", "STAGE", "AGE", "IN/S", "OUT/S",
        "RECEIVED", "BACKEND",
    ]);
    let a_second = |bytes_a_second: Option<u64>| match bytes_a_second {
        Some(rate) => bytes(rate),
        None => "-".to_owned(),
    };
    for session in busiest.iter().take(MOST) {
        let claimed = session.claimed.as_ref();
        let backend = session.backend.as_ref();
        table.add_row([
            shown(&session.id),
            who(
                session.user.as_deref(),
                claimed.and_then(|claimed| claimed.user.as_deref()),
            ),
            or_dash(session.tenant.as_deref()),
            or_dash(session.meeting.as_deref()),
            shown(&session.route),
            shown(&session.stage),
            duration(session.age_ms),
            a_second(session.received_bytes_per_second),
            a_second(session.sent_bytes_per_second),
            bytes(session.received_bytes),
            or_dash(backend.and_then(|backend| backend.address.as_deref())),
        ]);
    }
    text += &render(&table);
    if sessions.len() > MOST {
        text += &format!("and {} more\n", sessions.len() - MOST);
    }
    text
}
