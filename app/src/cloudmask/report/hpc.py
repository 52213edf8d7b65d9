"""Many runs by the rules of MLPerf HPC: time to solution, and throughput of many instances.

Time to solution is that of the log: from run_start to run_stop, waiting between attempts included,
and the staging before it, since the rules count it; a resumed run stages again between the two,
which is in that time already. Of a group's runs the fastest and the slowest
are dropped and the rest is averaged: the Olympic mean. Throughput ("weak scaling") is that of all
instances together: their number over the time from the first run_start to the last run_stop.
Source: MLCommons' HPC training rules, and the result summarizer of mlperf-logging.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record import staging_times
from cloudmask.record.events import read_events
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report.collection import Collection
from cloudmask.report.groups import Group
from cloudmask.report.runs import RecordedRun
from cloudmask.report.table import Column, Table

FEWEST = 3  # values of which one is left after the fastest and the slowest are dropped
HOUR = 3600.0


@dataclass(frozen=True)
class Instance:
    """One model that was trained: start and stop of its run in seconds since 1970.

    staging: seconds of it outside of start and stop. devices: that trained it together.
    """

    start: float
    stop: float
    staging: float
    devices: int

    @property
    def time_to_solution(self) -> float:
        """Seconds of the run and of the staging outside of it."""
        return self.stop - self.start + self.staging


@dataclass(frozen=True)
class Throughput:
    """Instances that were trained together.

    seconds: from the first start to the last stop. at_once: how many ran at the same time at most.
    """

    instances: int
    devices_each: int
    seconds: float
    at_once: int

    @property
    def per_hour(self) -> float:
        """Models trained per hour."""
        return self.instances * HOUR / self.seconds


def olympic_mean(values: Sequence[float]) -> float | None:
    """Mean without the smallest and the largest value; None for fewer than FEWEST values."""
    if len(values) < FEWEST:
        return None
    return statistics.fmean(sorted(values)[1:-1])


def instance(run: RecordedRun) -> Instance | None:
    """The run by its own log; None if that has no complete run, or cannot be read."""
    log = RunDirectory(Path(run.path)).log
    if run.origin != "run" or run.set_aside or not log.is_file():
        return None
    try:
        events = read_events(log)
        times = {event["key"]: event["time_ms"] / 1000 for event in events}
        start, stop = times["run_start"], times["run_stop"]
    except (InputError, KeyError):  # The collection names damaged logs already.
        return None
    if stop <= start:
        return None
    staged = staging_times.intervals(events)
    outside = sum(_outside(interval, start, stop) for interval in staged)
    return Instance(start, stop, outside, run.workers or 1)


def _outside(interval: tuple[float, float], start: float, stop: float) -> float:
    """Seconds of the interval that are not between start and stop."""
    begin, end = interval
    return end - begin - max(0.0, min(end, stop) - max(begin, start))


def throughput(instances: Sequence[Instance]) -> Throughput | None:
    """All instances as one measurement; None for none, or if they are not of one size."""
    sizes = {one.devices for one in instances}
    if len(sizes) != 1:
        return None
    seconds = max(one.stop for one in instances) - min(one.start for one in instances)
    return Throughput(len(instances), sizes.pop(), seconds, _at_once(instances))


def _at_once(instances: Sequence[Instance]) -> int:
    """The largest number of instances that ran at the same time."""
    return max(sum(one.start <= at.start < one.stop for one in instances) for at in instances)


def hpc_table(found: Collection) -> Table:
    """Time to solution and throughput of each group of own runs."""
    rows = [row for group in found.groups if (row := _row(group))]
    columns = (
        Column("group", "group"),
        Column("runs", "n", 0),
        Column("olympic_seconds", "time to solution, Olympic mean (s)", 1),
        Column("fastest_seconds", "fastest (s)", 1),
        Column("slowest_seconds", "slowest (s)", 1),
        Column("seeds", "distinct seeds", 0),
        Column("devices_each", "devices each", 0),
        Column("at_once", "at once", 0),
        Column("all_seconds", "all instances (s)", 1),
        Column("models_per_hour", "models/hour", 2),
    )
    note = (
        "By the rules of MLPerf HPC. Time to solution: from run_start to run_stop of the log, and "
        "staging; the Olympic mean leaves out the fastest and the slowest run, so it needs three. "
        "All instances: from the first start to the last stop; their number over it is the "
        "throughput, which means something for instances that ran at the same time (column “at "
        "once”). The rules want runs that reach a target, and a distinct seed for each."
    )
    if not rows:
        note = "No own run has a log from its start to its end."
    return Table("hpc", "Many runs by the HPC rules", columns, rows, note)


def _row(group: Group) -> dict[str, object] | None:
    known = [(run, one) for run in group.runs if (one := instance(run))]
    if not known:
        return None
    seconds = [one.time_to_solution for _, one in known]
    row: dict[str, object] = {
        "group": group.label,
        "runs": len(known),
        "olympic_seconds": olympic_mean(seconds),
        "fastest_seconds": min(seconds),
        "slowest_seconds": max(seconds),
        "seeds": len({run.seed for run, _ in known}),
    }
    if whole := throughput([one for _, one in known]):
        row |= {
            "devices_each": whole.devices_each,
            "at_once": whole.at_once,
            "all_seconds": whole.seconds,
            "models_per_hour": whole.per_hour,
        }
    return row
