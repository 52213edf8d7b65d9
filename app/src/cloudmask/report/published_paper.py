"""What the paper's figures and tables show, as numbers (`published_paper.yaml`, `…_curves.csv`)."""

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from cloudmask.report.published import published
from cloudmask.report.runs import CURVES, RecordedRun

GREENE = "NYU Greene"
TOTALS = "Rivanna, published totals"
FOLDER = Path(__file__).parent


class OneEpoch(NamedTuple):
    """A bar of figure 9: seconds of a run of one epoch; low and high where it has a range."""

    machine: str
    host: str
    storage: str
    seconds: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Paper:
    """runs: the five of table 4, with the curves of figures 3 to 8; totals: of Rivanna.

    greene: epochs and seconds per epoch; facts: the rest of the file, by its keys.
    """

    runs: tuple[RecordedRun, ...]
    totals: tuple[RecordedRun, ...]
    one_epoch: tuple[OneEpoch, ...]
    greene: tuple[tuple[int, float], ...]
    facts: dict[str, Any]

    @property
    def limit(self) -> int:
        """The most epochs of a run."""
        return self.facts["limit"]

    @property
    def patience(self) -> int:
        """Epochs without a better validation loss after which a run stopped."""
        return self.facts["patience"]

    def rows(self, table: str) -> list[list]:
        """The rows of a table by its key."""
        return self.facts[table]["rows"]

    def source(self, table: str) -> str:
        """Where a table's numbers were read."""
        return self.facts[table]["source"]

    @property
    def citations(self) -> list[str]:
        """The paper, and what was read beside it."""
        beside = [self.source(table) for table in ("greene", "rivanna", "short_patience")]
        return [self.facts["citation"], *(text[0].upper() + text[1:] for text in beside)]


@functools.cache
def paper() -> Paper:
    """The paper's numbers; the files are part of the package."""
    facts = yaml.safe_load((FOLDER / "published_paper.yaml").read_text(encoding="utf-8"))
    runs = [run for run in published() if run.source == GREENE]
    for run, curves in zip(runs, read_curves().values(), strict=True):
        run.history = curves
        run.best_epoch = int(np.argmin(curves["val_loss"])) + 1
        run.val_loss = curves["val_loss"][run.best_epoch - 1]
        run.val_accuracy = curves["val_accuracy"][run.best_epoch - 1]
    return Paper(
        tuple(runs),
        tuple(_totals(facts["rivanna"])),
        tuple(OneEpoch(*row) for row in facts["one_epoch"]["rows"]),
        tuple((epochs, seconds) for epochs, seconds in facts["greene"]["rows"]),
        facts,
    )


def _totals(entry: dict) -> list[RecordedRun]:
    """The runs of one device on Rivanna, which differ in their epochs."""
    runs = []
    for device, rows in entry["rows"].items():
        for epochs, seconds in rows:
            run = RecordedRun(f"{device} {epochs}", "paper", TOTALS, entry["source"])
            run.machine, run.device = "Rivanna", device
            run.epochs_set = run.epochs_run = epochs
            run.times["training"] = float(seconds)
            runs.append(run)
    return runs


def read_curves(path: Path = FOLDER / "published_curves.csv") -> dict[int, dict[str, list[float]]]:
    """By run and curve of CURVES a value per epoch, from the first to the last.

    The drawing program left out points that lie on the line between their neighbors: these are
    interpolated.
    """
    points: dict[int, dict[str, list[tuple[int, float]]]] = {}
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            curves = points.setdefault(int(row["run"]), {curve: [] for curve in CURVES})
            for curve in CURVES:
                if row[curve]:
                    curves[curve].append((int(row["epoch"]), float(row[curve])))
    return {
        run: {curve: _filled(known) for curve, known in curves.items()}
        for run, curves in points.items()
    }


def _filled(points: Sequence[tuple[int, float]]) -> list[float]:
    epochs, values = zip(*points, strict=True)
    return np.interp(np.arange(1, epochs[-1] + 1), epochs, values).tolist()
