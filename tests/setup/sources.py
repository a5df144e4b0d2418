"""What the tests need and is never committed, from the first source that has it."""

import os
import pathlib
import shutil
import sys
import tempfile


def take(final, sources, wanted, advice):
    """Has a source fill a folder, and puts that at `final`.

    A source is given a folder to work in and the one to fill, and returns what went
    wrong. Where all of them fail, that is told, with what to do.
    """
    problems = []
    for source in sources:
        print(f"setup: {wanted}: {source.__name__.replace('_', ' ')}", flush=True)
        with tempfile.TemporaryDirectory(prefix="sluice-setup-") as work:
            # Made beside its final place and then renamed: it is there whole, or not at all.
            fresh = pathlib.Path(tempfile.mkdtemp(prefix=f"{final.name}-", dir=final.parent))
            try:
                problem = source(pathlib.Path(work), fresh)
                if not problem:
                    fresh.chmod(0o755)
                    shutil.rmtree(final, ignore_errors=True)
                    os.rename(fresh, final)
                    return
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        problems.append(f"  {source.__name__}: {problem}")
    sys.exit("\n".join([f"setup: no {wanted} to test with could be had.", *problems, *advice]))


def link(programs, target):
    """Links the programs in PATH into a folder, and returns which one is not there."""
    for program in programs:
        found = shutil.which(program)
        if not found:
            return f"no {program} in PATH"
        (target / program).symlink_to(found)
    return None
