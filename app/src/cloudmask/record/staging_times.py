"""When the data was staged to this node, as the job script that staged it has written it down.

`CLOUDMASK_STAGED` names a JSON file with `begin` and `end` in seconds since 1970, as
`cloudmask-stage` prints it. Without it nothing was staged: both are the present time.
"""

import json
import os
import time
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record.events import read_events

VARIABLE = "CLOUDMASK_STAGED"


def read() -> tuple[float, float]:
    """Begin and end of staging for this attempt; raises InputError if the file is no record."""
    name = os.environ.get(VARIABLE)
    if not name:
        now = time.time()
        return now, now
    try:
        record = json.loads(Path(name).read_text(encoding="utf-8"))
        return float(record["begin"]), float(record["end"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{VARIABLE}={name}: {error!r}; expected the record that cloudmask-stage prints"
        ) from None


def total_seconds(log: Path) -> float:
    """Seconds of staging over all attempts of a run, by its MLPerf log."""
    total, begun = 0.0, None
    for event in read_events(log):
        if event["key"] == "staging_start":
            begun = event["time_ms"]
        elif event["key"] == "staging_stop" and begun is not None:
            total += (event["time_ms"] - begun) / 1000
            begun = None
    return total
