"""Named timers with a summary that people read and `# csv,` lines that programs read.

The columns are those of cloudmesh's StopWatch in the published logs, so that one parser reads both.
A timer that is an interval writes its start and its stop into an MLPerf log as well, from the same
readings of the clock:

    with EventLog("mlperf.log") as log:
        watch = Stopwatch("run-1", log)
        with watch.timer("total"):
            with watch.interval("epoch", epoch_num=1):
                ...
    print(watch.summary({"host": "n1"}))
"""

import csv
import io
import platform
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudmask.record import clock
from cloudmask.record.events import EventLog
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
class _Row:
    start: float  # seconds since 1970, of the last run of the timer
    seconds: float = 0.0
    total: float = 0.0
    status: str = "running"
    msg: str | None = None


class TimedBlock:
    """Times the block of a `with` statement; made by `Stopwatch.timer` and `Stopwatch.interval`."""

    def __init__(
        self,
        watch: "Stopwatch",
        name: str,
        log: EventLog | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._watch, self._name = watch, name
        self._log, self._metadata = log, dict(metadata or {})
        self._start = 0.0
        self.at_stop: dict[str, Any] = {}

    def __enter__(self) -> "TimedBlock":
        self._start = clock.now()
        self._watch.begin(self._name, self._start)
        if self._log:
            self._log.start(self._name, self._start, 1, **self._metadata)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        stop = clock.now()
        seconds = stop - self._start
        if error is not None:
            msg = str(error) or type(error).__name__
            self._watch.add(self._name, seconds, "failed", msg, self._start)
            return
        self._watch.add(self._name, seconds, start=self._start)
        if self._log:
            self._log.stop(self._name, stop, 1, **(self._metadata | self.at_stop))


class Stopwatch:
    """Timers of one run; `tag` names the run in each line. Time is the last, sum all of a timer.

    log: the MLPerf log that `interval` and `measured` write into, if any.
    """

    def __init__(self, tag: str, log: EventLog | None = None) -> None:
        self.tag = tag
        self._log = log
        self._timers: dict[str, _Row] = {}

    def timer(self, name: str) -> TimedBlock:
        """Time a block; one that raises has the status "failed" and the error as its message."""
        return TimedBlock(self, name)

    def interval(self, name: str, **metadata: Any) -> TimedBlock:
        """Time a block that is an MLPerf interval: its log gets NAME_start and NAME_stop.

        Both have the metadata; what the block puts into `at_stop` of the object that `with` yields
        is added to the second. A block that raises has no NAME_stop: what it was to measure did
        not come to its end.
        """
        return TimedBlock(self, name, self._log, metadata)

    def measured(self, name: str, start: float, stop: float) -> None:
        """Add an interval that was measured elsewhere, in seconds since 1970."""
        self.add(name, stop - start, start=start)
        if self._log:
            self._log.start(name, start, 1)
            self._log.stop(name, stop, 1)

    def begin(self, name: str, start: float) -> None:
        """List a timer as running since `start`, seconds since 1970."""
        # Listed when it starts, so that "total" stands before what it holds.
        timer = self._timers.setdefault(name, _Row(start))
        timer.start, timer.status, timer.msg = start, "running", None

    def add(
        self,
        name: str,
        seconds: float,
        status: str = "ok",
        msg: str | None = None,
        start: float | None = None,
    ) -> None:
        """Add `seconds` measured elsewhere; `start` is in seconds since 1970, or `seconds` ago."""
        begun = clock.now() - seconds if start is None else start
        timer = self._timers.setdefault(name, _Row(begun))
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

    def _row(self, name: str, timer: _Row) -> list[str | None]:
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
