//! What several gateways share: NATS `JetStream`.
//!
//! A [`Cluster`] is the connection of one gateway to it. A [`chain::Chain`] is a sequence of bytes
//! in one subject, with one writer at a time. Whoever takes a chain over fences off the writer
//! before it, so that no byte of a writer that was given up is ever accepted. The
//! [`claims::ClusterClaims`] are the exclusive claims of all gateways. A [`board::Board`] has what
//! operators have told one of them and all must know.
//!
//! Nothing here waits without a limit, and no failure of the servers ends the gateway: see
//! [`Cluster`].

pub mod board;
pub mod chain;
pub mod claims;
mod compared;
mod connection;
mod end;
mod health;
mod next;
mod place;
mod publish;
pub mod reader;
pub mod record;
pub mod settings;
pub mod space;
pub mod state;

pub use connection::{Away, Cluster};
pub use place::Place;
