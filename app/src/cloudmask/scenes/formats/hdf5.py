"""Read scenes of the published layout: HDF5 files with data sets at the root.

`refs` (H, W, 6) reflectances S1 to S6, also on the 500 m grid (2H, 2W, 6); `bts` (H, W, 3)
brightness temperatures S7 to S9 in kelvin; `bayes` (H, W, 1) flag bits of the Bayesian mask;
`summary` (H, W, 1), the summary cloud flag. Synthetic scenes have `truth` (H, W, 1) as well.
"""

import hashlib
import os
from pathlib import Path

import h5py
import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes.raw import DAMAGE, RawScene, halve, reason
from cloudmask.scenes.slstr import CHANNELS, MAX_SIDE

BLOCK = 1 << 20  # bytes of a scene read at once
CLOUD_TRUTH = "truth"  # data set with the simulated clouds


def check(path: Path, labels: str = "bayes") -> tuple[int, int]:
    """Height and width on the mask's grid, from headers alone; SceneError if it cannot be used."""
    with _open(path) as file:
        return _check_layout(path, file, labels)


def read(path: Path, labels: str = "bayes", content: np.ndarray | None = None) -> RawScene:
    """Read a scene; `content`: the file's bytes, in whose memory the scene may then lie."""
    with _open(path) as file:
        return _read_scene(path, file, labels, content)


def load(path: Path) -> tuple[np.ndarray, str]:
    """The file's bytes, (n,) uint8, and their SHA-256; SceneError if it shrinks meanwhile."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        content = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
        for first in range(0, len(content), BLOCK):
            block = content[first : first + BLOCK]
            if file.readinto(block.data) < len(block):
                raise SceneError(f"{path}: changed while it was read")
            digest.update(block.data)  # The block is still in the processor's cache.
    return content, digest.hexdigest()


def cloud_truth(path: Path) -> np.ndarray | None:
    """The simulated cloud field (H, W, 1) uint8 of a synthetic scene, None in others."""
    with _open(path) as file:
        if CLOUD_TRUTH not in file:
            return None
        _check_layout(path, file, CLOUD_TRUTH)
        return _read(path, file[CLOUD_TRUTH], dtype=np.uint8)


def _open(path: Path) -> h5py.File:
    try:
        # Without locking: parallel file systems often refuse locks, and we only read.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        cause = reason(error).split("(")[-1].rstrip(")")
        raise SceneError(
            f"{path}: not a readable HDF5 scene ({cause}); expected a complete HDF5 file"
        ) from None


def _check_layout(path: Path, file: h5py.File, labels: str) -> tuple[int, int]:
    """Check names, shapes and types; returns height and width on the mask's grid."""
    shape = _dataset(path, file, "bts", 3).shape[:2]
    if max(shape) > MAX_SIDE or min(shape) < 1:
        raise SceneError(f"{path}: 'bts' has {shape[0]} x {shape[1]} pixels; expected 1200 x 1500")
    layout = [("refs", 6, (1, 2)), (labels, 1, (1,))]
    if CLOUD_TRUTH in file:  # only synthetic scenes have it
        layout.append((CLOUD_TRUTH, 1, (1,)))
    for name, channels, scales in layout:
        found = _dataset(path, file, name, channels).shape
        expected = [(shape[0] * k, shape[1] * k, channels) for k in scales]
        if found not in expected:
            raise SceneError(
                f"{path}: '{name}' has shape {found}; expected "
                f"{' or '.join(map(str, expected))} beside 'bts' {(*shape, 3)}"
            )
    return shape


def _dataset(path: Path, file: h5py.File, name: str, channels: int) -> h5py.Dataset:
    try:
        dataset = file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise SceneError(
                f"{path}: no data set '{name}'; expected refs (H, W, 6), bts (H, W, 3), "
                f"bayes (H, W, 1); found {', '.join(map(str, file)) or 'nothing'}"
            )
        shape, dtype = dataset.shape, dataset.dtype
    except DAMAGE as error:
        raise SceneError(f"{path}: data set '{name}' is damaged ({reason(error)})") from None
    if dtype.kind not in "fiub":
        raise SceneError(f"{path}: '{name}' has type {dtype}; expected numbers")
    if shape is None or len(shape) != 3 or shape[2] != channels:
        raise SceneError(f"{path}: '{name}' has shape {shape}; expected (H, W, {channels})")
    return dataset


def _read_scene(
    path: Path, file: h5py.File, labels: str, content: np.ndarray | None = None
) -> RawScene:
    shape = _check_layout(path, file, labels)
    reflectance = _read(path, file["refs"], content)
    temperature = _read(path, file["bts"], content)
    notes = []
    if reflectance.shape[:2] != shape:
        reflectance = halve(reflectance)
        notes.append("reflectances of 500 m averaged 2 x 2 to the 1 km grid")
    if file[labels].dtype == np.uint8:
        mask = _read(path, file[labels], content, np.uint8)[..., 0] > 0
    else:
        flags = _read(path, file[labels], content)[..., 0]
        # -1 marks pixels without a flag value.
        mask = np.where(np.isfinite(flags) & (flags >= 0), flags > 0, -1)
    channels = np.ones(len(CHANNELS), bool)
    return RawScene(reflectance, temperature, mask.astype(np.int8), channels, tuple(notes))


def _read(
    path: Path, dataset: h5py.Dataset, content: np.ndarray | None = None, dtype: type = np.float32
) -> np.ndarray:
    try:
        offset = dataset.id.get_offset()  # None unless the numbers lie in one piece
        if content is not None and offset is not None and dataset.dtype == dtype:
            return np.ndarray(dataset.shape, dtype, content, offset)
        return dataset.astype(dtype)[...]
    except DAMAGE as error:
        raise SceneError(
            f"{path}: '{dataset.name[1:]}' cannot be read ({reason(error)}); the file is damaged"
        ) from None
