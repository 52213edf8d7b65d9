"""Pictures as a reader finds them."""

import numpy as np
import pytest

from cloudmask.evaluate.pictures import COLORS, _shores, write_picture
from cloudmask.evaluate.prediction import Prediction
from cloudmask.scenes.scene import Scene


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    valid = np.ones((60, 80, 1), bool)
    valid[:, :5] = False
    image = np.where(valid, rng.normal(size=(60, 80, 9)), 0).astype(np.float32)
    mask = np.zeros((60, 80, 1), np.uint8)
    mask[:30] = 1
    return Scene("S3A_x", image, mask, valid, valid, np.ones(9, bool))


@pytest.fixture
def probability():
    values = np.zeros((60, 80, 1), np.float32)
    values[:, :40] = 0.9
    return values


def test_picture_shows_all_outcomes(tmp_path, scene, probability):
    image = pytest.importorskip("matplotlib.image")
    path = tmp_path / "S3A_x.png"
    write_picture(path, Prediction(scene, probability, 0.5), 0.75)
    pixels = image.imread(path)[..., :3]
    for label, color in COLORS.items():
        fraction = np.isclose(pixels, color, atol=0.01).all(axis=2).mean()
        assert fraction > 0.002, label
    assert list(tmp_path.iterdir()) == [path]


def test_shores_lie_between_water_and_land():
    flags = np.full((4, 6), 8, np.uint16)  # land
    flags[1:3, 2:4] = 16  # a lake
    shore = _shores(flags)
    assert np.argwhere(shore).tolist() == [
        [1, 2], [1, 3], [1, 4], [2, 2], [2, 4], [3, 2], [3, 3]
    ]  # fmt: skip
    assert not _shores(flags * 0).any()
