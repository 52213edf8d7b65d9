"""What a plan would cost, by the times of earlier runs."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments import row as rows
from cloudmask.experiments.plan import Plan, Row
from cloudmask.record import result


def lines(plan: Plan, folder: Path) -> Iterator[str]:
    """GPU hours of the unfinished rows at most, since early stopping may end them sooner."""
    left = [
        row
        for row in plan.rows
        if row.index not in plan.dropped and not result.finished(plan.run(row))
    ]
    finished = list(_finished(folder))
    hours, unknown = 0.0, []
    for row in left:
        seconds = _seconds(plan, row, finished)
        if seconds is None:
            unknown.append(row)
        else:
            hours += seconds / 3600
    yield f"{len(plan.rows)} rows, {len(left)} of them to be run"
    if len(unknown) < len(left):
        yield (
            f"cost: at most {hours:.3g} GPU hours for {len(left) - len(unknown)} rows, by "
            f"{len(finished)} earlier runs (a CPU counts as one GPU)"
        )
    if unknown:
        yield f"cost: unknown for {len(unknown)} rows, no earlier run is like them"


def _finished(folder: Path) -> Iterator[dict]:
    """Results of all finished runs under `folder`, with the GPU that their experiment named."""
    # Named levels: "**" would not follow a link to a run on another file system.
    for path in (*folder.glob(f"*/{result.NAME}"), *folder.glob(f"*/*/{result.NAME}")):
        try:
            found = result.read_result(path)
            described = rows.read(path.parent)
        except InputError:
            continue  # a damaged result is told by the commands that need it
        if found.get("training") and found.get("experiment"):
            parameters = described["parameters"] if described else {}
            yield found | {"gpu": parameters.get("gpu")}


def _seconds(plan: Plan, row: Row, finished: list[dict]) -> float | None:
    """GPU seconds of a row if all its epochs run, by the median of the runs that are like it."""
    config = plan.config(row)
    gpu = str(row.parameters.get("gpu", "")).lower()
    times = []
    for run in finished:
        experiment, system = run["experiment"], run.get("system", {})
        same_gpu = not gpu or gpu in (f"{run['gpu'] or ''} {system.get('gpu') or ''}").lower()
        same_network = experiment.get("model", {}).get("filters") == config.model.filters
        if same_gpu and same_network and run["training"].get("seconds_per_epoch"):
            times.append(run["training"]["seconds_per_epoch"] * max(system.get("gpus") or 1, 1))
    return statistics.median(times) * config.training.epochs if times else None
