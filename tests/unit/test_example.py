"""The example that comes with the package."""

import numpy as np

from cloudmask import example
from cloudmask.scenes import read_scene


def test_example_is_small_and_knows_clouds():
    scene = read_scene(example.scene())
    assert scene.image.shape == (512, 512, 9)
    size = sum(path.stat().st_size for path in example.FOLDER.iterdir() if path.is_file())
    assert size < 5e6
    probability = np.asarray(example.network()(scene.image[None]))[0]
    right = (probability > 0.5) == (scene.truth > 0)
    # The majority class alone gets 0.58.
    assert right[scene.valid].mean() > 0.85
