//! Thread that writes log lines to standard error.
//!
//! Lines reach it through a queue of [`MAX`] bytes. The lock of the queue is only held for a copy
//! in memory, never during a write. The thread writes the first line at once, and gathers those
//! that follow it for [`GATHERED`], because to wake a thread costs as much as to format a line. A line that does not fit in the queue is lost. A metric counts
//! it, and the log reports the number of lost lines once standard error accepts lines again.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::sampler::Sampler;
use base::metrics;

/// Maximum number of bytes in the queue. As many may be in the current write.
const MAX: usize = 1 << 20;
/// Time between two writes, unless half of the queue is full.
const GATHERED: Duration = Duration::from_millis(20);
/// Interval in which the thread checks for lines that were left out.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before another write to a standard error that does not block.
const PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    /// Whether this is the writing thread. Its own lines always fit in the queue.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Writer of log lines into the queue. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct LineWriter(Arc<SharedQueue>);

#[derive(Default)]
struct SharedQueue {
    queue: Mutex<LineQueue>,
    /// Signals that the thread has to go on.
    news: Condvar,
    /// Signals that everything is written.
    quiet: Condvar,
}

#[derive(Default)]
struct LineQueue {
    waiting: Vec<u8>,
    /// Number of lines that did not fit since the thread last checked.
    lost: u64,
    is_writing: bool,
    rest: Rest,
    /// When lines were last taken to be written.
    taken: Option<Instant>,
}

/// What the writing thread waits for.
#[derive(Default, PartialEq, Clone, Copy)]
enum Rest {
    /// Nothing.
    #[default]
    Awake,
    /// More lines, for a moment.
    Gathering,
    /// The next line.
    Idle,
}

/// Starts the thread.
///
/// # Errors
/// If the machine lacks a thread or a file descriptor.
pub(super) fn start(sampler: Arc<Sampler>) -> io::Result<LineWriter> {
    // Bypasses `io::stderr`, whose lock would be held during a blocked write. Another user of
    // standard error, such as a panic inside of a panic, would wait for that lock.
    let to = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let lines = LineWriter::default();
    let writing = lines.clone();
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writing.write_all_to(to, &sampler))?;
    Ok(lines)
}

impl LineWriter {
    fn hand_in(&self, line: &[u8]) {
        let mut queue = self.queue();
        if queue.waiting.len() + line.len() > MAX && !IS_WRITER.get() {
            queue.lost += 1;
            drop(queue);
            metrics::log_lines_dropped("queue-full", 1);
            return;
        }
        queue.waiting.extend_from_slice(line);
        match queue.rest {
            Rest::Idle => self.wake(queue),
            Rest::Gathering if queue.waiting.len() > MAX / 2 => self.wake(queue),
            Rest::Gathering | Rest::Awake => {}
        }
    }

    fn wake(&self, mut queue: MutexGuard<'_, LineQueue>) {
        queue.rest = Rest::Awake;
        drop(queue);
        self.0.news.notify_one();
    }

    /// Waits until everything is written, with a time limit.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        self.wake(self.queue());
        let mut queue = self.queue();
        while queue.is_writing || !queue.waiting.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.quiet.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_all_to(&self, to: impl Write, sampler: &Sampler) {
        IS_WRITER.set(true);
        let mut to = Patient {
            to,
            begins_a_line: true,
        };
        let mut unwritten = 0;
        loop {
            let Batch { lines, lost } = self.next();
            unwritten += lost;
            if !lines.is_empty() {
                match to.write_lines(&lines) {
                    Ok(()) if unwritten > 0 => {
                        tracing::warn!(
                            lines = std::mem::take(&mut unwritten),
                            "log lines were lost, because standard error was blocked"
                        );
                    }
                    Ok(()) => {}
                    Err(lost) => {
                        unwritten += lost;
                        metrics::log_lines_dropped("error", lost);
                    }
                }
            }
            sampler.tell_when_due();
        }
    }

    /// Next lines to write. Empty when it is time for other work.
    fn next(&self) -> Batch {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.is_writing = false;
            self.0.quiet.notify_all();
        }
        let since = queue.taken.map(|taken| taken.elapsed());
        let left = since.map_or(Duration::ZERO, |since| GATHERED.saturating_sub(since));
        queue = self.rest(queue, Rest::Gathering, left);
        if queue.waiting.is_empty() {
            queue = self.rest(queue, Rest::Idle, LOOK);
        }
        queue.is_writing = !queue.waiting.is_empty();
        if queue.is_writing {
            queue.taken = Some(Instant::now());
        }
        Batch {
            lines: std::mem::take(&mut queue.waiting),
            lost: std::mem::take(&mut queue.lost),
        }
    }

    /// Waits until it is woken, with a time limit.
    fn rest<'a>(
        &self,
        mut queue: MutexGuard<'a, LineQueue>,
        rest: Rest,
        limit: Duration,
    ) -> MutexGuard<'a, LineQueue> {
        queue.rest = rest;
        let news = &self.0.news;
        let waited = news.wait_timeout_while(queue, limit, |queue| queue.rest != Rest::Awake);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        queue.rest = Rest::Awake;
        queue
    }

    // The queue is consistent after every step, so poisoning does not matter.
    fn queue(&self) -> MutexGuard<'_, LineQueue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The formatter writes each event in one call.
impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.hand_in(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Batch {
    lines: Vec<u8>,
    lost: u64,
}

/// Standard error that may interrupt, block, or fail in the middle of a line.
struct Patient<W> {
    to: W,
    begins_a_line: bool,
}

impl<W: Write> Patient<W> {
    /// Writes complete lines. The error is the number of lines that were not completely written.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), u64> {
        if !self.begins_a_line && self.write(b"\n").is_err() {
            return Err(count(lines));
        }
        self.begins_a_line = true;
        self.write(lines).map_err(|written| {
            self.begins_a_line = written == 0 || lines[written - 1] == b'\n';
            count(&lines[written..])
        })
    }

    /// Writes all bytes. The error is the number of bytes that were written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.to.write(&bytes[written..]) {
                Ok(0) => return Err(written),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(PAUSE);
                }
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::ErrorKind;

    use super::*;

    /// Stream that accepts what its script says, and then everything.
    struct Scripted {
        orders: VecDeque<Result<usize, ErrorKind>>,
        taken: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.orders.pop_front().unwrap_or(Ok(bytes.len()))?;
            let taken = taken.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted(orders: &[Result<usize, ErrorKind>]) -> Patient<Scripted> {
        Patient {
            to: Scripted {
                orders: orders.iter().copied().collect(),
                taken: Vec::new(),
            },
            begins_a_line: true,
        }
    }

    #[test]
    fn a_line_arrives_whole_over_interruptions_and_a_pipe_that_does_not_block() {
        let trouble = [
            Err(ErrorKind::Interrupted),
            Ok(1),
            Err(ErrorKind::WouldBlock),
        ];
        let mut to = scripted(&trouble);
        assert_eq!(to.write_lines(b"one\ntwo\n"), Ok(()));
        assert_eq!(to.to.taken, b"one\ntwo\n");
    }

    #[test]
    fn lines_after_one_that_was_cut_off_begin_anew_and_what_is_lost_is_counted() {
        let mut to = scripted(&[Ok(5), Err(ErrorKind::StorageFull)]);
        assert_eq!(to.write_lines(b"one\ntwo\nthree\n"), Err(2));
        assert_eq!(to.write_lines(b"four\n"), Ok(()));
        assert_eq!(to.to.taken, b"one\nt\nfour\n");
    }

    #[test]
    fn lines_that_find_the_queue_full_are_counted_and_nobody_waits() {
        let lines = LineWriter::default();
        let line = vec![b'a'; MAX / 2];
        for _ in 0..5 {
            lines.hand_in(&line);
        }
        let Batch { lines: taken, lost } = lines.next();
        assert_eq!((taken.len(), lost), (MAX, 3));
        // Nothing can be written, and `flush` does not wait for ever.
        lines.flush(Duration::ZERO);
    }
}
