"""The container image that this process runs in: its checksum, its base, by what is known of it.

The checksum of an image of many GB takes minutes, so it is computed once. `make image` writes it
beside the image; else it lies in the user's cache, under what identifies the file as it was. Jobs
pass it on in CLOUDMASK_IMAGE_SHA256 (slurm/lib/container.sh, which reads and writes the same
files). A sandbox, an image unpacked into a folder, has none.
"""

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.system import files, reading

logger = logging.getLogger(__name__)

CHECKSUM = "CLOUDMASK_IMAGE_SHA256"
LABELS = Path("/.singularity.d/labels.json")  # in every image, written by its build
BASE_LABELS = {
    "base_name": "org.opencontainers.image.base.name",
    "base_digest": "org.opencontainers.image.base.digest",
    "created": "org.opencontainers.image.created",
}

_SHA256 = re.compile(r"[0-9a-f]{64}")


def image() -> dict[str, Any] | None:
    """The image of this container by `runtime`, `image`, `name`, `sha256` and BASE_LABELS.

    None outside of a container. The checksum is None where it has not been computed before.
    """
    for runtime in ("APPTAINER", "SINGULARITY"):
        path = os.environ.get(f"{runtime}_CONTAINER")
        if path:
            name = os.environ.get(f"{runtime}_NAME") or Path(path).name
            facts = {"runtime": runtime.lower(), "image": path, "name": name}
            return facts | {"sha256": known_checksum()} | _labels()
    return None


def known_checksum() -> str | None:
    """SHA-256 of this container's image, in hexadecimal; None if computing it is still to be done.

    It is also None where there is no image: outside of a container, and in a sandbox.
    """
    given = os.environ.get(CHECKSUM, "")
    if _SHA256.fullmatch(given):
        return given
    path = _path()
    return _recorded(path) if path else None


def compute_checksum() -> None:
    """Compute the checksum of this container's image unless it is known; cached for later runs.

    Not to be called while anything is measured. What cannot be read or kept is no error.
    """
    path = _path()
    if path is None or known_checksum():
        return
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        logger.info("%s: computing its checksum (%.1f GB), once", path, size / 1e9)
        os.environ[CHECKSUM] = found = files.sha256(path)
        cache = _cache(path)
        cache.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(cache, f"{found}\n")


def beside(path: Path) -> Path:
    """Where the checksum of an image lies."""
    return path.with_name(f"{path.name}.sha256")


def write_beside(path: Path) -> None:
    """Write the checksum of an image beside it, in the format of sha256sum.

    A comment says of which state of the file it is, so that nobody takes it for another's.
    """
    files.write_text(beside(path), f"{_state(path)}\n{files.sha256(path)}  {path.name}\n")


def _path() -> Path | None:
    """This container's image where it is a file that can be seen from inside."""
    name = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    path = Path(name) if name else None
    return path if path and path.is_file() else None


def _recorded(path: Path) -> str | None:
    """The checksum from beside the image or from the user's cache."""
    with contextlib.suppress(OSError, ValueError, InputError):
        state, line = reading.read_text(beside(path), reading.MIB).splitlines()[:2]
        if state == _state(path) and _SHA256.match(line):
            return line[:64]
    with contextlib.suppress(OSError, ValueError, InputError):
        line = reading.read_text(_cache(path), reading.MIB).strip()
        if _SHA256.fullmatch(line):
            return line
    return None


def _state(path: Path) -> str:
    found = path.stat()
    return f"# size {found.st_size}, modified {int(found.st_mtime)}"


def _cache(path: Path) -> Path:
    """The file of the user's cache for this file as it is now."""
    found = path.stat()
    seconds, fraction = divmod(found.st_mtime_ns, 10**9)
    key = f"{found.st_dev}-{found.st_ino}-{found.st_size}-{seconds}.{fraction:09d}"
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "cloudmask", "images", key)


def _labels() -> dict[str, str | None]:
    """What the image's labels say of its base; "unknown" is what a build without network writes."""
    try:
        labels = reading.read_json(LABELS, reading.MIB)
    except (OSError, ValueError, InputError):
        labels = {}
    found = labels if isinstance(labels, dict) else {}
    values = {key: found.get(label) for key, label in BASE_LABELS.items()}
    return {key: None if value == "unknown" else value for key, value in values.items()}
