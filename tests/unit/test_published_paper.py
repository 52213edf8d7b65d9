"""The published numbers of the package against what was read from the paper's figures."""

import csv
import itertools
from types import SimpleNamespace

import pytest

from cloudmask.config.settings import EarlyStoppingSettings
from cloudmask.report.paper_stopping import best_epoch, epochs_to, stop_epochs
from cloudmask.report.published_paper import FOLDER, paper
from cloudmask.train.early_stopping import EarlyStopping

CURVES = {
    "training_loss": "loss",
    "validation_loss": "val_loss",
    "training_accuracy": "accuracy",
    "validation_accuracy": "val_accuracy",
}


def rows_of(path):
    """The rows of a CSV file of the published figures; skips where it is not there."""
    if not path.exists():
        pytest.skip(f"{path.name} is not here: the numbers were not compared with it")
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_point_of_the_curves(shared):
    """Digitized points to four digits, and no point that is not there."""
    points = rows_of(shared / "published" / "curves_of_figures_3_to_8.csv")
    assert len(points) == 3497
    expected = {
        (int(point["run"]), int(float(point["epoch"])), CURVES[point["curve"]]): point["value"]
        for point in points
    }
    found = {}
    with (FOLDER / "published_curves.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            for curve in CURVES.values():
                if row[curve]:
                    found[int(row["run"]), int(row["epoch"]), curve] = float(row[curve])
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value), abs=5.1e-5)
        run, epoch, curve = key
        assert paper().runs[run - 1].history[curve][epoch - 1] == found[key]


def test_the_figures_of_times(shared):
    folder = shared / "published"
    bars = rows_of(folder / "figure_9_one_epoch.csv")
    for bar, row in zip(paper().one_epoch, bars, strict=True):
        assert (bar.machine, bar.host) == (row["machine"], row["host"])
        for value, key in ((bar.seconds, "seconds_per_epoch_1"), (bar.low, "low")):
            assert value == (float(row[key]) if row[key] else None)
        assert bar.high == (float(row["high"]) if row["high"] else None)
    greene = rows_of(folder / "greene_seconds_per_epoch.csv")
    assert [tuple(map(int, row.values())) for row in greene] == list(paper().greene)
    totals = rows_of(folder / "rivanna_total_seconds.csv")
    assert [(r.device, r.epochs_run, r.times["training"]) for r in paper().totals] == [
        (row["gpu"], int(row["epochs"]), float(row["total_seconds"])) for row in totals
    ]


def test_curves_agree_with_table_4():
    """They were read apart: the last training accuracy is the table's, and so is their length."""
    for run in paper().runs:
        assert run.history["accuracy"][-1] == pytest.approx(run.accuracy, abs=6e-5)
        assert {len(curve) for curve in run.history.values()} == {run.epochs_run}


def test_what_is_read_from_the_curves():
    """Figures that stand in the description of the published data, each found independently."""
    runs = paper().runs
    assert [best_epoch(run) for run in runs] == [177, 122, 137, 184, 158]
    assert [run.val_loss for run in runs] == [0.2538, 0.2387, 0.2550, 0.2549, 0.2528]
    best = [max(run.history["val_accuracy"]) for run in runs]
    assert best == [0.8923, 0.8978, 0.8924, 0.8915, 0.8936]
    reached = [[epochs_to(run, level) for level in (0.85, 0.87, 0.88, 0.885, 0.89)] for run in runs]
    assert reached == [
        [15, 26, 46, 89, 130],
        [17, 34, 41, 41, 83],
        [17, 30, 41, 58, 106],
        [14, 21, 45, 70, 134],
        [16, 29, 54, 74, 105],
    ]
    assert [epochs_to(run, 0.9) for run in runs] == [None] * 5


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([3.0, 2.0, 1.0], {}),
        ([1.0, 2.0, 2.0], {1: 2, 2: 3}),
        ([2.0, 2.0, 1.0, 1.5, 1.5, 0.5], {1: 2, 2: 5}),
        ([], {}),
    ],
)
def test_early_stopping_replayed(losses, expected):
    assert stop_epochs(losses) == expected


def test_replay_is_that_of_the_training():
    """The same curves through the class that training stops by."""
    for run, patience in itertools.product(paper().runs, (1, 3, 7, 25)):
        stopper = EarlyStopping(EarlyStoppingSettings(patience=patience))
        stopped = None
        for number, loss in enumerate(run.history["val_loss"], 1):
            stopper.update(SimpleNamespace(epoch=number, val_loss=loss))
            if stopper.stop_after(number):
                stopped = number
                break
        assert stop_epochs(run.history["val_loss"]).get(patience) == stopped
