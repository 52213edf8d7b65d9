"""A scene as its file has it, in physical units, and what all readers of formats share."""

from dataclasses import dataclass

import numpy as np

# What h5py raises when the content of a file makes no sense.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


@dataclass(frozen=True)
class RawScene:
    """A scene of H x W pixels on the 1 km grid, in physical units.

    reflectance: (H, W, 6) float32, S1 to S6; 0 at night and in a missing channel, NaN where day has
    no measurement. temperature: (H, W, 3) float32 kelvin, S7 to S9; NaN where not measured.
    mask: (H, W) int8, 1 cloud, 0 clear, -1 unknown. channels: (9,) bool, which the source has.
    notes: what the log should say about it.
    """

    reflectance: np.ndarray
    temperature: np.ndarray
    mask: np.ndarray
    channels: np.ndarray
    notes: tuple[str, ...]


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
