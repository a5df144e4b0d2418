//! Stamp: the instance id, in front of each line of JSON.

use std::io::{self, Write};

use base::instance;

/// Writer of lines of JSON, each of which gets the id of this run of the gateway.
pub(super) struct Stamped<W>(pub(super) W);

/// The formatter writes each event in one call.
impl<W: Write> Write for Stamped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match line.strip_prefix(b"{") {
            Some(members) => {
                let mut stamped = format!("{{\"instance\":\"{}\",", instance::id()).into_bytes();
                stamped.extend_from_slice(members);
                self.0.write_all(&stamped)?;
            }
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
