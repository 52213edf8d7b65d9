"""How far each row is, from files alone.

planned: never submitted. queued: submitted, not begun. running. interrupted: its state is saved.
finished. failed: with the reason. lost: its process or its executor died and left no reason.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments import submissions, table
from cloudmask.experiments.plan import Plan, Row
from cloudmask.experiments.submissions import SubmittedRows
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import lock, reading
from cloudmask.system.tables import plain_table
from cloudmask.system.text import plural

STATES = ("planned", "queued", "running", "interrupted", "finished", "failed", "lost")
TO_RERUN = ("interrupted", "failed", "lost")
UNFINISHED = ("planned", "queued", *TO_RERUN)


@dataclass(frozen=True)
class RowState:
    """Of one row: a name of STATES, and details of it."""

    row: Row
    name: str
    detail: str = ""


def states(plan: Plan) -> list[RowState]:
    """The state of every row; a few system calls each."""
    submitted = submissions.last(plan)
    living = {s: submissions.alive(plan, s) for s in set(submitted.values())}
    found = []
    for row in plan.rows:
        submission = submitted.get(row.index)
        waiting = submission if submission and living[submission] else None
        found.append(_state(plan, row, submission, waiting))
    return found


def summary(found: Sequence[RowState]) -> str:
    """Counts in one line."""
    counts = Counter(state.name for state in found)
    parts = [f"{counts[name]} {name}" for name in STATES if counts[name]]
    return f"{plural(len(found), 'row')}: {', '.join(parts)}"


def lines(plan: Plan, found: Sequence[RowState]) -> Iterator[str]:
    """A table of all rows and the counts."""
    varied = plan.varied
    rows = [
        [
            str(state.row.index),
            state.name,
            *(table.show(state.row.parameters.get(key)) for key in varied),
            state.detail + (" (dropped)" if state.row.index in plan.dropped else ""),
        ]
        for state in found
    ]
    yield from plain_table(["row", "state", *table.titles(varied), "detail"], rows)
    yield summary(found)


def screen(plan: Plan, found: Sequence[RowState], height: int) -> list[str]:
    """What of the table fits into so many lines; if it is too long, the most informative rows."""
    for left_out in ((), ("planned", "finished"), ("planned", "finished", "queued")):
        shown = [state for state in found if state.name not in left_out]
        if len(shown) <= height - 2:
            break
    kept = shown[: max(height - 3, 0)] if len(shown) > height - 2 else shown
    more = [f"… and {len(shown) - len(kept)} more like these"] if len(kept) < len(shown) else []
    *table_lines, _ = lines(plan, kept)
    return [*(table_lines if kept else []), *more, summary(found)]


def _state(
    plan: Plan, row: Row, submission: SubmittedRows | None, waiting: SubmittedRows | None
) -> RowState:
    """`waiting`: the submission, if its executor can still start the row."""
    run = plan.run(row)
    try:
        with os.scandir(run.path) as entries:
            names = {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        if waiting:
            return RowState(row, "queued", f"{waiting.site} job {waiting.job}")
        if submission:
            return RowState(row, "lost", "its executor died before it began")
        return RowState(row, "planned")
    if run.result.name in names:
        return RowState(row, "finished")
    if run.lock.name in names and lock.held(run.lock):
        return RowState(row, "running", _progress(plan, row, run, names))
    # The last thing that the row has left shows how it ended.
    sign = next((s for s in (run.failure, run.lock, run.log) if s.name in names), None)
    try:
        seen = sign.stat().st_mtime if sign else 0.0
    except FileNotFoundError:
        seen = 0.0
    if waiting and waiting.at > seen:
        return RowState(row, "queued", f"{waiting.site} job {waiting.job}, again")
    if sign == run.failure:
        return RowState(row, "failed", _reason(run.failure))
    if sign == run.lock:
        return RowState(row, "lost", f"last sign of life {_clock(seen)}{_epoch(run, names)}")
    if sign is None:
        return RowState(row, "lost", "died while starting")
    return RowState(row, "interrupted", f"can be continued{_epoch(run, names)}")


def _progress(plan: Plan, row: Row, run: RunDirectory, names: set[str]) -> str:
    epochs = plan.config(row).training.epochs
    done, seconds = _history(run, names)
    if not done:
        return f"epoch 1 of {epochs}"
    written = run.history.stat().st_mtime
    ends = written + (epochs - done) * seconds / done
    return f"epoch {min(done + 1, epochs)} of {epochs}, ends by {_clock(max(ends, time.time()))}"


def _epoch(run: RunDirectory, names: set[str]) -> str:
    done, _ = _history(run, names)
    return f", {plural(done, 'epoch')} done" if done else ""


def _history(run: RunDirectory, names: set[str]) -> tuple[int, float]:
    """Epochs done and the seconds they took."""
    if run.history.name not in names:
        return 0, 0.0
    try:
        epochs = run.read_history()
    except InputError:
        return 0, 0.0
    return len(epochs), sum(epoch.seconds for epoch in epochs)


def _reason(path: Path) -> str:
    try:
        failure = reading.read_json(path, reading.MIB)
        return " ".join(str(dict(failure)["reason"]).split())  # type: ignore[call-overload]
    except (OSError, InputError, ValueError, KeyError, TypeError):
        return "the reason cannot be read"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
