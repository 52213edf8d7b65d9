"""HDF5 files that reach for other files or for all memory are refused by name, by every reader."""

import functools
import os
import shutil
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.products import write_product

from cloudmask.errors import InputError
from cloudmask.patches.prepare import PrepareOptions, prepare
from cloudmask.patches.store import PatchStore
from cloudmask.publication.croissant import _layouts
from cloudmask.scenes import synthetic
from cloudmask.scenes.scene import check_scene, read_scene

SECRET = b"nobody may read this" * 100_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scene, a product and a store, and what hostile ones reach for."""
    folder = tmp_path_factory.mktemp("hdf5")
    scene = synthetic.make_scene("training", 0, (256, 256), seed=1)
    synthetic.write_scene(folder / "S3A_scene.hdf", scene)
    prepare([folder / "S3A_scene.hdf"], folder / "store.h5", PrepareOptions(), workers=1)
    (folder / "secret").write_bytes(SECRET)
    with h5py.File(folder / "secret.h5", "w") as file:
        for name in ("bts", "patches"):
            file[name] = np.zeros((256, 256, 3), np.float32)
    os.mkfifo(folder / "pipe")
    return folder


def external_link(file, name, folder):
    del file[name]
    file[name] = h5py.ExternalLink(str(folder / "secret.h5"), name)


def link_to_a_pipe(file, name, folder):
    del file[name]
    file[name] = h5py.ExternalLink(str(folder / "pipe"), name)


def soft_link_out(file, name, folder):
    del file[name]
    file["elsewhere"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    file[name] = h5py.SoftLink(f"/elsewhere/{name}")


def external_storage(file, name, folder, target="secret"):
    old = file[name]
    shape, kind = old.shape, old.dtype
    del file[name]
    size = int(np.prod(shape)) * kind.itemsize
    file.create_dataset(name, shape, kind, external=[(str(folder / target), 0, size)])


def storage_in_a_pipe(file, name, folder):
    external_storage(file, name, folder, "pipe")


def virtual(file, name, folder, target="secret.h5"):
    old = file[name]
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    del file[name]
    source = h5py.VirtualSource(str(folder / target), name, layout.shape, maxshape=None)
    layout[...] = source
    file.create_virtual_dataset(name, layout)


def virtual_of_a_pipe(file, name, folder):
    virtual(file, name, folder, "pipe")


def foreign_filter(file, name, folder):
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(shape)
    # Of any block size: another test may have loaded the plug-in, which then looks at it.
    creation.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, (0,))
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(kind), space, creation)


def compressed_twice(file, name, folder):
    values = file[name][...]
    del file[name]
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(values.shape)
    creation.set_deflate(9)
    creation.set_deflate(9)
    h5py.h5d.create(
        file.id,
        name.encode(),
        h5py.h5t.py_create(values.dtype),
        h5py.h5s.create_simple(values.shape),
        creation,
    )
    file[name][...] = values


def huge_chunk(file, name, folder):
    old = file[name]
    del file[name]
    chunk = (20_000, 20_000, 1, 1)[: len(old.shape)]
    most = (None,) * len(old.shape)
    file.create_dataset(name, old.shape, old.dtype, chunks=chunk, maxshape=most, compression="gzip")


def endless_chunk(file, name, folder):
    """A chunk of the right size in the header that inflates to half a gigabyte."""
    old = file[name]
    del file[name]
    new = file.create_dataset(name, old.shape, old.dtype, chunks=old.shape, compression="gzip")
    new.id.write_direct_chunk((0,) * len(old.shape), half_a_gigabyte())


@functools.cache
def half_a_gigabyte():
    """Of zeros, packed."""
    stream = zlib.compressobj(1)
    return b"".join(stream.compress(bytes(1 << 24)) for _ in range(32)) + stream.flush()


ATTACKS = {
    external_link: "is an external link; expected its values in this file",
    link_to_a_pipe: "is an external link",
    soft_link_out: "is a soft link",
    external_storage: "has external storage",
    storage_in_a_pipe: "has external storage",
    virtual: "is a virtual data set",
    virtual_of_a_pipe: "is a virtual data set",
    foreign_filter: "is compressed with bitshuffle (HDF5 filter 32008); expected gzip, shuffle",
    compressed_twice: "is compressed twice",
    huge_chunk: "would take ",
    endless_chunk: "would take ",
}


def attacked(folder, tmp_path, name, change, dataset):
    """A copy of the file with one data set made hostile."""
    path = tmp_path / Path(name).name
    shutil.copy(folder / name, path)
    with h5py.File(path, "r+") as file:
        change(file, dataset, folder)
    return path


def refused(words, call, *arguments):
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert str(arguments[0]) in message and words in message and "\n" not in message, message
    assert time.monotonic() - began < 20
    return message


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["bts", "bayes"])
def test_scenes_hold_their_own_values(folder, tmp_path, attack, name):
    path = attacked(folder, tmp_path, "S3A_scene.hdf", attack, name)
    words = f"'{name}' {ATTACKS[attack]}"
    if attack is not endless_chunk:  # which shows in no header
        refused(words, check_scene, path)
        refused(words, lambda _: _layouts([name], [path]), path)
    refused(words, read_scene, path)
    refused(words, lambda _: prepare([path], tmp_path / "p.h5", PrepareOptions(), workers=1), path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("attack", ATTACKS)
def test_products_hold_their_own_values(folder, tmp_path, attack):
    product = write_product(tmp_path / "S3A_SL_1_RBT____x.SEN3")
    with h5py.File(product / "S8_BT_in.nc", "r+") as file:
        attack(file, "S8_BT_in", folder)
    for call in (read_scene, *([check_scene] if attack is not endless_chunk else [])):
        assert "S8_BT_in.nc" in refused(f"'S8_BT_in' {ATTACKS[attack]}", call, product)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["patches", "labels", "statistics"])
def test_stores_hold_their_own_values(folder, tmp_path, attack, name):
    path = attacked(folder, tmp_path, "store.h5", attack, name)
    if attack is endless_chunk and name != "statistics":
        refused("expected contiguous", PatchStore, path)
        return
    refused(f"'{name}' {ATTACKS[attack]}", PatchStore, path)


def test_pipes_and_devices_are_no_files(folder):
    for call in (check_scene, read_scene):
        refused("is a named pipe; expected a file", call, folder / "pipe")
        refused("is a device; expected a file", call, Path("/dev/zero"))
    with pytest.raises(InputError, match="expected a patch store"):
        PatchStore(folder / "pipe")


def test_a_pipe_in_a_product_is_no_file(tmp_path):
    product = write_product(tmp_path / "S3A_SL_1_RBT____x.SEN3")
    (product / "S8_BT_in.nc").unlink()
    os.mkfifo(product / "S8_BT_in.nc")
    for call in (check_scene, read_scene):
        refused("is a named pipe; expected a file", call, product)


def test_attributes_are_small_numbers_or_text(folder, tmp_path):
    def change(file, name, folder):
        file.attrs["checksum"] = file["labels"].ref

    path = attacked(folder, tmp_path, "store.h5", change, "patches")
    refused("'checksum' is an attribute of an unknown type", PatchStore, path)


@pytest.mark.parametrize("kind", ["f4 of other bits", ">f4", "f8", "i2"])
def test_prepare_and_evaluation_read_the_same_numbers(folder, tmp_path, kind):
    path = tmp_path / "S3A_other.hdf"
    shutil.copy(folder / "S3A_scene.hdf", path)
    with h5py.File(path, "r+") as file:
        values = file["refs"][...]
        del file["refs"]
        if kind == "f4 of other bits":
            stored = h5py.h5t.IEEE_F32LE.copy()
            stored.set_ebias(126)
            space = h5py.h5s.create_simple(values.shape)
            data = h5py.Dataset(h5py.h5d.create(file.id, b"refs", stored, space))
            data[...] = values / 4
        else:
            file["refs"] = np.nan_to_num(values).astype(kind)
    scene = read_scene(path)
    prepare([path], tmp_path / "p.h5", PrepareOptions(dtype="float32"), workers=1)
    np.testing.assert_array_equal(PatchStore(tmp_path / "p.h5").patches[0], scene.image)


@pytest.mark.parametrize("name", ["refs", "bts"])
def test_compression_of_all_kinds_that_are_built_in_is_read(folder, tmp_path, name):
    for options in (
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
    ):
        path = tmp_path / "S3A_packed.hdf"
        shutil.copy(folder / "S3A_scene.hdf", path)
        with h5py.File(path, "r+") as file:
            values = file[name][...]
            del file[name]
            file.create_dataset(name, data=values, chunks=(64, 64, 3), **options)
        expected = read_scene(folder / "S3A_scene.hdf").image
        np.testing.assert_array_equal(read_scene(path).image, expected)


def test_no_plugin_is_ever_searched_for():
    assert h5py.h5pl.size() == 0


def test_names_that_are_no_text_are_shown(tmp_path):
    path = tmp_path / "S3A_scene.hdf"
    with h5py.File(path, "w") as file:
        file.create_dataset(b"\xca\xca", data=np.zeros(1))
        file["line\nbreak"] = np.zeros(1)
    with pytest.raises(InputError) as refused:
        check_scene(path)
    assert r"found 'line\nbreak', b'\xca\xca'" in str(refused.value)
