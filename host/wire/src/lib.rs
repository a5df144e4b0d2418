//! What stands on the wire, before anybody knows what it means: bytes to values, and back.
//!
//! # Before the upgrade
//! [`proxies`] reads who really connects, [`http1`] the head of a request, [`headers`] its lists.
//!
//! # After it
//! [`frame`] reads and writes RFC 6455 frames.

pub mod headers;
pub mod http1;
pub mod proxies;

pub mod frame;
mod scratch;
