"""Checks every package, each with its own tool. Run by `make package-lint`, which installs the tools."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

PACKAGING = pathlib.Path(__file__).resolve().parent
ROOT = PACKAGING.parent.parent
TOOLS = ROOT / "tests/.packaging"
SLUICE = ROOT / "target/debug/sluice"
KUBERNETES = ("1.30", "1.37")
# Units above this are less hardened than ours must be.
MOST_EXPOSED = 1.5

problems = []


def check(what, fine, why=""):
    """Notes one check."""
    print(f"{'fine ' if fine else 'WRONG'} {what}")
    if not fine:
        problems.append(f"{what}: {why}")


def run(*command):
    """Output of a command, and whether it succeeded."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return done.stdout + done.stderr, done.returncode == 0


def unit():
    """The systemd unit: its syntax, and how exposed it is."""
    analyze = TOOLS / "programs/systemd-analyze"
    with tempfile.TemporaryDirectory() as folder:
        # Without the programs, which are not installed here.
        text = (PACKAGING / "systemd/sluice.service").read_text()
        copy = pathlib.Path(folder) / "sluice.service"
        copy.write_text(re.sub(r"(?m)^(ExecStart|ExecReload)=\S+", r"\1=/bin/true", text))
        said, fine = run(analyze, "verify", "--man=no", copy)
        check("unit: systemd-analyze verify", fine and not said.strip(), said)
        said, _ = run(analyze, "security", "--offline=true", copy)
        level = re.search(r"exposure level for .*: ([0-9.]+)", said)
        exposed = float(level[1]) if level else 10.0
        check(f"unit: exposure {exposed} is at most {MOST_EXPOSED}", exposed <= MOST_EXPOSED, said[-300:])
    check("unit: Type=notify with a watchdog", "Type=notify" in text and "WatchdogSec=" in text)
    # Policies are machine code.
    check("unit: no MemoryDenyWriteExecute", not re.search(r"(?m)^MemoryDenyWriteExecute", text))


def container():
    """The container file."""
    said, fine = run(TOOLS / "venv/bin/hadolint", PACKAGING / "container/Containerfile")
    check("container: hadolint", fine and not said.strip(), said)


def configuration(name, text, public_key):
    """A configuration, with the gateway itself if it is built."""
    if not SLUICE.exists():
        print(f"      {name}: not checked, target/debug/sluice is not built")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "secret").write_text("0123456789abcdef" * 4)
        (folder / "other").write_text("fedcba9876543210" * 4)
        (folder / "key.pem").write_text(public_key)
        for there, here in [
            ("/run/credentials/sluice.service/admin-token", "secret"),
            ("/run/credentials/sluice.service/token-secret", "other"),
            ("/etc/sluice/keys/token.pem", "key.pem"),
        ]:
            text = text.replace(there, str(folder / here))
        (folder / "sluice.toml").write_text(text)
        said, fine = run(SLUICE, "check", "--config", folder / "sluice.toml")
        check(f"{name}: sluice check", fine and "warning" not in said, said)


def public_key():
    """A public key in PEM."""
    done = subprocess.run(
        "openssl genrsa 2048 2>/dev/null | openssl rsa -pubout 2>/dev/null", shell=True, capture_output=True, text=True
    )
    return done.stdout


def chart(key):
    """The Helm chart: linted, rendered, and each object held against the schemas of Kubernetes."""
    folder = PACKAGING / "helm/sluice"
    report = helm_python.lint(folder, strict=True)
    # Those of severity 1 are advice.
    told = [message for message in report["messages"] if message["severity"] > 1]
    check("chart: helm lint", not report["errors"] and not told, json.dumps(report))
    for values in ({}, {"replicas": 1, "drainTimeoutSeconds": 300, "server": {"max_connections": 4000, "trusted_proxies": ["10.0.0.0/8"]}}):
        rendered = helm_python.Chart.load(folder).render(values, name="release", namespace="default")
        objects = []
        for name, text in sorted(rendered.items()):
            if not name.endswith(".txt"):
                objects += [found for found in yaml.safe_load_all(text) if found]
        for version in KUBERNETES:
            for found in objects:
                named = f"{found['kind']} {found['metadata']['name']}"
                try:
                    kubernetes_validate.validate(found, version, strict=True)
                    check(f"chart: {named} in Kubernetes {version}", True)
                except Exception as error:  # Each kind of error of the library is a mistake of ours.
                    check(f"chart: {named} in Kubernetes {version}", False, error)
        of_kind = {found["kind"]: found for found in objects}
        config = of_kind["ConfigMap"]["data"]["sluice.toml"]
        pod = of_kind["StatefulSet"]["spec"]["template"]["spec"]
        gateway = pod["containers"][0]
        drain = int(re.search(r'drain_timeout = "(\d+)s"', config)[1])
        stop = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
        check(
            "chart: the grace period has room for preStop and drain_timeout",
            pod["terminationGracePeriodSeconds"] >= drain + stop + 30,
        )
        ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
        check("chart: probes ask probe_listen", f'probe_listen = "0.0.0.0:{ports["probes"]}"' in config)
        probes = [gateway[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
        check("chart: each probe has the port of probe_listen", all(probe["port"] == "probes" for probe in probes))
        check("chart: a read-only root", gateway["securityContext"]["readOnlyRootFilesystem"] is True)
        configuration("chart", config, key)


def debian():
    """The Debian package, where cargo-deb is installed and the release is built."""
    if not shutil.which("cargo-deb") or not (ROOT / "target/release/sluice").exists():
        print("      deb: not checked, it needs cargo-deb and target/release/sluice")
        return
    with tempfile.TemporaryDirectory() as folder:
        package = pathlib.Path(folder) / "sluice.deb"
        build = ["cargo", "deb", "--no-build", "--no-strip", "--package", "sluice", "--output", package]
        said, fine = run("env", f"--chdir={ROOT}", *build)
        check("deb: cargo-deb", fine, said)
        contents, _ = run("dpkg-deb", "--contents", package)
        for path in ("usr/bin/sluice", "usr/lib/systemd/system/sluice.service", "etc/sluice/sluice.toml"):
            check(f"deb: has {path}", f"./{path}\n" in contents, contents)
        control, _ = run("dpkg-deb", "--info", package, "conffiles")
        check("deb: keeps the configuration", "/etc/sluice/sluice.toml" in control, control)
        control, _ = run("dpkg-deb", "--info", package, "postinst")
        check("deb: knows the unit", "sluice.service" in control, control)


def main():
    key = public_key()
    unit()
    configuration("unit", (PACKAGING / "systemd/sluice.toml").read_text(), key)
    container()
    chart(key)
    debian()
    if problems:
        sys.exit("\n".join(["", *problems]))


if __name__ == "__main__":
    main()
