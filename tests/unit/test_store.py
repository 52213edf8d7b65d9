"""Preparing scenes into a patch store, and reading it."""

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from cloudmask.errors import Fault, InputError, SceneError
from cloudmask.patches.extraction import to_half
from cloudmask.patches.geometry import crop_patches
from cloudmask.patches.prepare import PrepareOptions, prepare
from cloudmask.patches.store import CLOUD, FLOAT16_RELATIVE_ERROR, INVALID, PatchStore
from cloudmask.patches.store_writer import StoreWriter
from cloudmask.patches.verification import verify
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.scene import read_scene
from cloudmask.system.reading import HDF5_SIGNATURE


@pytest.fixture
def paths(scenes):
    return find_scenes([scenes / "training"])


def test_a_store_tells_the_options_that_made_it(paths, store_path, tmp_path):
    assert PatchStore(store_path).prepared == {
        "dtype": "float16",
        "labels": "bayes",
        "nan": "ignore",
        "missing_channels": "error",
        "cosmetic": "use",
        "calibration": "003",
    }
    options = PrepareOptions("float32", "summary", "fill", "zero", "ignore", "005")
    prepare(paths[:2], tmp_path / "p.h5", options, workers=1)
    assert PatchStore(tmp_path / "p.h5").prepared == dataclasses.asdict(options)


def test_rows_are_the_scenes_patches(paths, store_path):
    store = PatchStore(store_path)
    assert store.patches.dtype == np.float16
    assert store.names == [path.stem for path in paths]
    for path, row in zip(paths, store.scenes, strict=True):
        scene = read_scene(path)
        rows = slice(row["first"], row["first"] + row["count"])
        expected = crop_patches(scene.image)
        error = np.abs(store.patches[rows].astype(np.float32) - expected)
        assert (error <= np.maximum(np.abs(expected) * FLOAT16_RELATIVE_ERROR, 2**-25)).all()
        labels = store.labels[rows][..., None]
        np.testing.assert_array_equal(labels & CLOUD, crop_patches(scene.mask))
        np.testing.assert_array_equal((labels & INVALID) == 0, crop_patches(scene.valid))


def test_how_a_scene_is_stored_changes_nothing(paths, tmp_path):
    """Numbers in one piece are taken from the file's bytes, others are read by HDF5."""
    other = tmp_path / "other" / paths[0].name
    other.parent.mkdir()
    with h5py.File(paths[0]) as source, h5py.File(other, "w") as copy:
        for name, data in source.items():
            wider = data.dtype if data.dtype == np.uint8 else np.float64
            copy.create_dataset(name, data=data[...].astype(wider), compression="gzip")
    stores = []
    for path in (paths[0], other):
        prepare([path], tmp_path / "p.h5", PrepareOptions(), workers=1)
        stores.append(PatchStore(tmp_path / "p.h5"))
    one, two = stores
    np.testing.assert_array_equal(one.patches, two.patches)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.statistics, two.statistics)
    for store, path in zip(stores, (paths[0], other), strict=True):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert store.scenes["sha256"].tolist() == [digest.encode()]


def test_values_are_rounded_to_the_nearest_half():
    bits = np.arange(0x7BFF, dtype=np.uint16)
    half = np.concatenate([bits, bits | 0x8000]).view(np.float16)
    exact = half.astype(np.float32)
    out = np.empty_like(half)
    to_half(out, exact)
    np.testing.assert_array_equal(out.view(np.uint16), half.view(np.uint16))
    # Between two neighbours: the nearer one.
    middle = (exact[1 : len(bits)] + exact[: len(bits) - 1]) / 2
    for sign in (1, -1):
        for factor, nearest in (
            (1 - 2e-7, exact[: len(bits) - 1]),
            (1 + 2e-7, exact[1 : len(bits)]),
        ):
            values = sign * middle * np.float32(factor)
            out = np.empty(values.shape, np.float16)
            to_half(out, values)
            normal = middle > 2.0**-14
            np.testing.assert_array_equal(out[normal], sign * nearest[normal])


def test_statistics_are_those_of_valid_pixels(paths, tmp_path):
    prepare(paths, tmp_path / "p.h5", PrepareOptions("float32"), workers=2)
    store = PatchStore(tmp_path / "p.h5")
    values = store.patches[store.labels < INVALID].astype(np.float64)
    expected = [values.min(0), values.max(0), values.mean(0), values.std(0)]
    np.testing.assert_allclose(store.statistics, expected, rtol=1e-5, atol=1e-6)
    assert store.scenes["invalid_pixels"].sum() == (store.labels >= INVALID).sum()
    assert store.scenes["cloud_pixels"].sum() == (store.labels == CLOUD).sum()


def test_split_is_the_published_one(store_path):
    store = PatchStore(store_path)
    for share, seed in ((0.8, 42), (0.5, 1), (0.34, 7)):
        split = store.split(share, seed)
        training, validation = train_test_split(
            np.arange(len(store.scenes)), train_size=share, random_state=seed
        )
        np.testing.assert_array_equal(split.training, store.rows(training))
        np.testing.assert_array_equal(split.validation, store.rows(validation))
        assert not set(split.training) & set(split.validation)


def test_split_by_patch(store_path):
    store = PatchStore(store_path)
    split = store.split(0.75, 42, "patch")
    training, validation = train_test_split(np.arange(24), train_size=0.75, random_state=42)
    np.testing.assert_array_equal(split.training, np.sort(training))
    np.testing.assert_array_equal(split.validation, np.sort(validation))
    assert split.validation_scenes == len(set(validation // 4))


def test_number_of_workers_changes_nothing(paths, store_path, tmp_path):
    prepare(paths, tmp_path / "p.h5", PrepareOptions(), workers=1)
    one, two = PatchStore(store_path), PatchStore(tmp_path / "p.h5")
    np.testing.assert_array_equal(one.patches, two.patches)
    np.testing.assert_array_equal(one.scenes, two.scenes)
    assert one.checksum == two.checksum


def test_a_bad_scene_stops_before_anything_is_written(paths, tmp_path):
    bad = tmp_path / "S3A_bad.hdf"
    bad.write_bytes(paths[0].read_bytes()[:-1000])
    with pytest.raises(SceneError, match=r"S3A_bad.hdf"):
        prepare([*paths, bad], tmp_path / "p.h5", PrepareOptions(), workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["S3A_bad.hdf"]


def test_bad_scenes_are_left_out_and_listed(paths, tmp_path):
    truncated = tmp_path / "S3A_truncated.hdf"
    truncated.write_bytes(paths[0].read_bytes()[:-1000])
    # This one only shows when it is read: its place in the store stays unused.
    empty = tmp_path / "S3A_a_empty.hdf"
    shutil.copy(paths[0], empty)
    with h5py.File(empty, "r+") as file:
        file["bts"][..., 1] = np.nan
    summary = prepare(
        [empty, *paths, truncated], tmp_path / "p.h5", PrepareOptions(), workers=2, skip_bad=True
    )
    assert summary.scenes == 6
    assert sorted(line.split(":")[0] for line in summary.bad) == [str(empty), str(truncated)]
    store = PatchStore(tmp_path / "p.h5")
    assert store.names == [path.stem for path in paths]
    whole = store.rows(np.arange(6))
    np.testing.assert_array_equal(whole, np.arange(4, 28))


def test_continues_where_it_was_cut_off(paths, store_path, tmp_path, monkeypatch):
    out = tmp_path / "p.h5"
    bad = paths[-1].parent / "zz_bad.hdf"
    shutil.copy(paths[0], bad)
    # As if the bad scene were the same file later.
    monkeypatch.setattr("cloudmask.patches.prepare._fingerprint", lambda task: str(task.path))
    try:
        with h5py.File(bad, "r+") as file:
            file["bts"][..., 1] = np.nan
        with pytest.raises(SceneError, match="S8 holds no measurement"):
            prepare([*paths, bad], out, PrepareOptions(), workers=1)
        assert not out.exists()
        journal = tmp_path / ".p.h5.journal"
        assert len(journal.read_text().splitlines()) == 6
        with journal.open("a") as file:
            file.write('{"scene": "half a li')  # what a kill leaves
        with h5py.File(bad, "r+") as file:
            file["bts"][..., 1] = 280
        assert prepare([*paths, bad], out, PrepareOptions(), workers=1).resumed == 6
    finally:
        bad.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]
    np.testing.assert_array_equal(PatchStore(out).patches[:24], PatchStore(store_path).patches)


def test_other_options_start_afresh(paths, tmp_path):
    out = tmp_path / "p.h5"
    prepare(paths, out, PrepareOptions(), workers=2)
    journal = tmp_path / ".p.h5.journal"
    journal.write_text('{"options": {}, "scenes": []}\n')
    shutil.copy(out, tmp_path / ".p.h5.partial")
    assert prepare(paths, out, PrepareOptions("float32"), workers=2).resumed == 0
    assert PatchStore(out).patches.dtype == np.float32


def test_a_damaged_partial_store_is_begun_anew(paths, tmp_path):
    out = tmp_path / "p.h5"
    (tmp_path / ".p.h5.partial").write_bytes(b"damaged")
    (tmp_path / ".p.h5.journal").write_text("damaged")
    assert prepare(paths, out, PrepareOptions(), workers=2).resumed == 0
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]


def test_what_is_no_store_or_write_protected_is_not_replaced(paths, tmp_path):
    out = tmp_path / "p.h5"
    for content in (b"a thesis", b"", paths[0].read_bytes()):
        out.write_bytes(content)
        with pytest.raises(InputError, match=r"p\.h5: is not a patch store"):
            prepare(paths, out, PrepareOptions(), workers=1)
        assert out.read_bytes() == content
    out.unlink()
    prepare(paths, out, PrepareOptions(), workers=1)
    out.chmod(0o444)  # As a copy taken out of an overlay is.
    with pytest.raises(InputError, match=r"p\.h5: is write-protected"):
        prepare(paths, out, PrepareOptions("float32"), workers=1)
    assert PatchStore(out).patches.dtype == np.float16
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]


def test_a_damaged_store_is_made_again(paths, tmp_path):
    out = tmp_path / "p.h5"
    out.write_bytes(HDF5_SIGNATURE + bytes(99))
    prepare(paths, out, PrepareOptions(), workers=1)
    PatchStore(out)


def test_a_scene_is_never_overwritten(paths):
    before = paths[0].read_bytes()
    with pytest.raises(InputError, match="is one of the scenes"):
        prepare(paths, paths[0], PrepareOptions(), workers=1)
    assert paths[0].read_bytes() == before


def test_scenes_without_any_measurement_are_refused(paths, tmp_path):
    scene = tmp_path / "S3A_fill.hdf"
    shutil.copy(paths[0], scene)
    with h5py.File(scene, "r+") as file:
        file["bts"][:, :250, 1] = np.nan
        file["bts"][:, 250:, 2] = np.nan
    with pytest.raises(InputError, match="no pixel of any scene holds a measurement"):
        prepare([scene], tmp_path / "p.h5", PrepareOptions(), workers=1)


def test_too_little_space_is_told_beforehand(paths, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"needs 0.03 GB, 0.00 GB are free"):
        prepare(paths, tmp_path / "p.h5", PrepareOptions(), workers=1)
    assert not list(tmp_path.iterdir())


def changed(store_path, tmp_path, change):
    """A copy of a store with the bytes of a row changed in place, its checksums left."""
    path = tmp_path / "p.h5"
    shutil.copy(store_path, path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def flip(name):
    def change(file):
        with Path(file.filename).open("r+b") as raw:
            raw.seek(file[name].id.get_offset() + 9 * file[name][0].nbytes + 12_345)
            byte = raw.read(1)[0]
            raw.seek(-1, os.SEEK_CUR)
            raw.write(bytes([byte ^ 1]))

    return change


@pytest.mark.parametrize("name", ["patches", "labels"])
def test_one_flipped_bit_is_found_with_its_scene(store_path, tmp_path, name):
    path = changed(store_path, tmp_path, flip(name))
    scene = PatchStore(path).names[2]
    with pytest.raises(InputError, match=f"patch 9, of scene {scene}, does not match its checksum"):
        verify(path)
    assert verify(store_path).checksum == PatchStore(path).checksum


def test_numbers_that_are_not_finite_are_found_without_checksums(store_path, tmp_path):
    def change(file):
        file.attrs["version"] = 1
        del file["checksums"]
        file["patches"][3, 5, 6, 7] = np.nan

    with pytest.raises(InputError, match=r"patch 3, of scene .* holds NaN or infinite values"):
        verify(changed(store_path, tmp_path, change))

    def change_back(file):
        change(file)
        file["patches"][3, 5, 6, 7] = 1
        file["labels"][4, 5, 6] = 4

    with pytest.raises(InputError, match=r"patch 4, of scene .* holds the label 4"):
        verify(changed(store_path, tmp_path, change_back))


@pytest.mark.parametrize("damage", ["table", "checksums", "options", "missing", "shape"])
def test_checksum_covers_the_tables(store_path, tmp_path, damage):
    def change(file):
        if damage == "table":
            table = file["scenes"][...]
            table["cloud_pixels"][0] += 1
            file["scenes"][...] = table
        elif damage == "checksums":
            file["checksums"][5, 5] ^= 1
        elif damage == "options":
            file.attrs["truth"] = "summary"
        else:
            del file["checksums"]
            if damage == "shape":
                file["checksums"] = np.zeros((3, 32), np.uint8)

    with pytest.raises(InputError, match="checksum"):
        PatchStore(changed(store_path, tmp_path, change))


def test_checksum_is_that_of_the_bytes(paths, store_path, tmp_path):
    """Another store of the same scenes has another checksum if a single number differs."""
    scene = tmp_path / paths[0].name
    shutil.copy(paths[0], scene)
    for number in (0, 1):
        with h5py.File(scene, "r+") as file:
            file["bts"][256, 256, 0] += 30 * number
        prepare([scene], tmp_path / f"{number}.h5", PrepareOptions(), workers=1)
    one, two = (PatchStore(tmp_path / f"{number}.h5") for number in (0, 1))
    assert np.count_nonzero(one.patches != two.patches) == 1
    assert one.checksum != two.checksum


def test_command_verifies_a_whole_store(store_path, tmp_path, command):
    done = command("cloudmask-prepare", "--verify", store_path)
    assert done.returncode == 0
    assert "24 patches of 6 scenes, unchanged; checksum" in done.stdout
    done = command("cloudmask-prepare", "--verify", changed(store_path, tmp_path, flip("labels")))
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1)
    done = command("cloudmask-preflight", "--cpu", "--data", tmp_path / "p.h5")
    assert done.returncode == 2 and "patch 9, of scene" in done.stderr
    done = command("cloudmask-prepare", "--verify", store_path, "--out", "x.h5")
    assert (done.returncode, done.stderr) == (
        2,
        "error: --verify: expected without --scenes and --out\n",
    )
    assert command("cloudmask-prepare").returncode == 2


@pytest.mark.parametrize("damage", ["truncate", "format", "text", "table", "chunked", "missing"])
def test_damaged_stores_are_named(store_path, tmp_path, damage):
    path = tmp_path / "p.h5"
    shutil.copy(store_path, path)
    if damage == "truncate":
        os.truncate(path, 10_000_000)
    elif damage == "text":
        path.write_text("not HDF5")
    elif damage == "missing":
        path.unlink()
    else:
        with h5py.File(path, "r+") as file:
            if damage == "format":
                file.attrs["version"] = 99
            elif damage == "table":
                table = file["scenes"][...]
                table["count"][0] = 10**9
                file["scenes"][...] = table
            else:
                del file["labels"]
                file.create_dataset("labels", (24, 256, 256), np.uint8, chunks=True)
    with pytest.raises(InputError, match=r"p\.h5: "):
        PatchStore(path)


def test_one_scene_cannot_be_split(paths, tmp_path):
    prepare(paths[:1], tmp_path / "p.h5", PrepareOptions(), workers=1)
    with pytest.raises(InputError, match=r"1 scene\(s\) cannot be split .*split_by: patch"):
        PatchStore(tmp_path / "p.h5").split(0.8, 42)
    assert PatchStore(tmp_path / "p.h5").split(0.75, 42, "patch").training_scenes == 1


def test_a_disk_that_does_not_give_back_what_was_written_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(StoreWriter, "open", classmethod(lambda cls, path: None))
    with pytest.raises(Fault, match=r"p\.h5: cannot be read just after it was written"):
        StoreWriter.lay_out(tmp_path / "p.h5", 2, "float16")
