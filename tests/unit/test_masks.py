"""Masks as readers of netCDF find them: xarray, GDAL, the checker of conventions."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from support.predictions import ORIGIN, prediction, swath

from cloudmask.errors import InputError
from cloudmask.evaluate.mask_content import LAYERS
from cloudmask.evaluate.masks import write_mask

UNSIGNED = "Variable is not of type byte, short, or int as required"


@pytest.fixture
def confidence():
    bits = np.full((60, 80), 8 | 1024, np.uint16)  # land by day
    bits[10:20, 30:40] = 16 | 8 | 1024
    bits[30, 40] = 8192 | 32768
    return bits


@pytest.fixture
def full(confidence):
    """A prediction of which everything is known."""
    made = prediction(swath(), origin=ORIGIN, confidence=confidence)
    return replace(made, model="ab" * 32, dilate=2)


def opened(path, **options):
    xarray = pytest.importorskip("xarray")
    return xarray.open_dataset(path, engine="h5netcdf", **options)


def test_values_as_xarray_decodes_them(tmp_path, full):
    path = tmp_path / "S3A_x.nc"
    write_mask(path, full)
    measured = full.scene.measured[..., 0]
    with opened(path) as file:
        np.testing.assert_array_equal(np.isnan(file["cloud_mask"]), ~measured)
        np.testing.assert_array_equal(
            file["cloud_mask"].values[measured], full.cloud[..., 0][measured]
        )
        apart = np.abs(file["cloud_probability"].values - full.probability[..., 0])
        assert apart[measured].max() <= 0.002 + 1e-6
        assert np.isnan(file["cloud_probability"].values[~measured]).all()
        assert file["cloud_mask"].attrs["flag_meanings"] == "clear cloud"
        assert set(file["cloud_mask"].coords) == {"y", "x", "latitude", "longitude", "time"}
        apart = np.abs(file["latitude"].values - full.scene.geolocation.latitude)
        assert apart.max() < 2e-5
    assert list(tmp_path.iterdir()) == [path]


def test_fill_only_where_nothing_is_measured(tmp_path, full):
    assert not full.scene.valid[0, 10]  # without a label
    write_mask(tmp_path / "S3A_x.nc", full)
    with opened(tmp_path / "S3A_x.nc", mask_and_scale=False) as file:
        assert file["cloud_mask"].values[0, 10] == 1
        assert file["cloud_probability"].values[0, 10] == 247  # 0.9876 * 250
        assert set(np.unique(file["cloud_mask"].values[:, :5])) == {255}


def test_where_it_comes_from(tmp_path, full):
    write_mask(tmp_path / "S3A_x.nc", full)
    with opened(tmp_path / "S3A_x.nc") as file:
        found = file.attrs
        assert found["Conventions"] == "CF-1.11, ACDD-1.3"
        assert found["platform"] == "Sentinel-3A"
        assert found["product_name"] == ORIGIN.product
        assert found["processing_baseline"] == "004"
        assert found["model_sha256"] == "ab" * 32
        assert found["label_source"] == "bayes"
        assert found["probability_threshold"] == 0.5
        assert found["dilation_pixels"] == 2
        assert found["time_coverage_start"] == "2021-08-27T07:43:36.110051Z"
        bounds = full.scene.geolocation.bounds()
        assert found["geospatial_lon_min"] == bounds.west
        assert found["geospatial_lat_max"] == bounds.north
        middle = np.datetime64("2021-08-27T07:45:05.956076")
        assert abs(file["time"].values - middle) < np.timedelta64(1, "ms")


def test_what_is_not_known_is_left_out(tmp_path):
    write_mask(tmp_path / "S3A_x.nc", prediction())
    with opened(tmp_path / "S3A_x.nc") as file:
        assert set(file.variables) == {"cloud_mask", "cloud_probability", "x", "y"}
        assert not {name for name in file.attrs if name.startswith(("time", "geo", "platform"))}
        assert "" not in file.attrs.values()


@pytest.mark.parametrize("start", ["yesterday", "2021-13-27T07:43:36Z"])
def test_what_is_no_time_is_left_out(tmp_path, start):
    write_mask(tmp_path / "S3A_x.nc", prediction(origin=replace(ORIGIN, start=start)))
    with opened(tmp_path / "S3A_x.nc") as file:
        assert "time" not in file.variables


def test_text_that_is_no_text_is_escaped(tmp_path):
    origin = replace(ORIGIN, product="a\0b\udcff", platform="Sentinel\n-3A")
    write_mask(tmp_path / "S3A_x.nc", prediction(origin=origin, name="x\udcff"))
    with opened(tmp_path / "S3A_x.nc") as file:
        assert file.attrs["product_name"] == "a\\x00b\\udcff"
        assert file.attrs["platform"] == "Sentinel\\n-3A"


def test_a_box_across_the_date_line(tmp_path):
    write_mask(tmp_path / "S3A_x.nc", prediction(swath(west=179.7)))
    with opened(tmp_path / "S3A_x.nc") as file:
        west, east = file.attrs["geospatial_lon_min"], file.attrs["geospatial_lon_max"]
        assert 179 < west < 180
        assert -180 < east < -179
        assert "geospatial_bounds" not in file.attrs


def test_layers(tmp_path, full, confidence):
    write_mask(tmp_path / "S3A_x.nc", full, LAYERS)
    with opened(tmp_path / "S3A_x.nc", mask_and_scale=False) as file:
        np.testing.assert_array_equal(file["valid"], full.scene.measured[..., 0])
        np.testing.assert_array_equal(file["confidence"], confidence)
        meanings = file["surface"].attrs["flag_meanings"].split()
        for name, bit in (("inland_water", 16), ("land", 8), ("snow", 8192), ("ocean", 2)):
            mask = file["surface"].attrs["flag_masks"][meanings.index(name)]
            np.testing.assert_array_equal(
                file["surface"].values & mask > 0, confidence & bit > 0, err_msg=name
            )
        ancillary = file["cloud_mask"].attrs["ancillary_variables"].split()
        assert ancillary == ["cloud_probability", "valid", "confidence", "surface"]


def test_layers_that_a_scene_has_not_are_left_out_and_told(tmp_path, caplog):
    write_mask(tmp_path / "S3A_x.nc", prediction(), ("surface", "valid"))
    with opened(tmp_path / "S3A_x.nc") as file:
        assert "valid" in file and "surface" not in file
    assert "S3A_x: no confidence flags" in caplog.text


def test_an_unknown_layer_is_named(tmp_path):
    with pytest.raises(InputError, match="no layer 'snow'; expected of valid, confidence, surface"):
        write_mask(tmp_path / "S3A_x.nc", prediction(), ["snow"])
    assert not list(tmp_path.iterdir())


def test_equal_predictions_give_equal_bytes(tmp_path, full):
    write_mask(tmp_path / "a.nc", full, LAYERS)
    time.sleep(1.1)  # HDF5 would store seconds.
    write_mask(tmp_path / "b.nc", full, LAYERS)
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()
    with opened(tmp_path / "a.nc") as file:
        assert "date_created" not in file.attrs
    write_mask(tmp_path / "a.nc", full, created="2026-01-02T03:04:05Z")
    with opened(tmp_path / "a.nc") as file:
        assert file.attrs["date_created"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("geolocation", [None, swath()], ids=["no positions", "positions"])
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_gdal_reads_it_the_right_way_up(tmp_path, geolocation):
    rasterio = pytest.importorskip("rasterio")
    made = prediction(geolocation, origin=ORIGIN)
    made.cloud[:7] = True
    write_mask(tmp_path / "S3A_x.nc", made, ["valid"])
    expected = np.where(made.scene.measured[..., 0], made.cloud[..., 0], 255)
    with rasterio.open(f"netcdf:{tmp_path / 'S3A_x.nc'}:cloud_mask") as file:
        np.testing.assert_array_equal(file.read(1), expected)
        located = file.tags(ns="GEOLOCATION")
    if geolocation:
        # gdalwarp takes the positions by these.
        assert located["X_DATASET"].endswith(":longitude")
        assert located["LINE_STEP"] == located["PIXEL_STEP"] == "1"
        with rasterio.open(located["Y_DATASET"]) as file:
            assert np.abs(file.read(1) - geolocation.latitude).max() < 2e-5


@pytest.mark.parametrize("specification", ["cf:1.11", "acdd:1.3"])
@pytest.mark.parametrize("known", ["all known", "little known"])
@pytest.mark.filterwarnings("ignore")
def test_it_follows_the_conventions(tmp_path, full, specification, known):
    runner = pytest.importorskip("compliance_checker.runner")
    runner.CheckSuite.load_all_available_checkers()
    path = tmp_path / "S3A_x.nc"
    write_mask(path, full if known == "all known" else prediction(), LAYERS)
    suite = runner.CheckSuite()
    results, errors = suite.run_all(suite.load_dataset(str(path)), [specification])[specification]
    assert not errors
    wrong = {2: set(), 3: set()}
    for result in results:
        if result.weight in wrong:
            wrong[result.weight] |= _failures(result)
    if specification.startswith("acdd"):
        # The table of CF has no standard name for a probability of cloud. What is only recommended
        # is often not known here, such as a license.
        assert wrong[3] == {"cloud_probability: standard_name"}
    else:
        assert wrong[3] == set()
        # Unsigned bytes may be packed since CF 1.9; the checker has the list of 1.6.
        assert {message[: len(UNSIGNED)] for message in wrong[2]} <= {UNSIGNED}


def _failures(result):
    value = result.value
    passed = value[0] == value[1] if isinstance(value, tuple) else bool(value)
    subject = re.match(r'variable "(\w+)" missing', result.name)
    prefix = f"{subject[1]}: " if subject else ""
    return set() if passed else {prefix + message for message in result.msgs or [result.name]}
