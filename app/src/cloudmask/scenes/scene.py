"""Scenes as the network sees them: read in any format, checked and normalized.

A scene has nine channels, reflectances S1 to S6 and brightness temperatures S7 to S9, and a mask in
which 1 is cloud.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes.calibration import AS_STORED, adapt
from cloudmask.scenes.formats import format_of, scene_name
from cloudmask.scenes.geolocation import Geolocation
from cloudmask.scenes.origin import Origin
from cloudmask.scenes.raw import RawScene, ReadOptions
from cloudmask.scenes.slstr import (
    CHANNELS,
    REFLECTANCE_OFFSET,
    REFLECTANCE_RANGE,
    REFLECTANCES,
    TEMPERATURE_OFFSET,
    TEMPERATURE_RANGE,
    TEMPERATURE_SCALE,
)
from cloudmask.scenes.units import likely_unit

# Of a float32 image (H, W, 9), each pixel's reflectances and temperatures.
PIXEL = np.dtype([("reflectance", "V24"), ("temperature", "V12")])
BLOCK_ROWS = 16  # of a scene at a time: their intermediate values stay in the processor's cache

BRIGHT = 2.0  # reflectance; more is seen in sun glint alone
STRANGEST = 20_000  # reflectance; what is larger is fill


@dataclass(frozen=True)
class Scene:
    """One normalized scene of H x W pixels.

    image: (H, W, 9) float32, `reflectance - 0.5` and `(kelvin - 270) / 22`; 0 where not measured.
    mask: (H, W, 1) uint8, 1 cloud, 0 clear; None if the scene has no labels.
    measured: (H, W, 1) bool, every available channel holds a measurement; in the dark the thermal
    ones are enough. valid: (H, W, 1) bool, measured, and labeled if the scene has labels.
    channels: (9,) bool, the channels that the source has; a missing one is reflectance 0 or 270 K.
    cloud_truth: (H, W, 1) uint8, the simulated cloud field of a synthetic scene, else None.
    confidence: (H, W) uint16, bits of `confidence_in`, if there are any. unlabeled: why there is no
    mask.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None
    measured: np.ndarray
    valid: np.ndarray
    channels: np.ndarray
    cloud_truth: np.ndarray | None = None
    confidence: np.ndarray | None = None
    geolocation: Geolocation | None = None
    origin: Origin = field(default_factory=Origin)
    unlabeled: str = ""
    notes: tuple[str, ...] = ()

    @property
    def invalid_pixels(self) -> int:
        """How many pixels are fill or, where there are labels, have none."""
        return int(self.valid.size - np.count_nonzero(self.valid))


@dataclass
class Found:
    """What the channels of a scene held, gathered while it was normalized.

    seen: (9,) bool, channels with a measurement by day, thermal ones at any time. day: whether any
    pixel was lit. dark: pixels whose missing reflectance counts as 0. strange: reflectances that
    are far too large; bright: more than the brightest cloud has. pixels: looked at.
    """

    seen: np.ndarray
    day: bool = False
    dark: int = 0
    strange: int = 0
    bright: int = 0
    pixels: int = 0

    @classmethod
    def of(cls, raw: RawScene) -> "Found":
        """Nothing yet; what the source does not have is not waited for."""
        return cls(~raw.channels)

    @property
    def unseen(self) -> int | None:
        """The first channel that should hold a measurement and does not, None if there is none."""
        needed = ~self.seen
        needed[:REFLECTANCES] &= self.day
        return int(np.flatnonzero(needed)[0]) if needed.any() else None

    @property
    def plausible(self) -> bool:
        """Whether the values can be what they should be: 1 % may be anything."""
        values = self.pixels * REFLECTANCES
        odd = self.strange > 0.01 * values or self.bright > 0.2 * values
        return self.unseen is None and not odd

    def notes(self) -> tuple[str, ...]:
        """What the log should say."""
        if not self.dark:
            return ()
        share = self.dark / self.pixels
        return (f"no light in {share:.1%} of the pixels: missing reflectances are 0 there",)


def check_scene(path: Path | str, labels: str | None = "bayes") -> tuple[int, int]:
    """Height and width of a scene, from headers alone; raises SceneError if it cannot be used."""
    path = Path(path)
    return format_of(path).reader.check(path, ReadOptions(labels))


def read_scene(
    path: Path | str,
    labels: str | None = "bayes",
    nan: str = "ignore",
    options: ReadOptions | None = None,
    calibration: str = AS_STORED,
) -> Scene:
    """Read one scene: an HDF5 file of the published layout, or a Level-1 product.

    A product is a folder, its manifest, or a zip archive of it.
    `labels`: "bayes" (Bayesian mask), "summary" (summary cloud flag) or None; a scene without them
    has no mask. `nan`: "ignore" marks pixels without a measurement in `.valid`; "fill" counts them
    as measured, their missing channels with the fill value; "error" raises. `options`: further
    policies; its labels do not count. `calibration`: that of the collection ("003", "005") to which
    S1 to S6 are adapted. Raises SceneError, naming the file, if the scene cannot be used.
    """
    path, options = Path(path), options or ReadOptions()
    reader = format_of(path).reader
    raw = reader.read(path, replace(options, labels=labels))
    scene = normalize_scene(path, accept(raw, options, calibration), nan)
    return replace(scene, cloud_truth=reader.cloud_truth(path))


def locate(scene: Scene, path: Path) -> Scene:
    """The scene, read from `path`, with latitude and longitude if its files tell them."""
    shape = (scene.image.shape[0], scene.image.shape[1])
    try:
        return replace(scene, geolocation=format_of(path).reader.geolocation(path, shape))
    except SceneError as error:  # A mask without positions is better than none.
        return replace(scene, notes=(*scene.notes, f"no positions: {error}"))


def accept(raw: RawScene, options: ReadOptions, calibration: str) -> RawScene:
    """The scene as `options` and `calibration` want it: adapted, channels without values missing.

    Raises InputError for an impossible calibration.
    """
    raw = adapt(raw, calibration)
    if options.missing_channels != "zero":
        return raw
    low, high = REFLECTANCE_RANGE
    visible = (raw.reflectance >= low) & (raw.reflectance <= high)
    lit = np.logical_or.reduce(visible, axis=2) if raw.dark is None else np.logical_not(raw.dark)
    low, high = TEMPERATURE_RANGE
    thermal = ((raw.temperature >= low) & (raw.temperature <= high)).any(axis=(0, 1))
    seen = np.concatenate([(visible & lit[..., None]).any(axis=(0, 1)) | ~lit.any(), thermal])
    dead = raw.channels & ~seen
    if not dead.any():
        return raw
    names = ", ".join(np.array(CHANNELS)[dead])
    note = f"no measurement in {names}: reflectance 0, or 270 K, there"
    return replace(raw, channels=raw.channels & seen, notes=(*raw.notes, note))


def normalize_scene(path: Path, raw: RawScene, nan: str) -> Scene:
    """Normalize the scene `raw` that was read from `path`.

    Raises SceneError if an available channel has no value at all, if values cannot be what they
    should be, or by the policy `nan`.
    """
    height, width = raw.shape
    image = np.empty((height, width, len(CHANNELS)), np.float32)
    measured = np.empty((height, width), bool)
    found = Found.of(raw)
    for first in range(0, height, BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        part = rows, slice(None)
        measured[rows] = normalize(raw, part, image[rows], found, nan == "fill")
    _require_plausible(path, raw, found)
    valid = measured if raw.mask is None else measured & (raw.mask >= 0)
    invalid = int(valid.size - np.count_nonzero(valid))
    if invalid and nan == "error":
        raise SceneError(
            f"{path}: {invalid} of {valid.size} pixels hold no measurement (NaN, fill); "
            "expected a value in all of them"
        )
    if nan == "fill":
        measured = np.ones((height, width), bool)
        valid = measured if raw.mask is None else raw.mask >= 0
    return Scene(
        name=scene_name(path),
        image=image,
        mask=None if raw.mask is None else (raw.mask > 0).astype(np.uint8)[..., None],
        measured=measured[..., None],
        valid=valid[..., None],
        channels=raw.channels,
        confidence=raw.confidence,
        origin=raw.origin,
        unlabeled=raw.unlabeled,
        notes=raw.notes + found.notes(),
    )


def _require_plausible(path: Path, raw: RawScene, found: Found) -> None:
    if found.plausible:
        return
    index = found.unseen
    if unit := likely_unit(raw.reflectance, raw.temperature):
        raise SceneError(f"{path}: {unit}")
    if index is None:
        return  # They are fill of an unusual kind.
    low, high = REFLECTANCE_RANGE if index < REFLECTANCES else TEMPERATURE_RANGE
    raise SceneError(
        f"{path}: channel {CHANNELS[index]} holds no measurement; expected values between "
        f"{low:g} and {high:g}, found only NaN or fill (--missing-channels zero goes on without it)"
    )


def normalize(
    raw: RawScene,
    part: tuple[slice, slice],
    image: np.ndarray,
    found: Found,
    fill: bool = False,
) -> np.ndarray:
    """Write the normalized `part` (rows, columns) of a scene to the contiguous `image` (h, w, 9).

    Returns where it is measured, (h, w) bool; adds to `found`. `fill`: a pixel that is not keeps
    the channels that are.
    """
    reflectance, temperature = raw.reflectance[part], raw.temperature[part]
    found.pixels += temperature[..., 0].size
    brightest = reflectance.max()
    if not brightest <= BRIGHT:  # NaN, too
        found.bright += np.count_nonzero((reflectance > BRIGHT) & (reflectance < STRANGEST))
    warm = temperature - np.float32(TEMPERATURE_OFFSET)
    warm /= np.float32(TEMPERATURE_SCALE)
    # NumPy copies six or three numbers at a time far faster when it takes them for one item.
    pixels = image.reshape(len(image), -1).view(PIXEL)
    for name, values in (
        ("reflectance", reflectance - np.float32(REFLECTANCE_OFFSET)),
        ("temperature", warm),
    ):
        pixels[name] = values.reshape(len(values), -1).view(PIXEL[name])
    low, high = REFLECTANCE_RANGE
    coldest, warmest = TEMPERATURE_RANGE
    # Mostly all are in range, which is quickly seen; False for NaN.
    if (
        low <= reflectance.min()
        and brightest <= high
        and coldest <= temperature.min()
        and temperature.max() <= warmest
    ):
        found.seen[REFLECTANCES:] = True
        # Readers put 0 where they know that it is night.
        if raw.dark is None or not raw.dark[part].all():
            found.seen[...] = found.day = True
        return np.ones(reflectance.shape[:2], bool)
    return _without_gaps(raw, part, image, found, fill)


def _without_gaps(
    raw: RawScene, part: tuple[slice, slice], image: np.ndarray, found: Found, fill: bool
) -> np.ndarray:
    """Replace what is no measurement in `image`; as `normalize` otherwise."""
    reflectance, temperature = raw.reflectance[part], raw.temperature[part]
    good = np.concatenate(
        [
            (band >= low) & (band <= high)
            for band, (low, high) in (
                (reflectance, REFLECTANCE_RANGE),
                (temperature, TEMPERATURE_RANGE),
            )
        ],
        axis=2,
    )
    visible, thermal = good[..., :REFLECTANCES], good[..., REFLECTANCES:]
    warm = (thermal | ~raw.channels[REFLECTANCES:]).all(axis=2)
    dark = raw.dark[part] if raw.dark is not None else np.logical_not(visible.any(axis=2))
    found.dark += np.count_nonzero(dark & warm & ~visible.all(axis=2))
    found.day |= bool((~dark & warm).any())
    found.seen[:REFLECTANCES] |= (visible & ~dark[..., None]).any(axis=(0, 1))
    found.seen[REFLECTANCES:] |= thermal.any(axis=(0, 1))
    found.strange += np.count_nonzero(
        (reflectance > REFLECTANCE_RANGE[1]) & (reflectance < STRANGEST)
    )
    zero = ~good & ~raw.channels
    zero[..., :REFLECTANCES] |= ~visible & dark[..., None]
    image[..., :REFLECTANCES][zero[..., :REFLECTANCES]] = -REFLECTANCE_OFFSET
    image[..., REFLECTANCES:][zero[..., REFLECTANCES:]] = 0
    good |= zero
    measured = np.logical_and.reduce(good, axis=2)
    image[~good if fill else ~measured] = 0
    return measured
