//! Printing to a pipe that may never be read: a full pipe blocks its writer.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Runs `print` in a separate thread, and waits for it with a time limit.
///
/// # Errors
/// The error of printing, or [`io::ErrorKind::TimedOut`] if it is not done in time.
pub(crate) fn print_within(
    limit: Duration,
    print: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let (done, printed) = channel();
    std::thread::Builder::new()
        .name("print".to_owned())
        .spawn(move || drop(done.send(print())))?;
    match printed.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("printing panicked")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_printed_in_time_is_done_and_tells_its_error() {
        print_within(Duration::from_secs(60), || Ok(())).expect("printed");
        let error = print_within(Duration::from_secs(60), || {
            Err(io::ErrorKind::BrokenPipe.into())
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_for() {
        let (_reader, mut writer) = io::pipe().expect("a pipe");
        // More bytes than any pipe holds.
        let error = print_within(Duration::from_millis(10), move || {
            writer.write_all(&vec![0; 8 << 20])
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
