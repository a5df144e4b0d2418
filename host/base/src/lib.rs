//! Common code of all crates of the gateway. It knows nothing about connections, policies or the
//! configuration file.
//!
//! # Output
//! [`diagnostics`] are for authors of configurations, [`rejection`] is for clients, and [`metrics`]
//! are for monitoring. The [`instance`] id says which run of the gateway wrote something.
//!
//! # Protection
//! [`secret`] and [`credentials`] hide secrets. [`limits`] bounds what a peer or a guest can make
//! the gateway hold.
//!
//! # Resources
//! [`blocking`] keeps disk access off the worker threads, [`permits`] limits what connections hold,
//! and [`shutdown`] coordinates the graceful shutdown.

pub mod closed_by;
pub mod diagnostics;
pub mod instance;
pub mod metrics;
pub mod rejection;

pub mod credentials;
pub mod limits;
pub mod secret;

pub mod blocking;
pub mod permits;
pub mod shutdown;

pub mod files;
pub mod paths;
pub mod text;
pub mod tls;
pub mod units;
