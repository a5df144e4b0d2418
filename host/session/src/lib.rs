//! Sessions: what the gateway knows about a connection, and what the connection holds. It knows
//! nothing about WebAssembly or upstreams.
//!
//! # Facts
//! [`facts`] of the request, its [`origin`], and the client's [`handshake`].
//!
//! # Holdings
//! The [`registry`] of sessions and their exclusive claims, the [`notices`] that their clients are to
//! be sent, the [`rate_limit`] of attempts, and the [`store`] of what outlives the process.

pub mod facts;
pub mod handshake;
pub mod origin;

pub mod notices;
pub mod rate_limit;
pub mod registry;
pub mod store;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
