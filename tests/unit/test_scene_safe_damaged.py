"""Level-1 products that lack something or are damaged: one line that names the file."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.errors import message
from support.products import (
    COLUMNS,
    ROWS,
    TIE_GRID,
    write_netcdf,
    write_product,
    write_radiance,
    write_sun,
)

from cloudmask import scenes
from cloudmask.errors import SceneError
from cloudmask.scenes import slstr
from cloudmask.scenes.raw import ReadOptions

SMALL = np.zeros((ROWS, 7), np.int16)
TEXT = np.full((ROWS, COLUMNS), "cold", dtype=object)
DOUBLE = (2 * ROWS, 2 * COLUMNS)


@pytest.fixture
def product(tmp_path) -> Path:
    """S7 to S9 of 283.73 K, a clear sky, no other channel."""
    return write_product(tmp_path / "S3A_SL_1_RBT____x.SEN3")


@pytest.mark.parametrize(
    "file, variables, words",
    [
        (
            "S7_BT_in.nc",
            {"S8_BT_in": SMALL},
            "no variable 'S7_BT_in'; found rows, columns, S8_BT_in",
        ),
        ("S8_BT_in.nc", {"S8_BT_in": SMALL}, "has shape (4, 7); expected (4, 48)"),
        ("S9_BT_in.nc", {"S9_BT_in": TEXT}, "expected numbers"),
        ("S7_BT_in.nc", {"S7_BT_in": np.float32(280)}, "has shape (); expected 2 sides"),
        ("S7_BT_in.nc", {}, "no variable 'S7_BT_in'; found nothing"),
        ("flags_in.nc", {"bayes_in": SMALL}, "no variable 'confidence_in'"),
        ("flags_in.nc", {"confidence_in": SMALL}, "has shape (4, 7); expected (4, 48)"),
        ("flags_in.nc", {"confidence_in": TEXT}, "expected numbers"),
        ("S1_radiance_an.nc", {"S1_radiance_an": SMALL}, "has shape (4, 7); expected (8, 96)"),
        ("S1_radiance_an.nc", {"S1_radiance_in": SMALL}, "no variable 'S1_radiance_an'"),
    ],
)
def test_faults_in_headers(product, file, variables, words):
    write_sun(product, 0.5)
    write_radiance(product, "S1", 10.0)
    write_netcdf(product / file, **variables)
    calls = [scenes.check_scene]
    if "confidence_in" not in words:  # without flags there are no labels, but there is a scene
        calls.append(scenes.read_scene)
    for call in calls:
        said = message(call, product)
        assert said.startswith(f"{product / file}: ") and words in said


@pytest.mark.parametrize(
    "file, attrs, variables, words",
    [
        ("geometry_tn.nc", TIE_GRID, {"sat_zenith_tn": SMALL}, "no variable 'solar_zenith_tn'"),
        ("geometry_tn.nc", TIE_GRID, {"solar_zenith_tn": SMALL[:3]}, "has shape (3, 7)"),
        ("geometry_tn.nc", TIE_GRID, {"solar_zenith_tn": SMALL[:, :1]}, "has shape (4, 1)"),
        ("geometry_tn.nc", {}, {"solar_zenith_tn": SMALL}, "do not place the grid"),
        (
            "geometry_tn.nc",
            {"track_offset": "left", "resolution": "fine"},
            {"solar_zenith_tn": SMALL},
            "do not place the grid",
        ),
        ("S1_quality_an.nc", {}, {"E0": np.ones(4)}, "no variable 'S1_solar_irradiance_an'"),
        (
            "S1_quality_an.nc",
            {},
            {"S1_solar_irradiance_an": np.full(4, np.nan)},
            "'S1_solar_irradiance_an' holds no value",
        ),
        ("S1_quality_an.nc", {}, {"S1_solar_irradiance_an": SMALL}, "expected 1 sides"),
        ("S1_radiance_an.nc", {}, {"S1_radiance_an": np.full(DOUBLE, np.nan)}, "channel S1 holds"),
    ],
)
def test_faults_beside_the_radiances(product, file, attrs, variables, words):
    write_sun(product, 0.5)
    write_radiance(product, "S1", 10.0)
    write_netcdf(product / file, attrs, **variables)
    said = message(scenes.read_scene, product)
    assert str(product) in said and words in said


@pytest.mark.parametrize("file", ["S7_BT_in.nc", "S9_BT_in.nc"])
def test_missing_thermal_channel(product, file):
    (product / file).unlink()
    for call in (scenes.read_scene, scenes.check_scene):
        assert f"{product / file}: no such file, but a thermal channel" in message(call, product)
    scene = scenes.read_scene(product, options=ReadOptions(missing_channels="zero"))
    assert scene.measured.all() and not scene.channels[slstr.CHANNELS.index(file[:2])]
    assert f"no file of {file[:2]}: 270 K there" in scene.notes


def test_missing_flags(product):
    (product / "flags_in.nc").unlink()
    assert f"{product / 'flags_in.nc'}: no such file" in message(scenes.check_scene, product)
    assert scenes.check_scene(product, labels=None) == (ROWS, COLUMNS)
    assert scenes.read_scene(product).mask is None


def test_no_thermal_channel_at_all(product):
    for channel in slstr.THERMAL:
        (product / f"{channel}_BT_in.nc").unlink()
    assert "no file of S7 to S9" in message(scenes.read_scene, product)


@pytest.mark.parametrize("file", ["geometry_tn.nc", "S1_quality_an.nc"])
def test_radiances_alone_are_not_enough(product, file):
    write_sun(product, 0.5)
    write_radiance(product, "S1", 10.0)
    (product / file).unlink()
    assert f"{product / file}: cannot be opened" in message(scenes.read_scene, product)


@pytest.mark.parametrize("file", ["S7_BT_in.nc", "flags_in.nc", "S1_radiance_an.nc"])
@pytest.mark.parametrize("fraction", [0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated_netcdf(product, file, fraction):
    write_sun(product, 0.5)
    write_radiance(product, "S1", 10.0)
    size = (product / file).stat().st_size
    os.truncate(product / file, int(fraction * size))
    for call in (scenes.read_scene, scenes.check_scene):
        assert f"{product / file}: not a readable netCDF file" in message(call, product)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_damaged_netcdf_headers_end_in_one_line_or_do_no_harm(product):
    """Nor may a library print a traceback while it gives up a file (pytest's warning above)."""
    file = product / "S8_BT_in.nc"
    content = file.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(1500, size=4):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            scenes.check_scene(product)
        except SceneError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5


def test_damaged_netcdf_content(product):
    file = product / "S8_BT_in.nc"
    with h5py.File(file, "w") as handle:
        raw = np.zeros((ROWS, COLUMNS), np.int16)
        data = handle.create_dataset("S8_BT_in", data=raw, chunks=raw.shape, fletcher32=True)
        for axis, name in enumerate(("rows", "columns")):
            handle[name] = np.zeros(raw.shape[axis], np.float32)
            handle[name].make_scale(name)
            data.dims[axis].attach_scale(handle[name])
        offset = data.id.get_chunk_info(0).byte_offset
    with file.open("r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xff\xff")
    assert scenes.check_scene(product) == (ROWS, COLUMNS)
    said = message(scenes.read_scene, product)
    assert f"{file}: 'S8_BT_in' cannot be read" in said


@pytest.mark.parametrize("side", [6001, 10**12])
def test_huge_declared_netcdf_is_refused_before_anything_is_allocated(product, side):
    file = product / "S7_BT_in.nc"
    with h5py.File(file, "w") as handle:
        data = handle.create_dataset("S7_BT_in", (side, side), "i2", chunks=(64, 64))
        for axis, name in enumerate(("rows", "columns")):
            handle.create_dataset(name, (side,), "f4", chunks=(64,)).make_scale(name)
            data.dims[axis].attach_scale(handle[name])
    for call in (scenes.read_scene, scenes.check_scene):
        said = message(call, product)
        assert f"{file}: 'S7_BT_in' has shape ({side}, {side})" in said or "would take" in said
