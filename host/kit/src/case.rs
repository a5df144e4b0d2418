//! `sluice policy case`: a recorded decision as a case of a test.
//!
//! The case has what the policy could see, and what the gateway answered it. What a record withholds
//! is named in a comment: whoever keeps the case decides what stands there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::ensure;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::lines::Lines;
use crate::arguments::CaseArgs;
use base::credentials::HIDDEN;
use base::text;
use policy::Hook;
use policy::record::{Change, FrameKind, HostAnswer, HostCall, Input, Line, RecordedVerdict};

#[cfg(test)]
mod tests;

/// What a path does not have as it is.
const IN_PATHS: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Runs `sluice policy case`, and prints the cases.
///
/// # Errors
/// If a file is no record, or has no decision of the session.
pub fn run(args: &CaseArgs) -> anyhow::Result<ExitCode> {
    let mut found = 0;
    for file in &args.files {
        for line in Lines::of(file)?.with(args.session.clone()) {
            let line = line?;
            let wanted = args.policy.as_ref().is_none_or(|name| *name == line.policy);
            if line.session == args.session && wanted {
                println!("{}", case(&line));
                found += 1;
            }
        }
    }
    let session = text::clean(&args.session, 64);
    ensure!(
        found > 0,
        "there is no such decision about session \"{session}\" here; \
         `sluice why` finds the session of a user, and --policy names one of its policies"
    );
    Ok(ExitCode::SUCCESS)
}

/// The case of one decision, in TOML.
fn case(line: &Line) -> String {
    let mut toml = String::new();
    let mut say = |text: String| {
        toml.push_str(&text);
        toml.push('\n');
    };
    let policy = text::clean(&line.policy, 64);
    let digest = line.digest.as_deref().unwrap_or("no component");
    say(format!("# {policy}, {}", text::clean(digest, 80)));
    for comment in comments(line) {
        say(format!("# {}", text::clean(&comment, 512)));
    }
    say("[[case]]".to_owned());
    let session = &line.session;
    let name = format!("session {session}, {} of {}", line.hook.name(), line.time);
    for (key, value) in [("name", Some(json!(name)))]
        .into_iter()
        .chain(fields(line))
    {
        if let Some(value) = value {
            say(format!("{key} = {}", shown(&value)));
        }
    }
    toml
}

/// What the case cannot say.
fn comments(line: &Line) -> Vec<String> {
    let mut comments = Vec::new();
    if !line.input.withheld.is_empty() {
        let withheld = line.input.withheld.join(", ");
        comments.push(format!("withheld in the record: {withheld}"));
    }
    if line.left_out > 0 {
        comments.push(format!("the record has left out {} calls", line.left_out));
    }
    comments.extend(line.calls.iter().filter_map(withheld_value));
    comments.extend(line.calls.iter().filter_map(withheld_request));
    match &line.verdict {
        RecordedVerdict::Failed { failure, detail } => comments.push(format!(
            "it failed ({failure}): it {detail}; write what it should answer instead"
        )),
        RecordedVerdict::Abandoned => {
            comments.push("nobody waited for its answer; write what it should be".to_owned());
        }
        RecordedVerdict::Accept
        | RecordedVerdict::Reject { .. }
        | RecordedVerdict::Unanswered { .. } => {}
    }
    comments
}

/// A value of a map of which the record has a part at the most.
fn withheld_value(call: &HostCall) -> Option<String> {
    match call {
        HostCall::ListGet {
            list,
            entry,
            answer: HostAnswer::Ok(Some(value)),
        } if value.contains(HIDDEN) => Some(format!(
            "withheld in the record: the value of \"{entry}\" in \"{list}\""
        )),
        HostCall::Ask {
            destination,
            answer: HostAnswer::Ok(answer),
            ..
        } if answer.body.contains(HIDDEN) => Some(format!(
            "withheld in the record: a part of the answer of \"{destination}\""
        )),
        _ => None,
    }
}

/// A request to a service of which the record has a part at the most.
fn withheld_request(call: &HostCall) -> Option<String> {
    let HostCall::Ask {
        destination,
        params,
        query,
        body,
        ..
    } = call
    else {
        return None;
    };
    let values = params.iter().chain(query).map(|(_, value)| value);
    let mut texts = values.chain(body);
    let is_withheld = texts.any(|text| text.contains(HIDDEN));
    is_withheld.then(|| {
        format!("withheld in the record: a part of the request to \"{destination}\", which the answer names")
    })
}

/// Fields of the case beside its name, in the order in which they are written.
fn fields(line: &Line) -> [(&'static str, Option<Value>); 15] {
    let input = &line.input;
    let sessions = sessions(&line.calls);
    let sessions = (!sessions.is_empty()).then(|| json!(sessions));
    let counters = counters(&line.calls);
    let (key_set, token) = token(&line.calls).unzip();
    [
        ("clock", Some(json!(clock(line)))),
        ("path", Some(json!(path(input)))),
        ("headers", pairs(&input.headers)),
        ("remote", Some(json!(input.remote))),
        ("attributes", pairs(&input.attributes)),
        ("token", token),
        ("key_set", key_set),
        (
            "handshake",
            input.handshake.clone().filter(Value::is_object),
        ),
        ("windows", window(input)),
        ("ending", ending(input)),
        ("counters", (!counters.is_empty()).then(|| json!(counters))),
        ("lists", lists(&line.calls)),
        ("answers", answers(&line.calls)),
        ("sessions", sessions),
        ("expect", Some(expect(line))),
    ]
}

fn clock(line: &Line) -> String {
    let told = line.calls.iter().find_map(|call| match call {
        HostCall::NowMs { answer } => i64::try_from(*answer).ok(),
        _ => None,
    });
    let told = told.and_then(|now| Timestamp::from_millisecond(now).ok());
    told.map_or_else(|| line.time.clone(), |now| now.to_string())
}

fn path(input: &Input) -> String {
    let mut path = utf8_percent_encode(&input.path, &IN_PATHS).to_string();
    if !input.query.is_empty() {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&input.query);
        // Writing to a text cannot fail.
        let _ = write!(path, "?{}", query.finish());
    }
    path
}

fn pairs(pairs: &[(String, String)]) -> Option<Value> {
    let pairs: BTreeMap<_, _> = pairs.iter().cloned().collect();
    (!pairs.is_empty()).then(|| json!(pairs))
}

/// Key set and token of the first call that verified one.
fn token(calls: &[HostCall]) -> Option<(Value, Value)> {
    calls.iter().find_map(|call| match call {
        HostCall::Verify { key_set, answer } => {
            let token = match answer {
                HostAnswer::Ok(claims) => claims.clone(),
                HostAnswer::Err(error) => json!(error),
                HostAnswer::Trap(_) => return None,
            };
            Some((json!(key_set), token))
        }
        _ => None,
    })
}

/// Sessions that held what the policy wanted.
fn sessions(calls: &[HostCall]) -> Vec<Value> {
    let mut sessions: BTreeMap<&str, Value> = BTreeMap::new();
    for call in calls {
        let (HostCall::Claim {
            key,
            answer: HostAnswer::Err(holder),
        }
        | HostCall::Evict {
            key,
            answer: HostAnswer::Err(holder),
            ..
        }) = call
        else {
            continue;
        };
        let since = i64::try_from(holder.since_ms).unwrap_or_default();
        let since = Timestamp::from_millisecond(since).unwrap_or_default();
        let holds = json!({
            "key": key,
            "session_id": holder.session_id,
            "since": since.to_string(),
            "attributes": pairs(&holder.attributes),
        });
        sessions.entry(key).or_insert(holds);
    }
    sessions.into_values().collect()
}

/// What the counters stood at before the policy's calls.
fn counters(calls: &[HostCall]) -> BTreeMap<&str, i64> {
    let mut counters = BTreeMap::new();
    for call in calls {
        if let HostCall::Count {
            key,
            change,
            answer: HostAnswer::Ok(answer),
        } = call
        {
            let before = match change {
                Change::None => *answer,
                Change::Add { amount, .. } => answer.saturating_sub(*amount),
                // The answer is the new value.
                Change::Replace { .. } => continue,
            };
            counters.entry(key.as_str()).or_insert(before);
        }
    }
    counters.retain(|_, before| *before != 0);
    counters
}

/// Lists with what the policy was told of them. A map has its values, and `true` where the policy
/// learned no more than that a key is there.
fn lists(calls: &[HostCall]) -> Option<Value> {
    let mut lists: BTreeMap<&str, BTreeMap<&str, Option<Value>>> = BTreeMap::new();
    for call in calls {
        match call {
            HostCall::ListContains {
                list,
                entry,
                answer: HostAnswer::Ok(found),
            } => {
                let list = lists.entry(list).or_default();
                if *found {
                    list.entry(entry).or_default();
                }
            }
            HostCall::ListGet {
                list,
                entry,
                answer: HostAnswer::Ok(value),
            } => {
                let list = lists.entry(list).or_default();
                if let Some(value) = value {
                    list.insert(entry, Some(json!(value)));
                }
            }
            _ => {}
        }
    }
    let shown = |(name, entries): (&str, BTreeMap<&str, Option<Value>>)| {
        let entries = if entries.values().all(Option::is_none) {
            entries.into_keys().map(|entry| json!(entry)).collect()
        } else {
            let values = entries.into_iter();
            let values = values.map(|(key, value)| (key.to_owned(), value.unwrap_or(json!(true))));
            Value::Object(values.collect())
        };
        (name.to_owned(), entries)
    };
    let lists: Map<_, _> = lists.into_iter().map(shown).collect();
    (!lists.is_empty()).then_some(Value::Object(lists))
}

/// Answers of services, each with what was asked.
fn answers(calls: &[HostCall]) -> Option<Value> {
    let answers = calls.iter().filter_map(|call| match call {
        HostCall::Ask {
            destination,
            params,
            query,
            body,
            answer,
        } => {
            let mut shown = json!({
                "destination": destination,
                "params": pairs(params),
                "query": pairs(query),
                "request": body,
            });
            match answer {
                HostAnswer::Ok(answer) => {
                    shown["status"] = json!(answer.status);
                    shown["body"] = json!(answer.body);
                    if answer.age_ms > 0 {
                        shown["age_ms"] = json!(answer.age_ms);
                    }
                }
                HostAnswer::Err(error) => shown["error"] = json!(error),
                HostAnswer::Trap(_) => return None,
            }
            Some(shown)
        }
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    (!answers.is_empty()).then(|| json!(answers))
}

fn window(input: &Input) -> Option<Value> {
    let window = input.window.as_ref()?;
    let mut fields = Map::new();
    fields.insert("length_ms".to_owned(), json!(window.length_us / 1000));
    fields.insert("held_ms".to_owned(), json!(window.held_us / 1000));
    fields.insert("paused".to_owned(), json!(window.paused));
    let count = window.text.0 + window.binary.0;
    if window.frames.len() as u64 == count {
        let messages = window.frames.iter().map(|(kind, size, at_us)| {
            let kind = match kind {
                FrameKind::Text => "text",
                FrameKind::Binary => "binary",
            };
            json!({"kind": kind, "size": size, "at_ms": at_us / 1000})
        });
        fields.insert("messages".to_owned(), messages.collect());
    } else {
        for (kind, (count, bytes)) in [("text", window.text), ("binary", window.binary)] {
            fields.insert(kind.to_owned(), json!({"count": count, "bytes": bytes}));
        }
    }
    Some(json!([fields]))
}

fn ending(input: &Input) -> Option<Value> {
    let ending = input.ending.as_ref()?;
    Some(json!({
        "cause": ending.cause,
        "close_code": ending.close_code,
        "closed_by": ending.closed_by.word(),
        "streamed": ending.streamed,
        "lasted_ms": ending.lasted_us / 1000,
        "received_bytes": ending.received_bytes,
        "sent_bytes": ending.sent_bytes,
    }))
}

/// What the case expects: what was answered.
fn expect(line: &Line) -> Value {
    let evicts = line.calls.iter().filter_map(|call| match call {
        HostCall::Evict {
            holder,
            answer: HostAnswer::Ok(()),
            ..
        } => Some(json!(holder)),
        _ => None,
    });
    let evicts: Vec<_> = evicts.collect();
    let notices = line.calls.iter().filter_map(|call| match call {
        // At its end a connection has no client that could be sent one.
        HostCall::Notice { code, .. } if line.hook != Hook::Close => Some(json!(code)),
        _ => None,
    });
    let notices: Vec<_> = notices.collect();
    let metrics = metrics(&line.calls);
    match &line.verdict {
        RecordedVerdict::Reject {
            close_code,
            code,
            message,
            retryable,
            retry_after_ms,
            ..
        } => json!({
            "reject": code,
            "close_code": close_code,
            "message": message,
            "retryable": retryable,
            "retry_after_ms": retry_after_ms,
            "metrics": metrics,
        }),
        RecordedVerdict::Unanswered { .. } => json!({ "reject": "service_unavailable" }),
        _ if evicts.is_empty() && notices.is_empty() && metrics.is_none() => json!("accept"),
        _ => {
            let some = |values: Vec<Value>| (!values.is_empty()).then_some(values);
            json!({ "evicts": some(evicts), "notices": some(notices), "metrics": metrics })
        }
    }
}

/// What was added to metrics, by `NAME` or `NAME:LABEL`.
fn metrics(calls: &[HostCall]) -> Option<Value> {
    let metrics = calls.iter().filter_map(|call| match call {
        HostCall::Metric {
            name,
            label,
            amount,
        } => {
            let key = match label.as_str() {
                "" => name.clone(),
                label => format!("{name}:{label}"),
            };
            Some((key, json!(amount)))
        }
        _ => None,
    });
    let metrics: Map<_, _> = metrics.collect();
    (!metrics.is_empty()).then_some(Value::Object(metrics))
}

/// The value as TOML, on one line. A field without a value is left out.
fn shown(value: &Value) -> String {
    match value {
        // JSON's escapes are TOML's, which wants DEL escaped too.
        Value::String(text) => json!(text).to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(values) => {
            let values: Vec<_> = values
                .iter()
                .filter(|value| !value.is_null())
                .map(shown)
                .collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<_> = there
                .map(|(key, value)| format!("{} = {}", shown(&json!(key)), shown(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
