"""The cloud probability that a classifier gives a scene."""

from dataclasses import dataclass

import numpy as np

from cloudmask.scenes.scene import Scene


@dataclass(frozen=True)
class Prediction:
    """Cloud probability of a scene, (H, W, 1); a pixel is cloud above the threshold."""

    scene: Scene
    probability: np.ndarray
    threshold: float
