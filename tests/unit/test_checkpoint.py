"""Checkpoints: the newest intact one counts, and damage is reported."""

import io
import json
import os
import re
import zipfile

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


def test_no_flipped_bit_is_believed_or_fatal(run, checkpoints):
    """Also in the headers of arrays, which Python's own parser reads, and of the zip format."""
    path = run.checkpoints / "000003-000000.npz"
    whole = path.read_bytes()
    intact = checkpoints.load().checkpoint
    for position in range(0, len(whole)):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        path.write_bytes(content)
        loaded = checkpoints.load()
        if loaded.damaged:
            assert loaded.checkpoint.state["epoch"] == 2
            assert "\n" not in loaded.damaged[0]
        else:  # The bit says nothing, such as one of a time stamp.
            assert loaded.checkpoint.state == intact.state
            for name in ("variables", "best"):
                pairs = zip(getattr(loaded.checkpoint, name), getattr(intact, name), strict=True)
                assert all(a.dtype == b.dtype and (a == b).all() for a, b in pairs)


def _forged(path, arrays, save=np.savez):
    """Replace a checkpoint by one with other arrays, and without a checksum."""
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files}
    state = json.loads(str(kept["state"]))
    state.pop("sha256", None)
    kept |= _state(json.dumps(state))
    with path.open("wb") as file:
        save(file, **{name: value for name, value in (kept | arrays).items() if value is not None})


def _state(text):
    return {"state": np.array(text)}


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (_state('{"epoch": 3}'), "'step'"),
        (_state('{"epoch": 2, "step": 0}'), "its name and its state differ"),
        (_state('{"epoch": "3", "step": 0}'), "format code"),
        (_state('{"epoch": 3, "step": 0, "seconds": NaN}'), "NaN"),
        (_state('{"epoch": 3, "step": 0, "seconds": 1e400}'), "1e400"),
        (_state("[" * 100_000), "recursion"),
        (_state("[3, 0]"), "pop"),
        ({"state": None}, "'state'"),
        ({"variable_0": None}, "'variable_1'|'variable_0'"),
        ({"variable_7": np.zeros(1)}, "'variable_2'"),
        ({"other": np.zeros(1)}, "not numbered"),
        ({"variable_0": np.full((2, 3), np.nan)}, "NaN or infinite"),
        ({"variable_0": np.array([None, {}])}, "does not hold what its header says"),
    ],
)
def test_a_forged_one_is_not_believed(run, checkpoints, arrays, reason):
    _forged(run.checkpoints / "000003-000000.npz", arrays)
    loaded = checkpoints.load()
    assert loaded.checkpoint.state["epoch"] == 2
    assert re.search(reason, loaded.damaged[0])


def test_neither_a_zip_bomb_nor_a_header_takes_the_memory(run, checkpoints):
    path = run.checkpoints / "000003-000000.npz"
    _forged(path, {"variable_0": np.zeros(10_000_000)}, np.savez_compressed)
    assert "compressed" in checkpoints.load().damaged[0]
    header = io.BytesIO()
    facts = {"descr": "<f8", "fortran_order": False, "shape": (9**9, 1 << 40)}
    np.lib.format.write_array_header_1_0(header, facts)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("variable_0.npy", header.getvalue() + bytes(64))
    assert "does not hold what its header says" in checkpoints.load().damaged[0]


def test_data_exchanged_with_a_right_zip_checksum_is_noticed(run, checkpoints):
    path = run.checkpoints / "000003-000000.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["variable_0"] = arrays["variable_0"] + 1
    with path.open("wb") as file:
        np.savez(file, **arrays)
    assert "checksum" in checkpoints.load().damaged[0]


def test_one_of_an_older_version_has_no_checksum(run, checkpoints):
    _forged(run.checkpoints / "000003-000000.npz", {})
    assert checkpoints.load().checkpoint.state["epoch"] == 3


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), OverflowError("x")])
def test_what_the_run_cannot_use_is_damaged(run, checkpoints, error):
    def check(checkpoint):
        if checkpoint.state["epoch"] == 3:
            raise error

    loaded = checkpoints.load(check)
    assert loaded.checkpoint.state["epoch"] == 2
    assert "x" in loaded.damaged[0]


def test_a_named_pipe_does_not_hold_it_up(run, checkpoints):
    path = run.checkpoints / "000003-000000.npz"
    path.unlink()
    os.mkfifo(path)
    assert "named pipe" in checkpoints.load().damaged[0]
