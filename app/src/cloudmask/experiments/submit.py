"""Rows to executors: by the site that a row names, or that the command line gives."""

import logging
import os
import platform
import signal
from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass

from cloudmask.errors import EXIT_INTERRUPTED, Fault, InputError, Interrupted
from cloudmask.experiments import sites, state, submissions
from cloudmask.experiments.executors import EXECUTORS, executor_of
from cloudmask.experiments.executors.executor import (
    Executor,
    Launch,
    SubmitRequest,
    command_line,
)
from cloudmask.experiments.plan import Plan, Row, parse_ranges
from cloudmask.system import files, lock
from cloudmask.system.signals import StopRequest, stop_requests
from cloudmask.system.text import plural

LOCAL = "local"
WAIT_SECONDS = 0.2
EXECUTOR_LOCK = ".executor-"  # and the host and the number of the process
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

logger = logging.getLogger(__name__)


def choose(plan: Plan, names: Sequence[str], index: str | None) -> list[Row]:
    """The rows in one of these states, or those of `index` that are not yet finished or at work."""
    found = state.states(plan)
    if index is None:
        return [s.row for s in found if s.name in names and s.row.index not in plan.dropped]
    chosen = []
    for number in parse_ranges(index):
        row = plan.row(number)
        name = found[row.index - 1].name
        if name in ("finished", "running"):
            raise InputError(f"--index {number}: this row is {name} (--fresh begins it anew)")
        chosen.append(row)
    return chosen


def choose_anew(plan: Plan, index: str) -> list[Row]:
    """The rows of `index`, whatever they have left."""
    rows = [plan.row(number) for number in parse_ranges(index)]
    found = state.states(plan)
    for row in rows:
        if found[row.index - 1].name == "running":
            raise InputError(f"--index {row.index}: this row is running")
    return rows


def move_aside(plan: Plan, rows: Sequence[Row]) -> None:
    """Keep what the rows have left under another name."""
    for row in rows:
        run = plan.run(row)
        if run.path.exists():
            logger.info(f"{run}: moved to {files.move_aside(run.path)}")


@dataclass(frozen=True)
class Assignment:
    """What one executor is to run."""

    executor: Executor
    launches: Sequence[Launch]

    @property
    def rows(self) -> list[int]:
        """Numbers of its rows."""
        return [row.index for launch in self.launches for row in launch.rows]


def assign(plan: Plan, rows: Sequence[Row], site: str, request: SubmitRequest) -> list[Assignment]:
    """Give each row to the executor of its site, by default `site`; changes nothing.

    Batch systems come first, who only take their rows. Raises InputError if a site cannot be used.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.parameters.get("site", site)), []).append(row)
    found = []
    for name, group in groups.items():
        executor = EXECUTORS[_kind(name)](name, request)
        found.append(Assignment(executor, executor.launches(plan, group)))
    return sorted(found, key=lambda assignment: assignment.executor.attended)


def command_lines(assignments: Sequence[Assignment]) -> list[str]:
    """What `start` would run."""
    launches = [launch for assignment in assignments for launch in assignment.launches]
    return [command_line(launch.command) for launch in launches]


def start(plan: Plan, assignments: Sequence[Assignment]) -> None:
    """Submit to the batch systems, then execute the other rows, the sites side by side.

    Raises Fault if rows failed; Interrupted if a signal ended it, and running ones saved.
    """
    for assignment in assignments:
        if not assignment.executor.attended:
            assignment.executor.start(plan, assignment.launches, StopRequest())
    attended = [assignment for assignment in assignments if assignment.executor.attended]
    if attended:
        _attend(plan, attended)


def _attend(plan: Plan, assignments: Sequence[Assignment]) -> None:
    for left in plan.folder.glob(f"{EXECUTOR_LOCK}*"):
        lock.remove_abandoned(left)
    name = f"{EXECUTOR_LOCK}{platform.node()}-{os.getpid()}"
    with lock.exclusive(plan.folder / name, str(plan.folder)), stop_requests(*STOP_SIGNALS) as stop:
        stop.noticed_by_work = True  # Each executor passes it on to its rows.
        for assignment in assignments:
            site = assignment.executor.site_name
            submissions.record(plan, site, str(os.getpid()), assignment.rows, name)
        with futures.ThreadPoolExecutor(len(assignments)) as pool:
            working = [pool.submit(a.executor.start, plan, a.launches, stop) for a in assignments]
            # A wait without limit would keep signals from being handled.
            while futures.wait(working, WAIT_SECONDS).not_done:
                pass
    codes = {index: code for future in working for index, code in future.result().items()}
    rows = [index for assignment in assignments for index in assignment.rows]
    _conclude(plan, rows, codes, stop)


def _conclude(plan: Plan, rows: Sequence[int], codes: Mapping[int, int], stop: StopRequest) -> None:
    finished = sum(code == 0 for code in codes.values())
    logger.info(f"{plan.name}: {finished} of {plural(len(rows), 'row')} finished")
    if stop.requested:
        raise Interrupted(
            f"{plan.folder}: its rows saved their state; cloudmask-grid rerun goes on"
        )
    failed = [index for index in rows if codes.get(index) not in (0, EXIT_INTERRUPTED)]
    if failed:
        raise Fault(
            f"{plural(len(failed), 'row')} failed ({failed[0]} first): see cloudmask-grid status"
        )
    if EXIT_INTERRUPTED in codes.values():
        raise Interrupted(f"{plan.folder}: rows were interrupted; cloudmask-grid rerun goes on")


def _kind(site: str) -> str:
    """The name of the executor of a site."""
    if site == LOCAL:
        return LOCAL
    return executor_of(sites.find(site))
