"""Named timers with a summary that people read and `# csv,` lines that programs read.

The columns are those of cloudmesh's StopWatch in the published logs, so that one parser reads both.
"""

import contextlib
import csv
import io
import platform
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloudmask.record.provenance import user
from cloudmask.system.tables import ruled_table

CSV_COLUMNS = (
    "timer",
    "status",
    "time",
    "sum",
    "start",
    "tag",
    "msg",
    "uname.node",
    "user",
    "uname.system",
    "platform.version",
)
TABLE_COLUMNS = (
    "Name",
    "Status",
    "Time",
    "Sum",
    "Start",
    "tag",
    "msg",
    "Node",
    "User",
    "OS",
    "Version",
)
VALUE_WIDTH = 69  # characters of the attribute table's second column, as in the published logs


@dataclass
class _Timer:
    start: float  # seconds since 1970, of the last run of the timer
    seconds: float = 0.0
    total: float = 0.0
    status: str = "running"
    msg: str | None = None


class Stopwatch:
    """Timers of one run; `tag` names the run in each line. Time is the last, sum all of a timer."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._timers: dict[str, _Timer] = {}

    @contextlib.contextmanager
    def timer(self, name: str) -> Iterator[None]:
        """Time a block; one that raises has the status "failed" and the error as its message."""
        start, tick = time.time(), time.perf_counter()
        # Listed when it starts, so that "total" stands before what it holds.
        timer = self._timers.setdefault(name, _Timer(start))
        timer.start, timer.status, timer.msg = start, "running", None
        status, msg = "ok", None
        try:
            yield
        except BaseException as error:
            status, msg = "failed", str(error) or type(error).__name__
            raise
        finally:
            self.add(name, time.perf_counter() - tick, status, msg, start)

    def add(
        self,
        name: str,
        seconds: float,
        status: str = "ok",
        msg: str | None = None,
        start: float | None = None,
    ) -> None:
        """Add `seconds` measured elsewhere; `start` is in seconds since 1970, or `seconds` ago."""
        begun = time.time() - seconds if start is None else start
        timer = self._timers.setdefault(name, _Timer(begun))
        timer.start, timer.seconds, timer.status, timer.msg = begun, seconds, status, msg
        timer.total += seconds

    def seconds(self, name: str) -> float:
        """Sum of a timer in seconds, 0 if it never ran."""
        return self._timers[name].total if name in self._timers else 0.0

    def summary(self, system: Mapping) -> str:
        """Attribute table of `system`, stop-watch table, and the same as `# csv,` lines."""
        rows = [self._row(name, timer) for name, timer in self._timers.items()]
        cells = [[cell or "" for cell in row] for row in rows]
        attributes = []
        for key, value in sorted(system.items()):
            for number, part in enumerate(textwrap.wrap(str(value), VALUE_WIDTH) or [""]):
                attributes.append((key if number == 0 else "", part))
        lines = [
            *ruled_table(("Attribute", "Value"), attributes),
            "",
            *ruled_table(TABLE_COLUMNS, cells, right=("Time", "Sum")),
            *(f"# csv,{_csv(row)}" for row in (CSV_COLUMNS, *rows)),
        ]
        return _ascii("\n".join(lines)) + "\n"

    def _row(self, name: str, timer: _Timer) -> list[str | None]:
        start = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(timer.start))
        msg = None if timer.msg is None else " ".join(timer.msg.split())
        return [
            name,
            timer.status,
            f"{timer.seconds:.3f}",
            f"{timer.total:.3f}",
            start,
            self.tag,
            msg,
            platform.node(),
            user(),
            platform.system(),
            platform.version(),
        ]


def _csv(row: Sequence) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow("None" if cell is None else cell for cell in row)
    return text.getvalue()


def _ascii(text: str) -> str:
    return text.encode("ascii", errors="replace").decode("ascii")
