"""What a plan would cost, by the times of earlier runs."""

import csv
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cloudmask.config import settings
from cloudmask.errors import InputError
from cloudmask.experiments import row as rows
from cloudmask.experiments.plan import Plan, Row
from cloudmask.patches import store
from cloudmask.record import result


class Kind(NamedTuple):
    """What the time of a row depends on."""

    gpu: str
    filters: int
    precision: str
    epochs: int
    data: settings.Data


def lines(plan: Plan, folder: Path, data: Path | None = None) -> Iterator[str]:
    """GPU hours of the unfinished rows at most, since early stopping may end them sooner.

    A row costs the median of the finished runs under `folder` that are like it: what they needed
    besides their epochs, and its epochs at their pace; the pace counts patches if `data`, the patch
    store of the rows, is given.
    """
    left = [
        row
        for row in plan.rows
        if row.index not in plan.dropped and not result.finished(plan.run(row))
    ]
    yield f"{len(plan.rows)} rows, {len(left)} of them to be run"
    finished = list(_finished(folder))
    patches = store.PatchStore(data) if data else None
    seconds, known, basis = 0.0, 0, {}
    for kind, count in Counter(_kind(plan, row) for row in left).items():
        if like := [run for run in finished if _is_like(run, kind)]:
            seconds += count * _seconds(kind, like, patches)
            known += count
            basis |= {id(run): run for run in like}
    if known:
        yield f"cost: at most {seconds / 3600:.3g} GPU hours for {known} rows, a CPU counts as one"
        yield from _told(list(basis.values()), data)
    if known < len(left):
        yield f"cost: unknown for {len(left) - known} rows, no earlier run is like them"


def _told(basis: Sequence[dict], data: Path | None) -> Iterator[str]:
    named = {run["system"].get("gpu") or run["system"].get("cpu") or "?" for run in basis}
    machines = ", ".join(sorted(named))
    patches = [run["patches"] for run in basis]
    span = " to ".join(f"{n:,}" for n in dict.fromkeys((min(patches), max(patches))))
    scale = f"scaled to {data}" if data else "as there; --data FILE.h5 scales"
    yield f"  start, all epochs, inference: by {len(basis)} runs of this network on {machines}"
    yield f"  {span} training patches an epoch ({scale})"


def _finished(folder: Path) -> Iterator[dict]:
    """Results of all finished runs under `folder`, with the GPU that their experiment named.

    patches: of an epoch of training.
    """
    # Named levels: "**" would not follow a link to a run on another file system.
    for path in (*folder.glob(f"*/{result.NAME}"), *folder.glob(f"*/*/{result.NAME}")):
        try:
            found = result.read_result(path)
            described = rows.read(path.parent)
        except InputError:
            continue  # a damaged result is told by the commands that need it
        patches = _patches(path.parent)
        if patches and found.keys() >= {"training", "experiment", "system"}:
            parameters = described["parameters"] if described else {}
            yield found | {"gpu": parameters.get("gpu"), "patches": patches}


def _patches(run: Path) -> int | None:
    """Training patches of an epoch, by the first line of its history; None if it is not told."""
    try:
        with (run / "history.csv").open(newline="", encoding="utf-8") as file:
            first = next(csv.DictReader(file))
        return round(float(first["patches_per_second"]) * float(first["train_seconds"])) or None
    except (OSError, StopIteration, KeyError, TypeError, ValueError):
        return None


def _kind(plan: Plan, row: Row) -> Kind:
    settings = plan.config(row)
    return Kind(
        str(row.parameters.get("gpu", "")).lower(),
        settings.model.filters,
        settings.training.precision,
        settings.training.epochs,
        settings.data,
    )


def _is_like(run: dict, kind: Kind) -> bool:
    experiment = run["experiment"]
    gpus = f"{run['gpu'] or ''} {run['system'].get('gpu') or ''}".lower()
    return (
        kind.gpu in gpus
        and experiment.get("model", {}).get("filters") == kind.filters
        and kind.precision in ("auto", experiment.get("precision"))
    )


def _seconds(kind: Kind, like: Sequence[dict], patches: store.PatchStore | None) -> float:
    """GPU seconds of such a row if all its epochs run."""
    if patches:
        wanted = patches.split(kind.data.split, kind.data.split_seed, kind.data.split_by)
    times = []
    for run in like:
        training, inference = run["training"], run.get("inference", {})
        epoch = training["seconds_per_epoch"]
        if patches:
            epoch *= len(wanted.training) / run["patches"]
        besides = training.get("staging_seconds", 0.0) + training.get("tracing_seconds", 0.0)
        # All of it, reading the scenes as well.
        besides += inference.get("scenes", 0) * inference.get("seconds_per_scene_all", 0.0)
        besides += inference.get("tracing_seconds", 0.0)
        times.append((besides + kind.epochs * epoch) * max(run["system"].get("gpus") or 1, 1))
    return statistics.median(times)
