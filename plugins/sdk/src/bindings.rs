//! Generated code, which a test of the gateway compares with `wit/policy.wit`. Policy authors use
//! the rest of the crate, which wraps it.
//!
//! The imports are generated once and shared. Each hook has its own module, so that a policy
//! exports only the hooks that it has.

#![allow(
    unsafe_code,
    missing_docs,
    reason = "the component ABI passes pointers, and the generated functions carry no docs"
)]
#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "nobody edits generated code"
)]

#[rustfmt::skip]
pub mod imports;
#[rustfmt::skip]
#[cfg(target_family = "wasm")]
pub mod lifecycle;
#[rustfmt::skip]
#[cfg(target_family = "wasm")]
pub mod on_close;
#[rustfmt::skip]
#[cfg(target_family = "wasm")]
pub mod on_connect;
#[rustfmt::skip]
#[cfg(target_family = "wasm")]
pub mod on_frames;
#[rustfmt::skip]
#[cfg(target_family = "wasm")]
pub mod on_handshake;
#[rustfmt::skip]
#[cfg(target_family = "wasm")]
pub mod prepare;
