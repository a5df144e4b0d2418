//! Watching of the configuration's files, however they are deployed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::{Reloader, Trigger};
use base::blocking::LOADING;

mod events;
mod places;
#[cfg(test)]
mod tests;

use events::{Coverage, Events};

/// Time without an event after which a series of events is over. A copied file or a swapped volume
/// causes many events.
const QUIET: Duration = Duration::from_millis(300);
/// Number of waits for a quiet time before the files are checked anyway, in a folder that is always
/// busy.
const PATIENCE: u32 = 10;
/// Interval of checks if not every change has an event, or if keys are unavailable.
const POLL: Duration = Duration::from_secs(2);
/// Interval of checks if every change should have an event. Network file systems and some container
/// volumes do not report changes by others.
const POLL_ANYWAY: Duration = Duration::from_secs(30);

/// Reloads whenever the content of a configuration file changes, as long as the gateway runs.
pub async fn watch(reloader: Arc<Reloader>) {
    let changed = reloader.changed();
    let events = Events::new(notify::recommended_watcher, Arc::clone(&changed));
    let events = Arc::new(Mutex::new(events));
    let mut coverage = Coverage::Events;
    let mut trigger = Trigger::File;
    loop {
        // Each time, because a link may have a new target, and a folder may be another one of the
        // same name.
        let now = arm(&events, &reloader).await;
        say(&coverage, &now);
        coverage = now;
        // Changes before this had no event.
        reloader.reload_if_changed(trigger).await;
        trigger = Trigger::File;
        loop {
            let wait = match &coverage {
                Coverage::Events if reloader.missing_keys().is_empty() => POLL_ANYWAY,
                _ => POLL,
            };
            if timeout(wait, changed.notified()).await.is_ok() {
                break;
            }
            if reloader.files_may_have_changed().await {
                // An event may be on its way.
                if timeout(QUIET, changed.notified()).await.is_err() {
                    trigger = Trigger::Poll;
                }
                break;
            }
        }
        for _ in 0..PATIENCE {
            if timeout(QUIET, changed.notified()).await.is_err() {
                break;
            }
        }
    }
}

/// [`Events::arm`], in a thread for blocking work.
async fn arm(events: &Arc<Mutex<Events>>, reloader: &Reloader) -> Coverage {
    let (events, files) = (Arc::clone(events), reloader.files().await);
    let arming = LOADING.run(move || {
        let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
        events.arm(&files)
    });
    arming.await.unwrap_or_else(|panicked| Coverage::Gaps {
        why: panicked.to_string(),
    })
}

/// Logs how changes are noticed, whenever that changes.
fn say(before: &Coverage, now: &Coverage) {
    match (before, now) {
        (Coverage::Events, Coverage::Gaps { why }) => tracing::warn!(
            error = why,
            every = ?POLL,
            "not every change of the configuration's files has an event; they are polled"
        ),
        (Coverage::Gaps { .. }, Coverage::Events) => {
            tracing::info!("changes of the configuration's files have events again");
        }
        (Coverage::Gaps { .. }, Coverage::Gaps { .. }) | (Coverage::Events, Coverage::Events) => {}
    }
}
