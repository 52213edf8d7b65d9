"""Where the time goes: its parts, the cost per epoch, scaling, the time to an accuracy."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloudmask.report.groups import Group
from cloudmask.report.runs import RecordedRun, number
from cloudmask.report.statistics import Line, fit_line

# Of a run, in the order in which they happen; "training" stands for both kinds of epochs.
PARTS = {
    "start_up": "start-up",
    "staging": "staging",
    "first_epoch": "first epoch",
    "later_epochs": "later epochs",
    "training": "epochs, not separated",
    "inference": "inference",
}


def parts(group: Group) -> dict[str, float]:
    """Mean seconds of each part over the runs that know it."""
    known = {part: [run.times[part] for run in group.runs if part in run.times] for part in PARTS}
    return {part: float(np.mean(values)) for part, values in known.items() if values}


@dataclass(frozen=True)
class Machine:
    """Runs of one network and batch on one machine, which differ in their epochs only."""

    label: str
    runs: tuple[RecordedRun, ...]

    @property
    def points(self) -> list[tuple[int, float]]:
        """Epochs run and training seconds of the runs that know both, by epochs."""
        known = [(run.epochs_run, run.training_seconds) for run in self.runs]
        return sorted((epochs, seconds) for epochs, seconds in known if epochs and seconds)

    @property
    def line(self) -> Line | None:
        """Fixed cost and cost per epoch; None without runs of different epochs."""
        return fit_line(*zip(*self.points, strict=True)) if self.points else None


def machines(runs: Sequence[RecordedRun]) -> list[Machine]:
    """The machines of all runs, labeled by source, device, precision and, if need be, size."""
    members: dict[tuple, list[RecordedRun]] = defaultdict(list)
    for run in runs:
        if not run.set_aside:
            sizes = ("model.filters", "training.batch_size")
            size = tuple(f"{k.split('.')[1]} {run.settings[k]}" for k in sizes if k in run.settings)
            count = f" ×{run.workers}" if run.workers and run.workers > 1 else ""
            name = (run.source, f"{run.device or ''}{count}", run.precision)
            members[name, size, run.data].append(run)
    names = Counter(name for name, _, _ in members)
    return [
        Machine(
            " · ".join(part for part in (*name, *(size if names[name] > 1 else ())) if part),
            tuple(same),
        )
        for (name, size, _), same in members.items()
    ]


# What differs between the groups of one scaling.
VARYING = ("workers", "nodes", "training.batch_size")


@dataclass(frozen=True)
class Scaling:
    """Patches per second by number of workers, everything else equal."""

    label: str
    workers: tuple[int, ...]
    rates: tuple[float, ...]

    @property
    def efficiencies(self) -> tuple[float, ...]:
        """Rate per worker, relative to the smallest number of workers."""
        base = self.rates[0] / self.workers[0]
        return tuple(r / w / base for r, w in zip(self.rates, self.workers, strict=True))


def scalings(groups: Sequence[Group]) -> list[Scaling]:
    """One for every set of groups that differ in their workers only.

    With the workers either the global batch may stay the same (strong scaling) or the batch of each
    (weak scaling); one group may be in a set of both kinds.
    """
    found: dict[tuple, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    labels: dict[tuple, str] = {}
    for group in groups:
        rest = {k: str(v) for k, v in group.factors.items() if k not in VARYING}
        rates = group.values(lambda run: run.patches_per_second)
        workers, batch = group.factors.get("workers"), number(group.factors, "training.batch_size")
        if not (rates and workers):
            continue
        kinds: dict[str, float | None] = {"": None}
        if batch:
            kinds = {"global batch": batch, "batch per worker": batch / workers}
        for kind, size in kinds.items():
            key = (kind, size, *sorted(rest.items()))
            found[key][workers] += rates
            own = group.label.replace(f" ×{workers}", "")
            labels.setdefault(key, own if size is None else f"{own} · {kind} {size:g}")
    return [
        Scaling(
            labels[key],
            tuple(sorted(by_workers)),
            tuple(float(np.mean(by_workers[w])) for w in sorted(by_workers)),
        )
        for key, by_workers in found.items()
        if len(by_workers) > 1
    ]


def progress(run: RecordedRun) -> tuple[list[float], list[float]] | None:
    """Seconds since the start of the run and the best validation accuracy so far, by epoch.

    Start-up and staging count, as the rules require. None if the epochs' times are not known.
    """
    seconds, accuracy = run.history.get("seconds"), run.history.get("val_accuracy")
    if not seconds or not accuracy or len(seconds) != len(accuracy):
        return None
    before = run.times.get("start_up", 0.0) + run.times.get("staging", 0.0)
    return list(before + np.cumsum(seconds)), list(np.maximum.accumulate(accuracy))


def seconds_to(run: RecordedRun, target: float) -> float | None:
    """Seconds until the validation accuracy first was `target` or more; None if never."""
    known = progress(run)
    if known is None:
        return None
    return next((s for s, best in zip(*known, strict=True) if best >= target), None)
