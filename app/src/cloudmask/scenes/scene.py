"""Read, check and normalise scenes: published HDF5 files and Level-1 SLSTR products.

A scene has nine channels, reflectances S1 to S6 and brightness temperatures S7 to S9, and a mask in
which 1 is cloud. (One sentence of the benchmark's paper calls the output the probability of clear
sky; the published loader sets 1 where the Bayesian cloud flags are set, and that is what counts.)
"""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes.finding import is_product
from cloudmask.scenes.formats import safe

CHANNELS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9")
REFLECTANCES = 6

# Normalisation of the published code, version 1.1.
REFLECTANCE_OFFSET = 0.5
TEMPERATURE_OFFSET = 270.0  # kelvin
TEMPERATURE_SCALE = 22.0  # kelvin

# A value outside cannot be a measurement and counts as fill: reflectance exceeds 1 in sun glint and
# over clouds at low sun, and the fire channels of SLSTR reach about 500 K.
REFLECTANCE_RANGE = (-1.0, 10.0)
TEMPERATURE_RANGE = (100.0, 550.0)

# Of a float32 image (H, W, 9), each pixel's reflectances and temperatures.
PIXEL = np.dtype([("reflectance", "V24"), ("temperature", "V12")])
BLOCK_ROWS = 16  # of a scene at a time: their intermediate values stay in the processor's cache

# SLSTR delivers 1200 x 1500 pixels; this bounds what a damaged header can make us allocate.
MAX_SIDE = 6000

# What h5py raises when the content of a file makes no sense.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)

NAN_POLICIES = ("ignore", "fill", "error")
TRUTHS = ("bayes", "summary")


@dataclass(frozen=True)
class Scene:
    """One normalised scene of H x W pixels.

    image: (H, W, 9) float32, `reflectance - 0.5` and `(kelvin - 270) / 22`; 0 where not valid.
    mask: (H, W, 1) uint8, 1 cloud, 0 clear.
    valid: (H, W, 1) bool, every available channel and the mask hold a measurement.
    channels: (9,) bool, the channels that the source has; a missing one is reflectance 0.
    truth: (H, W, 1) uint8, the true cloud field where it is known (synthetic scenes), else None.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    channels: np.ndarray
    truth: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def invalid_pixels(self) -> int:
        """How many pixels are fill."""
        return int(self.valid.size - np.count_nonzero(self.valid))


def check_scene(path: Path | str, truth: str = "bayes") -> tuple[int, int]:
    """Height and width of a scene, from headers alone; raises SceneError if it cannot be used."""
    path = Path(path)
    if is_product(path):
        return safe.check_product(path)
    with _open(path) as file:
        return _check_layout(path, file, truth)


def read_scene(path: Path | str, truth: str = "bayes", nan: str = "ignore") -> Scene:
    """Read one scene, an HDF5 file of the published layout or a Level-1 product folder.

    `truth`: "bayes" (Bayesian mask) or "summary" (summary cloud flag).
    `nan`: "ignore" marks pixels without a measurement in `.valid`; "fill" counts them as measured
    with the fill value; "error" raises. Raises SceneError, naming the file, if it cannot be used.
    """
    path = Path(path)
    if is_product(path):
        return normalised(path, safe.read_product(path, truth), nan)
    with _open(path) as file:
        raw = _read_hdf5(path, file, truth)
        true_field = _read(path, file["truth"], dtype=np.uint8) if "truth" in file else None
    return replace(normalised(path, raw, nan), truth=true_field)


def read_raw(path: Path | str, truth: str, content: np.ndarray | None = None) -> safe.RawScene:
    """Read a scene as it is, in physical units; raises SceneError as `read_scene` does.

    content: an HDF5 file's bytes, if they are at hand; the scene may then lie in their memory.
    """
    path = Path(path)
    if is_product(path):
        return safe.read_product(path, truth)
    with _open(path) as file:
        return _read_hdf5(path, file, truth, content)


def normalised(path: Path, raw: safe.RawScene, nan: str) -> Scene:
    """The scene `raw` that was read from `path`.

    Raises SceneError if an available channel has no value at all, or by the policy `nan`.
    """
    height, width = raw.mask.shape
    image = np.empty((height, width, len(CHANNELS)), np.float32)
    valid = np.empty((height, width), bool)
    seen = ~raw.channels
    for first in range(0, height, BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        valid[rows] = normalise(raw, (rows, slice(None)), image[rows], seen)
    if not seen.all():
        index = int(np.flatnonzero(~seen)[0])
        low, high = REFLECTANCE_RANGE if index < REFLECTANCES else TEMPERATURE_RANGE
        raise SceneError(
            f"{path}: channel {CHANNELS[index]} holds no measurement; expected values between "
            f"{low:g} and {high:g}, found only NaN or fill"
        )
    invalid = int(valid.size - np.count_nonzero(valid))
    if invalid and nan == "error":
        raise SceneError(
            f"{path}: {invalid} of {valid.size} pixels hold no measurement (NaN, fill); "
            "expected a value in all of them"
        )
    if nan == "fill":
        valid[...] = True
    return Scene(
        name=path.stem,
        image=image,
        mask=(raw.mask > 0).astype(np.uint8)[..., None],
        valid=valid[..., None],
        channels=raw.channels,
        notes=raw.notes,
    )


def normalise(
    raw: safe.RawScene, part: tuple[slice, slice], image: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Write the normalised `part` (rows, columns) of a scene to the contiguous `image` (h, w, 9).

    Returns where it is valid, (h, w) bool; sets in `seen`, (9,) bool, the channels with a value.
    """
    reflectance, temperature = raw.reflectance[part], raw.temperature[part]
    valid = _measured(reflectance, temperature, raw.channels, seen)
    valid &= raw.mask[part] >= 0
    warm = temperature - np.float32(TEMPERATURE_OFFSET)
    warm /= np.float32(TEMPERATURE_SCALE)
    # NumPy copies six or three numbers at a time far faster when it takes them for one item.
    pixels = image.reshape(len(image), -1).view(PIXEL)
    for name, values in (
        ("reflectance", reflectance - np.float32(REFLECTANCE_OFFSET)),
        ("temperature", warm),
    ):
        pixels[name] = values.reshape(len(values), -1).view(PIXEL[name])
    if not valid.all():
        image[~valid] = 0
    return valid


def _measured(
    reflectance: np.ndarray, temperature: np.ndarray, channels: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Where each available channel is finite and in range, (h, w) bool; updates `seen`."""
    bands = (reflectance, *REFLECTANCE_RANGE), (temperature, *TEMPERATURE_RANGE)
    valid = np.ones(reflectance.shape[:2], bool)
    # Mostly all are, which is quickly seen; False for NaN.
    if all(low <= band.min() and band.max() <= high for band, low, high in bands):
        seen[...] = True
        return valid
    good = [(band >= low) & (band <= high) for band, low, high in bands]
    measured = [part[..., k] for part in good for k in range(part.shape[2])]
    for index in np.flatnonzero(~seen):
        seen[index] = measured[index].any()
    for index in np.flatnonzero(channels):
        valid &= measured[index]
    return valid


def _open(path: Path) -> h5py.File:
    try:
        # Without locking: parallel file systems often refuse locks, and we only read.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        reason = _reason(error).split("(")[-1].rstrip(")")
        raise SceneError(
            f"{path}: not a readable HDF5 scene ({reason}); expected a complete HDF5 file"
        ) from None


def _check_layout(path: Path, file: h5py.File, truth: str) -> tuple[int, int]:
    """Check names, shapes and types; returns height and width on the mask's grid."""
    shape = _dataset(path, file, "bts", 3).shape[:2]
    if max(shape) > MAX_SIDE or min(shape) < 1:
        raise SceneError(f"{path}: 'bts' has {shape[0]} x {shape[1]} pixels; expected 1200 x 1500")
    layout = [("refs", 6, (1, 2)), (truth, 1, (1,))]
    if "truth" in file:  # only synthetic scenes have it
        layout.append(("truth", 1, (1,)))
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
        raise SceneError(f"{path}: data set '{name}' is damaged ({_reason(error)})") from None
    if dtype.kind not in "fiub":
        raise SceneError(f"{path}: '{name}' has type {dtype}; expected numbers")
    if shape is None or len(shape) != 3 or shape[2] != channels:
        raise SceneError(f"{path}: '{name}' has shape {shape}; expected (H, W, {channels})")
    return dataset


def _read_hdf5(
    path: Path, file: h5py.File, truth: str, content: np.ndarray | None = None
) -> safe.RawScene:
    shape = _check_layout(path, file, truth)
    reflectance = _read(path, file["refs"], content)
    temperature = _read(path, file["bts"], content)
    notes = []
    if reflectance.shape[:2] != shape:
        reflectance = safe.halve(reflectance)
        notes.append("reflectances of 500 m averaged 2 x 2 to the 1 km grid")
    if file[truth].dtype == np.uint8:
        mask = _read(path, file[truth], content, np.uint8)[..., 0] > 0
    else:
        flags = _read(path, file[truth], content)[..., 0]
        # -1 marks pixels without a flag value.
        mask = np.where(np.isfinite(flags) & (flags >= 0), flags > 0, -1)
    channels = np.ones(len(CHANNELS), bool)
    return safe.RawScene(reflectance, temperature, mask.astype(np.int8), channels, tuple(notes))


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
            f"{path}: '{dataset.name[1:]}' cannot be read ({_reason(error)}); the file is damaged"
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
