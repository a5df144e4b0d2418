"""Fetches real speech for the tests into tests/.speech. It is never committed.

Debian's packages are tried first, without root; then the source archive of
PyPI's `pocketsphinx`, which holds the same recordings. Every clip becomes a
mono 16-bit WAV file with the plain header of 44 bytes, under 16k/ or 48k/.
"""

import array
import pathlib
import sys
import tarfile
import wave

import debian
import sources

TESTS = pathlib.Path(__file__).resolve().parent.parent
SPEECH = TESTS / ".speech"
PACKAGES = ["pocketsphinx-testdata", "alsa-utils"]
ARCHIVE = "pocketsphinx==5.1.1"
RATES = {"16k": 16000, "48k": 48000}
ENOUGH = 4  # clips of 16 kHz, below which the tests would show little


def from_debian(work, target):
    """Downloads and unpacks the packages."""
    return debian.fetch(PACKAGES, work) or collect(work, target)


def from_pypi(work, target):
    """Downloads the source archive, and takes the recordings out of it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    problem = debian.run([*command, "--no-deps", "--no-binary=pocketsphinx", "--dest", str(work), ARCHIVE], work)
    if problem:
        return problem
    for archive in work.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            for member in tar:
                name = pathlib.PurePosixPath(member.name)
                if member.isfile() and "data" in name.parts and name.suffix in (".wav", ".raw"):
                    found = work / "found" / name.parent.name / name.name
                    found.parent.mkdir(parents=True, exist_ok=True)
                    found.write_bytes(tar.extractfile(member).read())
    return collect(work, target)


def read(path):
    """The rate and samples of a recording, or None where it is not of our kind."""
    if path.suffix == ".raw":
        return 16000, path.read_bytes()
    try:
        with wave.open(str(path)) as clip:
            if clip.getnchannels() == 1 and clip.getsampwidth() == 2:
                return clip.getframerate(), clip.readframes(clip.getnframes())
    except (wave.Error, EOFError, RuntimeError):
        pass  # Some of the recordings are malformed on purpose.
    return None


def write(folder, name, rate, pcm):
    folder.mkdir(parents=True, exist_ok=True)
    with wave.open(str(folder / f"{name}.wav"), "wb") as clip:
        clip.setparams((1, 2, rate, 0, "NONE", ""))
        clip.writeframes(pcm)


def thrice(pcm):
    """16 kHz speech as 48 kHz speech, with straight lines between the samples."""
    samples = array.array("h", pcm)
    between = zip(samples, samples[1:])
    return array.array("h", (v for a, b in between for v in (a, (2 * a + b) // 3, (a + 2 * b) // 3))).tobytes()


def collect(work, target):
    """Puts every usable recording into `target`, unless these are too few."""
    for path in sorted(p for p in (work / "found").rglob("*") if p.suffix in (".wav", ".raw") and p.is_file()):
        clip = read(path)
        for folder, rate in RATES.items():
            # A second or more: what is shorter than a few chunks shows nothing.
            if clip and clip[0] == rate and len(clip[1]) >= 2 * rate and "Noise" not in path.stem:
                write(target / folder, f"{path.parent.name}-{path.stem}".replace(" ", "_"), *clip)
    found = sorted((target / "16k").glob("*.wav"))
    if found and not (target / "48k").exists():
        for path in found[:2]:
            write(target / "48k", path.stem, 48000, thrice(read(path)[1]))
    return None if len(found) >= ENOUGH else f"only {len(found)} usable recordings"


def main():
    if SPEECH.exists():
        return
    sources.take(SPEECH, (from_debian, from_pypi), "speech", [
        "  The tests stream real recordings. Either of these gives them:",
        f"  Debian's archive within reach of apt-get, for the packages {' and '.join(PACKAGES)};",
        f"  or PyPI (or a mirror of it in pip's configuration), for the source archive of {ARCHIVE}.",
    ])


if __name__ == "__main__":
    main()
