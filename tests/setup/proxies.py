"""Puts HAProxy into tests/.proxies, with the libraries that it needs. It is never committed.

One that is installed is taken; else Debian's packages are fetched, without root.
"""

import pathlib
import shutil
import subprocess

import debian
import sources

TESTS = pathlib.Path(__file__).resolve().parent.parent
PROXIES = TESTS / ".proxies"
PROGRAM = "haproxy"
PACKAGES = (PROGRAM, "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")


def installed(work, target):
    """Takes the one that somebody else has installed."""
    found = shutil.which(PROGRAM) or shutil.which(f"/usr/sbin/{PROGRAM}")
    if not found:
        return f"no {PROGRAM} in PATH"
    (target / "lib").mkdir()
    (target / PROGRAM).symlink_to(found)
    return None


def from_debian(work, target):
    """Downloads and unpacks the packages."""
    problem = debian.fetch(PACKAGES, work)
    if problem:
        return problem
    shutil.copy2(work / "found/usr/sbin" / PROGRAM, target)
    (target / "lib").mkdir()
    for library in (work / "found/usr/lib").glob("*/*.so.*"):
        shutil.copy2(library, target / "lib", follow_symlinks=True)
    run = subprocess.run(
        [target / PROGRAM, "-v"], env={"LD_LIBRARY_PATH": str(target / "lib")}, capture_output=True, text=True
    )
    return None if run.returncode == 0 else run.stderr.strip()


def main():
    if (PROXIES / PROGRAM).exists():
        return
    sources.take(PROXIES, (installed, from_debian), "HAProxy", [
        "  The tests put a real proxy in front of the gateway. Either of these gives it:",
        f"  Debian's archive within reach of apt-get, for the package {PROGRAM};",
        f"  or `{PROGRAM}` in PATH.",
    ])


if __name__ == "__main__":
    main()
