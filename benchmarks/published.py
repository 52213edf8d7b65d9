"""What the published system does, written afresh from its description, to measure against.

Scenes are read one by one through a Python generator by two threads, cut into patches as float32
and kept in memory by `cache()`; inference cuts 63 overlapping float32 tiles per scene.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from cloudmask.patches.geometry import crop_patches, stitch, tile

THREADS = 2
TILES_AT_ONCE = 32  # what Keras' predict takes by default


def patches_of(path: bytes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The 20 patches and masks of one scene, one at a time."""
    with h5py.File(path.decode(), "r") as file:
        refs, bts, bayes = (file[name][:] for name in ("refs", "bts", "bayes"))
    bts = (bts - 270.0) / 22.0
    refs = refs - 0.5
    mask = (bayes > 0).astype(np.float32)
    image = np.concatenate([refs, bts], axis=2).astype(np.float32)
    yield from zip(crop_patches(image), crop_patches(mask), strict=True)


def loader(scenes: Sequence[Path], batch_size: int):
    """The training data as a `tf.data.Dataset`: generator, two threads, cache, batches."""
    import tensorflow as tf

    signature = (
        tf.TensorSpec((256, 256, 9), tf.float32),
        tf.TensorSpec((256, 256, 1), tf.float32),
    )

    def read(path):
        return tf.data.Dataset.from_generator(patches_of, output_signature=signature, args=(path,))

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in scenes])
    patches = paths.interleave(read, cycle_length=THREADS, num_parallel_calls=THREADS)
    return patches.cache().shuffle(batch_size).batch(batch_size, drop_remainder=True)


def predict(model, image: np.ndarray) -> np.ndarray:
    """Cloud probability (H, W, 1) of a scene from 63 tiles by a float32 model."""
    tiles = tile(image)
    parts = [
        np.asarray(model(tiles[first : first + TILES_AT_ONCE]))
        for first in range(0, len(tiles), TILES_AT_ONCE)
    ]
    return stitch(np.concatenate(parts), image.shape[:2])
