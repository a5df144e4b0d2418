//! What the hooks beside admission are told.

use super::super::trace::{Event, Stage, Taken};
use super::view::View;

pub fn check(view: &View<'_>, faults: &mut Vec<String>) {
    check_windows(view, faults);
    for index in 0..2 {
        check_report(view, index, faults);
    }
}

/// The windows together hold what the upstream was given, and nothing twice.
fn check_windows(view: &View<'_>, faults: &mut Vec<String>) {
    let (mut taken, mut watched) = (0, 0);
    for (at, event) in &view.entries {
        match event {
            Event::Took(Taken::Binary(payload)) => taken += payload.0.len() as u64,
            Event::Watched(bytes) => {
                watched += bytes;
                if watched != taken {
                    faults.push(format!(
                        "at {at} ms the windows had {watched} bytes, and the upstream {taken}"
                    ));
                }
            }
            _ => {}
        }
    }
}

/// A policy that may have been asked about a connection is told of its end, once, after the socket
/// is closed.
fn check_report(view: &View<'_>, index: usize, faults: &mut Vec<String>) {
    let admission = Event::Asked(Stage::Connect, 0);
    let told = Event::Asked(Stage::Close, index);
    let asked = view.first(|event| *event == admission).is_some();
    let times = view.all(|event| *event == told).count();
    if times > 1 || (asked && times == 0) {
        faults.push(format!("a policy was told of the end {times} times"));
    }
    let place =
        |wanted: &dyn Fn(&Event) -> bool| view.entries.iter().position(|(_, it)| wanted(it));
    let (told, dropped) = (
        place(&|event| *event == told),
        place(&|event| matches!(event, Event::Dropped { .. })),
    );
    if told.is_some() && (dropped.is_none() || told < dropped) {
        faults.push("a policy was told of the end before it had come".to_owned());
    }
}
