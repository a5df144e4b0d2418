//! Policies: WebAssembly components that the gateway loads, asks and records. It knows nothing about
//! sockets, upstreams or the HTTP server.
//!
//! A policy is asked a [`Question`]: one hook, with what it is about. What came of the call is one
//! [`Verdict`]: the policy accepts or rejects, or it fails, or the gateway blames the client. The
//! client, the log and the metrics see the difference. A failure counts as an acceptance only where
//! the operator wrote `on_failure = "open"`.
//!
//! # A question
//! The [`chain`] asks a route's policies in order, and the first refusal wins. [`window`] is what
//! the client sent in a stretch of a stream. [`client`] names what only the client is to blame for,
//! and [`amendment`] what the gateway changes of an answer. [`own_secrets`] hides in it what only the
//! policy was to know.
//!
//! # A call
//! A [`component`] runs each call in a fresh instance of the [`engine`], within its limits. [`swap`]
//! finds out whether the kernel may hide what a call wrote from the engine's reset.
//!
//! # What a guest may ask for
//! [`imports`] answers it, with the services of its [`world`]; [`wasi`] stands in for WASI. [`lists`]
//! are what operators keep for policies to look things up in. [`destinations`] are services that the
//! gateway asks for them. [`effects`] are what they say beside their answer.
//!
//! # Loading
//! [`load`] takes a component from a file, from a registry ([`fetch`]) or from this binary, checks
//! its imports against its grants, and has it compiled ([`compile`]).
//!
//! # What is left of a call
//! The [`recorder`] writes each decision as the [`record`] describes it. [`shadow`] asks policies
//! that are tried out.

pub mod amendment;
pub mod chain;
pub mod client;
pub mod own_secrets;
mod policy;
mod question;
pub mod references;
pub mod settings;
mod verdict;
pub mod window;

pub(crate) mod breaker;
mod budget;
mod call_queue;
mod call_threads;
pub mod component;
pub mod engine;
mod pace;
pub mod state;
pub mod swap;

pub mod bindings;
pub mod convert;
pub mod counters;
pub mod destinations;
pub mod effects;
pub mod imports;
pub mod interfaces;
pub mod lists;
pub mod wasi;
pub mod world;

pub(crate) mod cache;
mod cache_folder;
pub mod compile;
pub mod fetch;
pub mod load;
pub mod signature;
mod signed_folder;

pub mod record;
pub mod recorder;
mod redact;
pub mod shadow;

#[cfg(test)]
mod tests;

pub use chain::{Chain, ChainRefusal, Record};
pub use client::ClientFault;
pub use policy::Policy;
pub use question::{Ending, Hook, Question};
pub use verdict::{Failure, Limit, OUTCOMES, OnFailure, Unanswered, Verdict};
