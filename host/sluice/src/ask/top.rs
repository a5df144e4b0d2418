//! `sluice top`: the busiest sessions, again and again.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

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

/// Bytes that a session had moved at the picture before: received and sent.
type Moved = HashMap<String, (u64, u64)>;

/// Shows the busiest sessions until the number of pictures is reached, or for ever.
///
/// # Errors
/// If the gateway does not answer.
pub async fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(&args.admin)?;
    let mut out = std::io::stdout();
    let before_each = if out.is_terminal() { CLEAR } else { "" };
    let mut before: Option<(Moved, Instant)> = None;
    for picture in 1.. {
        let status = listener.get::<Status>(&["status"], &[]).await?;
        let status = status.context("the gateway is older than this sluice, and has no status")?;
        let sessions = every(&listener, &[]).await?.body.sessions;
        let now = Instant::now();
        let rates = before.as_ref().map(|(moved, at)| (moved, now - *at));
        let rate = |session: &Session| {
            let (moved, passed) = rates?;
            let (received, sent) = moved.get(&session.id)?;
            let a_second = |now: u64, then: u64| {
                let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
                now.saturating_sub(then).saturating_mul(1000) / millis
            };
            Some((
                a_second(session.received_bytes, *received),
                a_second(session.sent_bytes, *sent),
            ))
        };
        let text = show(&status.body, &sessions, rate);
        writeln!(out, "{before_each}{text}")?;
        out.flush()?;
        if args.count.is_some_and(|count| picture >= count.get()) {
            break;
        }
        let moved = sessions.into_iter().map(|session| {
            let moved = (session.received_bytes, session.sent_bytes);
            (session.id, moved)
        });
        before = Some((moved.collect(), now));
        tokio::time::sleep(args.interval).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// The gateway in a line or two, and its busiest sessions. `rate` says how many bytes a second a
/// session receives and is sent, where that is known.
fn show(
    status: &Status,
    sessions: &[Session],
    rate: impl Fn(&Session) -> Option<(u64, u64)>,
) -> String {
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
    let mut busiest: Vec<_> = sessions
        .iter()
        .map(|session| (rate(session), session))
        .collect();
    let key = |(rate, session): &(Option<(u64, u64)>, &Session)| {
        let (received, sent) = rate.unwrap_or_default();
        (received.saturating_add(sent), session.received_bytes)
    };
    busiest.sort_by_key(|entry| std::cmp::Reverse(key(entry)));
    let mut table = table(&[
        "SESSION", "USER", "TENANT", "MEETING", "ROUTE", "STAGE", "AGE", "IN/S", "OUT/S",
        "RECEIVED", "BACKEND",
    ]);
    let a_second = |bytes_a_second: Option<u64>| match bytes_a_second {
        Some(rate) => bytes(rate),
        None => "-".to_owned(),
    };
    for (rate, session) in busiest.iter().take(MOST) {
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
            a_second(rate.map(|(received, _)| received)),
            a_second(rate.map(|(_, sent)| sent)),
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
