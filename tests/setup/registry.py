"""Puts an OCI registry for the tests into tests/.registry: the one that Docker
wrote and the CNCF keeps, as a program. It is never committed.

One that is installed is taken; else Debian's package is fetched, without root.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import debian

TESTS = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = TESTS / ".registry"
PROGRAM = "docker-registry"


def installed(work, target):
    """Takes the one that somebody else has installed, under either of its names."""
    for name in (PROGRAM, "registry"):
        found = shutil.which(name)
        if found and "distribution" in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:
            target.symlink_to(found)
            return None
    return f"neither {PROGRAM} nor registry in PATH"


def from_debian(work, target):
    """Downloads and unpacks the package."""
    problem = debian.fetch([PROGRAM], work)
    if not problem:
        shutil.copy2(work / "found/usr/bin" / PROGRAM, target)
    return problem


def main():
    program = REGISTRY / PROGRAM
    if program.exists():
        return
    problems = []
    for source in (installed, from_debian):
        with tempfile.TemporaryDirectory(prefix="sluice-registry-") as name:
            print(f"setup: looking for a registry: {source.__name__.replace('_', ' ')}", flush=True)
            # Made beside its final place and then renamed: it is there whole, or not at all.
            fresh = pathlib.Path(tempfile.mkdtemp(prefix=".registry-", dir=TESTS))
            try:
                problem = source(pathlib.Path(name), fresh / PROGRAM) or debian.run([str(fresh / PROGRAM), "--version"], fresh)
                if not problem:
                    fresh.chmod(0o755)
                    shutil.rmtree(REGISTRY, ignore_errors=True)
                    os.rename(fresh, REGISTRY)
                    return
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            problems.append(f"  {source.__name__}: {problem}")
    sys.exit("\n".join([
        "setup: no OCI registry to test with could be had.",
        *problems,
        "  The tests fetch policies from a real one. Either of these gives it:",
        f"  Debian's archive within reach of apt-get, for the package {PROGRAM};",
        "  or `registry`, of the CNCF's project distribution, in PATH.",
    ]))


if __name__ == "__main__":
    main()
