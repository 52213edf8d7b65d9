"""Tell what is in an image: labels, base, sizes, and the base's own packages (through spython).

containers/info.py cloudmask.sif
"""

import json
import shutil
import sys
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
    client = get_client(quiet=True)
    labels = client.inspect(str(path))["attributes"]["labels"]
    facts = {"image": str(path), "megabytes": f"{path.stat().st_size / 1e6:.0f}"}
    for name in sorted(labels):
        if name.startswith((PREFIX, "cloudmask.")):
            facts[name.removeprefix(PREFIX)] = labels[name]
    record = client.execute(str(path), ["cat", "/opt/cloudmask/share/base.json"], quiet=True)
    for name, entry in json.loads(record).items():
        facts[name] = f"{entry['version']} of the base, in {entry['folder']}"
    return facts


if __name__ == "__main__":
    sys.exit(main())
