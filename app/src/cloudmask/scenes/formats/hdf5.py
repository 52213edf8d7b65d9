"""Read scenes of the published layout: HDF5 files with data sets at the root.

`refs` (H, W, 6) reflectances S1 to S6, also on the 500 m grid (2H, 2W, 6); `bts` (H, W, 3)
brightness temperatures S7 to S9 in kelvin; `bayes` (H, W, 1) flag bits of the Bayesian mask;
`summary` (H, W, 1), the summary cloud flag. Synthetic scenes have `truth` (H, W, 1) as well. The
flags may be missing where no labels are wanted; `latitude` and `longitude` (H, W) are read if they
are there. The attribute `origin` of the file says what data it holds, such as "synthetic" or
"Landsat 8"; without it, a file with the name of a Level-1 product is of the public data set.

Whether the sun shone is not known: a pixel without any reflectance counts as one of the night.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import h5py
import numpy as np
from h5py import h5t

from cloudmask.errors import NotAScene, SceneError
from cloudmask.scenes import foreign_hdf5, product_name
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.scenes.formats import scene_name
from cloudmask.scenes.geolocation import Geolocation, from_pixels
from cloudmask.scenes.origin import LONGEST, PUBLISHED, SYNTHETIC, UNKNOWN, Origin
from cloudmask.scenes.raw import DAMAGE, RawScene, ReadOptions, halve, reason
from cloudmask.scenes.slstr import CHANNELS, MAX_SIDE
from cloudmask.system.text import one_line

BLOCK = 1 << 20  # bytes of a scene read at once
CLOUD_TRUTH = "truth"  # data set with the simulated clouds
ORIGIN = "origin"  # attribute of the file
NO_FLAG = 255  # fill of the flags: no label
POSITIONS = (("latitude", "longitude"), ("lat", "lon"))
PATCH_STORE = ("patches", "labels")  # data sets of what `cloudmask-prepare` makes of scenes


def check(path: Path, options: ReadOptions) -> tuple[int, int]:
    """Height and width on the 1 km grid, from headers alone; SceneError if it cannot be used."""
    with _opened(path) as file:
        shape = _check_layout(file, options.labels)
        if options.labels:
            _dataset(file, options.labels, 1)
        return shape


def read(path: Path, options: ReadOptions, content: np.ndarray | None = None) -> RawScene:
    """Read a scene; `content`: the file's bytes, in whose memory the scene may then lie."""
    with _opened(path, content) as file:
        return _read_scene(file, options, content)


def load(path: Path) -> tuple[np.ndarray, str]:
    """The file's bytes, (n,) uint8, and their SHA-256; SceneError if it shrinks meanwhile."""
    digest = hashlib.sha256()
    with foreign_hdf5.handle(path, SceneError) as file:
        content = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
        for first in range(0, len(content), BLOCK):
            block = content[first : first + BLOCK]
            if file.readinto(block.data) < len(block):
                raise SceneError(f"{path}: changed while it was read")
            digest.update(block.data)  # The block is still in the processor's cache.
    return content, digest.hexdigest()


def cloud_truth(path: Path) -> np.ndarray | None:
    """The simulated cloud field (H, W, 1) uint8 of a synthetic scene, None in others."""
    with _opened(path) as file:
        if CLOUD_TRUTH not in file:
            return None
        _check_layout(file, CLOUD_TRUTH)
        return _read(file, CLOUD_TRUTH, dtype=np.uint8)


def origin(path: Path) -> Origin:
    """Where the scene comes from: what the name of its product tells; the file is not opened."""
    return _origin(path)


def recorded_origin(path: Path) -> Origin:
    """The same, by what the file says of itself as well."""
    with _opened(path) as file:
        return _origin(path, _source(file))


def geolocation(path: Path, shape: tuple[int, int]) -> Geolocation | None:
    """Latitude and longitude of the pixels if the file has them."""
    with _opened(path) as file:
        for names in POSITIONS:
            if all(name in file for name in names):
                return from_pixels(*(_position(file, name, shape) for name in names))
    return None


def _position(file: ForeignHdf5, name: str, shape: tuple[int, int]) -> np.ndarray:
    try:
        dataset = file.dataset(name)
        if dataset is None or dataset.shape not in (shape, (*shape, 1)):
            found = None if dataset is None else dataset.shape
            raise SceneError(f"{file.source}: '{name}' has shape {found}; expected {shape}")
        return file.values(dataset, np.float64).reshape(shape)
    except SceneError:
        raise
    except DAMAGE as error:
        raise SceneError(f"{file.source}: '{name}' is damaged ({reason(error)})") from None


def _source(file: ForeignHdf5) -> str:
    """What data the file holds, as it says itself; "" where it does not."""
    if CLOUD_TRUTH in file:
        return SYNTHETIC
    text = file.attribute(ORIGIN)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return one_line(text.strip())[:LONGEST] if isinstance(text, str) else ""


def _origin(path: Path, source: str = "") -> Origin:
    name = scene_name(path)
    parts = product_name.parse(name)
    if parts is None:
        return Origin(product=name, source=source or UNKNOWN)
    return Origin(
        product=name,
        platform=parts.platform,
        start=product_name.iso_time(parts.granule.start),
        stop=product_name.iso_time(parts.granule.stop),
        baseline=parts.collection,
        source=source or PUBLISHED,
    )


def _opened(
    path: Path, content: np.ndarray | None = None
) -> contextlib.AbstractContextManager[ForeignHdf5]:
    return foreign_hdf5.opened(path, SceneError, content)


def _check_layout(file: ForeignHdf5, labels: str | None) -> tuple[int, int]:
    """Check names, shapes and types; returns height and width on the 1 km grid."""
    if all(name in file for name in PATCH_STORE):
        raise NotAScene(f"{file.source}: is a patch store of cloudmask-prepare; expected a scene")
    shape = _dataset(file, "bts", 3).shape[:2]
    if max(shape) > MAX_SIDE or min(shape) < 1:
        raise SceneError(
            f"{file.source}: 'bts' has {shape[0]} x {shape[1]} pixels; expected 1200 x 1500"
        )
    layout: list[tuple[str, int, tuple[int, ...]]] = [("refs", 6, (1, 2))]
    # The flags are not needed everywhere; only synthetic scenes have a cloud truth.
    layout += [(name, 1, (1,)) for name in (labels, CLOUD_TRUTH) if name and name in file]
    for name, channels, scales in layout:
        found = _dataset(file, name, channels).shape
        expected = [(shape[0] * k, shape[1] * k, channels) for k in scales]
        if found not in expected:
            raise SceneError(
                f"{file.source}: '{name}' has shape {found}; expected "
                f"{' or '.join(map(str, expected))} beside 'bts' {(*shape, 3)}"
            )
    return shape


def _dataset(file: ForeignHdf5, name: str, channels: int) -> h5py.Dataset:
    try:
        dataset = file.dataset(name)
        if dataset is None:
            raise SceneError(
                f"{file.source}: no data set '{name}'; expected refs (H, W, 6), bts (H, W, 3), "
                f"bayes (H, W, 1); found {file.names}"
            )
        shape, dtype = dataset.shape, dataset.dtype
    except DAMAGE as error:
        raise SceneError(f"{file.source}: data set '{name}' is damaged ({reason(error)})") from None
    if dtype.kind not in "fiub":
        raise SceneError(f"{file.source}: '{name}' has type {dtype}; expected numbers")
    if shape is None or len(shape) != 3 or shape[2] != channels:
        raise SceneError(f"{file.source}: '{name}' has shape {shape}; expected (H, W, {channels})")
    return dataset


def _read_scene(file: ForeignHdf5, options: ReadOptions, content: np.ndarray | None) -> RawScene:
    shape = _check_layout(file, options.labels)
    reflectance = _read(file, "refs", content)
    temperature = _read(file, "bts", content)
    notes = []
    if reflectance.shape[:2] != shape:
        reflectance = halve(reflectance)
        notes.append("reflectances of 500 m averaged 2 x 2 to the 1 km grid")
    mask, unlabeled = None, "no labels wanted"
    if options.labels:
        mask, unlabeled = _mask(file, options.labels, content)
    return RawScene(
        reflectance=reflectance,
        temperature=temperature,
        channels=np.ones(len(CHANNELS), bool),
        mask=mask,
        unlabeled=unlabeled,
        origin=_origin(file.source, _source(file)),
        notes=tuple(notes),
    )


def _mask(
    file: ForeignHdf5, labels: str, content: np.ndarray | None
) -> tuple[np.ndarray | None, str]:
    """Labels (H, W) int8, -1 where there is none; or None and why there are none at all."""
    if labels not in file:
        return None, f"{file.source}: no data set '{labels}'; expected flags (H, W, 1)"
    if _dataset(file, labels, 1).dtype == np.uint8:
        flags = _read(file, labels, content, np.uint8)[..., 0]
        known = flags != NO_FLAG
    else:
        flags = _read(file, labels, content)[..., 0]
        known = (flags >= 0) & (flags != NO_FLAG)  # False for NaN
    if not known.any():
        return None, f"{file.source}: '{labels}' holds no flags, only fill"
    mask = (flags > 0).view(np.int8)
    mask[~known] = -1
    return mask, ""


def _read(
    file: ForeignHdf5, name: str, content: np.ndarray | None = None, dtype: type = np.float32
) -> np.ndarray:
    try:
        dataset = file.dataset(name)
        assert dataset is not None  # The layout has been checked.
        offset = dataset.id.get_offset()  # None unless the numbers lie in one piece
        # Exactly this type: h5py also calls a number of other bits float32, and converts it.
        exact = dataset.id.get_type() == h5t.py_create(np.dtype(dtype))
        if content is not None and offset is not None and exact:
            return np.ndarray(dataset.shape, dtype, content, offset)
        return file.values(dataset, dtype)
    except SceneError:
        raise
    except DAMAGE as error:
        raise SceneError(
            f"{file.source}: '{name}' cannot be read ({reason(error)}); the file is damaged"
        ) from None
