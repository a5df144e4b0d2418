//! Decisions about somebody, from the decision record.

use std::collections::VecDeque;
use std::path::Path;

use kit::lines::Lines;
use policy::record::{Effect, HostAnswer, HostCall, Line};

/// Maximum number of decisions that are kept, the latest.
const MAX: usize = 64;

/// The latest decisions of a session, or the refusals of a user whom a policy had verified. Blocks.
///
/// # Errors
/// If the file cannot be read, or is no record.
pub(super) fn about(whom: &str, file: &Path) -> anyhow::Result<Vec<Line>> {
    let mut latest = VecDeque::new();
    // Escaped as in the record, so that lines about others need not be parsed.
    let named = serde_json::to_string(whom)?;
    for line in Lines::of(file)?.with(named) {
        let line = line?;
        if line.session == whom || (is_refusal(&line) && is_of(&line, whom)) {
            if latest.len() == MAX {
                latest.pop_front();
            }
            latest.push_back(line);
        }
    }
    Ok(latest.into())
}

/// Whether a decision refused a connection.
pub(super) fn is_refusal(line: &Line) -> bool {
    matches!(line.effect, Effect::Refused | Effect::FailedClosed)
}

/// Whether a policy had verified this user by then, or did so in this decision.
fn is_of(line: &Line, user: &str) -> bool {
    let mut attributes = line.input.attributes.iter();
    let is_named = attributes.any(|(name, value)| name.ends_with(".user_id") && value == user);
    let mut calls = line.calls.iter();
    is_named
        || calls.any(|call| match call {
            HostCall::Verify {
                answer: HostAnswer::Ok(claims),
                ..
            } => claims["user_id"] == user || claims["sub"] == user,
            _ => false,
        })
}
