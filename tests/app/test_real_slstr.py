"""Real Sentinel-3 data: what is read agrees with satpy, with the flags and with published facts.

Needs the folder `shared/data` beside the checkout (see its README); skipped without it.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask import scenes
from cloudmask.errors import SceneError
from cloudmask.evaluate.mask_job import MaskRequest, write_masks
from cloudmask.evaluate.masking import MaskOptions
from cloudmask.evaluate.sources import ExampleNetwork
from cloudmask.patches.geometry import crop_patches
from cloudmask.scenes import slstr
from cloudmask.scenes.calibration import calibration_of
from cloudmask.scenes.formats import safe
from cloudmask.scenes.raw import ReadOptions

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NINE_CHANNELS = DATA / "slstr_nine_channels"
SHAPE = (1200, 1500)
FLAGS = ("bayes", "confidence")
WITHOUT_REFLECTANCES = ReadOptions(missing_channels="zero")
IRRADIANCE = (1802.05, 1491.13, 938.56, 358.76, 240.62, 75.95)  # README of the data, S1 to S6
REFLECTANCE = (0.217, 0.293, 0.344, 0.001, 0.353, 0.296)  # medians, likewise

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}"),
]


@pytest.fixture(scope="module")
def product() -> Path:
    (path,) = (DATA / "slstr_rbt").glob("*.SEN3")
    return path


@pytest.fixture(scope="module")
def raw(product):
    return safe.read(product, WITHOUT_REFLECTANCES)


@pytest.fixture(scope="module")
def scene(product):
    return scenes.read_scene(product, options=WITHOUT_REFLECTANCES)


@pytest.fixture(scope="module")
def oracle(product, tmp_path_factory):
    """The product in satpy, beside stand-ins for files that satpy opens and the product lacks.

    viscal and indices only serve the reflectances, so they may be empty. The cartesian files place
    the grids; ours say what the product specification says of them: x falls from column to column
    and is 0 at the track.
    """
    satpy = pytest.importorskip("satpy")
    xarray = pytest.importorskip("xarray")
    folder = tmp_path_factory.mktemp("satpy") / product.name
    folder.mkdir()
    for file in product.iterdir():
        (folder / file.name).symlink_to(file)

    def write(name, **variables):
        data = {key: (("rows", "columns"), value) for key, value in variables.items()}
        xarray.Dataset(data).to_netcdf(folder / f"{name}.nc", engine="h5netcdf")

    write("viscal")
    write("indices_in", detector_in=np.zeros((1, 1)))
    y = 1000.0 * np.arange(SHAPE[0])[:, None]
    for grid, x in (
        ("in", 1000.0 * (998 - np.arange(SHAPE[1]) - 0.5)),
        ("tx", 16000.0 * (64 - np.arange(130))),
    ):
        full = np.broadcast_arrays(x[None], y)
        write(f"cartesian_{grid}", **{f"x_{grid}": full[0], f"y_{grid}": full[1]})
    write("cartesian_an")

    names = [f"{channel}_BT_in" for channel in slstr.THERMAL] + ["flags_in", "geometry_tn"]
    loaded = satpy.Scene(
        reader="slstr_l1b", filenames=[str(folder / f"{name}.nc") for name in names]
    )
    grid = {"view": "nadir", "resolution": 1000}
    loaded.load([satpy.DataQuery(name=name, stripe="i", **grid) for name in slstr.THERMAL])
    loaded.load([satpy.DataQuery(name=name, stripe="i", **grid) for name in FLAGS])
    loaded.load([satpy.DataQuery(name="solar_zenith_angle", **grid)])
    return loaded


@pytest.mark.parametrize("index", range(3), ids=slstr.THERMAL)
def test_brightness_temperature_is_satpys(raw, oracle, index):
    theirs = oracle[slstr.THERMAL[index]].values
    ours = raw.temperature[..., index]
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.nanmax(np.abs(ours - theirs)) < 1e-4  # float32 of 300 K resolves 3e-5


@pytest.mark.parametrize("truth, fraction", [("bayes", 0.0645), ("summary", 0.1635)])
def test_mask_is_that_of_satpys_flags(product, oracle, truth, fraction):
    ours = safe.read(product, ReadOptions(truth, "zero")).mask
    confidence = oracle["confidence"].values.astype(int)
    cloud = oracle["bayes"].values > 0 if truth == "bayes" else confidence & 16384 > 0
    unfilled = confidence & 32 > 0
    assert np.array_equal(ours < 0, unfilled)
    assert np.array_equal(ours[~unfilled] > 0, cloud[~unfilled])
    assert np.mean(ours > 0) == pytest.approx(fraction, abs=1e-4)


def test_sun_is_where_satpy_interpolates_it(product, oracle):
    """satpy draws a cubic spline through the angle, which wavers but has no bias.

    Across the track the angle falls by 0.0065 degrees per pixel.
    """
    ours = np.degrees(np.arccos(safe.sun_cosine(product, SHAPE).astype(float)))
    difference = ours - oracle["solar_zenith_angle"].values
    assert abs(difference.mean()) < 0.001  # a sixth of a pixel
    assert np.abs(difference).max() < 0.05


def test_scene(scene, product):
    assert scene.name == product.stem
    assert scene.image.shape == (*SHAPE, 9)
    assert safe.check(product, WITHOUT_REFLECTANCES) == SHAPE
    with pytest.raises(SceneError, match=r"S1_radiance_an\.nc: no such file, but its manifest"):
        scenes.check_scene(product)
    assert scene.invalid_pixels / scene.valid.size == pytest.approx(0.0368, abs=1e-4)
    assert scene.channels.tolist() == [False] * 6 + [True] * 3
    assert all(channel in scene.notes[0] for channel in slstr.VISIBLE)
    assert np.isfinite(scene.image).all()
    assert (scene.image[~scene.valid[..., 0]] == 0).all()
    assert (scene.image[scene.valid[..., 0]][:, :6] == -0.5).all()


def test_fill_is_at_the_swath_edges_and_the_training_crop_removes_it(scene):
    assert not scene.valid[:, 0].any() and not scene.valid[:, -1].any()
    assert crop_patches(scene.valid).all()


def test_stored_values_are_kept_where_the_exception_flag_is_set(product, raw):
    with h5py.File(product / "S7_BT_in.nc") as file:
        flagged = file["S7_exception_in"][...] & 128 == 0
        flagged &= file["S7_exception_in"][...] > 0
    assert flagged.any()
    assert np.isfinite(raw.temperature[..., 0][flagged]).all()


def test_irradiance_of_the_quality_files(product):
    found = [safe.solar_irradiance(product, channel) for channel in slstr.VISIBLE]
    assert found == pytest.approx(IRRADIANCE, abs=0.006)


def test_reflectance_of_the_nine_channel_scene(product):
    """Medians by day; E0 is of August in one product, but the scene of March, 3 % more sun."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("scipy")  # reads the netCDF-3 file
    (path,) = NINE_CHANNELS.glob("*.nc")
    with xarray.open_dataset(path, engine="scipy") as data:
        cosine = np.cos(np.radians(data["solar_zenith_tn"].values))
        for channel, expected in zip(slstr.VISIBLE, REFLECTANCE, strict=True):
            radiance = data[f"{channel}_radiance_an"].values
            found = safe.reflectance(radiance, safe.solar_irradiance(product, channel), cosine)
            assert found.dtype == np.float32
            assert np.array_equal(np.isnan(found), np.isnan(radiance))
            assert np.nanmedian(found) == pytest.approx(expected, abs=6e-4), channel
            assert np.nanmin(found) > -0.01 and np.nanmax(found) < 1


def test_product_that_never_had_a_bayesian_mask(product, tmp_path):
    """The nine-channel scene holds 255 in every pixel of `bayes_in`."""
    copy = tmp_path / product.name
    copy.mkdir()
    for file in product.iterdir():
        (copy / file.name).symlink_to(file)
    (copy / "flags_in.nc").unlink()
    (copy / "flags_in.nc").write_bytes((product / "flags_in.nc").read_bytes())
    with h5py.File(copy / "flags_in.nc", "r+") as file:
        file["bayes_in"][...] = 255
    found = safe.read(copy, WITHOUT_REFLECTANCES)
    assert found.mask is None and "flags_in.nc: 'bayes_in' holds no" in found.unlabeled
    summary = safe.read(copy, ReadOptions("summary", "zero"))
    assert np.mean(summary.mask > 0) == pytest.approx(0.1635, abs=1e-4)


def test_where_it_comes_from(scene, product):
    origin = scene.origin
    assert origin.product == product.stem and origin.platform == "Sentinel-3A"
    assert (origin.baseline, origin.processor) == ("004", "IPF-SL-1 06.18")
    assert origin.start.startswith("2021-08-27T07:43:36")
    assert calibration_of(origin) == "003"


def test_a_mask_without_flags_lies_where_the_lakes_are(product, tmp_path):
    """The product without its flags is masked; its lakes, by the flags, are in the mask's map."""
    xarray = pytest.importorskip("xarray")
    copy = tmp_path / product.name
    copy.mkdir()
    for file in product.iterdir():
        if file.name != "flags_in.nc":
            (copy / file.name).symlink_to(file)
    options = MaskOptions(reading=ReadOptions(None, "zero"))
    done = write_masks(MaskRequest(ExampleNetwork(), [copy], tmp_path / "out", options))
    (path,) = done.folder.masks.iterdir()
    with h5py.File(product / "flags_in.nc") as file:
        water = file["confidence_in"][...] & 16 > 0
    with xarray.open_dataset(path, engine="h5netcdf") as mask:
        latitude, longitude = mask["latitude"].values, mask["longitude"].values
        cloud = mask["cloud_mask"].values
    assert np.isnan(cloud).mean() == pytest.approx(0.0368, abs=1e-4)
    for name, (west, south, east, north) in LAKES.items():
        box = (longitude > west) & (longitude < east) & (latitude > south) & (latitude < north)
        assert water[box].mean() > 0.9, name


# Boxes of open water, degrees (west, south, east, north), off any shore by more than 2 km.
LAKES = {
    "Tanganyika": (29.35, -5.6, 29.55, -5.2),
    "Rukwa": (32.15, -8.05, 32.3, -7.9),
    "Malawi": (34.3, -11.2, 34.55, -10.7),
}
