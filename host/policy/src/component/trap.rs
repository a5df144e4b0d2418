//! What a trap was, in the words of the policy's author: its cause, and the functions that it
//! happened in.

use std::fmt::Write as _;

use base::text;
use wasmtime::WasmBacktrace;

/// Bytes of a trap's description that are kept.
const MAX_TEXT: usize = 2048;
/// Functions that are named, the innermost first.
const MAX_FUNCTIONS: usize = 8;
/// Beginnings of functions that every panic passes through, or every call.
const MACHINERY: [&str; 11] = [
    "<alloc::",
    "<core::",
    "<std::",
    "alloc::",
    "core::",
    "std::",
    "__rust",
    "rust_",
    "sluice_policy::",
    "cabi_",
    "sluice:policy/",
];

/// Describes an error that ended a call.
pub(super) fn describe(error: &wasmtime::Error) -> String {
    let mut described = cause(error);
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let names = backtrace.map(functions).unwrap_or_default();
    if !names.is_empty() {
        // Writing to a text cannot fail.
        let _ = write!(described, ", in {}", names.join(", called by "));
    }
    text::clean(&described, MAX_TEXT)
}

/// The cause of an error that ended a call, without where it happened.
pub(super) fn cause(error: &wasmtime::Error) -> String {
    // The backtrace is part of the chain.
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let backtrace = backtrace.map(ToString::to_string);
    let causes: Vec<String> = error
        .chain()
        .map(ToString::to_string)
        .filter(|cause| Some(cause) != backtrace.as_ref())
        .collect();
    text::clean(&causes.join(": "), MAX_TEXT)
}

/// The author's functions, the innermost first. One that calls itself is named once.
fn functions(backtrace: &WasmBacktrace) -> Vec<String> {
    let frames = backtrace.frames().iter();
    let names = frames.filter_map(|frame| frame.func_name());
    let own = names
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .filter(|name| !is_machinery(name));
    let mut named: Vec<(String, usize)> = Vec::new();
    for name in own {
        match named.last_mut() {
            Some((last, times)) if *last == name => *times += 1,
            _ => named.push((name, 1)),
        }
    }
    let shown = named.into_iter().take(MAX_FUNCTIONS);
    shown
        .map(|(name, times)| match times {
            1 => name,
            _ => format!("{name} ({times} times)"),
        })
        .collect()
}

fn is_machinery(name: &str) -> bool {
    MACHINERY.iter().any(|beginning| name.starts_with(beginning))
        // A trait of the SDK's, implemented for whatever policy there is.
        || name.contains("::Guest for P>::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_panic_passes_through_is_left_out() {
        for name in [
            "std::panicking::panic_handler",
            "core::panicking::panic_fmt",
            "__rustc::rust_begin_unwind",
            "sluice:policy/on-connect@0.1.0#decide",
            "sluice_policy::hooks::joined::<impl sluice_policy::bindings::on_connect::exports::sluice::policy::on_connect::Guest for P>::decide",
        ] {
            assert!(is_machinery(name), "{name}");
        }
        for name in [
            "policy_mine::dig",
            "<policy_mine::Policy as sluice_policy::hooks::OnConnect>::decide",
            "rusty",
        ] {
            assert!(!is_machinery(name), "{name}");
        }
    }
}
