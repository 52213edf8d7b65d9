"""How far each row is, from files alone.

planned: never submitted. queued: submitted, not begun. running. cut off: saved, can be continued.
finished. failed: with the reason. lost: its process or its executor died without a word.
"""

import csv
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.experiments import submissions, table
from cloudmask.experiments.plan import Plan, Row
from cloudmask.experiments.row import FAILURE, LOCK
from cloudmask.record import result
from cloudmask.system import lock

STATES = ("planned", "queued", "running", "cut off", "finished", "failed", "lost")
TO_RERUN = ("cut off", "failed", "lost")
UNFINISHED = ("planned", "queued", *TO_RERUN)


@dataclass(frozen=True)
class State:
    """Of one row: a word of STATES, and what there is to say about it."""

    row: Row
    word: str
    detail: str = ""


def states(plan: Plan) -> list[State]:
    """The state of every row; a few system calls each."""
    submitted = submissions.last(plan)
    living = {s: submissions.alive(plan, s) for s in set(submitted.values())}
    found = []
    for row in plan.rows:
        submission = submitted.get(row.index)
        waiting = submission.at if submission and living[submission] else None
        found.append(_state(plan, row, submission, waiting))
    return found


def summary(found: Sequence[State]) -> str:
    """Counts in one line."""
    counts = Counter(state.word for state in found)
    parts = [f"{counts[word]} {word}" for word in STATES if counts[word]]
    return f"{len(found)} rows: {', '.join(parts)}"


def lines(plan: Plan, found: Sequence[State]) -> Iterator[str]:
    """A table of all rows and the counts."""
    varied = plan.varied
    rows = [
        [
            str(state.row.index),
            state.word,
            *(table.show(state.row.parameters.get(key)) for key in varied),
            state.detail + (" (dropped)" if state.row.index in plan.dropped else ""),
        ]
        for state in found
    ]
    yield from table.align(["row", "state", *table.titles(varied), "detail"], rows)
    yield summary(found)


def screen(plan: Plan, found: Sequence[State], height: int) -> list[str]:
    """What of the table fits into so many lines: where it is too long, the rows that tell most."""
    for left_out in ((), ("planned", "finished"), ("planned", "finished", "queued")):
        shown = [state for state in found if state.word not in left_out]
        if len(shown) <= height - 2:
            break
    kept = shown[: max(height - 3, 0)] if len(shown) > height - 2 else shown
    more = [f"… and {len(shown) - len(kept)} more like these"] if len(kept) < len(shown) else []
    *table_lines, _ = lines(plan, kept)
    return [*(table_lines if kept else []), *more, summary(found)]


def _state(
    plan: Plan, row: Row, submission: submissions.Submission | None, waiting: float | None
) -> State:
    """`waiting`: when it was submitted, if its executor can still start it."""
    run = plan.run(row)
    try:
        with os.scandir(run) as entries:
            names = {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        if waiting is not None:
            return State(row, "queued", f"{submission.site} job {submission.job}")
        return (
            State(row, "lost", "its executor died before it began")
            if submission
            else State(row, "planned")
        )
    if result.NAME in names:
        return State(row, "finished")
    if LOCK in names and lock.held(run / LOCK):
        return State(row, "running", _progress(plan, row, run, names))
    sign = FAILURE if FAILURE in names else LOCK if LOCK in names else "mlperf.log"
    try:
        seen = (run / (sign if sign in names else "")).stat().st_mtime
    except FileNotFoundError:
        seen = 0.0
    if waiting is not None and waiting > seen:
        return State(row, "queued", f"{submission.site} job {submission.job}, again")
    if sign == FAILURE:
        return State(row, "failed", _reason(run / FAILURE))
    if sign == LOCK:
        return State(row, "lost", f"last sign of life {_clock(seen)}{_epoch(run, names)}")
    if sign not in names:
        return State(row, "lost", "died while starting")
    return State(row, "cut off", f"can be continued{_epoch(run, names)}")


def _progress(plan: Plan, row: Row, run: Path, names: set[str]) -> str:
    epochs = plan.config(row).training.epochs
    done, seconds = _history(run, names)
    if not done:
        return f"epoch 1 of {epochs}"
    written = (run / "history.csv").stat().st_mtime
    ends = written + (epochs - done) * seconds / done
    return f"epoch {min(done + 1, epochs)} of {epochs}, ends by {_clock(max(ends, time.time()))}"


def _epoch(run: Path, names: set[str]) -> str:
    done, _ = _history(run, names)
    return f", {done} epochs done" if done else ""


def _history(run: Path, names: set[str]) -> tuple[int, float]:
    """Epochs done and the seconds they took."""
    if "history.csv" not in names:
        return 0, 0.0
    try:
        with (run / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return len(rows), sum(float(row["seconds"]) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0.0


def _reason(path: Path) -> str:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return "the reason cannot be read"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
