//! Write an admission policy for the Sluice gateway.
//!
//! A policy makes one decision at one stage of a connection's life: it accepts (`Ok(())`), or
//! refuses with a [`Rejection`]. It is a type without state that implements a trait for each hook
//! it wants, and one line that exports it:
//!
//! | trait | hook | asked |
//! | --- | --- | --- |
//! | [`OnConnect`] | `on_connect` | once for each connection, after the upgrade |
//! | [`OnHandshake`] | `on_handshake` | once for each connection that sent a handshake |
//! | [`Prepare`] | `prepare` | before each of these two: what should services be asked first? |
//! | [`OnFrames`] | `on_frames` | once for each window of a stream: may it go on? |
//! | [`OnClose`] | `on_close` | not asked but told: how the connection ended |
//! | [`Lifecycle`] | `lifecycle` | when the policy is loaded: is its configuration usable? |
//!
//! A whole policy, which lets in the tenants that the operator lists:
//!
//! ```
//! use sluice_policy::{Config, ConfigError, Connection, Decision, Lifecycle, OnConnect, Rejection};
//!
//! struct Tenants;
//!
//! impl OnConnect for Tenants {
//!     fn decide(connection: &Connection) -> Decision {
//!         let allowed: Vec<String> = Config::host().require("tenants", "list the tenants to let in")?;
//!         match connection.attribute("auth.tenant_id") {
//!             Some(tenant) if allowed.contains(&tenant) => Ok(()),
//!             _ => Err(Rejection::new("tenant_unknown", "this tenant has no access").close_code(4100)),
//!         }
//!     }
//! }
//!
//! impl Lifecycle for Tenants {
//!     fn validate_config() -> Result<(), ConfigError> {
//!         Config::host().require::<Vec<String>>("tenants", "list the tenants to let in").map(drop)
//!     }
//! }
//!
//! sluice_policy::export!(Tenants: on_connect, lifecycle);
//! ```
//!
//! An option may name something else in the gateway's configuration, such as a key set or an
//! attribute of another policy. [`references`] lets the gateway check that it is there.
//!
//! The crate is a `cdylib`, built for `wasm32-unknown-unknown` and encoded as a component. That
//! target has no files, no network and no environment. `println!` prints nothing there, and
//! `Instant::now()` panics. Use [`log`] and [`clock`] instead.
//!
//! `cargo test` runs a policy natively, with `testing::Mock` in place of the gateway. A test of the
//! policy above:
//!
//! ```
//! # use sluice_policy::{Config, Connection, Decision, OnConnect, Rejection};
//! # struct Tenants;
//! # impl OnConnect for Tenants {
//! #     fn decide(connection: &Connection) -> Decision {
//! #         let allowed: Vec<String> = Config::host().require("tenants", "list the tenants to let in")?;
//! #         match connection.attribute("auth.tenant_id") {
//! #             Some(tenant) if allowed.contains(&tenant) => Ok(()),
//! #             _ => Err(Rejection::new("tenant_unknown", "this tenant has no access").close_code(4100)),
//! #         }
//! #     }
//! # }
//! use sluice_policy::testing::Mock;
//!
//! let mock = Mock::new("tenants");
//! mock.config("tenants", r#"["acme"]"#).attribute("auth.tenant_id", "acme");
//! assert_eq!(Tenants::decide(&mock.connection()), Ok(()));
//! mock.attribute("auth.tenant_id", "other");
//! assert_eq!(Tenants::decide(&mock.connection()).unwrap_err().code(), "tenant_unknown");
//! ```
//!
//! A rule that takes plain values and a [`Config`] needs no mock.
//!
//! A policy imports only what it calls: one that never verifies a token needs no grant for tokens.
//! The log is always available, for panics.

#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(target_family = "wasm")]
mod arena;
mod bindings;
pub mod clock;
mod config;
mod connection;
pub mod counters;
#[cfg(target_family = "wasm")]
mod crash;
pub mod destinations;
mod ending;
mod export;
mod hooks;
#[cfg(not(target_family = "wasm"))]
mod host;
mod json;
pub mod lists;
pub mod log;
pub mod metrics;
pub mod references;
mod rejection;
mod sessions;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod text;
mod token;
mod window;

#[cfg(target_family = "wasm")]
use bindings::imports::sluice::policy as host;

pub use config::{Config, ConfigError, config};
pub use connection::{Connection, Handshake};
pub use ending::Ending;
pub use hooks::{Decision, Lifecycle, OnClose, OnConnect, OnFrames, OnHandshake, Prepare};
pub use rejection::Rejection;
pub use sessions::Holder;
pub use text::{quoted, shortened};
pub use token::{Claims, TokenError, pointer};
pub use window::{Frame, Kind, Window};

/// Support of [`export!`].
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod __export {
    pub use crate::bindings::{lifecycle, on_close, on_connect, on_frames, on_handshake, prepare};
}
