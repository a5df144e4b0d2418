//! One decision, made again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::past::{Gap, Past};
use crate::subject::Subject;
use base::credentials::HIDDEN;
use policy::component::{ComponentPolicy, Hooks};
use policy::ending::Ending;
use policy::record::{self, Comparison, FrameKind, Line, Stage, Verdict};
use policy::recorder::draft::Asked;
use policy::shadow::compare;
use policy::window::{Frame, Kind, Total, Window};
use session::facts::Facts;
use session::registry::{Registry, SessionGuard};

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The same is done about the client.
    Same,
    /// Something else is.
    Different(Verdict),
    /// The record does not have what it takes.
    Undecided(Gap),
    /// There is no decision of the policy's to compare with.
    PassedOver(&'static str),
}

/// Makes the decision of a line again.
///
/// # Errors
/// Where the component does not link, which it did before.
pub(super) async fn decide(subject: &Subject, line: &Line) -> anyhow::Result<Again> {
    if let Some(why) = undecided_then(&line.verdict) {
        return Ok(Again::PassedOver(why));
    }
    let past = Arc::new(Past::of(line));
    let policy = subject.policy(past.clone(), &Map::new())?;
    Ok(match ask(&policy, line).await {
        Err(gap) => Again::Undecided(gap),
        Ok(verdict) => match past.gap() {
            Some(gap) => Again::Undecided(gap),
            None if compare(&line.verdict, &verdict) == Comparison::Agree => Again::Same,
            None => Again::Different(verdict),
        },
    })
}

/// Why a line says nothing about what the policy wants.
fn undecided_then(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Failed { failure, .. } if failure == "quarantined" => {
            Some("the policy was in quarantine")
        }
        Verdict::Failed { .. } => Some("the policy had failed"),
        Verdict::Abandoned => Some("nobody had waited for the answer"),
        Verdict::Reject {
            keys_unavailable: true,
            ..
        } => Some("the keys could not be had"),
        Verdict::Accept | Verdict::Reject { .. } => None,
    }
}

async fn ask(policy: &ComponentPolicy, line: &Line) -> Result<Verdict, Gap> {
    let asked = asked(line)?;
    if !has(policy.hooks(), line.stage) {
        return Err(Gap::NoHook(line.stage));
    }
    let facts = facts(line)?;
    let guard = SessionGuard::new(facts, Registry::default());
    let answer = policy.examine(guard.session(), asked.question()).await;
    Ok(Verdict::from(&answer.map(|(answer, _)| answer)))
}

fn has(hooks: &Hooks, stage: Stage) -> bool {
    match stage {
        Stage::Connect => hooks.connect.is_some(),
        Stage::Handshake => hooks.handshake.is_some(),
        Stage::Frames => hooks.frames.is_some(),
        Stage::Close => hooks.close.is_some(),
    }
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

fn asked(line: &Line) -> Result<Asked, Gap> {
    let input = &line.input;
    let there = match line.stage {
        Stage::Connect => Some(Asked::Connect),
        Stage::Handshake => {
            // The policy is handed all of it, and may read any of it.
            let text = input.handshake.as_ref().map(handshake);
            if let Some(text) = text.as_ref().filter(|text| text.contains(HIDDEN)) {
                return Err(Gap::Withheld(text.clone()));
            }
            text.map(Asked::Handshake)
        }
        Stage::Frames => {
            let window = input.window.as_ref().map(window);
            window.map(|window| Asked::Frames(Arc::new(window)))
        }
        Stage::Close => {
            let ending = input.ending.as_ref().map(ending);
            ending.map(|ending| Asked::Close(Arc::new(ending)))
        }
    };
    let missing = || Gap::Connection(format!("there is nothing for {}", line.stage.hook()));
    there.ok_or_else(missing)
}

/// As the client sent it, but for its white space.
fn handshake(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

fn window(window: &record::Window) -> Window {
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

fn ending(ending: &record::Ending) -> Ending {
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
