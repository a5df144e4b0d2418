//! What the end-to-end tests are made of: the real gateway as a process, and
//! clients that nobody here wrote, as processes too.
//!
//! Nothing here sleeps for a fixed time to let something happen. What is
//! waited for is a line of output, a message or a file, up to [`DEADLINE`].
//!
//! A helper that does not get what a test needs panics, and says what there
//! was instead: this crate is the tests, and is used by nothing else.

use std::time::{Duration, Instant};

pub mod backend;
pub mod client;
pub mod command;
pub mod config;
pub mod event;
pub mod front;
pub mod gateway;
pub mod guest;
pub mod hostile;
pub mod machine;
pub mod output;
pub mod project;
pub mod proxy;
pub mod raw;
pub mod raw_backend;
pub mod registry;
pub mod speech;
pub mod tls;
pub mod token;
mod warm;

/// How long anything may take. Only a test that fails ever waits so long.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// Asks until the answer is there.
///
/// # Panics
/// After [`DEADLINE`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
