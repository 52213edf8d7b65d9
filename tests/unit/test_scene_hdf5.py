"""Scenes in the published HDF5 layout, value by value, and damaged ones."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.errors import message

from cloudmask import scenes
from cloudmask.errors import InputError, SceneError
from cloudmask.patches.prepare import PrepareOptions, prepare
from cloudmask.scenes.raw import ReadOptions

H, W = 4, 6


def hdf5_arrays() -> dict[str, np.ndarray]:
    return {
        "refs": np.full((H, W, 6), 0.75, np.float32),
        "bts": np.full((H, W, 3), 281, np.float32),
        "bayes": np.zeros((H, W, 1), np.uint8),
        "summary": np.zeros((H, W, 1), np.uint8),
    }


def write_hdf5(path: Path, **changes) -> Path:
    """A good scene with some data sets replaced, or left out (None)."""
    with h5py.File(path, "w") as file:
        for name, value in {**hdf5_arrays(), **changes}.items():
            if value is not None:
                file[name] = value
    return path


def test_normalisation_and_order_of_channels(tmp_path):
    refs = hdf5_arrays()["refs"] + np.arange(6, dtype=np.float32) / 8
    bts = hdf5_arrays()["bts"] + 11 * np.arange(3, dtype=np.float32)
    scene = scenes.read_scene(write_hdf5(tmp_path / "S3A_one.hdf", refs=refs, bts=bts))
    assert scene.name == "S3A_one"
    assert scene.image.dtype == np.float32 and scene.image.shape == (H, W, 9)
    assert scene.image[2, 3].tolist() == [0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.5, 1.0, 1.5]
    assert scene.valid.all() and scene.valid.shape == (H, W, 1) and scene.invalid_pixels == 0
    assert scene.channels.all() and scene.notes == ()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int16", "uint8"])
def test_types_of_the_files_do_not_matter(tmp_path, dtype):
    refs = np.ones((H, W, 6), dtype)
    bayes = np.full((H, W, 1), 2, dtype)
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", refs=refs, bayes=bayes))
    assert (scene.image[..., :6] == 0.5).all()
    assert scene.mask.dtype == np.uint8 and scene.mask.all()


def test_a_scene_without_labels_is_read_and_not_learned_from(tmp_path):
    fill = np.full((H, W, 1), 255, np.uint8)
    for bayes in (None, fill, fill.view(np.int8), fill.astype(np.float64)):
        path = write_hdf5(tmp_path / "s.hdf", bayes=bayes)
        scene = scenes.read_scene(path)
        assert scene.mask is None and scene.valid.all() and str(path) in scene.unlabeled
        assert scenes.read_scene(path, labels=None).mask is None
        assert not scenes.read_scene(path, labels="summary").mask.any()
        path.unlink()


def test_fill_of_the_flags_is_no_label(tmp_path):
    """But it takes nothing from the image."""
    bayes = np.zeros((H, W, 1), np.uint8)
    bayes[1, 1], bayes[2, 2] = 255, 2
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", bayes=bayes))
    assert np.argwhere(scene.mask[..., 0]).tolist() == [[2, 2]]
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[1, 1]]
    assert scene.measured.all()
    assert (scene.image[1, 1] == scene.image[0, 0]).all()


def test_night_is_a_pixel_without_any_reflectance(tmp_path):
    refs, bts = hdf5_arrays()["refs"], hdf5_arrays()["bts"]
    refs[0], refs[1, :, 2], bts[0, 0, 1] = np.nan, np.nan, np.nan
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", refs=refs, bts=bts))
    assert scene.measured[..., 0].tolist() == [[False] + [True] * 5, [False] * 6, *[[True] * 6] * 2]
    assert (scene.image[0, 1:, :6] == -0.5).all() and (scene.image[0, 0] == 0).all()
    assert (scene.image[0, 1:, 6:] == 0.5).all()
    assert "no light in 20.8%" in scene.notes[0]
    night = scenes.read_scene(write_hdf5(tmp_path / "n.hdf", refs=refs * np.nan))
    assert night.measured.all() and (night.image[..., :6] == -0.5).all()


def test_a_missing_channel_is_zero_if_that_is_wanted(tmp_path):
    changes = {"refs": hdf5_arrays()["refs"] * [1, np.nan, 1, 1, 1, 1]}
    changes["bts"] = hdf5_arrays()["bts"] * [1, 1, np.nan]
    path = write_hdf5(tmp_path / "s.hdf", **changes)
    scene = scenes.read_scene(path, options=ReadOptions(missing_channels="zero"))
    assert np.flatnonzero(~scene.channels).tolist() == [1, 8]
    assert scene.measured.all() and scene.notes == (
        "no measurement in S2, S9: reflectance 0, or 270 K, there",
    )
    assert (scene.image[..., 1] == -0.5).all() and (scene.image[..., 8] == 0).all()


def test_a_channel_of_fill_is_missing_if_that_is_wanted(tmp_path):
    bts = hdf5_arrays()["bts"] * [1, 0, 1] + [0, -32768, 0]
    path = write_hdf5(tmp_path / "s.hdf", bts=bts)
    assert "channel S8 holds no measurement" in message(scenes.read_scene, path)
    scene = scenes.read_scene(path, options=ReadOptions(missing_channels="zero"))
    assert scene.measured.all() and not scene.channels[7]


def test_filling_gaps_invents_no_labels(tmp_path):
    refs, bayes = hdf5_arrays()["refs"], hdf5_arrays()["bayes"]
    refs[0, 0, 5], bayes[1, 1] = np.nan, 255
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", refs=refs, bayes=bayes), nan="fill")
    assert scene.measured.all()
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"refs": hdf5_arrays()["refs"] * 60}, "S1 to S6 look like percent or radiance (99 % are"),
        ({"refs": hdf5_arrays()["refs"] * 8}, "S1 to S6 look like percent"),
        ({"refs": hdf5_arrays()["refs"] * 10_000}, "look like reflectance times 10,000"),
        ({"bts": hdf5_arrays()["bts"] - 273.15}, "S7 looks like degrees Celsius (median 7.85)"),
        ({"bts": hdf5_arrays()["bts"] - [0, 0, 273.15]}, "S9 looks like degrees Celsius"),
        ({"bts": hdf5_arrays()["bts"] * 100}, "S7 looks like kelvin times 100"),
    ],
)
def test_other_units_are_named(tmp_path, changes, words):
    path = write_hdf5(tmp_path / "s.hdf", **changes)
    said = message(scenes.read_scene, path)
    assert said.startswith(f"{path}: ") and words in said and "; expected" in said
    big = write_scene_of_256(tmp_path / "big.hdf", **changes)
    with pytest.raises(SceneError, match=r"looks? like"):
        prepare([big], tmp_path / "p.h5", PrepareOptions(), workers=1)


def write_scene_of_256(path: Path, **changes) -> Path:
    """The same large enough for a patch."""
    arrays = {**hdf5_arrays(), **changes}
    return write_hdf5(path, **{k: np.tile(v, (64, 43, 1)) for k, v in arrays.items()})


def test_a_patch_store_is_no_scene(tmp_path):
    scene = write_scene_of_256(tmp_path / "s.hdf")
    store = tmp_path / "patches.h5"
    prepare([scene], store, PrepareOptions(), workers=1)
    assert "is a patch store" in message(scenes.read_scene, store)
    again = prepare([scene, store], store, PrepareOptions(), workers=1)
    assert again.scenes == 1 and "is a patch store" in again.notes[0]
    with pytest.raises(InputError, match=r"no scene can be used; .*is a patch store"):
        prepare([store], tmp_path / "q.h5", PrepareOptions(), workers=1)


def test_every_bayes_bit_is_cloud_and_summary_is_its_own_truth(tmp_path):
    bayes = np.zeros((H, W, 1), np.uint8)
    bayes[0, :5, 0] = (1, 2, 4, 8, 3)
    summary = np.zeros((H, W, 1), np.uint8)
    summary[3, 5] = 1
    path = write_hdf5(tmp_path / "s.hdf", bayes=bayes, summary=summary)
    assert np.array_equal(scenes.read_scene(path).mask, (bayes > 0).astype(np.uint8))
    assert np.array_equal(scenes.read_scene(path, labels="summary").mask, summary)


def test_pixels_without_a_flag_are_not_valid(tmp_path):
    bayes = np.zeros((H, W, 1), np.float32)
    bayes[0, 0], bayes[0, 1] = np.nan, -1
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", bayes=bayes))
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[0, 0], [0, 1]]
    assert not scene.mask.any()


def test_reflectances_of_500_m_are_averaged(tmp_path):
    refs = np.full((2 * H, 2 * W, 6), 0.5, np.float32)
    refs[0:2, 0:2, 0] = [[0, 0.25], [0.5, 1.25]]
    refs[2:4, 2:4, 1] = [[np.nan, 0.25], [0.75, np.nan]]
    refs[6:8, 10:12, 2] = np.nan
    path = write_hdf5(tmp_path / "s.hdf", refs=refs)
    scene = scenes.read_scene(path)
    assert scenes.check_scene(path) == (H, W)
    assert scene.image[0, 0, 0] == 0.0
    assert scene.image[1, 1, 1] == 0.0
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[3, 5]]
    assert "2 x 2" in scene.notes[0]


def test_nan_policies(tmp_path):
    refs, bts = hdf5_arrays()["refs"], hdf5_arrays()["bts"]
    refs[0, 0, 5], bts[1, 2, 0] = np.nan, np.inf
    path = write_hdf5(tmp_path / "s.hdf", refs=refs, bts=bts)
    ignored, filled = scenes.read_scene(path), scenes.read_scene(path, nan="fill")
    assert np.argwhere(~ignored.valid[..., 0]).tolist() == [[0, 0], [1, 2]]
    assert ignored.invalid_pixels == 2 and filled.invalid_pixels == 0
    assert (ignored.image[0, 0] == 0).all() and (ignored.image[1, 2] == 0).all()
    # What was measured stays.
    assert filled.image[0, 0].tolist() == [0.25] * 5 + [0, 0.5, 0.5, 0.5]
    assert filled.image[1, 2].tolist() == [0.25] * 6 + [0, 0.5, 0.5]
    assert filled.measured.all() and np.argwhere(~ignored.measured[..., 0]).tolist() == [
        [0, 0],
        [1, 2],
    ]
    said = message(scenes.read_scene, path, nan="error")
    assert str(path) in said and f"2 of {H * W} pixels" in said


@pytest.mark.parametrize(
    "name, value", [("refs", -999), ("refs", 32768), ("bts", 0), ("bts", -32768), ("bts", 9999)]
)
def test_what_cannot_be_a_measurement_is_fill(tmp_path, name, value):
    array = hdf5_arrays()[name]
    array[2, 2, 1] = value
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", **{name: array}))
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[2, 2]]
    assert (scene.image[2, 2] == 0).all()


def test_zeros_of_the_night_are_measurements(tmp_path):
    scene = scenes.read_scene(write_hdf5(tmp_path / "s.hdf", refs=np.zeros((H, W, 6), np.float32)))
    assert scene.valid.all()
    assert (scene.image[..., :6] == -0.5).all()


def test_true_field_of_synthetic_scenes(tmp_path):
    truth = np.eye(H, W, dtype=np.uint8)[..., None]
    path = write_hdf5(tmp_path / "s.hdf", truth=truth)
    assert np.array_equal(scenes.read_scene(path).cloud_truth, truth)
    assert scenes.read_scene(write_hdf5(tmp_path / "t.hdf")).cloud_truth is None


ONES = np.ones((H, W, 1), np.float32)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"refs": None}, "no data set 'refs'"),
        ({"bts": None}, "no data set 'bts'"),
        ({"refs": np.ones((H, W, 5))}, "'refs' has shape (4, 6, 5); expected (H, W, 6)"),
        ({"bts": np.ones((H, W))}, "'bts' has shape (4, 6); expected (H, W, 3)"),
        ({"refs": np.ones((H, W + 1, 6))}, "expected (4, 6, 6) or (8, 12, 6)"),
        ({"bayes": np.ones((2 * H, 2 * W, 1))}, "expected (4, 6, 1)"),
        ({"bts": np.ones((0, 0, 3))}, "0 x 0 pixels"),
        ({"bts": 7.0}, "'bts' has shape ()"),
        ({"bts": h5py.Empty("f4")}, "'bts' has shape None"),
        ({"refs": np.full((H, W, 6), b"0.5")}, "expected numbers"),
        ({"refs": np.ones((H, W, 6), complex)}, "expected numbers"),
        ({"bts": np.array([[["warm"] * 3]], h5py.string_dtype())}, "expected numbers"),
        ({"refs": hdf5_arrays()["refs"] * [1, np.nan, 1, 1, 1, 1]}, "channel S2 holds no"),
        ({"bts": hdf5_arrays()["bts"] * [1, 0, 1]}, "channel S8 holds no measurement"),
        ({"truth": np.ones((H, 1, 1))}, "'truth' has shape (4, 1, 1)"),
        (
            {"bts": h5py.SoftLink("/nowhere")},
            "'bts' is a soft link; expected its values in this file",
        ),
    ],
)
def test_faults_are_named_in_one_line(tmp_path, changes, words):
    path = write_hdf5(tmp_path / "s.hdf", **changes)
    said = message(scenes.read_scene, path)
    assert said.startswith(f"{path}: ") and words in said


@pytest.mark.parametrize("name", ["refs", "bts", "bayes", "truth"])
def test_group_instead_of_data_set(tmp_path, name):
    path = write_hdf5(tmp_path / "s.hdf", **{name: None})
    with h5py.File(path, "r+") as file:
        file.create_group(name)
    assert f"{path}: no data set '{name}'" in message(scenes.read_scene, path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 96, 0.3, 0.7, -1])
def test_truncated_file(tmp_path, length):
    path = write_hdf5(tmp_path / "s.hdf")
    size = path.stat().st_size
    os.truncate(
        path, size + length if length < 0 else int(length if length >= 1 else length * size)
    )
    for call in (scenes.read_scene, scenes.check_scene):
        assert f"{path}: not a readable HDF5 file" in message(call, path)


def test_damaged_content(tmp_path):
    path = write_hdf5(tmp_path / "s.hdf", bts=None)
    with h5py.File(path, "r+") as file:
        file.create_dataset("bts", data=hdf5_arrays()["bts"], chunks=(H, W, 3), fletcher32=True)
        offset = file["bts"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xff\xff")
    said = message(scenes.read_scene, path)
    assert f"{path}: 'bts' cannot be read" in said and "damaged" in said


def test_damaged_bytes_end_in_one_line_or_do_no_harm(tmp_path):
    path = write_hdf5(tmp_path / "s.hdf")
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            scenes.read_scene(path)
        except SceneError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_not_hdf5(tmp_path):
    (tmp_path / "s.hdf").write_text("<html>503 Service Unavailable</html>")
    assert "not a readable HDF5 file" in message(scenes.read_scene, tmp_path / "s.hdf")
    assert "cannot be opened (No such file" in message(scenes.read_scene, tmp_path / "missing.hdf")


@pytest.mark.parametrize("shape", [(10**9, 1500, 3), (6001, 6, 3), (4, 10**12, 3)])
def test_huge_declared_size_is_refused_before_anything_is_allocated(tmp_path, shape):
    path = write_hdf5(tmp_path / "s.hdf", bts=None)
    with h5py.File(path, "r+") as file:
        file.create_dataset("bts", shape, "f4", chunks=(1, 6, 3))
    for call in (scenes.read_scene, scenes.check_scene):
        said = message(call, path)
        assert "pixels; expected 1200 x 1500" in said or "'bts' would take" in said
