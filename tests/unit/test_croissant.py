"""Croissant descriptions: their records, loaded by the reference library from wherever it runs."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.publication import croissant

pytestmark = pytest.mark.slow

SHAPES = {"refs": (4, 5, 6), "bts": (4, 5, 3), "bayes": (4, 5, 1), "summary": (4, 5, 1)}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A working directory with `data` (four scenes), `patches.h5` and an empty folder."""
    pytest.importorskip("mlcroissant")
    for part in ("training", "inference"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for number in (1, 2):
            path = tmp_path / "data" / part / f"S3A_{part}_{number}.hdf"
            with h5py.File(path, "w") as file:
                for name, shape in SHAPES.items():
                    file[name] = np.zeros(shape, np.float32)
    with h5py.File(tmp_path / "patches.h5", "w") as file:
        file["patches"] = np.zeros((2, 8, 8, 9), np.float16)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def describe(out):
    folder = Path("data")
    scenes = sorted(folder.rglob("*.hdf"))
    data = croissant.DataSet(folder, scenes, "clouds", "https://example.org/l", Path("patches.h5"))
    croissant.describe(data, Path(out))


@pytest.mark.parametrize("out", ["data/croissant.json", "elsewhere/croissant.json", "c.json"])
def test_records_load_from_every_working_directory(root, monkeypatch, out):
    import mlcroissant

    describe(out)
    for folder in (root, root / "elsewhere", Path("/")):
        monkeypatch.chdir(folder)
        dataset = mlcroissant.Dataset(os.path.relpath(root / out))
        names = sorted(record["files/name"] for record in dataset.records("files"))
        assert [os.fsdecode(name) for name in names] == [
            f"S3A_{part}_{number}.hdf" for part in ("inference", "training") for number in (1, 2)
        ]
        assert len(list(dataset.records("scenes"))) == 4
        assert len(list(dataset.records("bands"))) == 9


def test_every_file_is_where_its_address_says(root):
    describe("elsewhere/croissant.json")
    described = json.loads(Path("elsewhere/croissant.json").read_text())["distribution"]
    addresses = [each["contentUrl"] for each in described if "contentUrl" in each]
    assert len(addresses) == 5
    assert all((root / "elsewhere" / address).is_file() for address in addresses)
