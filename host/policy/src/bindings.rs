//! Generated from `wit/policy.wit`, with the types that stand for what a guest holds of its call.
//!
//! The imports are generated once; each exported hook has a small world of its
//! own and shares the types of the imports.

#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated code answers to its generator"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "imports",
    with: {
        "sluice:policy/connection.facts": crate::bindings::FactsHandle,
        "sluice:policy/jwt.claims": keys::Claims,
        "sluice:policy/sessions.holder": session::registry::Holder,
        "sluice:policy/destinations.answer": crate::destinations::Answer,
        "sluice:policy/frames.window": crate::bindings::WindowHandle,
        "sluice:policy/endings.ending": crate::bindings::EndingHandle,
    },
    imports: { default: trappable },
});

/// Stands for the connection of the call. There is only one, so the handle
/// carries nothing.
pub enum FactsHandle {}

/// Stands for the window of the call, in the same way.
pub enum WindowHandle {}

/// Stands for the ending of the call, in the same way.
pub enum EndingHandle {}

/// The hook `on-connect`.
pub mod connect {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "connect-policy",
        with: { "sluice:policy": crate::bindings::sluice::policy },
        exports: { default: async },
    });
}

/// The hook `on-handshake`.
pub mod handshake {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "handshake-policy",
        with: { "sluice:policy": crate::bindings::sluice::policy },
        exports: { default: async },
    });
}

/// The hook `on-frames`.
pub mod frames {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "frames-policy",
        with: { "sluice:policy": crate::bindings::sluice::policy },
        exports: { default: async },
    });
}

/// The hook `on-close`.
pub mod close {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "close-policy",
        with: { "sluice:policy": crate::bindings::sluice::policy },
        exports: { default: async },
    });
}

/// The hook `prepare`.
pub mod prepare {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "prepare-policy",
        with: { "sluice:policy": crate::bindings::sluice::policy },
        exports: { default: async },
    });
}

/// The hook `lifecycle`.
pub mod configured {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "configured-policy",
        with: { "sluice:policy": crate::bindings::sluice::policy },
        exports: { default: async },
    });
}
