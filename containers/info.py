"""Print what is in an image: base, sizes, versions, from its labels (through spython).

containers/info.py cloudmask.sif
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spython.main import get_client

PREFIX = "org.opencontainers.image."


def main() -> int:
    """Entry point."""
    path = Path(sys.argv[1])
    if not path.is_file():
        print(f"error: {path}: no such image; make it with: make image", file=sys.stderr)
        return 2
    if not shutil.which("apptainer") and not shutil.which("singularity"):
        print("error: neither apptainer nor singularity found", file=sys.stderr)
        return 2
    for name, value in info(path).items():
        print(f"{name:<24} {value}")
    return 0


def info(path: Path) -> dict[str, str]:
    """Facts about an image, by the labels that the build wrote and what lies in it."""
    with singularity_on_path():
        client = get_client(quiet=True)
        found = client.inspect(str(path), quiet=True)
        if "attributes" not in found:
            sys.exit(f"error: {path}: not an image that the runtime reads")
        labels = found["attributes"]["labels"]
    facts = {"image": str(path), "megabytes": f"{path.stat().st_size / 1e6:.0f}"}
    for name in sorted(labels):
        if name.startswith((PREFIX, "cloudmask.")):
            facts[name.removeprefix(PREFIX)] = labels[name]
    return facts


@contextlib.contextmanager
def singularity_on_path() -> Iterator[None]:
    """Let spython, which calls `singularity` by name, find an Apptainer without that alias."""
    if shutil.which("singularity"):
        yield
        return
    kept = os.environ["PATH"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "singularity").symlink_to(shutil.which("apptainer"))
        os.environ["PATH"] = f"{folder}{os.pathsep}{kept}"
        try:
            yield
        finally:
            os.environ["PATH"] = kept


if __name__ == "__main__":
    sys.exit(main())
