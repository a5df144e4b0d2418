#!/bin/sh
# `make audit`: what may be in the tree of dependencies, and whether a vulnerability of any of it is
# known.
#
# Advisories come from RustSec's database (github.com/RustSec/advisory-db). Where GitHub cannot be
# reached, ADVISORY_DB names a copy of it: a folder that is a git repository, or the address of one.
# Without any, nothing is known about vulnerabilities, and the last line says so. With
# ADVISORIES=required that is a failure.
set -eu

cd "$(dirname "$0")/../.."

cargo deny check bans licenses sources

if [ -n "${ADVISORY_DB:-}" ]; then
	from=$ADVISORY_DB
	if [ -d "$from" ]; then
		from="file://$(cd "$from" && pwd)"
	fi
	# Git takes the copy in the place of the original.
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.$from.insteadOf"
	export GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db
fi
export GIT_TERMINAL_PROMPT=0

if ! cargo deny fetch db; then
	echo "audit: ADVISORIES WERE NOT CHECKED: their database cannot be had" >&2
	echo "audit: give a copy of it: ADVISORY_DB=/path/to/advisory-db make audit" >&2
	test "${ADVISORIES:-}" != required
	exit
fi
cargo deny --offline check advisories
