//! Sluice: a WebSocket gateway whose admission policy is WebAssembly.
//!
//! # The life of a socket
//!
//! A TCP connection arrives at the [`server`](gateway::server), which speaks just enough HTTP/1.1
//! to recognise a valid WebSocket upgrade. Any other request gets the answer that RFC 6455 asks
//! for. Every valid upgrade, on any path and with any token, is answered with 101. From then on the
//! connection is a [`socket`](gateway::socket), and the client learns about every problem from a
//! message and a close code.
//!
//! The socket is *accepted*. The route's connect policies are called in order (`policy`). Each runs
//! as a fresh WebAssembly instance that sees facts about the connection ([`session::facts`]), but
//! neither the socket nor a secret. It may verify a token (`keys`) or take an exclusive claim
//! ([`session::registry`]). If all of them accept, the connection is *admitted*, and the client's
//! [`handshake`](session::handshake) is read. If the handshake policies accept too and the
//! `upstream` opens, the client gets its ack and the stream is *ready*. Frames go up and messages
//! come down until something ends the stream. Then the upstream is sealed, the claims are released,
//! and the Close is written and waited for.
//!
//! Every refusal, whatever its reason, hands the connection to the close stage with a cause. The
//! close stage turns the cause into an error message and a close code, and holds the socket until
//! the client has had time to read them.
//!
//! # What is deliberately absent
//!
//! No HTTP error for a valid upgrade. No compression. No buffering beyond one message and one
//! bounded queue for each connection. No policy in the gateway itself.

pub mod ask;
pub mod cli;
pub mod logs;
pub mod serve;
pub mod token;

pub mod assemble;
pub mod banner;
pub mod listen;
pub mod lock;

pub mod admin;
mod admin_state;
mod audit;
mod console;
pub mod credentials;
mod health;
mod orders;
mod process;
mod providers;
mod recorded;
pub mod reload;
pub mod schema;
pub mod series;
mod supervisor;
mod tickets;
mod unclean;
