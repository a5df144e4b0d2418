#!/usr/bin/env bash
# Fuzzes each target of tests/fuzz for FUZZ_SECONDS, starting from the seeds in the tree. All that is built or found goes
# to target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-600}

fail() {
    printf 'fuzz: %s\n' "$@" >&2
    exit 1
}

command -v c++ >/dev/null || fail "no C++ compiler here: libFuzzer is written in C++ (Debian: g++)"
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz"
    cargo install --quiet --locked cargo-fuzz ||
        fail "could not install cargo-fuzz: is crates.io, or a mirror named in cargo's configuration, within reach?"
fi

# What is fuzzed is what ships: the same versions of everything.
cp Cargo.lock tests/fuzz/Cargo.lock

# Without a sanitizer: the host has no unsafe code for one to look into, and a sanitizer is all that cargo-fuzz needs a
# nightly compiler for. Debug assertions and overflow checks are on.
options=(--fuzz-dir tests/fuzz --sanitizer none --target-dir target/fuzz)
cargo fuzz build "${options[@]}"
for target in $(cargo fuzz list --fuzz-dir tests/fuzz); do
    echo "fuzz: $target for $seconds s"
    found=target/fuzz/found/$target
    seeds=tests/fuzz/corpus/$target
    mkdir -p "$found"
    words=("-dict=$seeds.dict")
    [ -e "$seeds.dict" ] || words=()
    cargo fuzz run "${options[@]}" "$target" "$found" "$seeds" -- "${words[@]}" \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -artifact_prefix="target/fuzz/$target-" -print_final_stats=1 ||
        fail "$target failed; the input is in target/fuzz/$target-*, and this runs it again:" \
            "  cargo fuzz run ${options[*]} $target INPUT"
done
