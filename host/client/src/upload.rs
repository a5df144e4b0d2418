//! State of an upload across its connections.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::peer::{AckSupport, Welcome};
use super::target::ResumeToken;
use crate::audio::Audio;
use crate::outcome::{Confirmation, Manner, Receipt, StreamOutcome};
use crate::progress::Progress;
use crate::tokens::Tokens;

/// Upload of a recording, and its state across connections.
pub struct Upload {
    pub audio: Audio,
    pub manner: Manner,
    pub tokens: Arc<Tokens>,
    pub tally: Positions,
    /// When the first byte was due. A recording device does not stop when its connection does.
    pub started: Option<Instant>,
    /// Token that resumes the stream.
    token: Option<ResumeToken>,
    /// Whether the gateway that took the stream last sends receipts.
    receipts: Option<AckSupport>,
}

/// Positions that an upload has reached, in bytes of the recording.
#[derive(Debug, Default)]
pub struct Positions {
    /// Where the current stream begins. Not 0 if an earlier stream has the beginning of the
    /// recording.
    begins: Cell<u64>,
    sent: Cell<u64>,
    acked: Cell<u64>,
    reached: Cell<u64>,
}

/// Next step after a connection has ended.
#[derive(Debug)]
pub enum NextStep {
    /// The upload is over.
    Stop(StreamOutcome),
    /// Connect again, after a pause.
    Again(StreamOutcome),
}

impl Positions {
    /// Records that everything before `position` has been sent.
    pub fn sent(&self, position: u64) {
        self.sent.set(self.sent.get().max(position));
    }

    /// Records a receipt for this many bytes of the stream. A receipt for more than was sent counts
    /// only for what was sent.
    pub fn kept(&self, bytes: u64) {
        let position = self.begins.get().saturating_add(bytes);
        let position = position.min(self.sent.get());
        self.acked.set(self.acked.get().max(position));
        self.reaches(position);
    }

    /// Position that the gateway has reached, whether or not the audio is safe already.
    pub fn reached(&self) -> u64 {
        self.reached.get()
    }

    fn reaches(&self, position: u64) {
        self.reached.set(self.reached.get().max(position));
    }

    /// Bytes of the recording that are safe.
    pub fn acked(&self) -> u64 {
        self.acked.get()
    }
}

impl Upload {
    pub fn new(audio: Audio, manner: Manner, tokens: Arc<Tokens>) -> Self {
        Self {
            audio,
            manner,
            tokens,
            tally: Positions::default(),
            started: None,
            token: None,
            receipts: None,
        }
    }

    /// Token that the next connection has to present.
    pub fn token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }

    /// Handles the ack of the gateway: seeks to the position where the gateway wants to continue.
    pub(crate) fn welcomed(
        &mut self,
        welcome: Welcome,
        progress: &mut Progress,
    ) -> Result<(), StreamOutcome> {
        let resumed = welcome.from_bytes.filter(|_| self.token.is_some());
        let (from, note) = match (resumed, self.started) {
            (Some(bytes), _) => {
                let from = self.tally.begins.get().saturating_add(bytes);
                (from, format!("the stream goes on from byte {from}"))
            }
            (None, None) => (0, String::new()),
            // A new stream, which must begin with a whole sample.
            (None, Some(_)) => {
                let acked = self.tally.acked();
                let from = acked - acked % self.audio.frame();
                self.tally.begins.set(from);
                self.tally.sent.set(from);
                let note = format!(
                    "a new stream begins at byte {from} of the recording: what is before is safe in the \
                     earlier one, which may have some of what follows as well"
                );
                (from, note)
            }
        };
        progress.ready(&welcome.session_id, &self.audio);
        if !note.is_empty() {
            progress.note(&note);
        }
        self.audio.seek(from).map_err(StreamOutcome::Local)?;
        self.tally.reaches(from);
        self.started.get_or_insert_with(Instant::now);
        self.token = welcome.token;
        if matches!(welcome.receipts, AckSupport::None) {
            self.audio.keep_nothing();
        }
        self.receipts = Some(welcome.receipts);
        Ok(())
    }

    /// Next step after a connection has ended with this outcome.
    ///
    /// If the gateway sends receipts, the upload goes on: with the same stream if possible, else
    /// with a new one for the audio that is not safe yet. Without receipts the client does not know
    /// what arrived, so it stops.
    pub fn after(&mut self, outcome: StreamOutcome) -> NextStep {
        let again = match &outcome {
            StreamOutcome::Refused(refusal) if self.token.is_some() && refusal.is_of_resuming() => {
                self.token = None;
                true
            }
            StreamOutcome::Refused(refusal) => refusal.is_temporary(),
            StreamOutcome::Lost(_) => true,
            StreamOutcome::Finished(_) | StreamOutcome::Local(_) | StreamOutcome::Usage(_) => false,
        };
        let afresh = self.token.is_none();
        match self.receipts {
            _ if !again => NextStep::Stop(outcome),
            Some(AckSupport::None) => NextStep::Stop(outcome),
            Some(AckSupport::Given) if afresh && self.is_safe() => {
                NextStep::Stop(StreamOutcome::Finished(self.receipt()))
            }
            Some(AckSupport::Given) | None => NextStep::Again(outcome),
        }
    }

    fn is_safe(&self) -> bool {
        let acked = self.tally.acked();
        acked > 0 && self.audio.total_bytes() == Some(acked)
    }

    fn receipt(&self) -> Receipt {
        let bytes = self.tally.acked();
        Receipt {
            bytes,
            duration: self.audio.duration_of(bytes),
            confirmation: Confirmation::Acknowledged,
        }
    }
}

impl NextStep {
    /// Pause that the gateway has asked for.
    pub fn asked(&self) -> Option<Duration> {
        match self {
            Self::Again(StreamOutcome::Refused(refusal)) => refusal.retry_after(),
            Self::Again(_) | Self::Stop(_) => None,
        }
    }
}
