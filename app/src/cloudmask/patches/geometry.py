"""Cut scenes into patches and tiles, and put tiles together again: pure NumPy, no files.

Training uses patches without overlap from the middle of a scene. Inference uses overlapping tiles
of which only the centers are kept. The geometry of 1200 x 1500 scenes is the published one; scenes
of other sizes follow the same rule.
"""

import numpy as np

PATCH = 256  # side of patches and tiles, pixels
MARGIN = 40  # cut from each side of a predicted tile: there the network sees padding
STRIDE = PATCH - 2 * MARGIN  # 176, from tile to tile


def crop_grid(height: int, width: int) -> tuple[int, int]:
    """How many rows and columns of patches fit into a scene; (4, 5) for 1200 x 1500.

    Raises ValueError if the scene is smaller than one patch.
    """
    rows, columns = height // PATCH, width // PATCH
    if not rows or not columns:
        raise ValueError(f"{height} x {width} pixels are less than one patch of {PATCH} x {PATCH}")
    return rows, columns


def patch_origins(height: int, width: int) -> list[tuple[int, int]]:
    """First row and column of each patch in the middle of a scene, row-major.

    The largest centerd area whose sides are multiples of 256 is used: of a published scene 1024 x
    1280 pixels, which leaves out 88 rows above and below and 110 columns left and right.
    """
    rows, columns = crop_grid(height, width)
    top, left = (height - rows * PATCH) // 2, (width - columns * PATCH) // 2
    return [
        (row, column)
        for row in range(top, top + rows * PATCH, PATCH)
        for column in range(left, left + columns * PATCH, PATCH)
    ]


def crop_patches(a: np.ndarray) -> np.ndarray:
    """The patches of `patch_origins` in one array: (1200, 1500, C) to (20, 256, 256, C)."""
    return np.stack([a[y : y + PATCH, x : x + PATCH] for y, x in patch_origins(*a.shape[:2])])


def tile_grid(height: int, width: int) -> tuple[int, int]:
    """How many rows and columns of tiles cover a scene; (7, 9) for 1200 x 1500."""
    return -(-height // STRIDE), -(-width // STRIDE)


def tile_padding(size: int) -> tuple[int, int]:
    """Zeros before and after an axis, as TensorFlow's SAME padding has them; (56, 56) for 1200."""
    total = (-(-size // STRIDE) - 1) * STRIDE + PATCH - size  # at least 2 * MARGIN
    return total // 2, total - total // 2


def tile(a: np.ndarray) -> np.ndarray:
    """Overlapping tiles of the zero-padded scene, row-major: (1200, 1500, C) to (63, 256, 256, C).

    Stride 176 with SAME padding: of a published scene 56 rows above and below, 82 columns left and
    right.
    """
    height, width, channels = a.shape
    padded = np.pad(a, (tile_padding(height), tile_padding(width), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    return windows[::STRIDE, ::STRIDE].transpose(0, 1, 3, 4, 2).reshape(-1, PATCH, PATCH, channels)


def stitch(tiles: np.ndarray, shape: tuple[int, int] = (1200, 1500)) -> np.ndarray:
    """Scene from the centers of its tiles: (63, 256, 256, C) to (1200, 1500, C).

    40 pixels are cut from each side of a tile, the 176 x 176 centers are laid side by side (to 1232
    x 1584), and what belongs to the padding (16 rows, 42 columns on each side) is cut off.
    """
    rows, columns = tile_grid(*shape)
    channels = tiles.shape[-1]
    if tiles.shape != (rows * columns, PATCH, PATCH, channels):
        raise ValueError(
            f"tiles have shape {tiles.shape}; a scene of {shape[0]} x {shape[1]} pixels has "
            f"({rows * columns}, {PATCH}, {PATCH}, C)"
        )
    centers = tiles[:, MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(
        rows, columns, STRIDE, STRIDE, channels
    )
    whole = centers.swapaxes(1, 2).reshape(rows * STRIDE, columns * STRIDE, channels)
    top, left = (tile_padding(size)[0] - MARGIN for size in shape)
    return whole[top : top + shape[0], left : left + shape[1]]
