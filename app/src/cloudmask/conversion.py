"""A scene's patches as the patch store holds them, and the statistics of its channels."""

from collections.abc import Iterable

import numpy as np

from cloudmask.patches import PATCH, patch_views
from cloudmask.store import CHANNELS

PART = 64  # rows of a patch at a time, which stay in the processor's cache

Sums = list[list[float]]  # per channel minimum, maximum, sum, sum of squares; [count]


def convert(image: np.ndarray, valid: np.ndarray, dtype: str) -> tuple[np.ndarray, Sums]:
    """Patches (n, 256, 256, 9) in `dtype` of a scene (H, W, 9), and sums over their valid pixels.

    valid: (n, 256, 256) bool, of the patches.
    """
    views = patch_views(image)
    stored = np.empty((len(views), PATCH, PATCH, CHANNELS), dtype)
    found, count = [], 0
    for patch, good, out in zip(views, valid, stored, strict=True):
        for first in range(0, PATCH, PART):
            rows = slice(first, first + PART)
            part = np.ascontiguousarray(patch[rows])
            out[rows] = part
            # NumPy is fast over long rows: those of whole patches are, until the last step.
            wide = part.reshape(PART, -1)
            if not good[rows].all():
                wide = part[good[rows]].astype(np.float64)
            if wide.size:
                found.append(_sums(wide))
                count += wide.size // CHANNELS
    if not found:
        return stored, [[], [], [], [], [0]]
    low, high, total, squares = map(np.stack, zip(*found, strict=True))
    sums = low.min(axis=0), high.max(axis=0), total.sum(axis=0), squares.sum(axis=0)
    return stored, [[float(x) for x in row] for row in sums] + [[count]]


def _sums(wide: np.ndarray) -> tuple[np.ndarray, ...]:
    """Minimum, maximum, sum, sum of squares (9,) of rows that hold whole pixels."""
    squares = np.einsum("ij,ij->j", wide, wide)
    return (
        wide.min(axis=0).reshape(-1, CHANNELS).min(axis=0),
        wide.max(axis=0).reshape(-1, CHANNELS).max(axis=0),
        wide.sum(axis=0).reshape(-1, CHANNELS).sum(axis=0, dtype=np.float64),
        squares.reshape(-1, CHANNELS).sum(axis=0, dtype=np.float64),
    )


def statistics(scenes: Iterable[Sums]) -> np.ndarray:
    """(4, 9) float64 of all scenes: minimum, maximum, mean, standard deviation per channel."""
    sums = [scene for scene in scenes if scene[4][0]]
    if not sums:
        return np.full((4, CHANNELS), np.nan)
    low, high, total, squares = (np.array([s[k] for s in sums]) for k in range(4))
    count = sum(s[4][0] for s in sums)
    mean = total.sum(axis=0) / count
    deviation = np.sqrt(np.maximum(squares.sum(axis=0) / count - mean**2, 0))
    return np.stack([low.min(axis=0), high.max(axis=0), mean, deviation])
