"""The change of S1 to S6 with collection 005, and data of both calibrations."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.products import write_product, write_radiance, write_sun

from cloudmask import scenes
from cloudmask.errors import InputError
from cloudmask.patches.prepare import PrepareOptions, _Plan, prepare
from cloudmask.patches.store import PatchStore
from cloudmask.scenes.calibration import FACTORS, calibration_of, common_calibration
from cloudmask.scenes.origin import Origin
from cloudmask.scenes.slstr import VISIBLE
from cloudmask.scenes.synthetic import make_scene, write_scene

NAME = "S3A_SL_1_RBT____{}_20210827T074636_20210827T094954_0179_075_320_3060_LN2_O_NT_{}"


@pytest.mark.parametrize(
    "baseline, expected",
    [
        ("SL__L1_.004.06.00", "003"),
        ("SL__L1_.005.00.00", "005"),
        ("003", "003"),
        ("012", "005"),
        ("", "unknown"),
        ("000", "unknown"),
        ("D04", "unknown"),
    ],
)
def test_calibration_of_a_baseline(baseline, expected):
    assert calibration_of(Origin(baseline=baseline)) == expected


def test_factors_are_satpys():
    reader = pytest.importorskip("satpy.readers.slstr_l1b")
    theirs = [reader.CHANCALIB_FACTORS[f"{channel}_nadir"] for channel in VISIBLE]
    assert pytest.approx(theirs) == FACTORS


def test_a_product_is_adapted_both_ways(tmp_path):
    product = write_product(tmp_path / (NAME.format("20210827T074336", "004") + ".SEN3"))
    write_sun(product, 0.5)
    for channel in VISIBLE:
        write_radiance(product, channel, 4.0)
    stored = scenes.read_scene(product).image[..., :6] + 0.5
    new = scenes.read_scene(product, calibration="005")
    assert new.image[..., :6] + 0.5 == pytest.approx(stored * FACTORS, rel=1e-5)
    assert new.notes == ("reflectances of collection 004 adapted to those of 005",)
    same = scenes.read_scene(product, calibration="003")
    assert np.array_equal(same.image[..., :6] + 0.5, stored)
    with h5py.File(product / "S1_radiance_an.nc", "r+") as file:
        file.attrs["processing_baseline"] = np.bytes_("SL__L1_.005.00.00")
    old = scenes.read_scene(product, calibration="003")
    assert old.image[..., :6] + 0.5 == pytest.approx(stored / FACTORS, rel=1e-5)


@pytest.fixture
def mixed(tmp_path) -> list[Path]:
    """A scene of either calibration."""
    scene = make_scene("training", 0, (256, 256), seed=1)
    paths = [
        tmp_path / (NAME.format("20210827T074336", "004") + ".hdf"),
        tmp_path / (NAME.format("20210828T074336", "005") + ".hdf"),
    ]
    for path in paths:
        write_scene(path, scene)
    return paths


def test_a_store_of_mixed_calibrations_is_refused(mixed, tmp_path):
    out = tmp_path / "p.h5"
    with pytest.raises(InputError, match="--calibration 003 or 005"):
        prepare(mixed, out, PrepareOptions(), workers=1)
    assert not out.exists()
    prepare(mixed[:1], out, PrepareOptions(), workers=1)
    assert PatchStore(out).calibration == "003"


def test_a_store_of_mixed_calibrations_can_be_adapted(mixed, tmp_path):
    stores = {}
    for choice in ("as-stored", "003", "005"):
        path = tmp_path / f"{choice}.h5"
        with h5py.File(mixed[1], "r+") as file:  # The same bytes would be one scene.
            file.attrs["choice"] = choice
        prepare(mixed, path, PrepareOptions(dtype="float32", calibration=choice), workers=1)
        stores[choice] = PatchStore(path)
        assert stores[choice].calibration == choice
    measured = stores["003"].labels[0] < 2
    stored = stores["as-stored"].patches[:, measured, :6] + 0.5
    old, new = (stores[choice].patches[:, measured, :6] + 0.5 for choice in ("003", "005"))
    assert old == pytest.approx(stored / np.stack([FACTORS**0, FACTORS])[:, None], rel=1e-4)
    assert new == pytest.approx(stored * np.stack([FACTORS, FACTORS**0])[:, None], rel=1e-4)
    assert len({store.checksum for store in stores.values()}) == 3


def test_what_is_not_known_is_used_as_it_is_and_told(tmp_path):
    scene = tmp_path / "S3A_scene.hdf"
    known = [(scene, Origin(baseline="004")), (scene, Origin())]
    assert common_calibration(known, "auto") == "003"
    assert common_calibration(known[1:], "auto") == "unknown"
    assert common_calibration(known, "005") == "005"
    write_scene(scene, make_scene("training", 0, (256, 256), seed=1))
    stored = scenes.read_scene(scene)
    found = scenes.read_scene(scene, calibration="005")
    assert np.array_equal(found.image, stored.image)
    assert "an unknown collection used as stored" in found.notes[-1]
    for target in ("auto", "004", "as_stored"):
        with pytest.raises(InputError, match=r"calibration '.*': expected 003, 005"):
            scenes.read_scene(scene, calibration=target)


def test_renamed_products_of_one_granule_are_one_scene():
    origin = Origin(
        platform="Sentinel-3A", start="2021-08-27T07:43:36.1Z", stop="2021-08-27T07:46Z"
    )
    plan = _Plan()
    assert plan.same_granule(Path("nr.SEN3"), origin) is None
    same = replace(origin, start="2021-08-27T07:43:36Z")
    assert plan.same_granule(Path("nt.SEN3"), same) == Path("nr.SEN3")
    assert plan.same_granule(Path("b.SEN3"), replace(origin, platform="Sentinel-3B")) is None
    assert plan.same_granule(Path("x.hdf"), Origin()) is None


def test_the_same_bytes_under_two_names_are_one_scene(mixed, tmp_path):
    mixed[1].write_bytes(mixed[0].read_bytes())
    done = prepare(mixed, tmp_path / "p.h5", PrepareOptions(calibration="as-stored"), workers=1)
    assert done.scenes == 1 and f"{mixed[1]}: has the bytes of {mixed[0]}; left out" in done.notes
    assert len(PatchStore(tmp_path / "p.h5").scenes) == 1
