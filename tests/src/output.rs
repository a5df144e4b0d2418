//! Output of a process, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::DEADLINE;

/// Lines of a process, from both of its outputs.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    open: usize,
    /// Whether reading is paused.
    paused: bool,
}

impl Output {
    /// Reads `from` in a separate thread until it ends.
    pub fn follow(&self, from: impl Read + Send + 'static) {
        self.0.0.lock().unwrap().open += 1;
        let output = self.clone();
        std::thread::spawn(move || {
            let (lines, news) = &*output.0;
            let mut from = BufReader::new(Pausing {
                from,
                output: output.clone(),
            });
            let mut line = Vec::new();
            // Bytes, so that invalid UTF-8 is visible too.
            while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lock().unwrap().lines.push(text);
                news.notify_all();
                line.clear();
            }
            lines.lock().unwrap().open -= 1;
            news.notify_all();
        });
    }

    /// Pauses reading, as a hanging reader does: the output fills the pipe.
    pub fn pause(&self) {
        self.0.0.lock().unwrap().paused = true;
    }

    /// Continues to read.
    pub fn go_on(&self) {
        self.0.0.lock().unwrap().paused = false;
        self.0.1.notify_all();
    }

    /// All output so far.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().lines.join("\n")
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// First result of `find` for a line, waiting for more lines. `None` once the process has
    /// closed its outputs.
    ///
    /// # Panics
    /// After the deadline, with everything that was printed.
    pub fn find<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let (lines, news) = &*self.0;
        let end = Instant::now() + DEADLINE;
        let mut seen = 0;
        let mut lines = lines.lock().unwrap();
        loop {
            for line in &lines.lines[seen..] {
                if let Some(answer) = find(line) {
                    return Some(answer);
                }
            }
            seen = lines.lines.len();
            if lines.open == 0 {
                return None;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // A destructor that runs in this panic may print the output too.
                let text = lines.lines.join("\n");
                drop(lines);
                panic!("waited in vain: {what}; the output:\n{text}");
            }
            lines = news.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until the outputs are closed, and returns all of them.
    pub fn wait_for_end(&self) -> String {
        self.find::<()>("the end of the output", |_| None);
        self.text()
    }
}

/// Reader of a process that can be paused.
struct Pausing<R> {
    from: R,
    output: Output,
}

impl<R: Read> Read for Pausing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (lines, news) = &*self.output.0;
        drop(
            news.wait_while(lines.lock().unwrap(), |lines| lines.paused)
                .unwrap(),
        );
        self.from.read(buffer)
    }
}
