//! Who is connected, and what is known of them.
//!
//! # What a client says
//! [`facts`] of its request, its [`origin`], and its [`handshake`].
//!
//! # What it holds
//! The [`registry`] of sessions and their exclusive claims, and its [`rate_limit`].

pub mod facts;
pub mod handshake;
pub mod origin;

pub mod rate_limit;
pub mod registry;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
