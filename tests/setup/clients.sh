#!/usr/bin/env bash
# WebSocket clients and backends that nobody here wrote: `websockets` and `uvicorn` from PyPI, `ws` from npm.
# And what builds policies in Python and JavaScript: componentize-py and componentize-js. The lock file also has what checks
# the protocol's document: AsyncAPI's JSON schemas and `ajv`.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# The copy of the requirements is written last: it stands for a finished installation.
if ! cmp -s clients/requirements.txt .venv/requirements.txt; then
    command -v python3 >/dev/null || fail "no python3 here: the tests drive a Python client, install Python 3.10 or later"
    echo "setup: installing the Python client"
    rm -rf .venv
    if python3 -m venv .venv >/dev/null 2>&1; then
        pip=(.venv/bin/python -m pip)
    elif python3 -m venv --without-pip .venv && python3 -m pip --version >/dev/null 2>&1; then
        pip=(python3 -m pip --python .venv/bin/python)
    else
        fail "python3 has neither ensurepip nor pip: install them (Debian: python3-venv)"
    fi
    "${pip[@]}" install --quiet --disable-pip-version-check -r clients/requirements.txt ||
        fail "could not install the Python client: is PyPI, or a mirror named in pip's configuration, within reach?"
    cp clients/requirements.txt .venv/requirements.txt
fi

if ! cmp -s package-lock.json node_modules/package-lock.json; then
    command -v npm >/dev/null || fail "no npm here: the tests drive a Node client, install Node.js 18 or later with npm"
    echo "setup: installing the Node client"
    npm ci --silent || fail "could not install the Node client: is the npm registry, or a mirror named in .npmrc, within reach?"
    cp package-lock.json node_modules/package-lock.json
fi

# In a folder of its own and not in the lock file: npm cannot lock what it takes on platforms other than this one.
componentize='@bytecodealliance/componentize-js@0.23.0'
if [ "$(cat .componentize/installed 2>/dev/null)" != "$componentize" ]; then
    echo "setup: installing componentize-js"
    rm -rf .componentize
    mkdir .componentize
    npm install --silent --no-save --no-package-lock --prefix .componentize "$componentize" ||
        fail "could not install $componentize: is the npm registry, or a mirror named in .npmrc, within reach?"
    echo "$componentize" > .componentize/installed
fi
