# Thin: each target is a line or two over cargo. Set-up is quick when it is done, and never needs root.
# `run` builds only what runs; `test` builds that the same way, so that dependencies are compiled once.

.PHONY: run test histories bench fuzz lint fmt audit package package-lint setup wasm

run: wasm
	cargo build --workspace --bin sluice --locked
	target/debug/sluice serve

test: setup
	cargo build --workspace --locked
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} cargo test --workspace --locked

# Gateways and NATS servers that fail: more histories than `test` plays.
histories: setup
	SLUICE_HISTORY_RUNS=$${SLUICE_HISTORY_RUNS:-300} cargo test --workspace --locked --test histories

bench: wasm
	cargo bench --workspace --locked --bench decision
	cargo build --release --workspace --bin sluice --bin load --locked
	target/release/load

fuzz: wasm
	tests/setup/fuzz.sh

lint: wasm
	cargo fmt --all --check
	rustfmt --edition 2024 --check tests/fuzz/targets/*.rs
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all
	rustfmt --edition 2024 tests/fuzz/targets/*.rs

audit:
	tests/setup/audit.sh

package-lint:
	python3 tests/setup/packaging.py
	tests/.packaging/venv/bin/python host/packaging/lint.py

# Needs `cargo-deb`, for the Debian package alone.
package: wasm
	python3 tests/setup/packaging.py
	cargo build --release --workspace --bin sluice --locked
	python3 host/packaging/image.py target/release/sluice
	cargo deb --no-build --no-strip --package sluice --output target/package/

setup: wasm
	tests/setup/clients.sh
	tests/.venv/bin/python tests/setup/speech.py
	tests/.venv/bin/python tests/setup/registry.py
	tests/.venv/bin/python tests/setup/proxies.py
	tests/.venv/bin/python tests/setup/prometheus.py
	tests/.venv/bin/python tests/setup/nats.py
	tests/.venv/bin/python tests/setup/browser.py

wasm:
	tests/setup/wasm.sh
