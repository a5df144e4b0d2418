//! The gateway's configuration: one TOML file, read into the settings types that each crate owns.
//!
//! [`Config::load`] reads it and reports all mistakes together. A policy checks its own section,
//! and an upstream its folders, when they are built.
//!
//! [`toml`] reads the tables. The kit reads an author's files of cases with it too.

mod diff;
mod load;
mod read;
mod schema;
mod settings;
pub mod toml;

pub use diff::{Options, OptionsDiff};
pub use read::names::FACTS;
pub use read::references::Reference;
pub use schema::json_schema;
pub use settings::{
    Admin, AdminTokens, Config, Declared, OnChange, Route, Server, UpstreamAttribute,
};
