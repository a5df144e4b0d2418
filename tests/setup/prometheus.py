"""Puts Prometheus and promtool into tests/.prometheus. They are never committed.

Those that are installed are taken; else Debian's package is fetched, without root.
"""

import pathlib
import shutil
import subprocess

import debian
import sources

TESTS = pathlib.Path(__file__).resolve().parent.parent
PROMETHEUS = TESTS / ".prometheus"
PROGRAMS = ("prometheus", "promtool")


def installed(work, target):
    """Takes those that somebody else has installed."""
    return sources.link(PROGRAMS, target)


def from_debian(work, target):
    """Downloads and unpacks the package."""
    problem = debian.fetch(("prometheus",), work)
    if problem:
        return problem
    for program in PROGRAMS:
        shutil.copy2(work / "found/usr/bin" / program, target)
        run = subprocess.run([target / program, "--version"], capture_output=True, text=True)
        if run.returncode != 0:
            return run.stderr.strip()
    return None


def main():
    if all((PROMETHEUS / program).exists() for program in PROGRAMS):
        return
    sources.take(PROMETHEUS, (installed, from_debian), "Prometheus", [
        "  The tests let a real Prometheus scrape the gateway. Either of these gives it:",
        "  Debian's archive within reach of apt-get, for the package prometheus;",
        "  or `prometheus` and `promtool` in PATH.",
    ])


if __name__ == "__main__":
    main()
