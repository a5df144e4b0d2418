//! Where a stream goes after it was admitted.
//!
//! An [`Upstream`] is one configured destination. It opens a [`Link`] for each
//! stream. A link is driven by polling from the connection's own task, so that
//! a frame costs no allocation and no hop to another task, and so that a slow
//! upstream slows the client by TCP: the host reads the next frame only once
//! the link is ready to take it.
//!
//! An upstream never sees a policy, and knows nothing of close codes.

mod counted;
pub mod discard;
pub mod echo;
pub mod fact;
mod link;
pub mod settings;
pub mod space;
pub mod wav;
pub mod websocket;

#[cfg(test)]
mod testing;

pub use counted::Counted;
pub use link::{
    Control, Downward, Ending, Link, Lost, OpenError, Presence, Receipts, Refusal, Sealed,
    StreamInfo, Upstream, Upstreams, Upward, duration_of,
};
