"""Puts an OCI registry for the tests into tests/.registry: the one that Docker
wrote and the CNCF keeps, as a program. It is never committed.

One that is installed is taken; else Debian's package is fetched, without root.
"""

import pathlib
import shutil
import subprocess

import debian
import sources

TESTS = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = TESTS / ".registry"
PROGRAM = "docker-registry"


def installed(work, target):
    """Takes the one that somebody else has installed, under either of its names."""
    for name in (PROGRAM, "registry"):
        found = shutil.which(name)
        if found and "distribution" in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:
            (target / PROGRAM).symlink_to(found)
            return None
    return f"neither {PROGRAM} nor registry in PATH"


def from_debian(work, target):
    """Downloads and unpacks the package."""
    problem = debian.fetch([PROGRAM], work)
    if problem:
        return problem
    shutil.copy2(work / "found/usr/bin" / PROGRAM, target)
    return debian.run([str(target / PROGRAM), "--version"], target)


def main():
    if (REGISTRY / PROGRAM).exists():
        return
    sources.take(REGISTRY, (installed, from_debian), "OCI registry", [
        "  The tests fetch policies from a real one. Either of these gives it:",
        f"  Debian's archive within reach of apt-get, for the package {PROGRAM};",
        "  or `registry`, of the CNCF's project distribution, in PATH.",
    ])


if __name__ == "__main__":
    main()
