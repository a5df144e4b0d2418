//! From a decision to its line. A draft is made where the decision is; the
//! line is made of it elsewhere, so that no connection waits for that.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::quota::Standing;
use crate::own_secrets::OwnSecrets;
use crate::question::{Ending, Question};
use crate::record::notes::Taken;
use crate::record::{
    Comparison, Effect, FrameKind, Input, Line, Pairs, RecordedEnding, RecordedVerdict,
    RecordedWindow, Role, VERSION,
};
use crate::redact::{Redactor, Secrets};
use crate::verdict::Verdict;
use crate::window::{Frame, Kind, Total, Window};
use base::credentials::is_sensitive;
use session::facts::Facts;
use session::registry::Session;

/// What is known when a decision is made.
pub struct Draft {
    /// The connection.
    pub session: Arc<Session>,
    /// The generation of policies that it was accepted with.
    pub generation: u64,
    /// The policy's name.
    pub policy: Arc<str>,
    /// The digest of its component.
    pub digest: Option<Arc<str>>,
    /// Who has signed that.
    pub signer: Option<Arc<str>>,
    /// Values of its configuration that are never shown.
    pub secrets: OwnSecrets,
    /// What was asked.
    pub question: Question,
    /// The attributes before the call.
    pub attributes: Pairs,
    /// Whether the answer counts.
    pub role: Role,
    /// What came of it; `None` where nobody waited for the answer.
    pub verdict: Option<Verdict>,
    /// Of a shadow: whether it said the same as who decided.
    pub compared: Option<Comparison>,
    /// What was done.
    pub effect: Effect,
    /// When it was decided.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What the policy asked the gateway.
    pub taken: Taken,
}

impl Draft {
    /// The line, without a secret in it.
    #[must_use]
    pub fn line(self) -> Value {
        let facts = &self.session.facts;
        let mut secrets = Secrets::default();
        // Without the white space that it came with, which no header's or
        // parameter's own value is.
        if let Some(token) = facts.token() {
            secrets.add(&token);
        }
        let mut input = input(facts, &self.attributes, &mut secrets);
        let hook = self.question.hook();
        match self.question {
            Question::Connect => {}
            Question::Handshake(text) => {
                // It was JSON when it was let through; otherwise it is text.
                let parsed = serde_json::from_str(&text);
                input.handshake = Some(parsed.unwrap_or_else(|_| Value::from(&*text)));
            }
            Question::Frames(window) => input.window = Some(RecordedWindow::from(&*window)),
            Question::Close(ending) => input.ending = Some(RecordedEnding::from(&*ending)),
        }
        let verdict = self.verdict.as_ref();
        let verdict = verdict.map_or(RecordedVerdict::Abandoned, RecordedVerdict::from);
        let line = Line {
            v: VERSION,
            time: jiff::Timestamp::try_from(self.at)
                .map(|time| time.to_string())
                .unwrap_or_default(),
            instance: base::instance::id().to_owned(),
            session: facts.session_id.to_string(),
            route: facts.route.to_string(),
            generation: self.generation,
            policy: self.policy.to_string(),
            digest: self.digest.map(|digest| digest.to_string()),
            signer: self.signer.map(|signer| signer.to_string()),
            hook,
            role: self.role,
            verdict,
            compared: self.compared,
            effect: self.effect,
            duration_us: micros(self.took),
            input,
            calls: self.taken.calls,
            left_out: self.taken.left_out,
        };
        let mut line = serde_json::to_value(line).unwrap_or_default();
        // The names of what is recorded are our own, and so are the texts that
        // are not looked through; `key` is such a name, so that the line itself
        // is not looked through by name.
        let redactor = secrets.settle();
        // Those of the policy first: they are none of the client's, which may send too many.
        for redactor in self.secrets.redactor().into_iter().chain([&redactor]) {
            hide_in_line(redactor, &mut line);
        }
        line
    }

    /// Whether the session was let in by then, as far as this decision shows: a
    /// policy accepted it, or has left what it knows of it.
    #[must_use]
    pub(crate) fn standing(&self) -> Standing {
        let streams = match &self.question {
            Question::Connect | Question::Handshake(_) => false,
            Question::Frames(_) => true,
            Question::Close(ending) => ending.streamed,
        };
        let accepted = self.verdict == Some(Verdict::Accept) && self.role != Role::Shadow;
        if accepted || streams || !self.attributes.is_empty() {
            Standing::Admitted
        } else {
            Standing::Newcomer
        }
    }

    /// Bytes of memory that this keeps, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let attribute = |(name, value): &(String, String)| name.len() + value.len();
        size_of::<Self>()
            + self.question.weight()
            + self.session.facts.weight()
            + self.attributes.iter().map(attribute).sum::<usize>()
            + self.taken.bytes()
    }
}

fn hide_in_line(redactor: &Redactor, line: &mut Value) {
    for (name, value) in line.as_object_mut().into_iter().flatten() {
        match name.as_str() {
            "calls" => hide_in_calls(redactor, value),
            "input" => hide_in_input(redactor, value),
            "code" | "message" | "detail" => redactor.hide_in(value),
            _ => {}
        }
    }
}

/// What is withheld is named there by names of secrets, two of which are no name
/// with its value. The address is the gateway's own text.
fn hide_in_input(redactor: &Redactor, input: &mut Value) {
    const OURS: [&str; 2] = ["remote", "ending"];
    const WITHHELD: &str = "withheld";
    let Value::Object(input) = input else { return };
    for (name, value) in input {
        match value {
            _ if OURS.contains(&name.as_str()) => {}
            Value::Array(names) if name == WITHHELD => {
                names.iter_mut().for_each(|name| redactor.hide_in(name));
            }
            value => redactor.hide_in(value),
        }
    }
}

/// Names of members of calls are ours; those of claims, attributes and answers are not.
fn hide_in_calls(redactor: &Redactor, calls: &mut Value) {
    for call in calls.as_array_mut().into_iter().flatten() {
        let asks = call["call"] == "destinations";
        for (name, value) in call.as_object_mut().into_iter().flatten() {
            match name.as_str() {
                "call" | "change" => {}
                "body" | "answer" if asks => hide_in_bodies(redactor, value),
                _ => redactor.hide_in(value),
            }
        }
    }
}

/// The body of a request, or an answer with a body in it.
fn hide_in_bodies(redactor: &Redactor, value: &mut Value) {
    let body = match value {
        Value::Object(_) => value.pointer_mut("/ok/body"),
        body => Some(body),
    };
    if let Some(Value::String(body)) = body {
        redactor.hide_in_json(body);
    }
}

/// Adds to `secrets` what is withheld.
fn input(facts: &Facts, attributes: &Pairs, secrets: &mut Secrets) -> Input {
    let mut withheld = Vec::new();
    let mut shown = |kind: &str, pairs: &mut dyn Iterator<Item = (&str, &str)>| -> Pairs {
        let mut kept = Pairs::new();
        for (name, value) in pairs {
            if is_sensitive(name) {
                withheld.push(format!("{kind} {name}"));
                secrets.add(value);
            } else {
                kept.push((name.to_owned(), value.to_owned()));
            }
        }
        kept
    };
    let params = shown("param", &mut pairs(&facts.params));
    let query = facts.all_queries();
    let query = shown("query", &mut pairs(&query));
    let headers = facts.all_headers();
    let headers = shown("header", &mut pairs(&headers));
    let attributes = shown("attribute", &mut pairs(attributes));
    for token in facts.offered_tokens() {
        secrets.add(token);
    }
    Input {
        path: facts.path().into_owned(),
        remote: facts.remote.to_string(),
        params,
        query,
        headers,
        attributes,
        withheld,
        ..Input::default()
    }
}

fn pairs(pairs: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (&**name, &**value))
}

impl From<&Window> for RecordedWindow {
    fn from(window: &Window) -> Self {
        let total = |total: Total| (total.count, total.bytes);
        let frame = |frame: &Frame| {
            let kind = match frame.kind {
                Kind::Text => FrameKind::Text,
                Kind::Binary => FrameKind::Binary,
            };
            (kind, frame.size, frame.at_us)
        };
        Self {
            index: window.index,
            length_us: micros(window.length),
            held_us: micros(window.held),
            paused: window.paused,
            text: total(window.text),
            binary: total(window.binary),
            frames: window.frames.iter().map(frame).collect(),
        }
    }
}

impl From<&Ending> for RecordedEnding {
    fn from(ending: &Ending) -> Self {
        Self {
            cause: ending.cause.to_string(),
            close_code: ending.close_code,
            closed_by: ending.closed_by,
            streamed: ending.streamed,
            lasted_us: micros(ending.lasted),
            received_bytes: ending.received_bytes,
            sent_bytes: ending.sent_bytes,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
