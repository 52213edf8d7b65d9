"""Croissant descriptions: their records, loaded by the reference library from wherever it runs."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.publication import croissant
from cloudmask.scenes.formats.hdf5 import CLOUD_TRUTH

pytestmark = pytest.mark.slow

SHAPES = {"refs": (4, 5, 6), "bts": (4, 5, 3), "bayes": (4, 5, 1), "summary": (4, 5, 1)}


@pytest.fixture
def root(tmp_path, store_path, monkeypatch):
    """A working directory with `data` (four scenes), `patches.h5` and an empty folder."""
    pytest.importorskip("mlcroissant")
    for part in ("training", "inference"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for number in (1, 2):
            path = tmp_path / "data" / part / f"S3A_{part}_{number}.hdf"
            with h5py.File(path, "w") as file:
                for name, shape in SHAPES.items():
                    file[name] = np.zeros(shape, np.float32)
    shutil.copy(store_path, tmp_path / "patches.h5")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def describe(out, name="clouds"):
    folder = Path("data")
    scenes = sorted(folder.rglob("*.hdf"))
    data = croissant.DataSet(folder, scenes, name, "https://example.org/l", Path("patches.h5"))
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


def described(out="c.json"):
    tree = json.loads(Path(out).read_text())
    return tree, {each["@id"]: each for each in tree["recordSet"]}


def test_scenes_of_unknown_origin_are_not_given_out_as_the_public_ones(root):
    describe("c.json", name="")
    tree, sets = described()
    assert tree["name"] == "data" and "url" not in tree and "citeAs" not in tree
    assert tree["description"].endswith("Origin: 4 scenes of unknown origin.")
    assert {row["scenes/origin"] for row in sets["scenes"]["data"]} == {"unknown"}
    assert sets["patches"]["description"].endswith("of 6 synthetic scenes")


def test_the_origin_is_what_each_file_says_of_itself(root):
    paths = sorted(Path("data").rglob("*.hdf"))
    for path, origin in zip(paths, ("Landsat 8", "Landsat 8", "mine"), strict=False):
        with h5py.File(path, "a") as file:
            file.attrs["origin"] = origin
    with h5py.File(paths[3], "a") as file:
        file[CLOUD_TRUTH] = np.zeros((4, 5, 1), np.uint8)
    describe("c.json")
    tree, sets = described()
    assert "1 synthetic scene" in tree["description"]
    assert "2 scenes of Landsat 8, 1 scene of mine" in tree["description"]
    origins = [row["scenes/origin"] for row in sets["scenes"]["data"]]
    assert origins == ["Landsat 8", "Landsat 8", "mine", "synthetic"]


def test_the_public_data_set_is_named_and_cited(root):
    name = (
        "S3A_SL_1_RBT____20191001T{}_20191001T{}_20191002T100000_0179_050_022_0540_LN2_O_NT_003.hdf"
    )
    for number, path in enumerate(sorted(Path("data").rglob("*.hdf"))):
        path.rename(path.with_name(name.format(f"10000{number}", f"10030{number}")))
    describe("c.json", name="")
    tree, _ = described()
    assert tree["name"] == "cloud_slstr_ds1" and "cloud_slstr_ds1" in tree["citeAs"]
    assert "Origin: 4 scenes of cloud_slstr_ds1." in tree["description"]
