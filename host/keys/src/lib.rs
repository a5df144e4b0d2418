//! Key sets: what tokens are verified against.
//!
//! A [`KeySet`] is built once from the configuration, and shared by all connections. The keys never
//! leave it: a policy asks it to verify a token and gets the [`Claims`].

mod claims;
mod clock;
mod errors;
mod file;
mod generated;
mod key_set;
mod load;
pub mod provider;
pub mod settings;
mod verify;

#[cfg(any(test, feature = "testing"))]
pub mod fixtures;
#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use clock::TokenTimes;
pub use errors::{KeyError, MintError, TokenError};
pub use key_set::{KeySet, KeySets};
pub use load::ALGORITHMS;
