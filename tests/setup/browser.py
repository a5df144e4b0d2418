"""Puts Chromium into tests/.browser, with the libraries that it needs. It is never committed.

The npm package @sparticuz/chromium has a headless one in it; else one that is installed is taken.
"""

import base64
import hashlib
import os
import pathlib
import platform
import shutil
import subprocess

import sources
from debian import run

BROWSER = pathlib.Path(__file__).resolve().parent.parent / ".browser"
PACKAGE = "@sparticuz/chromium@143.0.0"
SHA512 = "/vvplFwu1yDNt/Q1uwXQUwxmfZutU9K+WtzSYwptLWV8IeSdSF6vwW9hW11fZA8Gl9+2mytAGUe6/otgd2VeXA=="
NAMES = (
    "chromium",
    "chromium-browser",
    "chrome-headless-shell",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# Python's library cannot read Brotli, and Node's can.
UNPACK = (
    "const { readFileSync, writeFileSync } = require('fs'); const [from, to] = process.argv.slice(1);"
    "writeFileSync(to, require('zlib').brotliDecompressSync(readFileSync(from)));"
)


def from_npm(work, target):
    """Unpacks the one in the npm package."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"{PACKAGE} is for Linux on x86-64"
    problem = run(["npm", "pack", "--silent", PACKAGE], work)
    if problem:
        return problem
    archive = next(work.glob("*.tgz"))
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        return f"{PACKAGE} is another one than it was: its SHA-512 is {digest}"
    problem = run(["tar", "-xf", str(archive)], work)
    if problem:
        return problem
    binaries = work / "package/bin"
    (target / "lib").mkdir()
    # Some are in a folder `lib` in it, and some are not.
    for libraries in ("al2023", "swiftshader"):
        unpacked = work / f"{libraries}.tar"
        problem = run(["node", "-e", UNPACK, str(binaries / f"{libraries}.tar.br"), str(unpacked)], work)
        problem = problem or run(["tar", "-xf", str(unpacked)], target)
        if problem:
            return problem
    program = target / "chromium"
    problem = run(["node", "-e", UNPACK, str(binaries / "chromium.br"), str(program)], work)
    if problem:
        return problem
    program.chmod(0o755)
    environment = os.environ | {"LD_LIBRARY_PATH": str(target / "lib")}
    started = subprocess.run([program, "--version"], env=environment, capture_output=True, text=True)
    return None if started.returncode == 0 else started.stderr.strip()


def installed(work, target):
    """Takes the one that somebody else has installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        return "no chromium or google-chrome in PATH"
    (target / "lib").mkdir()
    (target / "chromium").symlink_to(found)
    return None


def main():
    if (BROWSER / "chromium").exists():
        return
    sources.take(BROWSER, (from_npm, installed), "browser", [
        "  The tests open WebSockets from a web page. Either of these gives them a browser:",
        f"  the npm registry, or a mirror named in .npmrc, within reach, for {PACKAGE};",
        "  or `chromium` or `google-chrome` in PATH.",
    ])


if __name__ == "__main__":
    main()
