//! Upstreams: where a stream goes after it was admitted. An upstream never sees a policy, and knows
//! nothing about the meaning of close codes.
//!
//! An [`Upstream`] is one configured destination. It opens a [`Link`] for each stream. The task of
//! the connection polls the link: a frame costs no allocation and no hop to another task, and a slow
//! upstream slows the client down by TCP, because the gateway reads the next frame only when the
//! link is ready to take it.

mod counted;
mod destination;
pub mod discard;
pub mod echo;
pub mod fact;
pub mod jetstream;
mod link;
pub mod settings;
pub mod space;
mod status;
pub mod wav;
pub mod websocket;

#[cfg(test)]
mod testing;

pub use counted::Counted;
pub use destination::{Destination, Places, Presence};
pub use link::{
    Control, Downward, Link, Lost, OpenError, Place, Receipts, Refusal, Reopened, Sealed,
    StreamEnd, StreamInfo, TakenOver, Upstream, Upstreams, Upward,
};
pub use status::{BackendAddress, BackendState};
