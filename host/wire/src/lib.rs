//! Conversion between the bytes of a connection and values. It knows nothing else of the gateway.
//!
//! # Before the upgrade
//! [`proxies`] finds the client's address behind proxies. [`http1`] reads the head of a request, and
//! [`headers`] the lists in it (RFC 9110 section 5).
//!
//! # After the upgrade
//! [`frame`] reads and writes RFC 6455 frames.

pub mod headers;
pub mod http1;
pub mod proxies;

pub mod frame;
mod scratch;
