//! One decision, made again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::past::{Gap, Past};
use crate::subject::Subject;
use base::credentials::HIDDEN;
use policy::component::ComponentPolicy;
use policy::record::{
    self, Comparison, FrameKind, Line, RecordedEnding, RecordedVerdict, RecordedWindow,
};
use policy::shadow::compare;
use policy::window::{Frame, Kind, Total, Window};
use policy::{Ending, Hook, Question};
use session::facts::Facts;
use session::registry::{Registry, SessionGuard};

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The same is done about the client.
    Same,
    /// Something else is.
    Different(RecordedVerdict),
    /// The record does not have what it takes.
    Undecided(Gap),
    /// There is no decision of the policy's to compare with.
    PassedOver(&'static str),
}

/// Makes the decision of a line again. The options that the policy looks at are added to `options`.
///
/// # Errors
/// Where the component does not link, which it did before.
pub(super) async fn decide(
    subject: &Subject,
    line: &Line,
    options: &mut BTreeSet<String>,
) -> anyhow::Result<Again> {
    if let Some(why) = undecided_then(&line.verdict) {
        return Ok(Again::PassedOver(why));
    }
    let past = Arc::new(Past::of(line));
    let policy = subject.policy(past.clone(), &Map::new())?;
    let answered = ask(&policy, line).await;
    options.extend(past.options());
    Ok(match answered {
        Err(gap) => Again::Undecided(gap),
        Ok(verdict) => match past.gap() {
            Some(gap) => Again::Undecided(gap),
            None if compare(&line.verdict, &verdict) == Comparison::Agree => Again::Same,
            None => Again::Different(verdict),
        },
    })
}

/// Why a line says nothing about what the policy wants.
fn undecided_then(verdict: &RecordedVerdict) -> Option<&'static str> {
    match verdict {
        RecordedVerdict::Failed { failure, .. } if failure == "quarantined" => {
            Some("the policy was in quarantine")
        }
        RecordedVerdict::Failed { .. } => Some("the policy had failed"),
        RecordedVerdict::Abandoned => Some("nobody had waited for the answer"),
        RecordedVerdict::Reject {
            keys_unavailable: true,
            ..
        } => Some("the keys could not be had"),
        RecordedVerdict::Unanswered { .. } => Some("a service had given no answer"),
        RecordedVerdict::Accept | RecordedVerdict::Reject { .. } => None,
    }
}

async fn ask(policy: &ComponentPolicy, line: &Line) -> Result<RecordedVerdict, Gap> {
    let question = question(line)?;
    if !policy.hooks().has(line.hook) {
        return Err(Gap::NoHook(line.hook));
    }
    let facts = facts(line)?;
    let guard = SessionGuard::new(facts, Registry::default());
    let examined = policy.examine(guard.session(), &question).await;
    Ok(RecordedVerdict::from(&examined.verdict))
}

/// The connection, with a mark in the place of every value that is withheld:
/// whoever looks at one is noticed.
fn facts(line: &Line) -> Result<Facts, Gap> {
    let mut input = line.input.clone();
    for withheld in &line.input.withheld {
        let (kind, name) = withheld.split_once(' ').unwrap_or_default();
        let pairs = match kind {
            "param" => &mut input.params,
            "query" => &mut input.query,
            "header" => &mut input.headers,
            "attribute" => &mut input.attributes,
            _ => return Err(Gap::Connection(format!("\"{withheld}\" is withheld"))),
        };
        pairs.push((name.to_owned(), format!("{HIDDEN} {withheld}")));
    }
    let (session, route) = (line.session.as_str().into(), line.route.as_str().into());
    recorded(session, route, &input).map_err(|error| Gap::Connection(error.to_string()))
}

/// Facts as they were written down.
fn recorded(
    session_id: Arc<str>,
    route: Arc<str>,
    input: &record::Input,
) -> Result<Facts, RecordedError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &input.headers {
        let wrong = || RecordedError::Header(name.clone());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.append(parsed, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    let remote = input.remote.parse::<SocketAddr>();
    let remote = remote.map_err(|_| RecordedError::Remote(input.remote.clone()))?;
    let request = (input.path.as_str(), input.query.as_slice(), headers);
    let facts = Facts::of_parts(session_id, route, input.params.clone(), request, remote);
    Ok(facts.with_attributes(input.attributes.clone()))
}

/// Why there are no facts of what was written down.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum RecordedError {
    /// It is not a name that a header can have.
    #[error("\"{0}\" is not the name of a header")]
    Header(String),
    /// It is not an address with a port.
    #[error("\"{0}\" is not an address and port")]
    Remote(String),
}

fn question(line: &Line) -> Result<Question, Gap> {
    let input = &line.input;
    let there = match line.hook {
        Hook::Connect => Some(Question::Connect),
        Hook::Handshake => {
            // The policy is handed all of it, and may read any of it.
            let text = input.handshake.as_ref().map(handshake);
            if let Some(text) = text.as_ref().filter(|text| text.contains(HIDDEN)) {
                return Err(Gap::Withheld(text.clone()));
            }
            text.map(|text| Question::Handshake(text.into()))
        }
        Hook::Frames => {
            let window = input.window.as_ref().map(window);
            window.map(|window| Question::Frames(Arc::new(window)))
        }
        Hook::Close => {
            let ending = input.ending.as_ref().map(ending);
            ending.map(|ending| Question::Close(Arc::new(ending)))
        }
    };
    let missing = || Gap::Connection(format!("there is nothing for {}", line.hook.name()));
    there.ok_or_else(missing)
}

/// As the client sent it, but for its white space.
fn handshake(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

fn window(window: &RecordedWindow) -> Window {
    let total = |(count, bytes): (u64, u64)| Total { count, bytes };
    let frame = |&(kind, size, at_us): &(FrameKind, u32, u32)| Frame {
        kind: match kind {
            FrameKind::Text => Kind::Text,
            FrameKind::Binary => Kind::Binary,
        },
        size,
        at_us,
    };
    Window {
        index: window.index,
        length: Duration::from_micros(window.length_us),
        held: Duration::from_micros(window.held_us),
        paused: window.paused,
        text: total(window.text),
        binary: total(window.binary),
        frames: window.frames.iter().map(frame).collect(),
        payloads: [].into(),
    }
}

fn ending(ending: &RecordedEnding) -> Ending {
    Ending {
        cause: ending.cause.clone().into(),
        close_code: ending.close_code,
        closed_by: ending.closed_by,
        streamed: ending.streamed,
        lasted: Duration::from_micros(ending.lasted_us),
        received_bytes: ending.received_bytes,
        sent_bytes: ending.sent_bytes,
    }
}
