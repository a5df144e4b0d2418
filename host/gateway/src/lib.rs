//! The life of a socket, in the order in which a connection goes through it. It knows nothing about
//! the configuration file or the command line.
//!
//! # A request
//! The [`server`] answers every valid upgrade with 101. The [`routes`] say where a path leads.
//!
//! # A socket
//! The [`socket`] goes through its stages: accept, connect, handshake, stream, close.
//!
//! # A stream that was cut
//! [`parking`] keeps it for the client that comes back, and [`restore`] for the client that comes
//! back to another process.
//!
//! # What operators see
//! [`connections`] finds whatever is open now, and [`refusals`] keeps the latest ones.
//! [`revocations`] are whom operators want refused for a time.
//!
//! # Supervision
//! The [`watchdog`] reports worker threads that are stuck.

pub mod routes;
pub mod server;

pub mod socket;

pub mod connections;
pub mod parking;
pub mod refusals;
pub mod revocations;
pub mod watchdog;
