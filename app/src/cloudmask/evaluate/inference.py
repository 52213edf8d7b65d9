"""Cloud probability of whole scenes, by the published tiles or by the whole scene at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from cloudmask.errors import InputError
from cloudmask.model import FACTOR, REACH, filters_of, unet
from cloudmask.patches.geometry import stitch, tile, tile_padding

SMALLEST_BLOCK = 64  # pixels; smaller ones would be nearly all halo
TILES_AT_ONCE = 9  # one row of tiles of a published scene

# Rows and columns around a block that its output depends on, in whole steps of the pooling.
HALO = -(-REACH // FACTOR) * FACTOR


class Predictor:
    """The network, ready for scenes of any size.

    `tiling`: "whole" runs it over the padded scene at once; "published" over 256 x 256 tiles of
    which the centers are kept. `memory_limit` (bytes, 0: none) cuts "whole" into blocks with a halo
    that makes them exact: the network sees all that an output pixel depends on.
    """

    def __init__(self, model: Any, precision: str, tiling: str = "whole", memory_limit: int = 0):
        import tensorflow as tf

        self._model = unet((None, None, 9), filters_of(model), precision)
        self._model.set_weights(model.get_weights())
        self._tiling = tiling
        self._block = _largest_block(memory_limit, filters_of(model), precision)
        shape = tf.TensorSpec((None, None, None, 9), tf.float32)
        self._run = tf.function(lambda x: self._model(x, training=False), input_signature=[shape])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Normalized scene (H, W, 9) float32 to cloud probability (H, W, 1) float32.

        Raises InputError if the network gives anything that is no probability.
        """
        result = self._tiled(image) if self._tiling == "published" else self._whole(image)
        if bad := np.count_nonzero(~np.isfinite(result)):
            raise InputError(
                f"the network gives no probability for {bad} of {result.size} pixels: its "
                "weights or the scene's values are NaN or infinite"
            )
        return result

    def _tiled(self, image: np.ndarray) -> np.ndarray:
        tiles = tile(image)
        parts = [
            self._run(tiles[first : first + TILES_AT_ONCE]).numpy()
            for first in range(0, len(tiles), TILES_AT_ONCE)
        ]
        return stitch(np.concatenate(parts), image.shape[:2])

    def _whole(self, image: np.ndarray) -> np.ndarray:
        # Zeros to a multiple of FACTOR, so that the pooling windows lie as in the published tiles.
        before = [tile_padding(size)[0] % FACTOR for size in image.shape[:2]]
        sizes = zip(before, image.shape[:2], strict=True)
        padding = [(zeros, -(zeros + size) % FACTOR) for zeros, size in sizes]
        padded = np.pad(image, (*padding, (0, 0)))
        result = np.empty((*padded.shape[:2], 1), np.float32)
        for rows in _blocks(padded.shape[0], self._block):
            for columns in _blocks(padded.shape[1], self._block):
                result[rows.inner, columns.inner] = self._run(
                    padded[None, rows.outer, columns.outer]
                ).numpy()[0, rows.cut, columns.cut]
        inside = [
            slice(zeros, zeros + size) for zeros, size in zip(before, image.shape[:2], strict=True)
        ]
        return result[tuple(inside)]


class _Span:
    """A part of one axis.

    inner: what it delivers; outer: what the network sees for it; cut: the inner part in the outer.
    """

    def __init__(self, begin: int, end: int, size: int):
        seen = max(begin - HALO, 0), min(end + HALO, size)
        self.inner = slice(begin, end)
        self.outer = slice(*seen)
        self.cut = slice(begin - seen[0], end - seen[0])


def _blocks(size: int, block: int) -> Iterator[_Span]:
    step = block or size
    for begin in range(0, size, step):
        yield _Span(begin, min(begin + step, size), size)


def _largest_block(limit: int, filters: int, precision: str) -> int:
    """Side of the square block whose activations fit `limit` bytes; 0 for the whole scene."""
    if not limit:
        return 0
    need = bytes_per_pixel(filters, precision)
    side = (int((limit / need) ** 0.5) - 2 * HALO) // FACTOR * FACTOR
    if side < SMALLEST_BLOCK:
        least = (SMALLEST_BLOCK + 2 * HALO) ** 2 * need / 1e9
        raise InputError(f"--memory-limit {limit / 1e9:g}: expected at least {least:.2f} GB")
    return side


def bytes_per_pixel(filters: int, precision: str) -> float:
    """Memory of the activations that are alive at once, per pixel of the input.

    The peak is the first convolution after the last concatenation: skip and up-sampled input
    (filters and 2 * filters), their concatenation, the output, and the framework's copy of one.
    """
    size = 4 if precision == "float32" else 2
    return size * filters * (3 + 3 + 1 + 3)
