//! Traces of connections, and their export by OTLP. It knows no socket, no policy and no
//! configuration file.
//!
//! # A trace
//! Each connection has one [`Trace`](trace::Trace), which continues that of its client if the
//! client names one (`traceparent`, [`parent`]). Its [`span`]s are handed over when they have ended.
//!
//! # The way out
//! Spans go into a bounded queue and never wait: a span that finds it full is dropped and counted. A
//! task of the runtime sends them to the collector ([`export`]), in requests of OTLP over HTTP.

pub mod export;
pub mod parent;
mod queue;
pub mod settings;
pub mod span;
pub mod trace;
