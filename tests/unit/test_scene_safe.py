"""Level-1 products written here, value by value."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from support.errors import message
from support.products import (
    COLUMNS,
    PACKED,
    ROWS,
    TIE_GRID,
    TIES,
    write_flags,
    write_manifest,
    write_netcdf,
    write_product,
    write_radiance,
    write_sun,
)

from cloudmask import scenes
from cloudmask.scenes import raw as raw_scene
from cloudmask.scenes import slstr
from cloudmask.scenes.formats import SAFE, safe
from cloudmask.scenes.raw import ReadOptions
from cloudmask.scenes.scene import locate

BAYES, SUMMARY = ReadOptions(), ReadOptions("summary")


@pytest.fixture
def product(tmp_path) -> Path:
    """S7 to S9 of 283.73 K, a clear sky, no other channel."""
    return write_product(tmp_path / "S3A_SL_1_RBT____x.SEN3")


def test_what_a_product_is(product, tmp_path):
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    assert SAFE.matches(product)
    assert not SAFE.matches(renamed)
    (renamed / "xfdumanifest.xml").touch()
    assert SAFE.matches(renamed)
    assert not SAFE.matches(tmp_path / "nowhere.SEN3")
    (tmp_path / "file.SEN3").touch()
    assert not SAFE.matches(tmp_path / "file.SEN3")


def test_temperature_is_unpacked_and_fill_is_not_valid(product):
    raw = np.zeros((ROWS, COLUMNS), np.int16)
    raw[1, 1], raw[2, 2] = -1373, -32768
    write_netcdf(product / "S8_BT_in.nc", S8_BT_in=(raw, PACKED))
    scene = scenes.read_scene(product)
    assert scenes.check_scene(product) == (ROWS, COLUMNS)
    assert scene.name == "S3A_SL_1_RBT____x"
    assert scene.image[0, 0, 7] == pytest.approx((283.73 - 270) / 22, abs=1e-6)
    assert scene.image[1, 1, 7] == pytest.approx(0, abs=2e-6)
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[2, 2]]


def test_flags_become_the_mask(product):
    bayes = np.zeros((ROWS, COLUMNS), np.uint8)
    confidence = np.full((ROWS, COLUMNS), 1 | 1024, np.uint16)
    bayes[0, :5] = (1, 2, 4, 8, 255)
    confidence[1, 0] = 16384
    confidence[2, 0] = 16384 | 32  # unfilled: the flag means nothing
    bayes[2, 1], confidence[2, 1] = 2, 32
    confidence[3, 0] = 256  # cosmetic fill is a measurement of the neighbour
    write_flags(product, bayes_in=bayes, confidence_in=confidence)

    mask = safe.read(product, BAYES).mask
    assert mask.dtype == np.int8
    assert mask[0, :6].tolist() == [1, 1, 1, 1, -1, 0]
    assert mask[2, :3].tolist() == [-1, -1, 0]
    assert mask[1, 0] == mask[3, 0] == 0

    summary = safe.read(product, SUMMARY).mask
    assert np.argwhere(summary == 1).tolist() == [[1, 0]]
    assert np.argwhere(summary < 0).tolist() == [[2, 0], [2, 1]]


@pytest.mark.parametrize("bayes", [None, np.full((ROWS, COLUMNS), 255, np.uint8)])
def test_product_without_bayesian_mask_says_what_to_do(product, bayes):
    write_flags(product, bayes_in=bayes)
    scene = scenes.read_scene(product)
    assert scene.mask is None and scene.measured.all()
    assert "flags_in.nc" in scene.unlabeled and "--labels summary" in scene.unlabeled
    assert scenes.read_scene(product, labels="summary").valid.all()


def test_missing_channels_are_zero_and_noted(product):
    write_sun(product, 0.5)
    write_radiance(product, "S3", 10.0)
    raw = safe.read(product, BAYES)
    assert raw.channels.tolist() == [False, False, True, False, False, False, True, True, True]
    assert raw.notes == ("no radiance file of S1, S2, S4, S5, S6: reflectance 0 there",)
    assert (raw.reflectance[..., [0, 1, 3, 4, 5]] == 0).all()
    assert raw.reflectance[..., 2] == pytest.approx(np.pi * 10 / (100 * 0.5), rel=1e-6)
    assert scenes.read_scene(product).valid.all()


def test_reflectance_is_the_mean_of_2_x_2_and_each_channel_has_its_own_sun(product):
    write_sun(product, 0.5)
    radiance = np.full((2 * ROWS, 2 * COLUMNS), 4.0)
    radiance[0:2, 0:2] = [[1, 2], [3, 6]]
    radiance[2:4, 4:6] = [[np.nan, 2], [np.nan, np.nan]]
    radiance[4:6, 8:10] = np.nan
    for number, channel in enumerate(slstr.VISIBLE, 1):
        write_radiance(product, channel, radiance, irradiance=100.0 * number)
    raw = safe.read(product, BAYES)
    assert raw.channels.all() and raw.notes == ()
    for number in range(1, 7):
        band = raw.reflectance[..., number - 1] * (100 * number * 0.5) / np.pi
        assert band[0, 0] == pytest.approx(3, rel=1e-6)
        assert band[1, 2] == pytest.approx(2, rel=1e-6)
        assert band[3, 3] == pytest.approx(4, rel=1e-6)
    assert np.argwhere(np.isnan(raw.reflectance[..., 5])).tolist() == [[2, 4]]
    assert np.argwhere(~scenes.read_scene(product).valid[..., 0]).tolist() == [[2, 4]]


def test_sun_between_tie_points(product):
    """Pixel c has its centre at tie point 2 + (c + 0.5 - 24) / 16."""
    write_sun(product, [0.2, 0.4, 0.6, 0.8, 1.0])
    cosine = safe.sun_cosine(product, (ROWS, COLUMNS))
    expected = 0.2 + 0.2 * (2 + (np.arange(COLUMNS) + 0.5 - 24) / 16)
    assert cosine.shape == (ROWS, COLUMNS)
    assert cosine == pytest.approx(np.tile(expected, (ROWS, 1)), abs=1e-6)
    assert (cosine[0, 23] + cosine[0, 24]) / 2 == pytest.approx(0.6, abs=1e-6)


def test_rows_have_their_own_sun_and_its_gaps_are_not_valid(product):
    zenith = np.full((ROWS, TIES), 60.0)
    zenith[1], zenith[2, 3] = 0.0, np.nan
    write_netcdf(product / "geometry_tn.nc", TIE_GRID, solar_zenith_tn=zenith)
    write_radiance(product, "S1", 10.0)
    raw = safe.read(product, BAYES)
    assert raw.reflectance[0, 0, 0] == pytest.approx(np.pi * 10 / (100 * 0.5), rel=1e-6)
    assert raw.reflectance[1, 0, 0] == pytest.approx(np.pi * 10 / 100, rel=1e-6)
    assert not np.isnan(raw.reflectance[2, :24]).any()
    assert np.isnan(raw.reflectance[2, 24:, 0]).all()


def test_outside_the_tie_points_the_sun_is_not_known(product):
    write_netcdf(
        product / "geometry_tn.nc",
        {**TIE_GRID, "track_offset": 0},
        solar_zenith_tn=np.full((ROWS, TIES), 60.0),
    )
    cosine = safe.sun_cosine(product, (ROWS, COLUMNS))
    assert np.isnan(cosine[:, :24]).all()
    assert cosine[:, 24:] == pytest.approx(0.5)


def test_night_is_zero_and_valid(product):
    zenith = np.full((ROWS, TIES), 60.0)
    zenith[0], zenith[1] = 88.0, 110.0  # the limit is 87.1
    write_netcdf(product / "geometry_tn.nc", TIE_GRID, solar_zenith_tn=zenith)
    radiance = np.full((2 * ROWS, 2 * COLUMNS), 4.0)
    radiance[2:4] = np.nan  # nothing is measured at night
    write_radiance(product, "S2", radiance)
    scene = scenes.read_scene(product)
    assert scene.valid.all()
    assert (scene.image[:2, :, 1] == -0.5).all()
    assert (scene.image[2:, :, 1] > -0.5).all()
    assert "night in 50.0% of the pixels" in scene.notes[0]


def test_irradiance_is_the_mean_over_detectors(product):
    write_netcdf(
        product / "S1_quality_an.nc", S1_solar_irradiance_an=np.array([99.0, 101, np.nan, 0])
    )
    assert safe.solar_irradiance(product, "S1") == 100.0


def test_halve():
    image = np.arange(2 * 4 * 2, dtype=np.float32).reshape(2, 4, 2)
    image[0, 2:, 1] = np.nan
    image[:, 2:, 0] = np.nan
    halved = raw_scene.halve(image)
    assert halved.dtype == np.float32 and halved.shape == (1, 2, 2)
    assert halved[0, 0].tolist() == [5.0, 6.0]
    assert np.isnan(halved[0, 1, 0]) and halved[0, 1, 1] == 14.0


def test_a_channel_that_did_not_arrive_by_day(product):
    """Products without S1 to S6 exist as well; what the manifest lists should be there."""
    write_sun(product, 0.5)
    write_radiance(product, "S3", 10.0)
    write_manifest(product, "S3_radiance_an.nc", "S5_radiance_an.nc")
    said = message(scenes.read_scene, product)
    assert str(product / "S5_radiance_an.nc") in said and "--missing-channels zero" in said
    assert message(scenes.check_scene, product) == said
    scene = scenes.read_scene(product, options=ReadOptions(missing_channels="zero"))
    assert "no radiance file of S1, S2, S4, S5, S6: reflectance 0 there" in scene.notes
    write_sun(product, 0.1)  # 84 degrees: twilight
    assert scenes.read_scene(product).measured.all()


def test_twilight_without_a_measurement_is_dark(product):
    zenith = np.full((ROWS, TIES), 60.0)
    zenith[0], zenith[1] = 83.0, 110.0
    write_netcdf(product / "geometry_tn.nc", TIE_GRID, solar_zenith_tn=zenith)
    radiance = np.full((2 * ROWS, 2 * COLUMNS), 4.0)
    radiance[0:2, :8] = radiance[4:6, :8] = np.nan
    write_radiance(product, "S2", radiance)
    scene = scenes.read_scene(product)
    assert scene.measured[:2].all() and (scene.image[0, :4, 1] == -0.5).all()
    assert (scene.image[0, 4:, 1] > -0.5).all()
    assert not scene.measured[2, :4].any() and scene.measured[2, 4:].all()


def test_where_the_sun_is_not_known_darkness_is_no_radiance_at_all(product):
    write_sun(product, 0.5)
    write_netcdf(
        product / "geometry_tn.nc",
        {**TIE_GRID, "track_offset": 0},
        solar_zenith_tn=np.full((ROWS, TIES), 60.0),
    )
    radiance = np.full((2 * ROWS, 2 * COLUMNS), 4.0)
    radiance[0:2] = np.nan
    write_radiance(product, "S2", radiance)
    scene = scenes.read_scene(product)
    assert scene.measured[0, :24].all() and not scene.measured[0, 24:].any()
    assert not scene.measured[1, :24].any() and scene.measured[1, 24:].all()


def test_radiances_on_the_grid_of_1_km(product):
    write_sun(product, 0.5)
    write_radiance(product, "S1", 4.0)
    full = scenes.read_scene(product).image
    (product / "S1_radiance_an.nc").unlink()
    raw = np.full((ROWS, COLUMNS), 400, np.int16)
    packed = {"scale_factor": 0.01, "add_offset": 0.0, "_FillValue": np.int16(-32768)}
    write_netcdf(product / "S1_radiance_in.nc", S1_radiance_in=(raw, packed))
    assert np.array_equal(scenes.read_scene(product).image, full)


@pytest.mark.parametrize("signed", ["dtype", "attribute"])
def test_unsigned_flags_that_are_stored_signed(product, signed):
    confidence = np.zeros((ROWS, COLUMNS), np.uint16)
    confidence[0, 0], confidence[0, 1], confidence[0, 2] = 32768 | 16384, 32768, 32
    attributes = {"_Unsigned": "true"} if signed == "attribute" else {}
    write_flags(product, confidence_in=(confidence.view(np.int16), attributes))
    scene = scenes.read_scene(product, labels="summary")
    assert np.argwhere(scene.mask[..., 0]).tolist() == [[0, 0]]
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[0, 2]]
    assert scene.confidence[0, 1] == 32768


def test_cosmetic_and_duplicate_pixels_can_be_left_out_of_the_labels(product):
    confidence = np.zeros((ROWS, COLUMNS), np.uint16)
    confidence[0, 0], confidence[0, 1] = 256, 512
    write_flags(product, confidence_in=confidence)
    assert scenes.read_scene(product).valid.all()
    scene = scenes.read_scene(product, options=ReadOptions(cosmetic="ignore"))
    assert np.argwhere(~scene.valid[..., 0]).tolist() == [[0, 0], [0, 1]]
    assert scene.measured.all()


def test_positions_between_tie_points_and_of_the_product_itself(product):
    assert safe.geolocation(product, (ROWS, COLUMNS)) is None
    longitude = np.tile(np.arange(TIES) * 0.16, (ROWS, 1))
    write_netcdf(
        product / "geodetic_tx.nc",
        TIE_GRID,
        latitude_tx=np.zeros((ROWS, TIES)),
        longitude_tx=longitude,
    )
    found = safe.geolocation(product, (ROWS, COLUMNS))
    expected = 0.16 * (2 + (np.arange(COLUMNS) + 0.5 - 24) / 16)
    assert found.longitude[1] == pytest.approx(expected, abs=1e-6)
    own = np.full((ROWS, COLUMNS), 12.0)
    write_netcdf(product / "geodetic_in.nc", latitude_in=own, longitude_in=own + 1)
    found = safe.geolocation(product, (ROWS, COLUMNS))
    assert (found.latitude == 12).all() and (found.longitude == 13).all()


def test_a_dead_channel_by_day_is_noticed_beside_the_night(product):
    zenith = np.full((ROWS, TIES), 60.0)
    zenith[: ROWS // 2] = 110.0
    write_netcdf(product / "geometry_tn.nc", TIE_GRID, solar_zenith_tn=zenith)
    write_radiance(product, "S2", 4.0)
    write_radiance(product, "S3", np.nan)
    assert "channel S3 holds no measurement" in message(scenes.read_scene, product)
    scene = scenes.read_scene(product, options=ReadOptions(missing_channels="zero"))
    assert scene.measured.all() and "no measurement in S3" in scene.notes[-1]


def test_unusable_flags_and_positions_block_no_prediction(product, tmp_path):
    (product / "flags_in.nc").write_bytes(b"no netCDF")
    (product / "geodetic_tx.nc").write_bytes(b"no netCDF")
    assert "not a readable netCDF file" in message(scenes.read_scene, product)
    scene = locate(scenes.read_scene(product, labels=None), product)
    assert scene.measured.all() and scene.geolocation is None and scene.confidence is None
    assert [note.split(":")[0] for note in scene.notes[-2:]] == ["no flags", "no positions"]


def test_tie_points_of_two_shapes(product):
    write_netcdf(
        product / "geodetic_tx.nc",
        TIE_GRID,
        latitude_tx=np.zeros((ROWS, TIES)),
    )
    with h5py.File(product / "geodetic_tx.nc", "r+") as file:
        file["longitude_tx"] = np.zeros((ROWS, TIES - 1))
    said = message(safe.geolocation, product, (ROWS, COLUMNS))
    assert "'longitude_tx' has shape (4, 4); expected (4, 5)" in said


def test_fill_of_unsigned_numbers_has_the_stored_sign(product):
    raw = np.zeros((ROWS, COLUMNS), np.int16)
    raw[1, 1] = -1
    attributes = {**PACKED, "_FillValue": np.int16(-1), "_Unsigned": "true"}
    write_netcdf(product / "S8_BT_in.nc", S8_BT_in=(raw, attributes))
    assert np.argwhere(~scenes.read_scene(product).measured[..., 0]).tolist() == [[1, 1]]
