//! Parked stream, and the task that drives it while its client is away.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Attachment;
use super::rooms::Room;
use super::slot::{Slot, SlotState, StreamState};
use super::stream::{Over, Stream};
use base::shutdown::Shutdown;
use base::text;
use session::registry::{Notice, Session, SessionGuard};
use upstream::{StreamEnd, TakenOver};

/// Maximum length of the detail about an upstream's end in the log, in bytes.
const MAX_DETAIL: usize = 1024;

/// Parked stream, driven to its end by [`ParkedStream::run`].
pub struct ParkedStream {
    attachment: Attachment,
    session: Arc<Session>,
}

/// Limits of a parked stream.
pub struct ParkLimits {
    /// Grace period: how long the client may be away.
    pub grace: Duration,
    /// Maximum size of the messages that are kept for the client, in bytes.
    pub max_said: usize,
    /// How the stream ends at the upstream if the client does not come back.
    pub ending: StreamEnd,
    /// Time limit for sealing the upstream.
    pub sealing: Duration,
}

impl Attachment {
    /// Parks the stream. It needs no room if another connection is waiting to take it.
    ///
    /// # Errors
    /// If there is no room. Returns the stream and its guard.
    #[allow(
        clippy::result_large_err,
        reason = "what has no room goes back whole, once in a connection's life"
    )]
    pub fn park(
        self,
        stream: Stream,
        guard: SessionGuard,
    ) -> Result<ParkedStream, (Stream, SessionGuard)> {
        let room = self.parking.parked.take(&self.slot.client);
        if room.is_none() && !self.slot.lock().is_wanted() {
            return Err((stream, guard));
        }
        Ok(self.park_in(room, stream, guard))
    }

    /// Parks a stream of an earlier process.
    pub(crate) fn park_restored(self, stream: Stream, guard: SessionGuard) -> ParkedStream {
        self.park_in(Some(Room::of_restored()), stream, guard)
    }

    fn park_in(self, room: Option<Room>, stream: Stream, guard: SessionGuard) -> ParkedStream {
        let session = Arc::clone(guard.session());
        let mut slot = self.slot.lock();
        slot.stream = StreamState::Parked(stream, guard);
        slot.room = room;
        drop(slot);
        self.slot.has_changed();
        ParkedStream {
            attachment: self,
            session,
        }
    }
}

impl ParkedStream {
    /// Drives the stream until its client has taken it, or until it ends. It ends when the grace
    /// period is over, when its upstream ends it, when another session or an operator ends it, or when the
    /// gateway shuts down. Then it is sealed.
    pub async fn run(self, park_limits: ParkLimits, shutdown: Shutdown) {
        let Self {
            attachment,
            session,
        } = self;
        let (slot, sequence) = (&*attachment.slot, attachment.sequence);
        let mut ending = park_limits.ending;
        let (why, detail) = tokio::select! {
            biased;
            () = slot.until(|state| (state.holder != sequence).then_some(())) => return,
            notice = session.evicted() => (why(&notice), String::new()),
            () = attachment.taken_elsewhere() => {
                ending = StreamEnd::Left;
                (Over::ELSEWHERE, String::new())
            }
            () = leaving(&attachment, &shutdown) => {
                if attachment.is_stored() {
                    ending = StreamEnd::Left;
                }
                attachment.leave_stored();
                ("the gateway is shutting down", String::new())
            }
            over = drive(slot, sequence, park_limits.max_said) => {
                let why = match &over {
                    Over::Lost(_) => "its upstream was lost",
                    Over::Closed(_) => "its upstream closed it",
                    Over::Elsewhere => Over::ELSEWHERE,
                    Over::TooMuch(_) => "there is no memory for it",
                };
                (why, text::clean(&over.detail(), MAX_DETAIL))
            }
            () = lacks_room(&attachment) => ("nobody took it, and there is no room", String::new()),
            () = sleep(park_limits.grace) => ("its client did not come back", String::new()),
        };
        let Some((stream, guard)) = attachment.detach() else {
            return;
        };
        if why == Over::ELSEWHERE {
            session.goes_on_elsewhere();
        }
        let session_id = &*slot.stream;
        match timeout(park_limits.sealing, stream.link.seal(ending)).await {
            Ok(Ok(sealed)) => {
                let bytes = sealed.bytes;
                tracing::info!(session_id, why, detail, bytes, "a parked stream ended");
            }
            Ok(Err(lost)) => {
                if lost.detail.is::<TakenOver>() {
                    session.goes_on_elsewhere();
                }
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

/// Waits until the gateway no longer holds the stream: at its shutdown, and before, if another
/// process takes over that can go on with it.
async fn leaving(attachment: &Attachment, shutdown: &Shutdown) {
    tokio::select! {
        () = shutdown.draining() => {}
        () = attachment.handed_over(shutdown) => {}
    }
}

/// Why a stream ends that was told to.
const fn why(notice: &Notice) -> &'static str {
    match notice {
        Notice::Superseded(_) => "another connection took its place",
        Notice::EndedByOperator(_) => "an operator ended it",
    }
}

/// Polls the upstream while the client is away. The stream stays in its slot, so that a connection
/// can take it at any time.
async fn drive(slot: &Slot, sequence: u64, max_said: usize) -> Over {
    std::future::poll_fn(|cx| {
        let state: &mut SlotState = &mut slot.lock();
        match &mut state.stream {
            StreamState::Parked(stream, _) if state.holder == sequence => {
                stream.poll_away(cx, max_said)
            }
            // A connection has taken the stream.
            _ => Poll::Pending,
        }
    })
    .await
}

/// Waits until the stream has no room, no waiting connection, and cannot get room.
async fn lacks_room(attachment: &Attachment) {
    let lacks = |state: &mut SlotState| {
        if state.holder != attachment.sequence || state.room.is_some() || state.is_wanted() {
            return None;
        }
        state.room = attachment.parking.parked.take(&attachment.slot.client);
        state.room.is_none().then_some(())
    };
    attachment.slot.until(lacks).await;
}
