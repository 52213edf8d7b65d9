"""Where data come from: marked in the scene, counted in the store, claimed by a submission."""

import json

import h5py
import numpy as np
import pytest

from cloudmask.errors import InputError
from cloudmask.patches.prepare import PrepareOptions, prepare
from cloudmask.patches.store import PatchStore
from cloudmask.publication.eligibility import DataClaim, _data_problems
from cloudmask.record.described_data import DataDescription, UsedScene, describe
from cloudmask.record.result import Inference
from cloudmask.scenes import dataset, listing, synthetic
from cloudmask.scenes.download import Item, PurePosixPath
from cloudmask.scenes.scene import read_scene

NAME = "S3A_SL_1_RBT____201910{day:02d}T{hour:02d}1233_201910{day:02d}T{hour:02d}1533_{made}"
REST = "0179_046_001_{frame:04d}_LN2_O_NT_003"


def names(count, made="20191103T052055"):
    """Of that many scenes of October 2019."""
    return [
        f"{NAME.format(day=1 + n // 20, hour=n % 20, made=made)}_{REST.format(frame=n)}"
        for n in range(count)
    ]


def scene_file(path, seed=0, **attributes):
    """A scene of 256 x 256 pixels as another program writes it, without the cloud truth."""
    synthetic.write_scene(path, synthetic.make_scene("training", seed, (256, 256), seed=seed))
    with h5py.File(path, "r+") as file:
        del file["truth"]
        del file.attrs["origin"]
        file.attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    ("stem", "attributes", "origin"),
    [
        (names(1)[0], {}, dataset.NAME),
        ("chip", {}, "unknown"),
        ("chip", {"origin": "Landsat 8"}, "Landsat 8"),
        (names(1)[0], {"origin": np.bytes_("simulated by\nme")}, "simulated by\\nme"),
        (names(1)[0], {"origin": "synthetic"}, "synthetic"),
        ("chip", {"origin": "x" * 500}, "x" * 60),
        ("chip", {"origin": 7}, "unknown"),
    ],
)
def test_a_file_says_what_it_holds(tmp_path, stem, attributes, origin):
    path = scene_file(tmp_path / f"{stem}.hdf", **attributes)
    assert read_scene(path).origin.source == origin


def test_synthetic_scenes_are_marked(tmp_path):
    path = tmp_path / "S3A_x.hdf"
    synthetic.write_scene(path, synthetic.make_scene("training", 0, (256, 256), seed=1))
    with h5py.File(path) as file:
        assert file.attrs["origin"] == "synthetic"
    assert read_scene(path).origin.synthetic


@pytest.fixture
def store(tmp_path):
    """Patch store of three scenes of two origins."""
    paths = [scene_file(tmp_path / f"{names(2)[n]}.hdf", seed=n) for n in range(2)]
    paths.append(scene_file(tmp_path / "chip.hdf", seed=2, origin="Landsat 8"))
    prepare(paths, tmp_path / "p.h5", PrepareOptions(), workers=1)
    return tmp_path / "p.h5"


def test_a_store_counts_origins_under_its_checksum(store):
    assert PatchStore(store).origins == {"Landsat 8": 1, dataset.NAME: 2}
    with h5py.File(store, "r+") as file:
        file.attrs["origins"] = json.dumps({dataset.NAME: 3})
    with pytest.raises(InputError, match="checksum does not match"):
        PatchStore(store)
    for damaged in ('{"x": 2}', '{"x": true}', "[3]", "{"):
        with h5py.File(store, "r+") as file:
            file.attrs["origins"] = damaged
        with pytest.raises(InputError, match="damaged"):
            PatchStore(store)


def test_descriptions_are_equal_for_equal_scenes(store):
    opened = PatchStore(store)
    one = describe(opened.used_scenes(), opened.origins)
    two = describe(reversed(opened.used_scenes()), opened.origins)
    assert one == two
    assert (one.scenes, one.months) == (3, {"2019-10": 2})
    assert one.text() == "1 scene of Landsat 8, 2 scenes of cloud_slstr_ds1"
    assert describe(opened.used_scenes()[1:], {}).sha256 != one.sha256


@pytest.mark.parametrize(
    ("origins", "text"),
    [
        ({"synthetic": 12}, "12 synthetic scenes"),
        ({"synthetic": 1}, "1 synthetic scene"),
        ({"SLSTR product": 2}, "2 SLSTR products"),
        ({"unknown": 3}, "3 scenes of unknown origin"),
        ({}, "3 scenes of unknown origin"),
    ],
)
def test_descriptions_read_well(origins, text):
    count = sum(origins.values()) or 3
    assert DataDescription(scenes=count, origins=origins).text() == text


def evaluated(scene_names, origin=dataset.NAME, trained_on=("chip",), **facts):
    """What a result says of these inference scenes."""
    seen = None if trained_on is None else [UsedScene(name) for name in trained_on]
    data = describe(map(UsedScene, scene_names), {origin: len(scene_names)}, seen)
    facts = {"scenes": len(scene_names), "truth": "bayes"} | facts
    per_scene = dict.fromkeys(scene_names, 0.9)
    return Inference(accuracy=0.9, data=data, accuracy_per_scene=per_scene, **facts)


def test_the_public_data_set_is_claimed_for_its_hundred_scenes_alone(tmp_path):
    public = evaluated(names(100))
    assert _data_problems(public, DataClaim()) == []
    for inference, words in (
        (evaluated(names(3), "synthetic"), "evaluated 3 synthetic scenes, not the data set"),
        (evaluated(names(99)), "evaluated 99 scenes (99 of 2019-10), not the 100 of 2019-10"),
        (
            evaluated([name.replace("T0", "T9") for name in names(100)]),
            "evaluated 100 scenes (50 of 2019-10), not",
        ),
        (evaluated(names(100), trained_on=None), "does not say whether the training saw"),
        (
            # Another processing of the same piece of the swath.
            evaluated(names(100), trained_on=names(2, made="20250101T000000")),
            "its training saw 2 of the 100 inference scenes",
        ),
        (evaluated(names(100), truth="summary"), "100 of 100 scenes by the label source summary"),
        (evaluated(names(100), scenes=1, unlabeled_scenes=99), "judged 1 of 100 scenes"),
        (Inference(accuracy=0.9, scenes=100), "does not say which scenes were evaluated"),
    ):
        (problem,) = _data_problems(inference, DataClaim())
        assert words in problem
    assert _data_problems(evaluated(names(3), "synthetic"), DataClaim("three made up")) == []
    (problem,) = _data_problems(evaluated(names(3), "synthetic"), DataClaim("cloud_slstr_ds1"))
    assert "--other-data names cloud_slstr_ds1, but its result has 3 synthetic" in problem
    (problem,) = _data_problems(
        evaluated(names(3), "synthetic", trained_on=names(1)), DataClaim("three made up")
    )
    assert "its training saw 1 of the 3" in problem


def test_the_list_of_the_download_decides_about_names(tmp_path):
    every = [*names(100), "S3A_other"]
    items = [Item(f"k/{n}", PurePosixPath("inference", f"{n}.hdf"), 1, "e") for n in every]
    training = Item("k/t", PurePosixPath("training/t.hdf"), 1, "e")
    listing.write(tmp_path, [*items[:100], training])
    path = tmp_path / listing.NAME
    assert listing.inference_scenes(path) == set(names(100))
    claim = DataClaim(scene_list=path)
    assert _data_problems(evaluated(names(100)), claim) == []
    listing.write(tmp_path, [*items[1:], training])
    (problem,) = _data_problems(evaluated(names(100)), claim)
    assert "2 scenes evaluated and not among the inference scenes" in problem
    path.write_text("name\nx\n")
    with pytest.raises(InputError, match="no list of scenes"):
        listing.inference_scenes(path)
