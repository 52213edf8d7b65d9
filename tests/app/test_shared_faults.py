"""Inputs that failed once, made by the small programs in the folder `shared/faults`.

They lie beside the checkout; without them these tests are skipped. What each stands for has tests
of its own in tests/unit.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask import scenes
from cloudmask.errors import SceneError
from cloudmask.scenes.raw import ReadOptions
from cloudmask.scenes.synthetic import make_scene, scene_name, write_scene

FAULTS = Path(__file__).resolve().parents[2].parent / "shared" / "faults"
BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FAULTS.is_dir(), reason=f"no programs at {FAULTS}"),
]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    """Two scenes in either part."""
    folder = tmp_path_factory.mktemp("synthetic")
    for part in ("training", "inference"):
        (folder / part).mkdir()
        for number in (1, 2):  # by day
            path = folder / part / f"{scene_name(part, number)}.hdf"
            write_scene(path, make_scene(part, number, (256, 320), seed=3))
    return folder


@pytest.fixture
def scene(synthetic) -> Path:
    return synthetic / "training" / f"{scene_name('training', 1)}.hdf"


def make(fault: str, *arguments: object) -> None:
    """Run the program that makes an input."""
    program = FAULTS / fault / "make.py"
    subprocess.run([sys.executable, program, *map(str, arguments)], check=True, timeout=120)


def shell(fault: str, *arguments: object) -> str:
    """Run the commands of a fault; returns all that they print."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PY": sys.executable}
    done = subprocess.run(
        ["bash", FAULTS / fault / "run.sh", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def prepare(*arguments: object) -> subprocess.CompletedProcess:
    command = [BIN / "cloudmask-prepare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def mkproduct():
    spec = importlib.util.spec_from_file_location("mkproduct", FAULTS / "_make" / "mkproduct.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mixed_calibrations(scene, tmp_path):
    make("baseline_005_mixed", scene, tmp_path)
    found = sorted(tmp_path.glob("b00*/*.SEN3"))
    old, new = (scenes.read_scene(path) for path in found)
    adapted = scenes.read_scene(found[1], calibration="003")
    lit = old.valid[..., 0] & (old.image[..., 4] > -0.4)
    for index, factor in ((0, 0.97), (4, 1.11), (5, 1.13)):
        ratio = (new.image[lit][:, index] + 0.5).mean() / (old.image[lit][:, index] + 0.5).mean()
        assert ratio == pytest.approx(factor, rel=0.01)
    assert np.abs(adapted.image[lit] - old.image[lit])[:, :6].max() < 0.02
    # Both are one granule, of which the newer collection is taken.
    done = prepare("--scenes", *found, "--out", tmp_path / "p.h5")
    assert done.returncode == 0 and "another version of the same granule" in done.stdout


def test_incomplete_product_by_day(scene, tmp_path):
    make("incomplete_product_by_day", scene, tmp_path)
    done = prepare("--scenes", tmp_path, "--out", tmp_path / "p.h5")
    assert done.returncode == 2 and "S5_radiance_an.nc: no such file" in done.stderr
    done = prepare("--scenes", tmp_path, "--out", tmp_path / "p.h5", "--missing-channels", "zero")
    assert done.returncode == 0 and "no radiance file of S5: reflectance 0 there" in done.stdout


def test_product_with_radiances_of_1_km(scene, tmp_path):
    make("slstr_lite", scene, tmp_path)
    (path,) = tmp_path.iterdir()
    found = scenes.read_scene(path)
    assert found.channels.all() and found.valid.mean() > 0.9
    with h5py.File(scene) as file:
        expected = file["refs"][...]
    lit = found.valid[..., 0]
    assert np.abs(found.image[lit][:, 1] + 0.5 - expected[lit][:, 1]).max() < 0.02


def test_nested_products(scene, tmp_path):
    product = mkproduct().make(tmp_path / "S3A_x.SEN3", scene)
    assert "exit" not in shell("nested_sen3", product)


def test_store_among_scenes(scene):
    printed = shell("store_among_scenes", scene)
    assert "exit 2" not in printed and "exit 1" not in printed
    assert printed.count("is a patch store of cloudmask-prepare") == 2


def test_links_to_folders(synthetic):
    first, second = sorted((synthetic / "training").iterdir())
    printed = shell("symlinked_folder_skipped", first, second)
    assert printed.count("patches of 2 scenes,") == 2 and "exit" not in printed
    assert "passed over 1 (a link that leads nowhere): S3A_y.hdf" in printed


def test_zstd_is_named(scene, tmp_path):
    pytest.importorskip("hdf5plugin")
    make("zstd_called_damaged", scene, tmp_path / "S3A_z.hdf")
    with pytest.raises(SceneError, match=r"Zstandard \(HDF5 filter 32015\).*hdf5plugin"):
        scenes.read_scene(tmp_path / "S3A_z.hdf")


def test_gdal_reads_a_mask_the_right_way_up():
    pytest.importorskip("rasterio")
    assert "same True" in shell("gdal_reads_mask_upside_down")


def test_products_without_a_bayesian_mask(synthetic, tmp_path):
    make("truth_summary_not_carried", synthetic, tmp_path)
    done = prepare("--scenes", tmp_path / "training", "--out", tmp_path / "p.h5")
    assert done.returncode == 2 and "--labels summary" in done.stderr
    (first, _) = sorted((tmp_path / "training").iterdir())
    assert scenes.read_scene(first).mask is None


@pytest.mark.parametrize("zenith, lit", [(40.0, True), (83.0, True), (100.0, False)])
def test_day_twilight_and_night_of_one_scene(scene, tmp_path, zenith, lit):
    """At night and in twilight a missing reflectance is 0; by day it is none."""
    product = mkproduct().make(tmp_path / "S3A_x.SEN3", scene, zenith=zenith)
    whole = scenes.read_scene(product)
    with h5py.File(product / "S2_radiance_an.nc", "r+") as file:
        file["S2_radiance_an"][:, :100] = -32768
    holed = scenes.read_scene(product, options=ReadOptions())
    measured = whole.measured[..., 0]
    assert (whole.image[measured][:, 1] > -0.49).any() == lit
    if zenith < 80:
        assert not holed.measured[:, :50].any()
    else:
        assert np.array_equal(holed.measured, whole.measured)
        assert (holed.image[measured[:, :50].nonzero()][:, 1] == -0.5).all()


def test_test_scenes_are_opened_before_the_training(synthetic, scene, tmp_path):
    store = tmp_path / "p.h5"
    assert prepare("--scenes", synthetic / "training", "--out", store).returncode == 0
    printed = shell("test_scenes_checked_after_training", store, scene)
    assert "exit 2" in printed and "S3A_b.hdf: not a readable HDF5 file" in printed
    assert "epoch" not in printed
