"""Debian's packages, fetched and unpacked without root. Nothing is installed."""

import shutil
import subprocess


def run(command, cwd):
    """Runs a command, and returns its output where it failed."""
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return f"{command[0]}: not here"
    except subprocess.CalledProcessError as error:
        lines = (error.stderr + error.stdout).strip().splitlines()
        telling = [line.strip() for line in lines if line.lower().lstrip().startswith(("error", "e:"))] or lines[-1:]
        return f"{' '.join(command[:3])} …: {' '.join(telling[:1]) or 'failed'}"
    return None


def fetch(packages, work):
    """Unpacks the packages into `work`/found, and returns what went wrong."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "no apt-get and dpkg here"
    problem = run(["apt-get", "download", *packages], work)
    if problem:
        # The package lists are absent or old. Lists of our own need no root.
        lists = work / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={work / 'cache'}"]
        problem = run(["apt-get", *own, "update"], work) or run(["apt-get", *own, "download", *packages], work)
    for package in work.glob("*.deb"):
        problem = problem or run(["dpkg", "-x", str(package), str(work / "found")], work)
    return problem
