//! Generated code only. Nothing here is for a policy's author: the rest of
//! the crate wraps it in types of its own.
//!
//! The calls to the gateway are generated once and shared; each hook has a
//! module of its own, so that a policy exports the hooks it has and no other.

#![allow(
    unsafe_code,
    missing_docs,
    reason = "the component ABI passes pointers, and the generated functions carry no docs"
)]

pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "imports",
        generate_unused_types: true,
        type_section_suffix: "-imports",
    });
}

/// A hook's bindings: a trait to implement and a macro that exports it.
macro_rules! hook {
    ($module:ident, $world:literal, $export:literal, $suffix:literal) => {
        #[cfg(target_family = "wasm")]
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                export_macro_name: $export,
                pub_export_macro: true,
                type_section_suffix: $suffix,
                with: {
                    "sluice:policy/types@0.1.0": crate::bindings::imports::sluice::policy::types,
                    "sluice:policy/connection@0.1.0": crate::bindings::imports::sluice::policy::connection,
                    "sluice:policy/jwt@0.1.0": crate::bindings::imports::sluice::policy::jwt,
                    "sluice:policy/sessions@0.1.0": crate::bindings::imports::sluice::policy::sessions,
                    "sluice:policy/config@0.1.0": crate::bindings::imports::sluice::policy::config,
                    "sluice:policy/log@0.1.0": crate::bindings::imports::sluice::policy::log,
                    "sluice:policy/clock@0.1.0": crate::bindings::imports::sluice::policy::clock,
                    "sluice:policy/counters@0.1.0": crate::bindings::imports::sluice::policy::counters,
                    "sluice:policy/frames@0.1.0": crate::bindings::imports::sluice::policy::frames,
                    "sluice:policy/payload@0.1.0": crate::bindings::imports::sluice::policy::payload,
                    "sluice:policy/endings@0.1.0": crate::bindings::imports::sluice::policy::endings,
                },
            });
        }
    };
}

hook!(
    on_connect,
    "connect-policy",
    "export_on_connect",
    "-on-connect"
);
hook!(
    on_handshake,
    "handshake-policy",
    "export_on_handshake",
    "-on-handshake"
);
hook!(on_frames, "frames-policy", "export_on_frames", "-on-frames");
hook!(on_close, "close-policy", "export_on_close", "-on-close");
hook!(
    lifecycle,
    "configured-policy",
    "export_lifecycle",
    "-lifecycle"
);
