//! Judges what happened: whether the promise was kept to every client.

mod cause;
mod causes;
mod close;
mod close_message;
mod hooks;
mod relayed;
pub mod resumption;
mod stream;
mod view;

pub use causes::WRITE;

use super::run::Report;
use view::View;

/// What is wrong, in words.
pub fn judge(report: &Report) -> Vec<String> {
    let mut faults = report.faults.clone();
    for me in 0..report.schedule.connections.len() {
        let view = View::of(report, me);
        if view.entries.is_empty() {
            // The gateway closed before this client came.
            continue;
        }
        let mut found = Vec::new();
        judge_one(&view, &mut found);
        let numbered = found.into_iter().map(|it| format!("connection {me}: {it}"));
        faults.extend(numbered);
    }
    stream::check(report, &mut faults);
    faults
}

fn judge_one(view: &View<'_>, faults: &mut Vec<String>) {
    if view.dropped().is_none() {
        faults.push("the host never let go of the transport".to_owned());
    }
    let Some(upgraded) = view.upgraded() else {
        return not_upgraded(view, faults);
    };
    if !view.request_is_valid() {
        faults.push("a request that is no upgrade was answered 101".to_owned());
    }
    let verdict = causes::verdict(view, upgraded);
    faults.extend(verdict.faults.iter().cloned());
    let ended = close::check(view, &verdict, faults);
    relayed::check(view, ended.as_ref(), faults);
    hooks::check(view, faults);
}

/// Nothing was accepted: was that right, and was nothing said?
fn not_upgraded(view: &View<'_>, faults: &mut Vec<String>) {
    let heads: Vec<u16> = view.heads().collect();
    if view.said().count() > heads.len() {
        faults.push("something was said before the 101".to_owned());
    }
    if view.request_read().is_none() {
        // The head's deadline is the longest that this may take.
        let longest = view.plan.start + super::run::HEAD.as_millis() as u64;
        if view.dropped() > Some(longest) {
            faults.push("an unfinished request was kept past its deadline".to_owned());
        }
        if !heads.is_empty() {
            faults.push(format!("{heads:?} for no request"));
        }
        return;
    }
    // The transport may break, or the client stop reading, before an answer is
    // out; another answer is wrong all the same.
    if heads.is_empty() && (view.transport_broke() || view.client_is_slow()) {
        return;
    }
    match (view.request_is_valid(), heads.as_slice()) {
        // HTTP waits for its deadline, and is not told that the gateway closes:
        // a valid upgrade is answered 101 even then.
        (true, heads) => faults.push(format!("a valid upgrade was answered {heads:?}")),
        (false, [426]) => {}
        (false, heads) => faults.push(format!("a plain request was answered {heads:?}")),
    }
}
