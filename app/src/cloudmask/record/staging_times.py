"""What was staged to this node when, as the job script hands it on.

`CLOUDMASK_STAGED` is the record in JSON that `cloudmask-stage share` prints: `begin` and `end` in
seconds since 1970, `data`, the folder of the copy, and `folder`, which folder that was. Without it
nothing was staged.
"""

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.overlay.manifest import FOLDER
from cloudmask.record import clock
from cloudmask.record.events import read_events
from cloudmask.system import reading

VARIABLE = "CLOUDMASK_STAGED"


def read() -> tuple[float, float]:
    """Begin and end of staging for this attempt, both the present time if nothing was staged.

    Raises InputError if the variable holds no record.
    """
    if not os.environ.get(VARIABLE):
        now = clock.now()
        return now, now
    return _record("begin"), _record("end")


def from_image() -> bool:
    """Whether a job reads its data through the mounted image, since nothing was staged."""
    return bool(os.environ.get(VARIABLE)) and not _record("data")


def require_staged(mounted: Path = Path(FOLDER)) -> None:
    """Raise InputError if the copy was staged and the container has got other folders.

    The runtime finds the copy, and the folder for temporary files, by their paths, which lead
    elsewhere if another user has renamed folders in a directory that others can write to.
    """
    if not os.environ.get(VARIABLE) or not _record("data"):
        return
    try:
        status = mounted.stat()
    except OSError as error:
        raise InputError(f"{mounted}: {error.strerror}; expected the staged data") from None
    if [status.st_dev, status.st_ino] != _record("folder"):
        raise InputError(
            f"{mounted}: not the folder {_record('data')} that was staged; another user of this "
            "node may have replaced it"
        )
    temporary = Path(tempfile.gettempdir())
    status = temporary.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise InputError(
            f"{temporary}: open to other users; expected a private folder for temporary files"
        )


def _record(key: str) -> Any:
    text = os.environ[VARIABLE]
    try:
        record = reading.parse_json(text)
        if not isinstance(record, dict) or key not in record:
            raise ValueError(f"no {key!r}")
        return float(record[key]) if key in {"begin", "end"} else record[key]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{VARIABLE}={text[:80]}: {error}; expected the record that cloudmask-stage prints"
        ) from None


def total_seconds(log: Path) -> float:
    """Seconds of staging over all attempts of a run, by its MLPerf log."""
    return sum(end - begin for begin, end in intervals(read_events(log)))


def intervals(events: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Begin and end of each staging in seconds since 1970, by the events of an MLPerf log."""
    found: list[tuple[float, float]] = []
    begun = None
    for event in events:
        if event["key"] == "staging_start":
            begun = event["time_ms"] / 1000
        elif event["key"] == "staging_stop" and begun is not None:
            found.append((begun, event["time_ms"] / 1000))
            begun = None
    return found
