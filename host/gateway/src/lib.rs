//! The life of a socket, in the order in which a connection goes through it.
//!
//! # A request
//! The [`server`] answers every valid upgrade 101. The [`routes`] say what a path leads to.
//!
//! # A socket
//! The [`socket`] goes through its stages: accept, connect, handshake, stream, close.
//!
//! # When it is cut
//! [`parking`] keeps a stream for the client that comes back. The [`watchdog`] says when a worker stands still.

pub mod routes;
pub mod server;

pub mod socket;

pub mod parking;
pub mod watchdog;
