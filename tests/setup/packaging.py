"""Puts what checks and builds packages into tests/.packaging: hadolint, Helm, the Kubernetes schemas, systemd-analyze, umoci.

They are never committed, and the tests need none of them. Those of systemd and umoci that are installed are taken; else
Debian's packages are fetched, without root.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import venv

import debian
import sources

SETUP = pathlib.Path(__file__).resolve().parent
PACKAGING = SETUP.parent / ".packaging"
PROGRAMS = {"systemd-analyze": "usr/bin/systemd-analyze", "umoci": "usr/bin/umoci"}
PACKAGES = ("systemd", "libsystemd-shared", "umoci")


def linters(target):
    """Installs the linters from PyPI."""
    venv.create(target, with_pip=True)
    pip = [target / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run = subprocess.run([*pip, "-r", SETUP / "packaging.txt"], capture_output=True, text=True)
    if run.returncode != 0:
        return run.stderr.strip()
    shutil.copy(SETUP / "packaging.txt", target / "packaging.txt")
    return None


def installed(work, target):
    """Takes those that somebody else has installed."""
    return sources.link(PROGRAMS, target)


def from_debian(work, target):
    """Downloads and unpacks the packages. Each program gets a script that knows its libraries."""
    problem = debian.fetch(PACKAGES, work)
    if problem:
        return problem
    shutil.move(work / "found", target / "found")
    for program, path in PROGRAMS.items():
        # Where it will be, once the folder has its final name.
        found = PACKAGING / "programs/found"
        script = target / program
        script.write_text(
            f'#!/bin/sh\nLD_LIBRARY_PATH="{found}/usr/lib/x86_64-linux-gnu/systemd:{found}/lib/x86_64-linux-gnu/systemd" '
            f'exec "{found}/{path}" "$@"\n'
        )
        script.chmod(0o755)
    return None


def main():
    PACKAGING.mkdir(exist_ok=True)
    pinned = PACKAGING / "venv/packaging.txt"
    if not pinned.exists() or pinned.read_text() != (SETUP / "packaging.txt").read_text():
        # A virtual environment knows its own place, so it is made there.
        print("setup: linters of packages: from PyPI", flush=True)
        shutil.rmtree(PACKAGING / "venv", ignore_errors=True)
        problem = linters(PACKAGING / "venv")
        if problem:
            sys.exit(f"setup: the linters could not be installed: is PyPI within reach?\n{problem}")
    if not all(os.access(PACKAGING / "programs" / program, os.X_OK) for program in PROGRAMS):
        sources.take(PACKAGING / "programs", (installed, from_debian), "systemd-analyze and umoci", [
            "  Either of these gives them: Debian's archive within reach of apt-get,",
            "  or `systemd-analyze` and `umoci` in PATH.",
        ])


if __name__ == "__main__":
    main()
