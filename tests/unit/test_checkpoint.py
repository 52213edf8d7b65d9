"""Checkpoints: the newest intact one counts, and damage is reported."""

import numpy as np
import pytest

from cloudmask.errors import Fault
from cloudmask.hardware.devices import choose_precision
from cloudmask.record.run_directory import RunDirectory
from cloudmask.train.checkpoint import KEPT, Checkpoint, Checkpoints


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
def test_a_damaged_one_is_reported_and_the_one_before_used(run, checkpoints, damage):
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


@pytest.mark.slow
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
