"""Builds an image of the gateway without a Docker engine, and runs what is in it. Run by `make package`.

`image.py PROGRAM` puts the program and the libraries that it loads into target/package/image, an OCI image as
`skopeo` and `podman` read it. Then it unpacks that image and starts its entrypoint, with a read-only root and as
the image's user, until the gateway listens; and ends it.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
UMOCI = ROOT / "tests/.packaging/programs/umoci"
PACKAGE = ROOT / "target/package"
IMAGE = PACKAGE / "image"
USER = 65532
# The same as in the container file, which a machine with an engine builds.
ENTRYPOINT = ["/usr/bin/sluice"]
COMMAND = ["serve", "--config", "/etc/sluice/sluice.toml", "--data-dir", "/data"]


def umoci(*arguments):
    """Runs umoci."""
    rootless = ["--rootless"] if arguments[0] == "unpack" else []
    subprocess.run([UMOCI, arguments[0], *rootless, *arguments[1:]], check=True, stdout=subprocess.DEVNULL)


def libraries(program):
    """Libraries that the program loads, with the loader."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+)(?= \()", said)


def fill(root, program):
    """Puts everything into the file system of the image."""
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy2(program, root / "usr/bin/sluice")
    for library in libraries(program):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)
    for folder in ("data", "etc/sluice", "proc"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text(f"sluice:x:{USER}:{USER}::/data:/none\n")
    if os.geteuid() == 0:
        os.chown(root / "data", USER, USER)


def build(program):
    """Builds the image."""
    shutil.rmtree(IMAGE, ignore_errors=True)
    PACKAGE.mkdir(parents=True, exist_ok=True)
    umoci("init", "--layout", IMAGE)
    umoci("new", "--image", f"{IMAGE}:sluice")
    with tempfile.TemporaryDirectory() as folder:
        bundle = pathlib.Path(folder) / "bundle"
        umoci("unpack", "--image", f"{IMAGE}:sluice", bundle)
        fill(bundle / "rootfs", program)
        umoci("repack", "--image", f"{IMAGE}:sluice", bundle)
    settings = ["--config.user", f"{USER}:{USER}", "--config.volume", "/data", "--config.exposedports", "8080/tcp"]
    for word in ENTRYPOINT:
        settings += ["--config.entrypoint", word]
    for word in COMMAND:
        settings += ["--config.cmd", word]
    umoci("config", "--image", f"{IMAGE}:sluice", *settings)


def settings():
    """Configuration of the image, as an engine reads it."""
    blob = lambda digest: json.loads((IMAGE / "blobs" / digest.replace(":", "/")).read_text())
    manifest = json.loads((IMAGE / "index.json").read_text())["manifests"][0]
    return blob(blob(manifest["digest"])["config"]["digest"])["config"]


def try_it():
    """Starts what is in the image, until it listens, and ends it."""
    image = settings()
    assert image["User"] == f"{USER}:{USER}" and image["Entrypoint"] == ENTRYPOINT and image["Cmd"] == COMMAND, image
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        umoci("unpack", "--image", f"{IMAGE}:sluice", folder / "bundle")
        root = folder / "bundle/rootfs"
        (folder / "data").mkdir()
        # Where an engine would mount them.
        config = (ROOT / "host/sluice.default.toml").read_text()
        (folder / "sluice.toml").write_text(config)
        (root / "etc/sluice/sluice.toml").touch()
        is_root = os.geteuid() == 0
        if is_root:
            for path in (folder, folder / "data"):
                os.chown(path, USER, USER)
        mounts = f"""
            mount --bind {root} {root}
            mount --bind {folder}/data {root}/data
            mount --bind {folder}/sluice.toml {root}/etc/sluice/sluice.toml
            mount --rbind /proc {root}/proc
            mount -o remount,bind,ro {root}
            exec chroot {f"--userspec={USER}:{USER}" if is_root else ""} {root} "$@"
        """
        arguments = [*image["Entrypoint"], *image["Cmd"], "--listen", "127.0.0.1:0"]
        unshare = ["unshare", "--mount"] if is_root else ["unshare", "--user", "--map-root-user", "--mount"]
        gateway = subprocess.Popen(
            [*unshare, "sh", "-ec", mounts, "sh", *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        try:
            lines = []
            for line in gateway.stderr:
                lines.append(line)
                if '"listening"' in line:
                    break
            else:
                sys.exit("what is in the image does not start:\n" + "".join(lines))
            gateway.terminate()
            rest = gateway.stderr.read()
            if gateway.wait() != 0:
                sys.exit("what is in the image does not end well:\n" + "".join(lines) + rest)
        finally:
            gateway.kill()
        writable = sorted(path.name for path in (folder / "data").iterdir())
        print(f"fine  image: its entrypoint listened and stopped, with a read-only root; in /data: {', '.join(writable)}")


def main():
    program = pathlib.Path(sys.argv[1])
    build(program)
    size = sum(path.stat().st_size for path in IMAGE.rglob("*") if path.is_file())
    print(f"fine  image: {IMAGE.relative_to(ROOT)}, {size / 2**20:.1f} MiB")
    try_it()


if __name__ == "__main__":
    main()
