"""Puts an OCI registry for the tests into tests/.registry: the one that Docker
wrote and the CNCF keeps, as a program. It is never committed.

One that is installed is taken. Else Debian's package is fetched, without root;
then the source from Go's module proxy, where Go is.
"""

import os
import pathlib
import shutil
import sys
import tempfile

import debian

TESTS = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = TESTS / ".registry"
PROGRAM = "docker-registry"
SOURCE = "github.com/distribution/distribution/v3/cmd/registry@v3.0.0"


def installed(work, target):
    """Takes the one that somebody else has installed."""
    found = shutil.which(PROGRAM)
    if not found:
        return f"no {PROGRAM} in PATH"
    target.symlink_to(found)
    return None


def from_debian(work, target):
    """Downloads and unpacks the package."""
    problem = debian.fetch([PROGRAM], work)
    if not problem:
        shutil.copy2(work / "found/usr/bin" / PROGRAM, target)
    return problem


def from_source(work, target):
    """Builds it."""
    os.environ["GOBIN"] = str(work)
    problem = debian.run(["go", "install", SOURCE], work)
    if not problem:
        shutil.copy2(work / "registry", target)
    return problem


def main():
    program = REGISTRY / PROGRAM
    if program.exists():
        return
    problems = []
    for source in (installed, from_debian, from_source):
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
        "  The tests fetch policies from a real one. Any of these gives it:",
        f"  {PROGRAM} in PATH; Debian's archive within reach of apt-get, for the package {PROGRAM};",
        f"  or Go and its module proxy, for {SOURCE}.",
    ]))


if __name__ == "__main__":
    main()
