//! Generated code only, as a test of the gateway's makes it from `wit/policy.wit`. Nothing here is for a policy's author:
//! the rest of the crate wraps it in types of its own.
//!
//! The calls to the gateway are generated once and shared; each hook has a module of its own, so that a policy exports the
//! hooks it has and no other.

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
