"""A scene's patches as the patch store holds them, and the statistics of its channels."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cloudmask.patches.geometry import PATCH, crop_patches, patch_origins
from cloudmask.patches.store import CHANNELS, INVALID
from cloudmask.scenes.raw import RawScene
from cloudmask.scenes.scene import Found, normalize

PART = 64  # rows of a patch at a time, which stay in the processor's cache

HALF_BIAS = np.float32(2.0**-112)  # brings a float32's exponent to the bias of float16

Sums = list[list[float]]  # per channel minimum, maximum, sum, sum of squares; [count]


@dataclass(frozen=True)
class Converted:
    """One scene's part of a store.

    patches: (n, 256, 256, 9); labels: (n, 256, 256) uint8; sums: over the valid pixels.
    found: what the channels held.
    """

    patches: np.ndarray
    labels: np.ndarray
    sums: Sums
    found: Found


def convert(raw: RawScene, dtype: str, fill: bool) -> Converted:
    """Cut and normalize a scene; the patches are of type `dtype`.

    fill: pixels without a measurement count as valid, with the value 0.
    """
    assert raw.mask is not None  # There is nothing to learn from a scene without labels.
    origins = patch_origins(*raw.shape)
    patches = np.empty((len(origins), PATCH, PATCH, CHANNELS), dtype)
    valid = np.empty(patches.shape[:3], bool)
    part = np.empty((PART, PATCH, CHANNELS), np.float32)
    cast = to_half if patches.dtype == np.float16 else np.copyto
    found = Found.of(raw)
    sums, count = [], 0
    for (top, left), patch, good in zip(origins, patches, valid, strict=True):
        columns = slice(left, left + PATCH)
        for first in range(0, PATCH, PART):
            rows = slice(first, first + PART)
            area = slice(top + first, top + first + PART), columns
            measured = normalize(raw, area, part, found, fill)
            good[rows] = (measured | fill) & (raw.mask[area] >= 0)
            cast(patch[rows], part)
            # NumPy is fast over long rows: those of whole patches are, until the last step.
            wide = part.reshape(PART, -1)
            if not good[rows].all():
                wide = part[good[rows]].astype(np.float64)
            if wide.size:
                sums.append(_sums(wide))
                count += wide.size // CHANNELS
    labels = crop_patches(raw.mask > 0).view(np.uint8)
    if not valid.all():
        labels |= np.where(valid, 0, INVALID).astype(np.uint8)
    if not sums:
        return Converted(patches, labels, [[], [], [], [], [0]], found)
    low, high, total, squares = map(np.stack, zip(*sums, strict=True))
    merged = low.min(axis=0), high.max(axis=0), total.sum(axis=0), squares.sum(axis=0)
    figures = [[float(x) for x in row] for row in merged]
    return Converted(patches, labels, [*figures, [count]], found)


def to_half(out: np.ndarray, values: np.ndarray) -> None:
    """Round contiguous float32 of less than 65,504 to the nearest float16, halves away from zero.

    NumPy converts one number at a time, these are a few operations on all: a third of the time.
    """
    bits = (values * HALF_BIAS).view(np.uint32)
    bits += np.uint32(1 << 12)  # half a unit of the last of float16's 10 digits; float32 has 23
    bits >>= np.uint32(13)
    sign = bits >> np.uint32(3)
    sign &= np.uint32(1 << 15)
    bits |= sign
    np.copyto(out.view(np.uint16), bits, casting="unsafe")  # drops the upper half


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
