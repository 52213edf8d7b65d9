"""The caches before the clock starts: what was dropped, as the log's `cache_clear` tells it.

`CLOUDMASK_CLEAR_CACHES` says what is done; a job of Slurm has it from its site file
(`clear_caches`). `store`, the default: the pages of the patch store are dropped from the node's
page cache. `none`: nothing is. Anything else is the site's command, which the job script has run
outside the container before the training, with its exit code in `CLOUDMASK_CLEAR_CACHES_CODE`; the
pages of the store are dropped after it as well.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudmask.record import staging_times
from cloudmask.system import page_cache

VARIABLE = "CLOUDMASK_CLEAR_CACHES"
CODE = "CLOUDMASK_CLEAR_CACHES_CODE"
OVERLAY = "CLOUDMASK_OVERLAY"
STORE, NONE = "store", "none"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClearedCaches:
    """Value and metadata of the event `cache_clear`.

    value: whether nothing of the data was left in this node's page cache, or, where the kernel does
    not tell that, whether the site's own command succeeded.
    """

    value: bool
    metadata: dict[str, Any] = field(default_factory=dict)


def clear(store: Path) -> ClearedCaches:
    """Drop what the page cache holds of the patch store; never raises OSError."""
    wanted = os.environ.get(VARIABLE) or STORE
    if wanted == NONE:
        return ClearedCaches(False, {"method": NONE, "remark": f"turned off ({VARIABLE})"})
    known = {} if wanted == STORE else _command(wanted)
    image = _image(store)
    read = [store, image] if image else [store]
    try:
        known |= _dropped(read)
    except OSError as error:
        remark = f"{error.filename or store}: {error.strerror}"
        logger.warning("the page cache was not cleared: %s", remark)
        return ClearedCaches(False, known | {"method": NONE, "remark": remark})
    if image:
        known["remark"] = (
            "read through a mounted image: its pages were dropped too, not what the process that "
            "serves the mount holds itself"
        )
    left = known["resident_after"]
    cleared = known.get("exit_code") == 0 if left is None else left == 0
    if left:
        logger.warning(
            "%s: %d bytes stay in the page cache: another process uses them, or the file system "
            "lives in memory",
            store,
            left,
        )
    return ClearedCaches(cleared, known)


def _dropped(paths: Sequence[Path]) -> dict[str, Any]:
    """Drop the files; bytes of all of them in the page cache before and after, None if unknown."""
    before = _resident(paths)
    for path in paths:
        page_cache.drop(path)
    return {
        "method": "posix_fadvise",
        "bytes": sum(path.stat().st_size for path in paths),
        "resident_before": before,
        "resident_after": _resident(paths),
    }


def _resident(paths: Sequence[Path]) -> int | None:
    found = [page_cache.resident_bytes(path) for path in paths]
    known = [count for count in found if count is not None]
    return sum(known) if len(known) == len(found) else None


def _command(wanted: str) -> dict[str, Any]:
    """What is known of the site's command."""
    code = os.environ.get(CODE, "")
    if not code.isdigit():
        logger.warning("%s=%s: no job script has run it", VARIABLE, wanted)
        return {"command": wanted, "exit_code": None}
    if code != "0":
        logger.warning("%s=%s failed (exit code %s)", VARIABLE, wanted, code)
    return {"command": wanted, "exit_code": int(code)}


def _image(store: Path) -> Path | None:
    """The overlay image that a job reads the store through, None if it reads a copy or a file."""
    image = Path(os.environ.get(OVERLAY) or "none")
    if not staging_times.from_image() or image.resolve() == store.resolve():
        return None
    return image if image.is_file() else None
