//! Writing the record. A thread of its own makes lines of drafts and writes
//! them; what waits for it is bounded in bytes. Nobody ever waits for the
//! record: what finds no room, or none on the disk, is counted and gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime};

use serde::Serialize as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

pub(crate) mod draft;
mod index;
mod quota;
mod rotate;
mod state;

pub use state::RecordState;

use crate::policy::Policy;
use crate::question::Question;
use crate::record::index::Entry;
use crate::record::notes::Notes;
use crate::record::{self, DecidingRole};
use crate::record::{Effect, Pairs, Role};
use crate::settings;
use crate::verdict::{OnFailure, Verdict};
use draft::Draft;
use quota::{Quota, QuotaPermit};
use rotate::Rotated;
use session::registry::Session;
use state::{Before, RecordHealth};

/// How long the gateway's end waits for a writer that gets no further.
const STUCK: Duration = Duration::from_secs(2);
/// Bytes that are gathered before they are written.
const BATCH: usize = 64 * 1024;

/// Where decisions are handed in. Cheap to clone; off by default.
#[derive(Clone, Default)]
pub struct Recorder {
    queue: Option<Queue>,
    /// Whether the file is to be opened again before anything else is written.
    reopens: Arc<AtomicBool>,
    generation: u64,
}

/// What waits for the writer. The quota bounds it.
#[derive(Clone)]
struct Queue {
    jobs: Sender<Job>,
    quota: Quota,
    health: Arc<RecordHealth>,
}

enum Job {
    Write(Box<Draft>, QuotaPermit),
    /// Everything before this is to be on the disk.
    Flush(oneshot::Sender<()>),
    /// Nothing: it is time to look whether the file is to be opened again.
    Look,
}

impl Recorder {
    /// Starts the writer.
    ///
    /// # Errors
    /// Where the machine does not give a thread.
    pub fn start(decisions: &settings::Decisions) -> io::Result<Self> {
        let Some(file) = &decisions.file else {
            return Ok(Self::default());
        };
        let rotated = Rotated::new(file.clone(), decisions.max_size, decisions.max_files);
        let (sender, jobs) = channel();
        let reopens = Arc::<AtomicBool>::default();
        let told = Arc::clone(&reopens);
        let health = Arc::<RecordHealth>::default();
        let says = Arc::clone(&health);
        std::thread::Builder::new()
            .name("decisions".to_owned())
            .spawn(move || write_all(&jobs, rotated, &told, &says))?;
        Ok(Self {
            queue: Some(Queue {
                jobs: sender,
                quota: Quota::default(),
                health,
            }),
            reopens,
            generation: 0,
        })
    }

    /// State of the record; `None` if decisions are not recorded.
    #[must_use]
    pub fn state(&self) -> Option<RecordState> {
        self.queue.as_ref().map(|queue| queue.health.state())
    }

    /// The same, for decisions of that generation.
    #[must_use]
    pub fn of(&self, generation: u64) -> Self {
        Self {
            generation,
            ..self.clone()
        }
    }

    /// Notes for a decision that begins.
    #[must_use]
    pub fn notes(&self) -> Notes {
        match self.queue {
            Some(_) => Notes::kept(),
            None => Notes::unwanted(),
        }
    }

    /// Notes for a decision of this policy, which may take effect.
    pub(crate) fn notes_for(&self, policy: &dyn Policy) -> Notes {
        match policy.has_effects() {
            true => self.notes().with_effects(),
            false => self.notes(),
        }
    }

    /// A decision begins. What comes of it is recorded, even if that is that
    /// nobody waited for it.
    pub fn begin<'a>(
        &'a self,
        policy: &'a dyn Policy,
        session: &'a Arc<Session>,
        question: &'a Question,
        role: DecidingRole,
        notes: Notes,
    ) -> Pending<'a> {
        Pending {
            recorder: self,
            open: self.queue.as_ref().map(|_| Open {
                policy,
                session,
                question,
                role,
                notes,
                attributes: session.facts.attributes(),
                began: Instant::now(),
            }),
        }
    }

    /// Has the file closed, and opened by its name: somebody has put it aside.
    pub fn reopen(&self) {
        self.reopens.store(true, Ordering::Relaxed);
        if let Some(queue) = &self.queue {
            // Where the writer is gone, there is no file to open.
            drop(queue.jobs.send(Job::Look));
        }
    }

    /// Waits until what was handed in is on the disk, for as long as the writer gets on with it.
    pub async fn flush(&self) {
        let Some(queue) = &self.queue else {
            return;
        };
        let (written, mut told) = oneshot::channel();
        // Where the writer is gone, nobody tells, at once.
        drop(queue.jobs.send(Job::Flush(written)));
        let mut left = queue.quota.waiting();
        loop {
            match timeout(STUCK, &mut told).await {
                Ok(Ok(())) => return,
                Err(_) if queue.quota.waiting() < left => left = queue.quota.waiting(),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        tracing::warn!("the last decisions may not have been recorded");
    }

    /// Hands in what `draft` makes of the generation's number, if anybody
    /// records.
    pub fn hand_in(&self, draft: impl FnOnce(u64) -> Draft) {
        let Some(queue) = &self.queue else { return };
        let draft = draft(self.generation);
        let client = draft.session.facts.remote.ip();
        match queue.quota.take(client, draft.standing(), draft.weight()) {
            Err(no_room) => queue.health.lost(no_room.word(), 1),
            Ok(permit) => {
                let job = Job::Write(Box::new(draft), permit);
                if queue.jobs.send(job).is_err() {
                    queue.health.lost("writer-gone", 1);
                }
            }
        }
    }
}

/// A decision that is not recorded yet.
#[must_use]
pub struct Pending<'a> {
    recorder: &'a Recorder,
    open: Option<Open<'a>>,
}

struct Open<'a> {
    policy: &'a dyn Policy,
    session: &'a Arc<Session>,
    question: &'a Question,
    role: DecidingRole,
    notes: Notes,
    attributes: Pairs,
    began: Instant,
}

impl Pending<'_> {
    /// Records what came of it.
    pub fn finish(mut self, verdict: &Verdict, on_failure: OnFailure) {
        let effect = match (verdict, on_failure) {
            (Verdict::Accept, _) => Effect::Accepted,
            (
                Verdict::Reject(_)
                | Verdict::KeysUnavailable(_)
                | Verdict::Unanswered(_)
                | Verdict::ClientFault(_),
                _,
            ) => Effect::Refused,
            (Verdict::Failed(_), OnFailure::Closed) => Effect::FailedClosed,
            (Verdict::Failed(_), OnFailure::Open) => Effect::FailedOpen,
        };
        self.hand_in(Some(verdict), effect);
    }

    /// Records an answer that the gateway could not act on.
    pub(crate) fn without_effect(mut self, verdict: &Verdict) {
        self.hand_in(Some(verdict), Effect::None);
    }

    /// Records nothing, because the policy is asked again.
    pub(crate) fn withdraw(mut self) {
        self.open = None;
    }

    fn hand_in(&mut self, verdict: Option<&Verdict>, effect: Effect) {
        let Some(open) = self.open.take() else { return };
        self.recorder.hand_in(|generation| Draft {
            session: Arc::clone(open.session),
            generation,
            policy: Arc::clone(open.policy.name()),
            digest: open.policy.digest().cloned(),
            signer: open.policy.signer().cloned(),
            secrets: open.policy.secrets(),
            question: open.question.clone(),
            attributes: open.attributes,
            role: match open.role {
                DecidingRole::Enforced => Role::Enforced,
                DecidingRole::Canary => Role::Canary,
            },
            verdict: verdict.cloned(),
            compared: None,
            effect,
            at: SystemTime::now(),
            took: open.began.elapsed(),
            taken: open.notes.take(),
        });
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.hand_in(None, Effect::None);
    }
}

/// Until the last recorder is gone.
fn write_all(
    jobs: &Receiver<Job>,
    mut rotated: Rotated,
    reopens: &AtomicBool,
    health: &RecordHealth,
) {
    let mut batch = Batch::default();
    while let Ok(first) = jobs.recv() {
        let mut flushed = Vec::new();
        // What has come meanwhile is written together.
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                Job::Write(draft, permit) => {
                    batch.add(*draft);
                    drop(permit);
                }
                Job::Flush(written) => {
                    flushed.push(written);
                    break;
                }
                Job::Look => {}
            }
            if batch.lines.len() >= BATCH {
                break;
            }
        }
        if reopens.swap(false, Ordering::Relaxed)
            && let Err(error) = rotated.reopen()
        {
            tracing::error!(%error, "the decision record cannot be opened again");
        }
        let mut from = 0;
        for part in rotated.parts(&batch.lines) {
            let entries = batch.entries(from, part.len());
            from += part.len();
            match rotated.write(part, entries) {
                Ok(()) => health.wrote(),
                Err(error) => {
                    let lines = part.iter().filter(|byte| **byte == b'\n').count();
                    health.lost("disk", lines as u64);
                    // Once: a disk that is full stays full for a while.
                    if health.failed(&error) == Before::Fine {
                        tracing::error!(%error, "decisions cannot be recorded; they are made all the same");
                    }
                }
            }
        }
        batch.clear();
        if !flushed.is_empty() {
            rotated.write_index();
        }
        for written in flushed {
            // Whoever asked may have stopped waiting.
            let _ = written.send(());
        }
    }
}

/// Lines that are written together, with their entries for the index.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    fn add(&mut self, draft: Draft) {
        let before = self.lines.len();
        let line = draft.line();
        let mut ascii = serde_json::Serializer::with_formatter(&mut self.lines, Ascii);
        match line.serialize(&mut ascii) {
            Ok(()) => {
                self.lines.push(b'\n');
                let keys = record::index::keys(&line).into_iter();
                self.entries.extend(keys.map(|key| (key, before as u64)));
            }
            // A vector takes everything, so this is a bug; half a line must not
            // spoil the file.
            Err(_) => self.lines.truncate(before),
        }
    }

    /// Entries of the lines in a part, with places from its beginning on.
    fn entries(&self, from: usize, length: usize) -> impl Iterator<Item = Entry> + '_ {
        let part = from as u64..(from + length) as u64;
        let start = self
            .entries
            .partition_point(|(_, place)| *place < part.start);
        let entries = self.entries.get(start..).unwrap_or_default().iter();
        let within = entries.take_while({
            let end = part.end;
            move |(_, place)| *place < end
        });
        within.map(move |(key, place)| (*key, place - part.start))
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.entries.clear();
    }
}

/// Escapes all that is not ASCII: no text in the file can do anything to a
/// terminal, or be taken for another one.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                write!(writer, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
