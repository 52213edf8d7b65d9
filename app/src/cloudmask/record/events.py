"""MLPerf events of a run, in the keys and the order that `rules` lists.

A run calls, in this order: `cache_clear`, `init_start`, `submission`, `settings`, `init_stop`,
`staging_start`, `staging_stop`, `run_start`, for each epoch `epoch_start`, `epoch_stop`,
`eval_start`, `eval_accuracy`, `eval_stop`, then `run_stop` and `result`.

A resumed run calls the same methods and goes on with the epoch at which it continues. It appends:
what may stand once is not written again, so that the run's time spans all attempts and the waiting
between them; a value that has changed (fewer GPUs, say) is told in an event `repeated`. An event
`resumed` gives the attempt and how long nothing ran. A run that is cut off writes `cut_off`, not
`run_stop`. A log that ends before `init_stop` holds no measurement and is begun anew.
"""

import logging
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cloudmask.record.result import plain
from cloudmask.record.rules import STATUSES, parse_events
from cloudmask.system.files import whole_lines

BENCHMARK = "cloudmask"

# Frames between the call of a public method and MLLogger.event: the log names the caller's line.
_DIRECT, _ONCE = 3, 4


class _Handler(logging.FileHandler):
    """Raises what goes wrong: logging's own handler prints it and goes on without the event."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and not error.filename:
            raise OSError(error.errno, error.strerror, self.baseFilename) from None
        raise error


class EventLog:
    """Append the events of a run to the file at `path`; only rank 0 writes.

    Metadata of `point`, `start` and `end` are keyword arguments, which may not be called `file` or
    `lineno`: mllog uses those for the line that logs. Raises InputError if the file is damaged.
    """

    def __init__(self, path: Path | str, rank: int = 0) -> None:
        self._first: dict = {}
        self._handler: logging.Handler | None = None
        self.resumed = False
        if rank != 0:
            return
        from mlperf_logging.mllog import mllog

        path = Path(path)
        events = parse_events(path, whole_lines(path))
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
            away = time.time() - events[-1]["time_ms"] / 1000
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
        self._emit("event", key, value, metadata)

    def start(self, key: str, value=None, **metadata) -> None:
        """Log the start of an interval; `key` is the full key, such as `eval_start`."""
        self._emit("start", key, value, metadata)

    def end(self, key: str, value=None, **metadata) -> None:
        """Log the end of an interval; `key` is the full key, such as `eval_stop`."""
        self._emit("end", key, value, metadata)

    def submission(
        self,
        *,
        organization: str,
        status: str,
        platform: str,
        name: str,
        user: str,
        email: str,
        version: str,
        commit: str | None,
        division: str = "open",
    ) -> None:
        """Log who submits what; the checker refuses an empty organization or platform."""
        keys = {
            "benchmark": BENCHMARK,
            "org": organization,
            "division": division,
            "version": version,
            "github_commit_version": commit,
            "status": status,
            "platform": platform,
            "poc_name": name,
            "poc_email": email,
            "user": user,
        }
        for key, value in keys.items():
            self._once("event", f"submission_{key}", value)

    def settings(
        self,
        *,
        train_samples: int,
        eval_samples: int,
        global_batch_size: int,
        seed: int,
        optimizer: Mapping,
        ranks: int,
        nodes: int,
        accelerators_per_node: int,
        gradient_accumulation_steps: int = 1,
        **others,
    ) -> None:
        """Log sizes (patches) and hyper-parameters; `others` are logged under their own names.

        `optimizer` has the keys of `mllog.constants` without `opt_`: `name`, `base_learning_rate`,
        `adam_beta_1`, `adam_beta_2`, `adam_epsilon`, ...
        """
        keys = {
            "train_samples": train_samples,
            "eval_samples": eval_samples,
            "global_batch_size": global_batch_size,
            "seed": seed,
            **{f"opt_{key}": value for key, value in optimizer.items()},
            "number_of_ranks": ranks,
            "number_of_nodes": nodes,
            "accelerators_per_node": accelerators_per_node,
            "gradient_accumulation_steps": gradient_accumulation_steps,
            **others,
        }
        for key, value in keys.items():
            self._once("event", key, value)

    def cache_clear(self, value: bool = True) -> None:
        """The node's caches were flushed; each attempt logs it."""
        self._emit("event", "cache_clear", value, {})

    def init_start(self) -> None:
        """Start-up begins; at most 30 minutes to `init_stop`."""
        self._once("start", "init_start")

    def init_stop(self) -> None:
        """Start-up is done."""
        self._once("end", "init_stop")

    def staging_start(self, at: float | None = None) -> None:
        """Copying data to the node began, now or `at` (seconds since 1970)."""
        self._emit("start", "staging_start", None, {}, at=at)

    def staging_stop(self, at: float | None = None) -> None:
        """Copying data to the node ended, now or `at` (seconds since 1970)."""
        self._emit("end", "staging_stop", None, {}, at=at)

    def run_start(self) -> None:
        """The measured run begins; once, however often it is resumed."""
        self._once("start", "run_start")

    def run_stop(self, status: str = "success") -> None:
        """The measured run is over for good, with one of STATUSES; not for a run to be resumed."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r}; expected one of {', '.join(STATUSES)}")
        self._once("end", "run_stop", status=status)

    def cut_off(self, epoch_num: int) -> None:
        """This attempt ends before the run does, `epoch_num` epochs being complete."""
        self._emit("event", "cut_off", None, {"epoch_num": epoch_num})

    def epoch_start(self, epoch_num: int) -> None:
        """Training of an epoch begins; epochs count from 1."""
        self._emit("start", "epoch_start", None, {"epoch_num": epoch_num})

    def epoch_stop(self, epoch_num: int) -> None:
        """Training of an epoch ended."""
        self._emit("end", "epoch_stop", None, {"epoch_num": epoch_num})

    def eval_start(self, epoch_num: int) -> None:
        """Validation after an epoch begins."""
        self._emit("start", "eval_start", None, {"epoch_num": epoch_num})

    def eval_accuracy(self, value: float, epoch_num: int) -> None:
        """Validation accuracy (0 to 1) after an epoch."""
        self._emit("event", "eval_accuracy", value, {"epoch_num": epoch_num})

    def eval_stop(self, epoch_num: int) -> None:
        """Validation after an epoch ended."""
        self._emit("end", "eval_stop", None, {"epoch_num": epoch_num})

    def result(self, value: Mapping) -> None:
        """The scientific result; a log has one, and another one is told as `repeated`."""
        self._once("event", "result", dict(value))

    def _once(self, kind: str, key: str, value=None, **metadata) -> None:
        value = plain(value)
        if key not in self._first:
            self._emit(kind, key, value, metadata, _ONCE)
        elif self._first[key] != value:
            self._emit("event", "repeated", value, {"of": key}, _ONCE)

    def _emit(
        self,
        kind: str,
        key: str,
        value,
        metadata: Mapping,
        frames: int = _DIRECT,
        at: float | None = None,
    ) -> None:
        if not self._handler:
            return
        value = plain(value)
        self._first.setdefault(key, value)
        log = getattr(self._mllog, kind)
        log(
            key,
            value,
            metadata=plain(metadata),
            time_ms=None if at is None else round(at * 1000),
            stack_offset=frames,
        )
