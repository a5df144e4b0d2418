//! What was relayed: a prefix of what was sent, and all of it where the client
//! came to its end.

use super::super::item::{Blob, Meaning, Text, speech};
use super::super::output::Said;
use super::super::trace::{Event, Taken};
use super::causes::{Cause, completion};
use super::view::View;
use upstream::StreamEnd;

/// `ended` is why the connection ended, where its client was told.
pub fn check(view: &View<'_>, ended: Option<&Cause>, faults: &mut Vec<String>) {
    let all = match ended {
        Some(Cause::Finalized | Cause::Done | Cause::ClientClosed(_) | Cause::Violation(_)) => true,
        Some(Cause::Gone) => view.first(|it| *it == Event::ReadEnd).is_some(),
        Some(Cause::Idle | Cause::Unfinished) => view.is_free(),
        _ => false,
    };
    let opened = view.streams();
    let (sent, replies, while_completing) = due(view);
    let taken: Vec<&Taken> = view.entries.iter().filter_map(taken).collect();
    compare("the upstream", &sent, &taken, all && opened, faults);
    let said: Vec<&Said> = view.said().map(|(_, said)| said).collect();
    let replied = said
        .iter()
        .copied()
        .filter(|said| is_reply(said))
        .collect::<Vec<_>>();
    // What comes behind a finalize is answered as long as the stream is being completed.
    let due = [&replies[..], &while_completing[..]].concat();
    let all_replies = all && opened && replied.len() < replies.len();
    compare(
        "the client, as replies,",
        &due,
        &replied,
        all_replies,
        faults,
    );
    check_down(view, &said, ended.is_some(), faults);
    let complete = ended == Some(&Cause::Remembered);
    check_ack(view, &said, complete || opened && ended.is_some(), faults);
    check_seal(view, ended, &taken, &said, opened, faults);
    let pings = said.iter().filter(|said| ***said == Said::WirePing).count();
    if ended == Some(&Cause::Idle) && pings < 2 {
        faults.push("a silent client was not pinged".to_owned());
    }
}

/// What the upstream said while its client was away comes first. Of that a
/// connection before may have had some.
fn check_down(view: &View<'_>, said: &[&Said], all: bool, faults: &mut Vec<String>) {
    let emitted: Vec<Said> = view
        .entries
        .iter()
        .filter_map(emitted)
        .filter(|said| view.passes(said))
        .collect();
    let down = said.iter().copied().filter(|said| view.passes(said));
    let down: Vec<&Said> = down.collect();
    let (had, away) = view.said_away();
    // The end may come before there was room for it.
    let takes = view.first(|event| *event == Event::Takes);
    let ends = view.first(|event| matches!(event, Event::Sealing(_) | Event::Parks));
    let all = all && (away.is_empty() || takes < ends && !view.client_is_slow());
    let fits = (0..=had).any(|had| {
        let due = [&away[had..], &emitted[..]].concat();
        let mut found = Vec::new();
        compare("the client", &due, &down, all, &mut found);
        found.is_empty()
    });
    if !fits {
        let due = [&away[..], &emitted[..]].concat();
        compare("the client", &due, &down, all, faults);
    }
}

fn compare<T: PartialEq + std::fmt::Debug>(
    who: &str,
    due: &[T],
    got: &[&T],
    all: bool,
    faults: &mut Vec<String>,
) {
    let same = due.iter().zip(got).take_while(|(a, b)| a == *b).count();
    if same < got.len() {
        faults.push(format!(
            "{who} got {:?} in place {same}, where {:?} was due",
            got[same],
            due.get(same)
        ));
    } else if all && got.len() < due.len() {
        faults.push(format!("{who} got {} of {}", got.len(), due.len()));
    }
}

/// What the upstream is to be given and what the client is to be answered, if
/// everything is taken that the host has read; and what it may be answered
/// behind a finalize.
fn due(view: &View<'_>) -> (Vec<Taken>, Vec<Said>, Vec<Said>) {
    let (mut sent, mut replies) = (Vec::new(), Vec::new());
    let mut behind = None;
    let mut greeted = !view.is_ingest();
    let mut place_in_stream = from(view).unwrap_or(0);
    let ended = view.first(|event| matches!(event, Event::Sealing(_) | Event::Parks));
    let ended = ended.unwrap_or(u64::MAX);
    for (place, item) in view.items.iter().skip(1) {
        // What is read after the end is thrown away.
        let read = view.read_at(place + item.bytes.0.len());
        if read.is_none_or(|at| at > ended) {
            break;
        }
        match &item.meaning {
            Meaning::Ping(payload) => replies.push(Said::WirePong(payload.clone())),
            Meaning::Close(_) | Meaning::Violation(_) => break,
            Meaning::Text(text) if !greeted && text.greets() => greeted = true,
            Meaning::Text(_) | Meaning::Binary(_) | Meaning::Speech(_) if !greeted => break,
            Meaning::Text(Text::Finalize | Text::Done) if view.is_ingest() => {
                behind = Some(place + item.bytes.0.len());
                break;
            }
            Meaning::Binary(payload) => sent.push(Taken::Binary(payload.clone())),
            Meaning::Speech(length) => {
                let payload = speech(place_in_stream, *length);
                place_in_stream += *length as u64;
                sent.push(Taken::Binary(Blob(payload)));
            }
            Meaning::Text(text) if view.is_ingest() => match text {
                Text::Ping => replies.push(Said::Pong),
                Text::Pong => {}
                Text::Pause => {
                    sent.push(Taken::Pause);
                    replies.push(Said::Status("paused".to_owned()));
                }
                Text::Resume => {
                    sent.push(Taken::Resume);
                    replies.push(Said::Status("resumed".to_owned()));
                }
                other => sent.push(text_of(*other)),
            },
            Meaning::Text(text) => sent.push(text_of(*text)),
            Meaning::Upgrade | Meaning::NoUpgrade | Meaning::Pong | Meaning::Part => {}
        }
    }
    let while_completing = behind
        .map(|end| pings_behind(view, end))
        .unwrap_or_default();
    (sent, replies, while_completing)
}

/// The answers to pings from a place on.
fn pings_behind(view: &View<'_>, end: usize) -> Vec<Said> {
    let items = view.items.iter().filter(|(place, _)| *place >= end);
    items
        .map(|(_, item)| &item.meaning)
        .take_while(|meaning| !matches!(meaning, Meaning::Close(_) | Meaning::Violation(_)))
        .filter_map(|meaning| match meaning {
            Meaning::Ping(payload) => Some(Said::WirePong(payload.clone())),
            Meaning::Text(Text::Ping) => Some(Said::Pong),
            _ => None,
        })
        .collect()
}

fn text_of(text: Text) -> Taken {
    Taken::Text(super::super::item::Blob(text.bytes()))
}

fn taken<'a>((_, event): &(u64, &'a Event)) -> Option<&'a Taken> {
    match event {
        Event::Took(taken) => Some(taken),
        _ => None,
    }
}

fn emitted((_, event): &(u64, &Event)) -> Option<Said> {
    match event {
        Event::Emitted(said) => Some(said.clone()),
        _ => None,
    }
}

fn is_reply(said: &Said) -> bool {
    match said {
        Said::Status(status) => status != "upstream_lost",
        said => matches!(said, Said::WirePong(_) | Said::Pong),
    }
}

/// Where the ack says that the stream goes on.
fn from(view: &View<'_>) -> Option<u64> {
    view.said().find_map(|(_, said)| match said {
        Said::Ack { from, .. } => *from,
        _ => None,
    })
}

/// Exactly one ack, before every other message.
fn check_ack(view: &View<'_>, said: &[&Said], due: bool, faults: &mut Vec<String>) {
    let all = said.iter().filter(|said| matches!(said, Said::Ack { .. }));
    let acks = all.clone().count();
    let due = due && view.is_ingest();
    let receipts = view.plan.returns.is_some()
        || matches!(
            view.greeting(),
            Some(Text::HandshakeForReceipts | Text::HandshakeToResume)
        );
    for ack in all {
        let right = Said::Ack {
            receipts,
            resumable: view.is_resumable(),
            from: from(view),
        };
        if **ack != right {
            faults.push(format!("{ack:?}, where {right:?} was due"));
        }
    }
    // A client that panicked the host in the instant of its ack lost nothing
    // but the ack that was queued.
    if acks > 1 || (due && acks == 0) {
        faults.push(format!("{acks} acks"));
    }
    let message = |said: &&&Said| {
        !matches!(
            said,
            Said::Head(_) | Said::WirePong(_) | Said::Error { .. } | Said::Close { .. }
        )
    };
    let first = said.iter().find(message);
    if view.is_ingest() && first.is_some_and(|first| !matches!(first, Said::Ack { .. })) {
        faults.push(format!("{first:?} came before the ack"));
    }
}

/// A client that finalizes waits for the last message of its upstream.
fn check_completion(view: &View<'_>, faults: &mut Vec<String>) {
    if view.plan.link.last_message.is_none() {
        return;
    }
    let ends = completion(view);
    let sealing = view.first(|event| matches!(event, Event::Sealing(_)));
    if ends.is_none() || sealing < ends {
        faults.push("the upstream was sealed before it had said everything".to_owned());
    }
}

/// An open upstream is sealed once, and told how the stream ended.
fn check_seal(
    view: &View<'_>,
    ended: Option<&Cause>,
    taken: &[&Taken],
    said: &[&Said],
    opened: bool,
    faults: &mut Vec<String>,
) {
    let endings: Vec<StreamEnd> = view
        .entries
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Sealing(ending) => Some(ending.clone()),
            _ => None,
        })
        .collect();
    let panicked = view.first(|event| *event == Event::Panicked).is_some();
    let due = usize::from(view.parks().is_none());
    if (opened && !panicked && endings.len() != due) || endings.len() > 1 {
        faults.push(format!("sealed {} times", endings.len()));
    }
    let complete = matches!(ended, Some(Cause::Finalized | Cause::Done));
    if ended.is_some() && complete && endings != [StreamEnd::Complete] {
        faults.push(format!("a complete stream was sealed as {endings:?}"));
    }
    if ended.is_some() && complete {
        check_completion(view, faults);
    }
    let cut = matches!(ended, Some(Cause::Idle | Cause::Draining | Cause::Gone));
    if cut && endings == [StreamEnd::Complete] {
        faults.push("a stream that was cut was sealed as complete".to_owned());
    }
    let bytes = taken.iter().map(|taken| match taken {
        Taken::Binary(payload) => payload.0.len() as u64,
        _ => 0,
    });
    let bytes = bytes.sum::<u64>() + from(view).unwrap_or(0);
    let confirmed = said.iter().find_map(|said| match said {
        Said::Finalized { bytes } => Some(*bytes),
        _ => None,
    });
    if confirmed.is_some_and(|confirmed| confirmed != bytes) {
        faults.push(format!("{confirmed:?} bytes were confirmed of {bytes}"));
    }
}
