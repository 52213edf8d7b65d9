"""Stop-watch tables: cloudmesh's in the published logs, and the same lines of this project."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.system import reading

TOKEN = "# csv,"
LARGEST_FILE = 16 * reading.MIB  # a timer takes some 200 bytes of it


@dataclass
class StopwatchTable:
    """seconds: sum of each timer; tag: the run's name; node, user: where and by whom it ran."""

    seconds: dict[str, float] = field(default_factory=dict)
    tag: str | None = None
    node: str | None = None
    user: str | None = None


def read_stopwatch(path: Path | str) -> StopwatchTable:
    """Read the `# csv,` lines; raises ValueError if there are none or one is damaged."""
    content = reading.read_bytes(Path(path), LARGEST_FILE)
    lines = content.decode("utf-8", errors="replace").splitlines()
    rows = list(csv.reader(line[len(TOKEN) :] for line in lines if line.startswith(TOKEN)))
    if not rows:
        raise ValueError("no '# csv,' line")
    head, watch = rows[0], StopwatchTable()
    for row in rows[1:]:
        # The last column, the system's version, may hold commas of its own.
        cells = dict(zip(head, row, strict=False))
        watch.seconds[cells["timer"]] = float(cells["sum"])
        watch.tag, watch.node, watch.user = cells["tag"], cells["uname.node"], cells["user"]
    return watch
