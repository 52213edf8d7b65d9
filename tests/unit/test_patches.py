"""The published geometry, written from the benchmark's facts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmask.patches.geometry import crop_patches, stitch, tile

SIZES = st.tuples(st.integers(256, 700), st.integers(256, 700))


@pytest.fixture(scope="module")
def numbered():
    """Every pixel of a scene of the published size has its own number."""
    return np.arange(1200 * 1500 * 2, dtype=np.int32).reshape(1200, 1500, 2)


def test_crop_is_the_published_one(numbered):
    patches = crop_patches(numbered)
    assert patches.shape == (20, 256, 256, 2)
    assert patches.dtype == numbered.dtype
    for index in range(20):
        row, column = 88 + 256 * (index // 5), 110 + 256 * (index % 5)
        expected = numbered[row : row + 256, column : column + 256]
        np.testing.assert_array_equal(patches[index], expected)


def test_tiles_are_the_published_ones(numbered):
    tiles = tile(numbered)
    assert tiles.shape == (63, 256, 256, 2)
    padded = np.zeros((1200 + 112, 1500 + 164, 2), np.int32)
    padded[56:1256, 82:1582] = numbered
    for index in range(63):
        row, column = 176 * (index // 9), 176 * (index % 9)
        np.testing.assert_array_equal(tiles[index], padded[row : row + 256, column : column + 256])


def test_tiles_are_those_of_tensorflow(numbered):
    tf = pytest.importorskip("tensorflow")
    expected = tf.image.extract_patches(
        numbered[None].astype(np.float32)[..., :1], [1, 256, 256, 1], [1, 176, 176, 1], [1] * 4,
        "SAME",
    )  # fmt: skip
    expected = expected.numpy().reshape(63, 256, 256, 1)
    np.testing.assert_array_equal(tile(numbered.astype(np.float32)[..., :1]), expected)


def test_stitch_cuts_the_published_margins(numbered):
    tiles = np.zeros((63, 256, 256, 1), np.int32)
    tiles[:] = np.arange(63)[:, None, None, None]
    tiles[:, :40] = tiles[:, -40:] = -1
    tiles[:, :, :40] = tiles[:, :, -40:] = -1
    scene = stitch(tiles)
    assert scene.shape == (1200, 1500, 1)
    assert scene.min() == 0, "margins of tiles are cut off"
    # The first tile keeps 176 - 16 rows and 176 - 42 columns.
    assert (scene[:160, :134] == 0).all()
    assert (scene[160, 134:] > 9).all()
    assert scene[159, 134, 0] == 1


def test_stitch_inverts_tile(numbered):
    np.testing.assert_array_equal(stitch(tile(numbered)), numbered)


@given(SIZES)
def test_other_sizes_follow_the_same_rule(size):
    image = np.arange(size[0] * size[1], dtype=np.int32).reshape(*size, 1)
    np.testing.assert_array_equal(stitch(tile(image), size), image)
    patches = crop_patches(image)
    rows, columns = size[0] // 256, size[1] // 256
    assert patches.shape == (rows * columns, 256, 256, 1)
    top, left = (size[0] - 256 * rows) // 2, (size[1] - 256 * columns) // 2
    assert patches[0, 0, 0, 0] == image[top, left, 0]


def test_sizes_that_cannot_work():
    with pytest.raises(ValueError, match="100 x 900 pixels"):
        crop_patches(np.zeros((100, 900, 1)))
    with pytest.raises(ValueError, match=r"\(63, 256, 256, C\)"):
        stitch(np.zeros((62, 256, 256, 1)))
