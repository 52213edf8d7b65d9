"""The example that comes with the package."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest

from cloudmask.evaluate import example
from cloudmask.scenes.scene import read_scene

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "app" / "scripts" / "make_example.py"


def test_example_is_small_and_knows_clouds():
    scene = read_scene(example.scene())
    assert scene.image.shape == (512, 512, 9)
    size = sum(path.stat().st_size for path in example.FOLDER.iterdir() if path.is_file())
    assert size < 5e6
    probability = np.asarray(example.network()(scene.image[None]))[0]
    right = (probability > 0.5) == (scene.cloud_truth > 0)
    # The majority class alone gets 0.58.
    assert right[scene.valid].mean() > 0.85


def test_scene_is_made_again_as_it_is(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("make_example", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    shipped = example.scene()
    monkeypatch.setattr(example, "FOLDER", tmp_path)
    script.write_scene()
    assert example.scene().name == shipped.name
    with h5py.File(shipped) as old, h5py.File(example.scene()) as new:
        assert sorted(old) == sorted(new)
        for name in old:
            shipped_values, values = old[name][...], new[name][...]
            # Sums in another order, as on another processor, move a value by 1e-7 of itself, and
            # one in millions across the edge between two steps of the rounding.
            step = {"refs": script.REFLECTANCE_STEP, "bts": script.KELVIN_STEP}.get(name, 0)
            np.testing.assert_allclose(values, shipped_values, rtol=0, atol=step)
            moved = np.nan_to_num(values) != np.nan_to_num(shipped_values)
            assert moved.mean() < 1e-5
