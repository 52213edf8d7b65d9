"""result.json as a type: strict, atomic, and clear about what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cloudmask.errors import InputError
from cloudmask.record.result import Inference, Result, Training, plain


def test_a_result_comes_back_as_strict_json(tmp_path):
    path = tmp_path / "result.json"
    result = Result(
        status="success",
        experiment={"path": Path("/data"), "seeds": (1, np.int64(2))},
        training=Training(
            epochs_run=3, best_epoch=2, loss=float("nan"), accuracy=np.float32(0.5), seconds=np.inf
        ),
        inference=Inference(accuracy=0.25, scenes=1, accuracy_per_scene={"S3A": np.nan}),
    )
    result.write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    assert json.loads(path.read_text()) == {
        "schema": 1,
        "status": "success",
        "experiment": {"path": "/data", "seeds": [1, 2]},
        "training": {
            "epochs_run": 3,
            "best_epoch": 2,
            "loss": None,
            "accuracy": 0.5,
            "seconds": None,
        },
        "inference": {"accuracy": 0.25, "scenes": 1, "accuracy_per_scene": {"S3A": None}},
    }
    again = Result.read(path)
    assert again.training == result.training and again.inference == result.inference
    assert again.experiment == {"path": "/data", "seeds": [1, 2]}
    assert again.energy is None
    assert plain(np.bool_(True)) is True


def test_what_a_newer_program_adds_is_kept(tmp_path):
    path = tmp_path / "result.json"
    text = {"schema": 1, "status": "success", "system": {"gpu": None, "numpy": "2.1"}}
    path.write_text(json.dumps(text))
    found = Result.read(path)
    path.unlink()
    found.write(path)
    assert json.loads(path.read_text()) == text


def test_an_unknown_section_is_a_fault():
    with pytest.raises(ValidationError, match="trainig"):
        Result(status="success", trainig={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"schema": 1, "status": ', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "holds no JSON object"),
        ('{"status": "success"}', "no 'schema'; this version reads 1"),
        ('{"schema": 2, "status": "success"}', "schema 2; this version reads 1"),
        ('{"schema": 1}', "no 'status'"),
        ('{"schema": 1, "status": "success", "training": 3}', "'training': .* found 3"),
        (
            '{"schema": 1, "status": "success", "training": {"epochs_run": "x", "best_epoch": 1}}',
            "'training.epochs_run': .* found 'x'",
        ),
        ('{"schema": 1, "status": "success", "a\\nb": 3}', r"'a\\nb': .* found 3"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_damaged_result_is_named(tmp_path, text, message):
    path = tmp_path / "result.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        Result.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(InputError, match="only a finished run"):
        Result.read(tmp_path / "result.json")
