"""Scenes as the network sees them: read in any format, checked and normalized.

A scene has nine channels, reflectances S1 to S6 and brightness temperatures S7 to S9, and a mask in
which 1 is cloud.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes.formats import format_of
from cloudmask.scenes.raw import RawScene
from cloudmask.scenes.slstr import (
    CHANNELS,
    REFLECTANCE_OFFSET,
    REFLECTANCE_RANGE,
    REFLECTANCES,
    TEMPERATURE_OFFSET,
    TEMPERATURE_RANGE,
    TEMPERATURE_SCALE,
)

# Of a float32 image (H, W, 9), each pixel's reflectances and temperatures.
PIXEL = np.dtype([("reflectance", "V24"), ("temperature", "V12")])
BLOCK_ROWS = 16  # of a scene at a time: their intermediate values stay in the processor's cache

NAN_POLICIES = ("ignore", "fill", "error")


@dataclass(frozen=True)
class Scene:
    """One normalized scene of H x W pixels.

    image: (H, W, 9) float32, `reflectance - 0.5` and `(kelvin - 270) / 22`; 0 where not valid.
    mask: (H, W, 1) uint8, 1 cloud, 0 clear.
    valid: (H, W, 1) bool, every available channel and the mask hold a measurement.
    channels: (9,) bool, the channels that the source has; a missing one is reflectance 0.
    cloud_truth: (H, W, 1) uint8, the simulated cloud field of a synthetic scene, else None.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    channels: np.ndarray
    cloud_truth: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def invalid_pixels(self) -> int:
        """How many pixels are fill."""
        return int(self.valid.size - np.count_nonzero(self.valid))


def check_scene(path: Path | str, labels: str = "bayes") -> tuple[int, int]:
    """Height and width of a scene, from headers alone; raises SceneError if it cannot be used."""
    path = Path(path)
    return format_of(path).reader.check(path, labels)


def read_scene(path: Path | str, labels: str = "bayes", nan: str = "ignore") -> Scene:
    """Read one scene, an HDF5 file of the published layout or a Level-1 product folder.

    `labels`: "bayes" (Bayesian mask) or "summary" (summary cloud flag).
    `nan`: "ignore" marks pixels without a measurement in `.valid`; "fill" counts them as measured
    with the fill value; "error" raises. Raises SceneError, naming the file, if it cannot be used.
    """
    path = Path(path)
    reader = format_of(path).reader
    scene = normalize_scene(path, reader.read(path, labels), nan)
    return replace(scene, cloud_truth=reader.cloud_truth(path))


def normalize_scene(path: Path, raw: RawScene, nan: str) -> Scene:
    """Normalize the scene `raw` that was read from `path`.

    Raises SceneError if an available channel has no value at all, or by the policy `nan`.
    """
    height, width = raw.mask.shape
    image = np.empty((height, width, len(CHANNELS)), np.float32)
    valid = np.empty((height, width), bool)
    seen = ~raw.channels
    for first in range(0, height, BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        valid[rows] = normalize(raw, (rows, slice(None)), image[rows], seen)
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


def normalize(
    raw: RawScene, part: tuple[slice, slice], image: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Write the normalized `part` (rows, columns) of a scene to the contiguous `image` (h, w, 9).

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
