"""Masks for maps: xarray, Zarr and GeoTIFF hold what the netCDF file holds, in the right place."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from support.predictions import ORIGIN, SIZE, prediction, swath

from cloudmask.errors import InputError
from cloudmask.evaluate.map_formats import BANDS, Grid, dataset, write_cog, write_zarr
from cloudmask.evaluate.mask_content import LAYERS
from cloudmask.evaluate.masks import write_mask

xarray = pytest.importorskip("xarray")


@pytest.fixture
def full():
    """A prediction of which everything is known."""
    made = prediction(swath(), origin=ORIGIN, confidence=np.full(SIZE, 8, np.uint16))
    return replace(made, model="ab" * 32)


@pytest.fixture(params=["all known", "little known"])
def any_prediction(request, full):
    return full if request.param == "all known" else prediction()


def test_the_data_set_is_what_xarray_decodes_from_netcdf(tmp_path, any_prediction):
    write_mask(tmp_path / "S3A_x.nc", any_prediction, LAYERS)
    with xarray.open_dataset(tmp_path / "S3A_x.nc", engine="h5netcdf") as expected:
        found = dataset(any_prediction, LAYERS)
        xarray.testing.assert_identical(found, expected.load())
        assert {name: v.dtype for name, v in found.variables.items()} == {
            name: v.dtype for name, v in expected.variables.items()
        }


def test_zarr_holds_the_same_data_set(tmp_path, any_prediction):
    pytest.importorskip("zarr")
    path = tmp_path / "S3A_x.zarr"
    write_zarr(path, any_prediction, LAYERS)
    with xarray.open_zarr(path) as file:
        # Attributes are JSON there, in which the scale is no float32 any more.
        found = file.load()
        found["cloud_probability"] = found["cloud_probability"].astype(np.float32)
        xarray.testing.assert_identical(found, dataset(any_prediction, LAYERS))
    stored = xarray.open_zarr(path, mask_and_scale=False)["cloud_mask"]
    assert stored.dtype == np.uint8  # as in netCDF, not as decoded
    assert list(tmp_path.iterdir()) == [path]


def test_zarr_replaces_an_earlier_one_and_nothing_else(tmp_path, full):
    pytest.importorskip("zarr")
    path = tmp_path / "S3A_x.zarr"
    write_zarr(path, full, LAYERS)
    write_zarr(path, prediction())
    assert not (path / "valid").exists()
    assert list(tmp_path.iterdir()) == [path]

    other = tmp_path / "other"
    other.mkdir()
    (other / "work").touch()
    with pytest.raises(InputError, match="other: exists already and is no Zarr store"):
        write_zarr(other, full)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(InputError, match="link: exists already"):
        write_zarr(link, full)
    assert (other / "work").exists()


@pytest.fixture
def rasterio():
    pytest.importorskip("pyresample")
    return pytest.importorskip("rasterio")


@pytest.fixture
def spots(full):
    """Clear, but for squares of 3 x 3 pixels of cloud, and the centers of these in the image."""
    places = [(3, 9), (3, 70), (30, 40), (56, 7), (56, 77)]
    full.probability[...] = 0.1
    for row, column in places:
        full.probability[row - 1 : row + 2, column - 1 : column + 2] = 0.9
    return full, places


def position(made, place):
    """Longitude and latitude of a pixel."""
    geolocation = made.scene.geolocation
    return geolocation.longitude[place], geolocation.latitude[place]


def require_in_place(file, expected):
    """The cloud of the map lies around `expected`, (n, 2), x and y: to one pixel of the map."""
    rows, columns = np.nonzero(file.read(1) == 1)
    found = np.stack(file.xy(rows, columns), axis=-1).reshape(-1, 2)
    nearest = np.linalg.norm(found[:, None] - expected[None], axis=2).argmin(axis=1)
    for index, place in enumerate(expected):
        assert np.abs(found[nearest == index].mean(axis=0) - place).max() < file.res[0]
        assert np.abs(found[nearest == index] - place).max() < 2.5 * file.res[0]


def test_geotiff_is_cloud_optimized(tmp_path, full, rasterio):
    validate = pytest.importorskip("rio_cogeo").cog_validate
    path = tmp_path / "S3A_x.tif"
    write_cog(path, full, Grid(resolution=0.0005, bounds=(29.1, -2.4, 29.5, -2.1), radius=1000))
    valid, errors, warnings = validate(path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        assert file.overviews(1)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert list(tmp_path.iterdir()) == [path]


def test_geotiff_has_each_pixel_in_its_place(tmp_path, spots, rasterio):
    full, places = spots
    write_cog(tmp_path / "S3A_x.tif", full)
    with rasterio.open(tmp_path / "S3A_x.tif") as file:
        assert file.crs.to_epsg() == 4326
        require_in_place(file, np.array([position(full, place) for place in places]))
        assert file.res == (0.01, 0.01)
        bounds = full.scene.geolocation.bounds()
        assert file.bounds.left <= bounds.west < file.bounds.left + 0.01
        assert file.bounds.bottom <= bounds.south < file.bounds.bottom + 0.01
        assert file.bounds.right - 0.01 < bounds.east <= file.bounds.right
        assert file.bounds.top - 0.01 < bounds.north <= file.bounds.top


def test_values_of_the_geotiff(tmp_path, full, rasterio):
    write_cog(tmp_path / "S3A_x.tif", full)
    with rasterio.open(tmp_path / "S3A_x.tif") as file:
        assert file.descriptions == BANDS
        assert file.nodata == 255
        cloud, steps = file.read()
        assert set(np.unique(cloud)) == {0, 1, 255}
        np.testing.assert_array_equal(cloud == 255, steps == 255)
        values = steps * file.scales[1]
        np.testing.assert_allclose(values[cloud == 1], 0.9, atol=0.1)
        np.testing.assert_allclose(values[cloud == 0], 0.1, atol=0.002)
        tags = file.tags()
        # Five of 80 columns are not measured, the corners are outside of the swath.
        assert 0.6 < (cloud != 255).mean() < 0.95
    assert tags["platform"] == "Sentinel-3A"
    assert tags["model_sha256"] == "ab" * 32
    assert tags["resampling"] == "nearest pixel within 1000 m"


def test_equal_predictions_give_equal_geotiffs(tmp_path, full, rasterio):
    write_cog(tmp_path / "a.tif", full)
    write_cog(tmp_path / "b.tif", full)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_geotiff_across_the_date_line_has_no_hole(tmp_path, spots, rasterio):
    full, places = spots
    full = replace(full, scene=replace(full.scene, geolocation=swath(west=179.7)))
    expected = [position(full, place) for place in places]
    write_cog(tmp_path / "S3A_x.tif", full)
    with rasterio.open(tmp_path / "S3A_x.tif") as file:
        assert file.width < 100
        assert file.bounds.left < 180 < file.bounds.right
        across = [(longitude % 360, latitude) for longitude, latitude in expected]
        require_in_place(file, np.array(across))
        inside = file.read(1)[20:40, 20:40]  # around 180 degrees
        assert (inside != 255).all()


@pytest.mark.parametrize("blocks", [1, 100], ids=["a row at a time", "several"])
def test_a_projected_grid(tmp_path, spots, rasterio, monkeypatch, blocks):
    import pyproj

    monkeypatch.setattr("cloudmask.evaluate.map_formats.BLOCK_PIXELS", blocks)
    full, places = spots
    write_cog(tmp_path / "S3A_x.tif", full, Grid("EPSG:32736", 1000.0))
    there = pyproj.Transformer.from_crs(4326, 32736, always_xy=True)
    with rasterio.open(tmp_path / "S3A_x.tif") as file:
        assert file.crs.to_epsg() == 32736
        expected = [there.transform(*position(full, place)) for place in places]
        require_in_place(file, np.array(expected))


def test_a_scene_without_positions_is_told(tmp_path, rasterio):
    with pytest.raises(InputError, match="S3A_x: no position of its pixels is known"):
        write_cog(tmp_path / "S3A_x.tif", prediction())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(resolution=0.0), "resolution 0, radius 1000; expected 1e-06 to"),
        (Grid(radius=float("nan")), "radius nan"),
        (Grid(bounds=(30, -3, 29, -2)), r"bounds \(30, -3, 29, -2\); expected west < east"),
        (Grid(bounds=(29, -3, float("inf"), -2)), "expected west < east"),
        (Grid(resolution=1e-5), "pixels; expected at most 268,435,456"),
        (Grid(crs="EPSG:1"), "--crs EPSG:1: unknown reference system"),
        (Grid(crs="EPSG:1", bounds=(0, 0, 1, 1)), "--crs EPSG:1: unknown reference system"),
    ],
    ids=str,
)
def test_impossible_grids(tmp_path, full, rasterio, grid, message):
    with pytest.raises(InputError, match=message):
        write_cog(tmp_path / "S3A_x.tif", full, grid)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "write"),
    [("rasterio", write_cog), ("pyresample", write_cog), ("zarr", write_zarr)],
)
def test_a_missing_package_is_named(tmp_path, full, monkeypatch, package, write):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        InputError, match=f"no package '{package}'.*pip install 'cloudmask-slstr\\[map\\]'"
    ):
        write(tmp_path / "S3A_x", full)


def test_a_full_disk_leaves_no_zarr(tmp_path, full, monkeypatch):
    pytest.importorskip("zarr")

    def fail(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xarray.Dataset, "to_zarr", fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_zarr(tmp_path / "S3A_x.zarr", full)
    assert not list(tmp_path.iterdir())
