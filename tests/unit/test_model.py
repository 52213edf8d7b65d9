"""The network: published size, exactness of every way to run it over a scene."""

import numpy as np
import pytest

from cloudmask.evaluate.inference import HALO, Predictor, bytes_per_pixel
from cloudmask.model import PUBLISHED_PARAMETERS, REACH, filters_of, unet, weight_shapes
from cloudmask.patches.geometry import stitch, tile


@pytest.fixture(scope="module")
def network():
    import keras

    keras.utils.set_random_seed(3)
    return unet(filters=4)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(size=(300, 420, 9)).astype(np.float32)


def test_is_the_published_network():
    network = unet()
    assert network.count_params() == PUBLISHED_PARAMETERS == 1_948_609
    assert len(network.layers) == 39
    assert filters_of(network) == 32
    widths = [w.shape[-1] for w in network.weights if len(w.shape) == 4]
    assert widths == [32, 32, 64, 64, 128, 128, 256, 256, 128, 128, 64, 64, 32, 32, 1]
    assert network.output_shape == (None, 256, 256, 1)


def test_deterministic_network_is_the_same_function(network, image):
    other = unet(filters=4, deterministic=True)
    assert not [layer for layer in other.layers if "up_sampling" in layer.name]
    other.set_weights(network.get_weights())
    patches = image[None, :256, :256]
    np.testing.assert_array_equal(other(patches).numpy(), network(patches).numpy())


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_float32_weights_and_output(precision):
    network = unet((64, 64, 9), filters=2, precision=precision)
    assert {str(np.dtype(w.numpy().dtype)) for w in network.weights} == {"float32"}
    assert network(np.zeros((1, 64, 64, 9), np.float32)).numpy().dtype == np.float32


def test_reach_is_how_far_a_pixel_looks(network):
    """A change farther away than REACH changes nothing; one close by does."""
    whole = unet((None, None, 9), filters=4)
    whole.set_weights(network.get_weights())
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, 256, 256, 9)).astype(np.float32)
    before = whole(image).numpy()[0, 128, :, 0]
    for column in range(80, 88):  # all alignments of the pooling windows
        changed = image.copy()
        changed[0, 128, column] += 100
        moved = np.flatnonzero(whole(changed).numpy()[0, 128, :, 0] != before)
        assert abs(moved - column).max() <= REACH <= HALO
        assert abs(moved - column).max() > REACH // 2


def test_tiles_are_predicted_and_stitched(network, image):
    predict = Predictor(network, "float32", "published")
    expected = stitch(network.predict(tile(image), verbose=0), image.shape[:2])
    np.testing.assert_allclose(predict(image), expected, atol=1e-6)


def test_blocks_are_exact(network, image):
    whole = Predictor(network, "float32")(image)
    assert whole.shape == (300, 420, 1)
    limit = int((2 * HALO + 64) ** 2 * bytes_per_pixel(4, "float32"))
    np.testing.assert_allclose(
        Predictor(network, "float32", "whole", limit)(image), whole, atol=1e-6
    )


def test_whole_and_tiles_agree_inside(network, image):
    """Away from the edges both see the same pixels, but for 12 of REACH that tiles cut off."""
    whole = Predictor(network, "float32")(image)
    tiles = Predictor(network, "float32", "published")(image)
    inside = (slice(HALO, -HALO),) * 2
    difference = np.abs(whole - tiles)[inside]
    assert np.median(difference) < 1e-6
    assert difference.mean() < 1e-3


@pytest.mark.parametrize("filters", [1, 3])
def test_shapes_of_the_weights_are_known_without_keras(filters):
    shapes = [tuple(weight.shape) for weight in unet((64, 64, 9), filters).weights]
    assert weight_shapes(filters) == shapes
