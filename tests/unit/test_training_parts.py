"""Early stopping and checkpoints."""

import math

import numpy as np
import pytest

from cloudmask.config.settings import EarlyStoppingSettings
from cloudmask.errors import Fault
from cloudmask.hardware.devices import choose_precision
from cloudmask.record.history import Epoch
from cloudmask.record.run_directory import RunDirectory
from cloudmask.train.checkpoint import KEPT, Checkpoint, Checkpoints
from cloudmask.train.early_stopping import EarlyStopping


def epoch_of(number, value):
    """An epoch of which every figure has this value."""
    return Epoch(number, value, value, value, value, seconds=1.0)


def follow(values, **settings):
    """Epoch after which training ends, and the best epoch."""
    early_stopping = EarlyStopping(EarlyStoppingSettings(**settings))
    for epoch, value in enumerate(values, start=1):
        early_stopping.update(epoch_of(epoch, value))
        if early_stopping.stop_after(epoch):
            return epoch, early_stopping.best_epoch
    return None, early_stopping.best_epoch


def test_stops_after_patience_without_improvement():
    assert follow([3, 2, 1, 1, 1, 1], patience=2) == (5, 3)
    assert follow([3, 2, 1, 1, 0.5, 1, 1], patience=2) == (7, 5)
    assert follow([1, 2, 3, 4], patience=9) == (None, 1)
    assert follow([1, 2, 3, 4], patience=1, enabled=False) == (None, 1)


def test_small_changes_do_not_count():
    assert follow([1, 0.95, 0.91, 0.89], patience=3, min_delta=0.1) == (None, 4)
    assert follow([1, 0.95, 0.91, 0.901], patience=3, min_delta=0.1) == (4, 1)


def test_accuracy_is_better_when_larger():
    assert follow([0.7, 0.8, 0.8, 0.75], patience=2, monitor="val_accuracy") == (4, 2)


def test_nan_is_never_best():
    assert follow([math.nan, 2, math.nan, math.nan], patience=2) == (4, 2)
    assert follow([math.nan, math.nan], patience=2) == (2, 0)


def test_restored_stopper_goes_on():
    values = [5, 4, 4.5, 3, 3.5, 3.6, 3.7]
    one = EarlyStopping(EarlyStoppingSettings(patience=3))
    for epoch, value in enumerate(values[:4], 1):
        one.update(epoch_of(epoch, value))
    two = EarlyStopping(EarlyStoppingSettings(patience=3))
    two.restore(one.state())
    for epoch, value in enumerate(values[4:], 5):
        two.update(epoch_of(epoch, value))
    assert (two.best_epoch, two.stop_after(7)) == (4, True)


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


@pytest.fixture
def checkpoints(run):
    kept = Checkpoints(run)
    for epoch in (1, 2, 3):
        state = {"epoch": epoch, "step": 0, "note": "ä"}
        variables = [np.full((2, 3), epoch), np.float32(epoch)]
        kept.save(Checkpoint(state, variables, [np.arange(epoch)]))
    return kept


def test_the_last_two_are_kept_and_the_newest_read(run, checkpoints):
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert names == ["000002-000000.npz", "000003-000000.npz"]
    assert len(names) == KEPT
    loaded = checkpoints.load()
    kept = loaded.checkpoint
    assert kept.state == {"epoch": 3, "step": 0, "note": "ä"}
    np.testing.assert_array_equal(kept.variables[0], np.full((2, 3), 3))
    assert kept.variables[1].shape == ()
    np.testing.assert_array_equal(kept.best[0], [0, 1, 2])
    assert loaded.damaged == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_one_is_told_and_the_one_before_used(run, checkpoints, damage):
    path = run.checkpoints / "000003-000000.npz"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        # A bit of the first array's data: only a checksum can tell.
        content[content.index(np.full((2, 3), 3).tobytes()) + 9] ^= 4
    path.write_bytes({"truncated": content[:-50], "empty": b""}.get(damage, content))
    loaded = checkpoints.load()
    assert loaded.checkpoint.state["epoch"] == 2
    np.testing.assert_array_equal(loaded.checkpoint.variables[0], np.full((2, 3), 2))
    assert len(loaded.damaged) == 1
    assert str(path) in loaded.damaged[0]


def test_only_damaged_ones_are_no_reason_to_begin_again(run, checkpoints):
    for path in run.checkpoints.iterdir():
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(Fault, match="all 2 checkpoints are damaged"):
        checkpoints.load()


def test_without_checkpoints(run):
    assert Checkpoints(run).load() is None


def test_a_continued_run_keeps_its_precision(run):
    """Also on another kind of processor or GPU, where "auto" would choose another."""
    kept = Checkpoints(run)
    assert kept.precision() is None
    for precision in ("float32", "float16"):
        state = {"epoch": 1, "step": 0, "precision": precision}
        kept.save(Checkpoint(state, [np.zeros(2)], None))
        assert kept.precision() == precision
        assert choose_precision("auto", kept.precision()) == precision
    assert choose_precision("bfloat16", kept.precision()) == "bfloat16"
