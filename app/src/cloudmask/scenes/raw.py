"""A scene as its file has it, in physical units, and what all readers of formats share."""

from dataclasses import dataclass, field

import numpy as np

from cloudmask.scenes.origin import Origin

# What h5py raises when the content of a file makes no sense.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


@dataclass(frozen=True)
class ReadOptions:
    """How scenes are read, whatever their format.

    labels: "bayes" (Bayesian mask), "summary" (summary cloud flag), or None if none are wanted.
    missing_channels: "error" refuses a scene without a channel that it should have, "zero" goes on
    with reflectance 0 (270 K in a thermal channel). cosmetic: "ignore" takes the labels from pixels
    that the product filled from a neighbor or holds twice, "use" does not.
    """

    labels: str | None = "bayes"
    missing_channels: str = "error"
    cosmetic: str = "use"


@dataclass(frozen=True)
class RawScene:
    """A scene of H x W pixels on the 1 km grid, in physical units.

    reflectance: (H, W, 6) float32, S1 to S6; NaN where it was not measured, 0 at night and in a
    missing channel. temperature: (H, W, 3) float32 kelvin, S7 to S9; NaN where not measured.
    channels: (9,) bool, which the source has. mask: (H, W) int8, 1 cloud, 0 clear, -1 unknown; None
    if the scene has no labels. unlabeled: why it has none. dark: (H, W) bool, where a missing
    reflectance is 0, since there is no light; None if the sun is not known. confidence: (H, W)
    uint16, bits of `confidence_in`, None if there are none. notes: what the log should say.
    """

    reflectance: np.ndarray
    temperature: np.ndarray
    channels: np.ndarray
    mask: np.ndarray | None = None
    unlabeled: str = ""
    dark: np.ndarray | None = None
    confidence: np.ndarray | None = None
    origin: Origin = field(default_factory=Origin)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """H and W."""
        return self.temperature.shape[:2]


def halve(image: np.ndarray) -> np.ndarray:
    """Mean of each 2 x 2 block, NaN left out: (2H, 2W, C) to (H, W, C) float32.

    A block without any value is NaN.
    """
    total = np.zeros((image.shape[0] // 2, image.shape[1] // 2, image.shape[2]), np.float32)
    count = np.zeros(total.shape, np.float32)
    for row in (0, 1):
        for column in (0, 1):
            corner = image[row::2, column::2]
            missing = np.isnan(corner)
            total += np.where(missing, 0, corner)
            count += ~missing
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def reason(error: Exception) -> str:
    """What a library says about a damaged file, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
