"""The mask that follows from a probability."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from cloudmask.evaluate.prediction import Prediction, grown
from cloudmask.scenes.scene import Scene

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: arrays(bool, (*size, 1))
)


def scene(valid):
    image = np.zeros((*valid.shape[:2], 9), np.float32)
    return Scene("S3A_x", image, valid.astype(np.uint8), valid, valid, np.ones(9, bool))


def test_a_pixel_is_cloud_above_the_threshold():
    probability = np.float32([[0.3, 0.5, 0.7]])[..., None]
    prediction = Prediction(scene(np.ones((1, 3, 1), bool)), probability, 0.5)
    assert prediction.cloud.dtype == bool
    np.testing.assert_array_equal(prediction.cloud[..., 0], [[False, False, True]])


def test_a_corner_grows_to_a_square_and_not_around_the_edge():
    mask = np.zeros((6, 7, 1), bool)
    mask[0, 0] = True
    expected = np.zeros_like(mask)
    expected[:3, :3] = True
    np.testing.assert_array_equal(grown(mask, 2), expected)


@given(MASKS, st.integers(0, 4))
def test_masks_grow_as_in_pillow(mask, pixels):
    padded = np.pad(mask[..., 0], pixels)
    image = Image.fromarray(padded.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * pixels + 1))
    height, width = mask.shape[:2]
    expected = np.array(image)[pixels : pixels + height, pixels : pixels + width] > 0
    np.testing.assert_array_equal(grown(mask, pixels)[..., 0], expected)


@given(MASKS)
def test_a_mask_may_grow_beyond_the_scene(mask):
    assert (grown(mask, 1000) == mask.any()).all()


def test_cloud_does_not_grow_from_pixels_without_measurement():
    valid = np.ones((1, 7, 1), bool)
    valid[0, 0] = False
    probability = np.float32([[0.9, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1]])[..., None]
    cloud = Prediction(scene(valid), probability, 0.5, dilate=1).cloud
    np.testing.assert_array_equal(cloud[0, :, 0], [1, 0, 0, 0, 1, 1, 1])


def test_a_mask_does_not_shrink():
    with pytest.raises(ValueError, match="expected 0 or more"):
        grown(np.ones((2, 2, 1), bool), -1)
