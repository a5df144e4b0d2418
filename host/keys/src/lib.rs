//! Key sets: what tokens are verified against.
//!
//! A [`KeySet`] is built once, from what the configuration says, and shared by
//! every connection. The keys never leave it: a policy asks for a
//! verification and gets [`Claims`] back.

mod claims;
mod errors;
mod file;
mod generated;
mod key_set;
mod load;
pub mod settings;
mod verify;

#[cfg(any(test, feature = "testing"))]
pub mod fixtures;
#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use errors::{KeyError, MintError, TokenError};
pub use key_set::{Availability, KeySet, KeySets};
pub use load::ALGORITHMS;
