"""result.json: strict, atomic, and clear about what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from cloudmask.errors import InputError
from cloudmask.record.result import finished, plain, read_result, write_result
from cloudmask.system.files import whole_lines


def test_result_comes_back_as_strict_json(tmp_path):
    result = {
        "status": "success",
        "experiment": {"path": Path("/data"), "seeds": (1, np.int64(2))},
        "training": {"loss": float("nan"), "accuracy": np.float32(0.5), "best": np.inf},
        "inference": {"accuracy_per_scene": {"S3A": np.array([0.25, np.nan])}},
    }
    assert not finished(tmp_path)
    write_result(tmp_path, result)
    assert finished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    expected = {
        "schema": 1,
        "status": "success",
        "experiment": {"path": "/data", "seeds": [1, 2]},
        "training": {"loss": None, "accuracy": 0.5, "best": None},
        "inference": {"accuracy_per_scene": {"S3A": [0.25, None]}},
    }
    assert read_result(tmp_path) == read_result(tmp_path / "result.json") == expected
    assert plain(np.bool_(True)) is True


@pytest.mark.parametrize("result", [{}, {"status": "success", "trainig": {}}])
def test_incomplete_result_is_a_fault(tmp_path, result):
    with pytest.raises(ValueError, match="status"):
        write_result(tmp_path, result)
    assert not finished(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged"),
        ('{"schema": 1, "status": ', "damaged"),
        ("[1]", "holds a list"),
        ('{"status": "success"}', "schema None"),
        ('{"schema": 2, "status": "success"}', "schema 2; this version reads 1"),
        ('{"schema": 1}', "'status' is None"),
        ('{"schema": 1, "status": "success", "training": 3}', "'training' is a int"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_damaged_result_is_named(tmp_path, text, message):
    path = tmp_path / "result.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_result(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_result_is_named(tmp_path):
    with pytest.raises(InputError, match="only a finished run"):
        read_result(tmp_path)


def test_failed_write_leaves_the_old_result(tmp_path):
    write_result(tmp_path, {"status": "success"})
    with pytest.raises(ValueError):
        write_result(tmp_path, {"status": "success", "wrong": {}})
    assert json.loads((tmp_path / "result.json").read_text()) == {"schema": 1, "status": "success"}


def test_half_a_line_is_cut_off(tmp_path):
    path = tmp_path / "log"
    assert whole_lines(path) == []
    path.write_text("one\ntwo\nthr")
    assert whole_lines(path) == ["one", "two"]
    assert path.read_text() == "one\ntwo\n"
    path.write_text("o")
    assert whole_lines(path) == []
    assert path.read_text() == ""
