//! What a policy writes to the log, and what it prints.

use std::sync::Arc;

use crate::amendment::{Amendment, TextLimit};
use crate::bindings::sluice::policy as wit;
use crate::state::State;
use base::text;

/// Bytes of one log line that a guest writes.
const MAX_LOG_LINE: usize = 1024;

impl State {
    /// A line for the log, as far as there is room for it. The last error that a guest writes is
    /// what it said of a crash that follows.
    fn says(&mut self, level: wit::log::Level, message: &str) {
        let settings = Arc::clone(&self.settings);
        let message = &*settings.secrets.noted(message);
        let line = if self.log_bytes > 0 && self.log_lines > 0 {
            let room = MAX_LOG_LINE.min(self.log_bytes);
            let line = text::clip(message, room);
            if line.len() < message.len() {
                self.amends(&[Amendment::Cut {
                    what: "a line of the log",
                    bytes: message.len(),
                    kept: line.len(),
                    limit: if room < MAX_LOG_LINE {
                        TextLimit::Bytes("max_log_bytes", self.settings.limits.max_log_bytes)
                    } else {
                        TextLimit::Contract
                    },
                }]);
            }
            self.log_lines -= 1;
            self.log_bytes -= line.len();
            let line = text::clean(&line, MAX_LOG_LINE);
            self.world.log(&self.settings.name, level, &line);
            line
        } else {
            let limits = &self.settings.limits;
            self.amends(&[Amendment::NoLine(if self.log_lines == 0 {
                TextLimit::Lines("max_log_lines", limits.max_log_lines)
            } else {
                TextLimit::Bytes("max_log_bytes", limits.max_log_bytes)
            })]);
            if level != wit::log::Level::Error {
                return;
            }
            text::clean(message, MAX_LOG_LINE)
        };
        if level == wit::log::Level::Error {
            self.last_error = Some(line);
        }
    }

    /// Bytes that a guest with a stubbed WASI prints. Each line is one of the log.
    pub fn prints(&mut self, bytes: impl Iterator<Item = u8>) {
        for byte in bytes {
            if byte == b'\n' {
                self.ends_line();
            } else if self.printed.len() < MAX_LOG_LINE {
                self.printed.push(byte);
            }
        }
    }

    /// Logs what was printed since the last line.
    pub(crate) fn ends_line(&mut self) {
        let printed = std::mem::take(&mut self.printed);
        let line = String::from_utf8_lossy(&printed);
        let line = self.settings.secrets.noted(&line).into_owned();
        if line.trim().is_empty() {
            return;
        }
        // The last line is where languages say what the matter was.
        self.last_printed = Some(text::clean(&line, MAX_LOG_LINE));
        self.says(wit::log::Level::Info, &line);
    }
}

impl wit::log::Host for State {
    fn write(&mut self, level: wit::log::Level, message: String) -> wasmtime::Result<()> {
        self.says(level, &message);
        Ok(())
    }
}
