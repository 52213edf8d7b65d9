"""The files of a product: in a folder, by its manifest, in a folder of its name, in an archive."""

import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.errors import message
from support.products import COLUMNS, ROWS, write_manifest, write_product

from cloudmask import scenes
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.formats import safe

NAME = (
    "S3B_SL_1_RBT____20200119T014128_20200119T014428_20200812T000000_0179_034_331_0360_LN2_O_NT_004"
)


@pytest.fixture
def named(tmp_path) -> Path:
    folder = write_product(tmp_path / f"{NAME}.SEN3")
    write_manifest(folder)
    return folder


def test_a_product_by_its_manifest_in_a_folder_and_in_an_archive(named, tmp_path):
    expected = scenes.read_scene(named)
    nested = tmp_path / "outer" / named.name
    nested.mkdir(parents=True)
    shutil.copytree(named, nested / named.name)
    archive = shutil.make_archive(str(tmp_path / named.name), "zip", tmp_path, named.name)
    for path in (named / "xfdumanifest.xml", nested, Path(archive)):
        scene = scenes.read_scene(path)
        assert scene.name == NAME and np.array_equal(scene.image, expected.image)
        assert np.array_equal(scene.mask, expected.mask)
        assert scene.origin == expected.origin
        assert scenes.check_scene(path) == (ROWS, COLUMNS)
        assert find_scenes([path]) in ([named], [nested / named.name], [Path(archive)])
    assert safe.load(Path(archive)) == safe.load(named)


def test_where_a_product_comes_from(named):
    origin = scenes.read_scene(named).origin
    assert origin.product == NAME and origin.platform == "Sentinel-3B"
    assert (origin.start, origin.stop) == ("2020-01-19T01:41:28Z", "2020-01-19T01:44:28Z")
    assert origin.baseline == "004" and not origin.synthetic
    with h5py.File(named / "S7_BT_in.nc", "r+") as file:
        file.attrs["source"] = np.bytes_("IPF-SL-1 06.18")
        file.attrs["start_time"] = np.bytes_("2020-01-19T01:41:28.5Z")
        file.attrs["processing_baseline"] = np.bytes_("SL__L1_.005.00.00")
    origin = scenes.read_scene(named).origin
    assert origin.processor == "IPF-SL-1 06.18" and origin.start == "2020-01-19T01:41:28.5Z"
    assert origin.baseline == "SL__L1_.005.00.00"


def test_hostile_archives(named, tmp_path):
    def refused(words: str) -> None:
        for call in (scenes.check_scene, scenes.read_scene):
            assert words in message(call, path)

    path = tmp_path / "x.SEN3.zip"
    path.write_bytes(b"no archive")
    refused("not a readable zip archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.SEN3/S7_BT_in.nc", b"")
        archive.writestr("b.SEN3/S7_BT_in.nc", b"")
    refused("2 folders with netCDF files; expected one product")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{named.name}/S7_BT_in.nc", bytes(200 << 20))
    refused("not a readable netCDF file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../x/S8_BT_in.nc", b"")
    refused("not a readable netCDF file")
    assert not (tmp_path.parent / "x").exists()


def test_an_archive_of_macos(named, tmp_path):
    path = tmp_path / "mac.SEN3.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in named.iterdir():
            archive.write(file, f"{named.name}/{file.name}")
            archive.writestr(f"__MACOSX/{named.name}/._{file.name}", b"companion")
    assert np.array_equal(scenes.read_scene(path).image, scenes.read_scene(named).image)


def test_an_archive_beside_what_was_unpacked_from_it(named, tmp_path, caplog):
    caplog.set_level("INFO", "cloudmask")
    shutil.make_archive(str(tmp_path / named.name), "zip", tmp_path, named.name)
    assert find_scenes([tmp_path]) == [named]
    assert "another copy of the same product is there" in caplog.text
