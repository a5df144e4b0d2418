#!/usr/bin/env bash
# Policies are compiled to WebAssembly, which needs the standard library for that target.
set -euo pipefail
target=wasm32-unknown-unknown

have() { [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }

command -v rustc >/dev/null || {
    echo "setup: no rustc here: install Rust with rustup, see https://rustup.rs" >&2
    exit 1
}
have && exit 0
echo "setup: adding the Rust target $target"
if ! command -v rustup >/dev/null || ! rustup target add "$target" || ! have; then
    cat >&2 <<MESSAGE
setup: the Rust target $target is missing and could not be added.
  Sluice's policies are WebAssembly, so it cannot be built without it.
  With rustup and a network:       rustup target add $target
  With a toolchain of your system: install its $target standard library
                                   (Fedora: rust-std-static-$target)
MESSAGE
    exit 1
fi
