//! A parked stream, and whoever drives it while its client is away.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Moored;
use super::berth::{Berth, Place, State};
use super::stream::Over;
use base::shutdown::Shutdown;
use base::text;
use session::registry::Session;
use upstream::Ending;

/// Bytes of what the log says of an upstream's end.
const MAX_DETAIL: usize = 1024;

/// A parked stream. To be driven to its end by [`Waiting::out`].
pub struct Waiting {
    moored: Moored,
    session: Arc<Session>,
}

/// How long a stream waits, and what for.
pub struct Patience {
    /// How long its client may be away.
    pub grace: Duration,
    /// Bytes of messages that are kept for the client.
    pub max_said: usize,
    /// What the upstream is told if the client does not come back.
    pub ending: Ending,
    /// How long the upstream may take to be sealed.
    pub sealing: Duration,
}

impl Waiting {
    pub(super) fn new(moored: Moored, session: Arc<Session>) -> Self {
        Self { moored, session }
    }

    /// Drives the stream until its client has taken it, or until it is over:
    /// when the grace is, when its upstream ends it, when another connection
    /// takes its place, or when the gateway stops. Then it is sealed.
    pub async fn out(self, patience: Patience, shutdown: Shutdown) {
        let Self { moored, session } = self;
        let (berth, turn) = (&*moored.berth, moored.turn);
        let (why, detail) = tokio::select! {
            biased;
            () = berth.until(|state| (state.holder != turn).then_some(())) => return,
            _ = session.evicted() => ("another connection took its place", String::new()),
            () = shutdown.draining() => ("the gateway is shutting down", String::new()),
            over = drive(berth, turn, patience.max_said) => {
                let why = match &over {
                    Over::Lost(_) => "its upstream was lost",
                    Over::Closed(_) => "its upstream closed it",
                    Over::TooMuch(_) => "there is no memory for it",
                };
                (why, text::clean(&over.detail(), MAX_DETAIL))
            }
            () = lacks_room(&moored) => ("nobody took it, and there is no room", String::new()),
            () = sleep(patience.grace) => ("its client did not come back", String::new()),
        };
        let Some((stream, guard)) = moored.leave() else {
            return;
        };
        let session_id = &*berth.stream;
        match timeout(patience.sealing, stream.link.seal(patience.ending)).await {
            Ok(Ok(sealed)) => {
                let bytes = sealed.bytes;
                tracing::info!(session_id, why, detail, bytes, "a parked stream ended");
            }
            Ok(Err(lost)) => {
                tracing::warn!(
                    session_id, why, detail, error = %lost, cause = ?lost.detail,
                    "a parked stream could not be sealed"
                );
            }
            Err(_) => {
                tracing::warn!(
                    session_id,
                    why,
                    detail,
                    "a parked stream was not sealed in time"
                );
            }
        }
        // After the seal, like the claims of any stream.
        drop(guard);
    }
}

/// Polls the upstream in the client's place. The stream stays at its berth, so
/// that whoever comes for it finds it there.
async fn drive(berth: &Berth, turn: u64, max_said: usize) -> Over {
    std::future::poll_fn(|cx| {
        let state: &mut State = &mut berth.lock();
        match &mut state.place {
            Place::Parked(stream, _) if state.holder == turn => stream.poll_away(cx, max_said),
            // It was taken.
            _ => Poll::Pending,
        }
    })
    .await
}

/// Waits until a stream that has no room has nobody either who waits for it, and
/// gets none now.
async fn lacks_room(moored: &Moored) {
    let lacks = |state: &mut State| {
        if state.holder != moored.turn || state.room.is_some() || state.is_wanted() {
            return None;
        }
        state.room = moored.parking.parked.take(&moored.berth.client);
        state.room.is_none().then_some(())
    };
    moored.berth.until(lacks).await;
}
