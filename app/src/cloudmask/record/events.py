"""The MLPerf log of a run: writing its events, in the keys that `rules` requires, and reading them.

A run logs, in this order: `cache_clear`, `init_start`, submission, settings, `init_stop`,
`staging_start`, `staging_stop`, `run_start`, for each epoch `epoch_start`, `epoch_stop`,
`eval_start`, `eval_accuracy`, `eval_stop`, then `run_stop` and `result`. The starts and stops come
from the intervals of the run's stop-watch (`record.stopwatch`).

A resumed run does the same and goes on with the epoch at which it continues. It appends:
an event that may occur once is not written again, so that the run's time spans all attempts and the
waiting between them. A value that has changed, such as the number of GPUs, is logged as an event
`repeated`. An event `resumed` gives the attempt and how long nothing ran. An interrupted run writes
`cut_off`, not `run_stop`. A log that ends before `init_stop` holds no measurement: it is begun
anew.
"""

import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from cloudmask.errors import InputError
from cloudmask.record import clock
from cloudmask.record.result import plain
from cloudmask.system import reading
from cloudmask.system.files import whole_lines

BENCHMARK = "cloudmask"
TOKEN = ":::MLLOG "
LARGEST_FILE = 256 * reading.MIB  # an event takes some 200 bytes of it
LATEST = 1e14  # milliseconds since 1970, in the year 5138
STATUSES = ("success", "aborted")  # of run_stop
ONCE = ("init", "run")  # intervals that span all attempts of a run

# Frames between the call of a public method and MLLogger.event: the log names the caller's line.
_DIRECT, _ONCE = 3, 4


@dataclass(frozen=True)
class SubmissionFacts:
    """Who submits what; the checker refuses an empty organization or platform.

    The fields are the keys of the log without `submission_`.
    """

    org: str
    division: str
    version: str  # of the benchmark's code
    github_commit_version: str | None  # commit of the code
    status: str  # cloud, onprem, preview or research
    platform: str  # name of the system
    poc_name: str  # the contact
    poc_email: str
    user: str  # the account that ran it


@dataclass(frozen=True)
class TrainingFacts:
    """Sizes and hyper-parameters of a training; the fields are the keys of the log.

    The keys of `optimizer` are those of `mllog.constants` without `opt_`: `name`,
    `base_learning_rate`, `adam_beta_1`, `adam_beta_2`, `adam_epsilon`, ... Those of `others` are
    logged as they are.
    """

    train_samples: int  # patches
    eval_samples: int  # patches
    global_batch_size: int  # patches
    seed: int
    optimizer: Mapping[str, Any]
    number_of_ranks: int  # devices that train together
    number_of_nodes: int
    accelerators_per_node: int  # 0 on a CPU
    gradient_accumulation_steps: int = 1
    others: Mapping[str, Any] = field(default_factory=dict)

    def events(self) -> dict[str, Any]:
        """Values by key."""
        keys = asdict(self)
        optimizer, others = keys.pop("optimizer"), keys.pop("others")
        return keys | {f"opt_{key}": value for key, value in optimizer.items()} | others


@dataclass(frozen=True)
class _Event:
    """One line to be written: a point in time, or an end of an interval ("start" or "end")."""

    kind: str
    key: str
    value: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    at: float | None = None  # seconds since 1970; None: now


class _Handler(logging.FileHandler):
    """Raises what goes wrong: logging's own handler prints it and goes on without the event."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and not error.filename:
            raise OSError(error.errno, error.strerror, self.baseFilename) from None
        raise  # logging calls this method while it handles the error


class EventLog:
    """Append the events of a run to the file at `path`; only rank 0 writes.

    Metadata of `point`, `start` and `stop` are keyword arguments, which may not be called `file` or
    `lineno`: mllog uses those for the line that logs. Raises InputError if the file is damaged.
    """

    def __init__(self, path: Path | str, rank: int = 0) -> None:
        self._first: dict[str, Any] = {}
        self._handler: logging.Handler | None = None
        self.resumed = False
        if rank != 0:
            return
        from mlperf_logging.mllog import mllog

        path = Path(path)
        events = _parse(path, whole_lines(path))
        if not any(event["key"] == "init_stop" for event in events):
            path.unlink(missing_ok=True)
            events = []
        for event in events:
            self._first.setdefault(event["key"], event["value"])
        # Not logging.getLogger: a logger of this instance alone, with one handler and no parent.
        logger = logging.Logger("cloudmask.events", logging.INFO)
        self._handler = _Handler(path, encoding="utf-8")
        logger.addHandler(self._handler)
        self._mllog = mllog.MLLogger(logger, root_dir=re.escape(str(Path(__file__).parents[2])))
        if events and "run_stop" not in self._first:
            self.resumed = True
            attempt = 2 + sum(event["key"] == "resumed" for event in events)
            away = max(0.0, clock.now() - events[-1]["time_ms"] / 1000)
            self.point("resumed", attempt, seconds_away=round(away, 3))

    def close(self) -> None:
        """Close the file; later events are dropped."""
        if self._handler:
            self._handler.close()
            self._handler = None

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def point(self, key: str, value=None, **metadata) -> None:
        """Log a point in time."""
        self._emit(_Event("event", key, value, metadata))

    def start(
        self, interval: str, at: float | None = None, above: int = 0, **metadata: Any
    ) -> None:
        """An interval such as `epoch` begins, now or `at` (seconds since 1970).

        `init` and `run` begin once, however often the run is resumed. `above`: how many frames
        above this call the line is that the log names.
        """
        self._end_of(_Event("start", f"{interval}_start", None, metadata, at), interval, above)

    def stop(self, interval: str, at: float | None = None, above: int = 0, **metadata: Any) -> None:
        """An interval has ended, now or `at` (seconds since 1970).

        `init` and `run` end once; not to be called for a run that is to be resumed. Raises
        ValueError for a run whose metadata `status` is not one of STATUSES.
        """
        if interval == "run" and metadata.get("status") not in STATUSES:
            raise ValueError(
                f"status {metadata.get('status')!r}; expected one of {', '.join(STATUSES)}"
            )
        self._end_of(_Event("end", f"{interval}_stop", None, metadata, at), interval, above)

    def _end_of(self, event: _Event, interval: str, above: int) -> None:
        if interval not in ONCE or event.key not in self._first:
            self._emit(event, _ONCE + above)

    def submission(self, facts: SubmissionFacts) -> None:
        """Log who submits what."""
        for key, value in {"benchmark": BENCHMARK, **asdict(facts)}.items():
            self._once("event", f"submission_{key}", value)

    def settings(self, facts: TrainingFacts) -> None:
        """Log sizes and hyper-parameters."""
        for key, value in facts.events().items():
            self._once("event", key, value)

    def cache_clear(self, value: bool = True, **metadata) -> None:
        """Whether the node's caches were flushed; each attempt logs it."""
        self._emit(_Event("event", "cache_clear", value, metadata))

    def interrupted(self, epoch_num: int) -> None:
        """This attempt ends before the run does, `epoch_num` epochs being complete."""
        self._emit(_Event("event", "cut_off", metadata={"epoch_num": epoch_num}))

    def eval_accuracy(self, value: float, epoch_num: int) -> None:
        """Validation accuracy (0 to 1) after an epoch."""
        self._emit(_Event("event", "eval_accuracy", value, metadata={"epoch_num": epoch_num}))

    def result(self, value: Mapping) -> None:
        """The scientific result; a log has one, and another one is logged as `repeated`."""
        self._once("event", "result", dict(value))

    def _once(self, kind: str, key: str, value=None, **metadata) -> None:
        value = plain(value)
        if key not in self._first:
            self._emit(_Event(kind, key, value, metadata), _ONCE)
        elif self._first[key] != value:
            self._emit(_Event("event", "repeated", value, {"of": key}), _ONCE)

    def _emit(self, event: _Event, frames: int = _DIRECT) -> None:
        if not self._handler:
            return
        value = plain(event.value)
        self._first.setdefault(event.key, value)
        log = getattr(self._mllog, event.kind)
        log(
            event.key,
            value,
            metadata=plain(event.metadata),
            time_ms=round(1000 * (clock.now() if event.at is None else event.at)),
            stack_offset=frames,
        )


def read_events(path: Path | str) -> list[dict]:
    """Events of a log, each with `key`, `value`, `metadata`, `time_ms`, `event_type`.

    Raises InputError that names file and line if the log is missing or damaged.
    """
    try:
        content = reading.read_bytes(Path(path), LARGEST_FILE)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return _parse(path, content.decode("utf-8", errors="replace").splitlines())


def _parse(path: Path | str, lines: list[str]) -> list[dict]:
    """Events in the lines of the log at `path`; lines without the token are left out."""
    events = []
    for number, line in enumerate(lines, 1):
        if TOKEN not in line:
            continue
        event = parse_event(line)
        if event is None:
            raise InputError(f"{path}: line {number} is no complete MLPerf event; it is damaged")
        events.append(event)
    return events


def parse_event(line: str) -> dict | None:
    """The event of a line that holds TOKEN, or None if the line is damaged."""
    try:
        event = reading.parse_json(line.rpartition(TOKEN)[2])
    except ValueError:
        return None
    return event if _is_event(event) else None


def _is_event(event: object) -> TypeGuard[dict]:
    """Whether it has what an event has; what `value` and `metadata` are is the logger's matter."""
    if not isinstance(event, dict) or not {"key", "value", "metadata", "time_ms"} <= set(event):
        return False
    key, time_ms = event["key"], event["time_ms"]
    return isinstance(key, str) and isinstance(time_ms, (int, float)) and 0 <= time_ms <= LATEST
