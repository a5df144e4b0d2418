//! The gateway's configuration, in its final types.
//!
//! One TOML file says everything. [`Config::load`] reads it, and reports every
//! mistake together. What a policy or an upstream makes of its own part is
//! found out when they are built.

mod load;
mod read;
mod settings;

pub use read::names::FACTS;
pub use settings::{Config, Route, Server, Watch};
