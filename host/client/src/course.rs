//! What a client knows of its stream, over which connections it may go.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::peer::{Receipts, Welcome};
use super::target::ResumeToken;
use crate::audio::Audio;
use crate::outcome::{Confirmation, Manner, Outcome, Receipt};
use crate::progress::Progress;

/// A recording on its way, and how far it has come.
pub struct Course {
    pub audio: Audio,
    pub manner: Manner,
    pub tally: Tally,
    /// When the first byte was due: a recording device does not stop because
    /// its connection did.
    pub started: Option<Instant>,
    /// What leads back to the stream.
    token: Option<ResumeToken>,
    /// What the last gateway that took the stream does about it.
    receipts: Option<Receipts>,
}

/// How far a stream is, in bytes of the recording.
#[derive(Debug, Default)]
pub struct Tally {
    /// Where the stream begins: past the recording's beginning where an
    /// earlier stream has what is before.
    begins: Cell<u64>,
    sent: Cell<u64>,
    acked: Cell<u64>,
    reached: Cell<u64>,
}

/// What comes after a connection has ended.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Stop(Outcome),
    /// Another one, after a while.
    Again(Outcome),
}

impl Tally {
    /// Everything before `position` has been sent.
    pub fn sent(&self, position: u64) {
        self.sent.set(self.sent.get().max(position));
    }

    /// The gateway has so many bytes of the stream. More than it was sent is
    /// nothing that it could have.
    pub fn kept(&self, bytes: u64) {
        let position = self.begins.get().saturating_add(bytes);
        let position = position.min(self.sent.get());
        self.acked.set(self.acked.get().max(position));
        self.reaches(position);
    }

    /// How far the gateway has come, whether or not that is safe already.
    pub fn reached(&self) -> u64 {
        self.reached.get()
    }

    fn reaches(&self, position: u64) {
        self.reached.set(self.reached.get().max(position));
    }

    /// How much of the recording is safe.
    pub fn acked(&self) -> u64 {
        self.acked.get()
    }
}

impl Course {
    pub fn new(audio: Audio, manner: Manner) -> Self {
        Self {
            audio,
            manner,
            tally: Tally::default(),
            started: None,
            token: None,
            receipts: None,
        }
    }

    /// What the next connection is to bring.
    pub fn token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }

    /// The gateway has taken the stream: goes to where it wants to go on.
    pub(crate) fn welcomed(
        &mut self,
        welcome: Welcome,
        progress: &mut Progress,
    ) -> Result<(), Outcome> {
        let resumed = welcome.from_bytes.filter(|_| self.token.is_some());
        let (from, story) = match (resumed, self.started) {
            (Some(bytes), _) => {
                let from = self.tally.begins.get().saturating_add(bytes);
                (from, format!("the stream goes on from byte {from}"))
            }
            (None, None) => (0, String::new()),
            // A stream of its own, whose first sample must be a whole one.
            (None, Some(_)) => {
                let acked = self.tally.acked();
                let from = acked - acked % self.audio.frame();
                self.tally.begins.set(from);
                self.tally.sent.set(from);
                let story = format!(
                    "a new stream begins at byte {from} of the recording: what is before is safe in the \
                     earlier one, which may have some of what follows as well"
                );
                (from, story)
            }
        };
        progress.ready(&welcome.session_id, &self.audio);
        if !story.is_empty() {
            progress.note(&story);
        }
        self.audio.seek(from).map_err(Outcome::Local)?;
        self.tally.reaches(from);
        self.started.get_or_insert_with(Instant::now);
        self.token = welcome.token;
        if matches!(welcome.receipts, Receipts::None) {
            self.audio.keep_nothing();
        }
        self.receipts = Some(welcome.receipts);
        Ok(())
    }

    /// What to do now that a connection has ended.
    ///
    /// Where the gateway says how much is safe, the stream goes on: the same
    /// one where that is possible, else a new one with what is not safe yet.
    /// Where it does not say, nobody here knows what arrived, and going on
    /// would be guessing.
    pub fn after(&mut self, outcome: Outcome) -> Next {
        let again = match &outcome {
            Outcome::Refused(refusal) if self.token.is_some() && refusal.is_of_resuming() => {
                self.token = None;
                true
            }
            Outcome::Refused(refusal) => refusal.is_temporary(),
            Outcome::Lost(_) => true,
            Outcome::Finished(_) | Outcome::Local(_) | Outcome::Usage(_) => false,
        };
        let afresh = self.token.is_none();
        match self.receipts {
            _ if !again => Next::Stop(outcome),
            Some(Receipts::None) => Next::Stop(outcome),
            Some(Receipts::Given) if afresh && self.is_safe() => {
                Next::Stop(Outcome::Finished(self.receipt()))
            }
            Some(Receipts::Given) | None => Next::Again(outcome),
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

impl Next {
    /// How long the gateway asked its client to stay away.
    pub fn asked(&self) -> Option<Duration> {
        match self {
            Self::Again(Outcome::Refused(refusal)) => refusal.retry_after(),
            Self::Again(_) | Self::Stop(_) => None,
        }
    }
}
