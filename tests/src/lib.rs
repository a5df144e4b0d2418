//! Parts of the end-to-end tests: the real gateway as a process, and clients with WebSocket
//! libraries as processes.
//!
//! Nothing here sleeps for a fixed time. Tests wait for a line of output, a message or a file, with
//! a time limit of [`DEADLINE`].
//!
//! A helper that does not get what a test needs panics, and reports what it got. Only tests use
//! this crate.

use std::time::{Duration, Instant};

pub mod backend;
pub mod client;
pub mod collector;
pub mod command;
pub mod config;
pub mod event;
pub mod front;
pub mod gateway;
pub mod guest;
pub mod hostile;
pub mod machine;
pub mod nats;
pub mod output;
pub mod page;
pub mod project;
pub mod provider;
pub mod proxy;
pub mod raw;
pub mod raw_backend;
pub mod registry;
pub mod service;
pub mod speech;
pub mod still;
pub mod tls;
pub mod token;
mod warm;

/// Time limit of everything. Only a failing test waits so long.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// Polls until there is a result.
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
