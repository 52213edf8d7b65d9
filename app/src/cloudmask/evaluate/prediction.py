"""The cloud probability that a classifier gives a scene, and the mask that follows from it."""

from dataclasses import dataclass

import numpy as np

from cloudmask.scenes.scene import Scene


@dataclass(frozen=True)
class Prediction:
    """Cloud probability of a scene, (H, W, 1); a pixel is cloud above the threshold.

    dilate: pixels by which the cloud of the mask grows to all sides. labels: the label source of
    the patches that the network was trained on; model: its identity; calibration: what S1 to S6
    were adapted to. They are empty if not known.
    """

    scene: Scene
    probability: np.ndarray
    threshold: float
    dilate: int = 0
    labels: str = ""
    model: str = ""
    calibration: str = ""

    @property
    def cloud(self) -> np.ndarray:
        """The mask, (H, W, 1) bool. Cloud grows from pixels alone that hold a measurement."""
        cloud = self.probability > self.threshold
        return grown(cloud & self.scene.measured, self.dilate) | cloud if self.dilate else cloud


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """(H, W, 1) bool with every pixel set from which a set one is at most `pixels` away.

    Distance is counted in rows and in columns, so that one pixel grows to a square; what would lie
    outside the scene is cut off. Raises ValueError if `pixels` is negative.
    """
    if pixels < 0:
        raise ValueError(f"a mask cannot grow by {pixels} pixels; expected 0 or more")
    for axis in (0, 1):
        # How many set pixels precede each one gives how many are in any stretch, in one pass.
        size = mask.shape[axis]
        before = np.cumsum(mask, axis=axis, dtype=np.int32)
        before = np.concatenate([np.zeros_like(before.take([0], axis)), before], axis)
        begins, ends = np.arange(size) - pixels, np.arange(size) + pixels + 1
        first = before.take(np.maximum(begins, 0), axis)
        mask = before.take(np.minimum(ends, size), axis) > first
    return mask
