//! The gateway's configuration: one TOML file, read into the settings types that each crate owns.
//!
//! [`Config::load`] reads it and reports all mistakes together. A policy checks its own section,
//! and an upstream its folders, when they are built.

mod load;
mod read;
mod settings;

pub use read::names::FACTS;
pub use read::references::Reference;
pub use settings::{Config, Declared, OnChange, Route, Server, UpstreamAttribute};
