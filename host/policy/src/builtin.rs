//! The policies that are embedded in the binary.

/// A policy's component by the name after `builtin:`.
#[must_use]
pub fn component(name: &str) -> Option<&'static [u8]> {
    match name {
        "auth" => Some(include_bytes!(concat!(env!("OUT_DIR"), "/auth.wasm"))),
        "duplicate" => Some(include_bytes!(concat!(env!("OUT_DIR"), "/duplicate.wasm"))),
        "sample-rate" => Some(include_bytes!(concat!(
            env!("OUT_DIR"),
            "/sample-rate.wasm"
        ))),
        _ => None,
    }
}
