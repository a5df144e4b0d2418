//! Sluice: a WebSocket gateway whose admission policy is WebAssembly.
//!
//! # The life of a socket
//!
//! A TCP connection arrives at the [`server`](gateway::server), which speaks HTTP/1.1 with it
//! for one purpose: to see a valid WebSocket upgrade. Any other request gets the
//! answer that RFC 6455 asks for. Every valid upgrade, on any path and with any
//! token, is answered 101; from there on the connection is a [`socket`](gateway::socket), and
//! whatever is wrong with it is said in a way that the client can read.
//!
//! The socket is *accepted*. The route's connect policies are asked in order
//! (`policy`): each runs as a fresh WebAssembly instance that sees facts
//! about the connection ([`session::facts`]) and neither the socket nor a secret. They
//! may verify a token (`keys`) or take an exclusive claim ([`session::registry`]). If
//! they all accept, the connection is *admitted* and the client's [`handshake`](session::handshake)
//! is read; if the handshake policies accept too, and the `upstream` opens,
//! the client gets its ack and the stream is *ready*. Frames go up and messages
//! come down until something ends it: the upstream is sealed, the claims are
//! released, and the Close is written and waited for.
//!
//! Whoever refuses, for whatever reason, hands the connection to the close
//! stage with a cause. There the cause becomes an error frame and a close code,
//! and the socket is held until the client has had its chance to read them.
//!
//! # What is deliberately absent
//!
//! No HTTP error for a valid upgrade. No compression. No buffering beyond one
//! message and one bounded queue for each connection. No policy in the host.

pub mod cli;
pub mod logs;
pub mod serve;
pub mod token;

pub mod assemble;
pub mod banner;
pub mod listen;
pub mod lock;

pub mod admin;
pub mod reload;
pub mod series;
