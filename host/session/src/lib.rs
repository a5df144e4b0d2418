//! Sessions: what the gateway knows about a connection, and what the connection holds. It knows
//! nothing about WebAssembly or upstreams.
//!
//! # Facts
//! [`facts`] of the request, its [`origin`], and the client's [`handshake`].
//!
//! # Holdings
//! The [`registry`] of sessions and their exclusive claims, and the [`rate_limit`] of attempts.

pub mod facts;
pub mod handshake;
pub mod origin;

pub mod rate_limit;
pub mod registry;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
