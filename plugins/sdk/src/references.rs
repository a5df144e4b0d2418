//! What a policy's options refer to. A policy declares it while it validates its configuration,
//! and the gateway checks that each thing is there. So an operator learns of a wrong name from
//! `sluice check`, with its place in the file.
//!
//! ```
//! use sluice_policy::{Config, ConfigError, Lifecycle, references};
//!
//! struct Quota;
//!
//! impl Lifecycle for Quota {
//!     fn validate_config() -> Result<(), ConfigError> {
//!         let config = Config::host();
//!         // key_set = "main"
//!         let key_set: String = config.require("key_set", "name a key set")?;
//!         references::key_set("/key_set", &key_set);
//!         // count = ["auth.tenant_id", "auth.user_id"]
//!         let count = config.list("count", vec![], "list attributes")?;
//!         for (index, attribute) in count.iter().enumerate() {
//!             let attribute: &String = attribute;
//!             references::attribute(&format!("/count/{index}"), attribute);
//!         }
//!         references::leaves("used");
//!         Ok(())
//!     }
//! }
//!
//! # use sluice_policy::testing::Mock;
//! let mock = Mock::new("quota");
//! mock.config("key_set", "\"main\"").config("count", r#"["auth.user_id"]"#);
//! assert_eq!(Quota::validate_config(), Ok(()));
//! assert_eq!(
//!     mock.references(),
//!     ["key_set /key_set main", "attribute /count/0 auth.user_id", "leaves used"]
//! );
//! ```
//!
//! `pointer` is the JSON pointer (RFC 6901) of the option in the policy's own configuration;
//! [`pointer`](crate::pointer()) makes one step of it. The gateway shows that place to the operator.
//!
//! Outside of [`Lifecycle`](crate::Lifecycle) these functions do nothing. A policy that calls them
//! more than 256 times, or with more than 1024 bytes of text at once, does not load.

use crate::host::references;

/// The option names a key set.
pub fn key_set(pointer: &str, name: &str) {
    references::key_set(pointer, name);
}

/// The option names a parameter of the path. Each path of each route that asks this policy must
/// have it.
pub fn param(pointer: &str, name: &str) {
    references::param(pointer, name);
}

/// The option names an attribute of an earlier policy, by its full name: `auth.tenant_id`. Each
/// route that asks this policy must ask that one first.
pub fn attribute(pointer: &str, name: &str) {
    references::attribute(pointer, name);
}

/// The option names a destination, which the policy must be allowed to ask.
pub fn destination(pointer: &str, name: &str) {
    references::destination(pointer, name);
}

/// The option names a list or a map of the operator.
pub fn list(pointer: &str, name: &str) {
    references::list(pointer, name);
}

/// This policy may leave an attribute of this short name: `tenant_id`. Once it has declared one, it
/// must declare all: the gateway refuses a configuration that refers to another.
pub fn leaves(name: &str) {
    references::leaves(name);
}

/// The option has no effect. `why` completes the sentence that begins with "has no effect", and
/// `help` says what to do. The gateway warns the operator.
pub fn no_effect(pointer: &str, why: &str, help: &str) {
    references::no_effect(pointer, why, help);
}
