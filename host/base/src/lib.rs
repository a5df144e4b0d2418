//! What every crate of the gateway stands on. It knows nothing of connections, policies or the configuration file.
//!
//! # What is said
//! [`diagnostics`] for whoever writes a configuration, [`rejection`] for a client, [`metrics`] for a monitor.
//!
//! # What is kept
//! [`secret`] and [`credentials`] hide what nobody may read; [`limits`] bounds what a peer or a guest can grow.
//!
//! # How work is shared
//! [`blocking`] keeps workers free of disks, [`permits`] limits what connections hold, [`shutdown`] says when to end.

pub mod closed_by;
pub mod diagnostics;
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
