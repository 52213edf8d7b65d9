"""What a plan would cost, by the times of earlier runs."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloudmask.config import settings
from cloudmask.errors import InputError
from cloudmask.experiments import row as rows
from cloudmask.experiments.plan import Plan, Row
from cloudmask.patches import store
from cloudmask.record.result import Result, System, Training
from cloudmask.record.run_directory import finished_runs
from cloudmask.system.text import plural


class CostFactors(NamedTuple):
    """What the time of a row depends on."""

    gpu: str
    filters: int
    precision: str
    epochs: int
    data: settings.Data


@dataclass(frozen=True)
class EarlierRun:
    """A finished run: its result, the GPU that its experiment named, training patches an epoch."""

    result: Result
    training: Training
    system: System
    gpu: str
    patches: int

    @property
    def machine(self) -> str:
        """The GPU's name, or the processor's."""
        return self.system.gpu or self.system.cpu or "?"


def lines(plan: Plan, folder: Path, data: Path | None = None) -> Iterator[str]:
    """GPU hours of the unfinished rows at most, since early stopping may end them sooner.

    A row costs the median of the finished runs under `folder` that are like it: what they needed
    besides their epochs, and its epochs at their pace; the pace counts patches if `data`, the patch
    store of the rows, is given.
    """
    left = [
        row for row in plan.rows if row.index not in plan.dropped and not plan.run(row).finished
    ]
    yield f"{plural(len(plan.rows), 'row')}, {len(left)} of them to be run"
    earlier = list(_earlier_runs(folder))
    patches = store.PatchStore(data) if data else None
    seconds, known = 0.0, 0
    basis: dict[int, EarlierRun] = {}
    for factors, count in Counter(_factors(plan, row) for row in left).items():
        if like := [run for run in earlier if _is_like(run, factors)]:
            seconds += count * _seconds(factors, like, patches)
            known += count
            basis |= {id(run): run for run in like}
    if known:
        hours = f"{seconds / 3600:.3g} GPU hours"
        yield f"cost: at most {hours} for {plural(known, 'row')}, a CPU counts as one"
        yield from _basis_lines(list(basis.values()), data)
    if known < len(left):
        yield f"cost: unknown for {plural(len(left) - known, 'row')}, no earlier run is like them"


def _basis_lines(basis: Sequence[EarlierRun], data: Path | None) -> Iterator[str]:
    machines = ", ".join(sorted({run.machine for run in basis}))
    patches = [run.patches for run in basis]
    span = " to ".join(f"{n:,}" for n in dict.fromkeys((min(patches), max(patches))))
    scale = f"scaled to {data}" if data else "as there; --data FILE.h5 scales"
    runs = plural(len(basis), "run")
    yield f"  start, all epochs, inference: by {runs} of this network on {machines}"
    yield f"  {span} training patches an epoch ({scale})"


def _earlier_runs(folder: Path) -> Iterator[EarlierRun]:
    """All finished runs under `folder` that know how long an epoch of how many patches took."""
    for run in finished_runs(folder):
        try:
            result = run.read_result()
            described = rows.read(run)
            patches = run.read_history()[0].patches
        except (InputError, IndexError):
            continue  # the commands that need this run report what is damaged
        training, system = result.training, result.system
        if training and training.seconds_per_epoch and system and patches:
            parameters = described["parameters"] if described else {}
            yield EarlierRun(result, training, system, str(parameters.get("gpu") or ""), patches)


def _factors(plan: Plan, row: Row) -> CostFactors:
    config = plan.config(row)
    return CostFactors(
        str(row.parameters.get("gpu", "")).lower(),
        config.model.filters,
        config.training.precision,
        config.training.epochs,
        config.data,
    )


def _is_like(run: EarlierRun, factors: CostFactors) -> bool:
    experiment = run.result.experiment
    return (
        factors.gpu in f"{run.gpu} {run.system.gpu or ''}".lower()
        and experiment.get("model", {}).get("filters") == factors.filters
        and factors.precision in ("auto", experiment.get("precision"))
    )


def _seconds(
    factors: CostFactors, like: Sequence[EarlierRun], patches: store.PatchStore | None
) -> float:
    """GPU seconds of such a row if all its epochs run."""
    data = factors.data
    split = patches.split(data.split, data.split_seed, data.split_by) if patches else None
    times = []
    for run in like:
        epoch = run.training.seconds_per_epoch or 0.0
        if split:
            epoch *= len(split.training) / run.patches
        seconds = _seconds_besides(run) + factors.epochs * epoch
        times.append(seconds * max(run.system.gpus, 1))
    return statistics.median(times)


def _seconds_besides(run: EarlierRun) -> float:
    """What the run needed besides its epochs: start and inference with reading the scenes."""
    seconds = (run.training.staging_seconds or 0.0) + (run.training.tracing_seconds or 0.0)
    if inference := run.result.inference:
        seconds += inference.scenes * (inference.seconds_per_scene_all or 0.0)
        seconds += inference.tracing_seconds or 0.0
    return seconds
