//! Admission: an ordered chain of policies, the first refusal wins.
//!
//! A policy answers accept or reject ([`Decision`]), or it breaks
//! ([`Failure`]). These are different things to the client, to the log and to
//! whoever counts them, so nothing here ever turns one into the other, except
//! where the operator said that a failure is to be passed over.

pub mod bindings;
pub(crate) mod breaker;
mod budget;
pub mod builtin;
pub(crate) mod cache;
mod cache_folder;
mod call_queue;
mod call_threads;
pub mod chain;
pub mod client;
pub mod compile;
pub mod component;
pub mod convert;
pub mod counters;
pub mod ending;
pub mod engine;
pub mod fetch;
pub(crate) mod handles;
pub mod imports;
pub mod interfaces;
pub mod load;
mod pace;
mod question;
pub mod record;
pub mod recorder;
pub mod settings;
pub mod shadow;
pub mod state;
pub mod swap;
pub mod wasi;
pub mod window;
pub mod world;

#[cfg(test)]
mod tests;

pub use chain::Chain;
pub use client::ClientFault;
pub use question::{
    Answer, Decision, Failure, Limit, OUTCOMES, OnFailure, Outcome, Policy, Question, Record,
    Refused,
};
