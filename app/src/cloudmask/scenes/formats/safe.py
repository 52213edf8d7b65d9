"""Read Sentinel-3 SLSTR Level-1 RBT products: folders (SAFE) of netCDF files, nadir view.

Brightness temperatures S7 to S9 are on the 1 km grid (1200 x 1500), radiances S1 to S6 on the 500 m
grid of twice the size, the sun's position on tie points every 16 km across the track. Names, grids
and flag bits: S3 PDFS 005.1, "Product Data Format Specification - SLSTR Level 1".

The values are the product's own. Pixels whose exception flag is set keep the value that is stored:
S7 saturates near 312 K, and by day its flag would discard half of a hot scene. Of the adjustments
that EUMETSAT recommends for S1 to S6 (S3.PN-SLSTR-L1.08) none is applied.
"""

import contextlib
import hashlib
import re
from pathlib import Path

import h5py
import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes import foreign_hdf5
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.scenes.raw import RawScene, halve, reason
from cloudmask.scenes.slstr import (
    BAYES_BITS,
    CHANNELS,
    MAX_SIDE,
    SUMMARY_CLOUD,
    THERMAL,
    UNFILLED,
    VISIBLE,
)
from cloudmask.system.files import sha256

FLAGS, GEOMETRY = "flags_in.nc", "geometry_tn.nc"

# From a solar zenith angle of 87 degrees it is night: dividing by a cosine that goes to zero would
# turn noise into reflectance.
NIGHT_COSINE = 0.05


def check(path: Path, labels: str = "bayes") -> tuple[int, int]:
    """Height and width of the 1 km grid, from headers alone.

    Raises SceneError, naming the file, if S7 to S9 or the flags are missing or of the wrong shape,
    if radiances that are there do not fit, or if a file cannot be opened.
    """
    first, *others = THERMAL
    with _opened(path / f"{first}_BT_in.nc") as dataset:
        shape = _variable(dataset, f"{first}_BT_in").shape
    for channel in others:
        with _opened(path / f"{channel}_BT_in.nc") as dataset:
            _variable(dataset, f"{channel}_BT_in", shape)
    with _opened(path / FLAGS) as dataset:
        _variable(dataset, "confidence_in", shape)
        if "bayes_in" in dataset:
            _variable(dataset, "bayes_in", shape)
    for channel in _visible(path):
        with _opened(_radiance_file(path, channel)) as dataset:
            _variable(dataset, f"{channel}_radiance_an", (2 * shape[0], 2 * shape[1]))
    return shape


def read(path: Path, labels: str = "bayes", content: np.ndarray | None = None) -> RawScene:
    """Read a product; `labels` is "bayes" (Bayesian mask) or "summary" (summary cloud flag).

    A channel of S1 to S6 whose radiance file is not there is reflectance 0 and named in the notes.
    Raises SceneError, naming the file, if something is damaged or does not fit.
    """
    shape = check(path, labels)
    notes = []

    temperature = np.empty((*shape, len(THERMAL)), np.float32)
    for index, channel in enumerate(THERMAL):
        with _opened(path / f"{channel}_BT_in.nc") as dataset:
            temperature[..., index] = _values(dataset, f"{channel}_BT_in", shape)

    reflectances = np.zeros((*shape, len(VISIBLE)), np.float32)
    present = _visible(path)
    if present:
        cosine = sun_cosine(path, shape)
        for channel in present:
            with _opened(_radiance_file(path, channel)) as dataset:
                grid = (2 * shape[0], 2 * shape[1])
                radiance = halve(_values(dataset, f"{channel}_radiance_an", grid)[..., None])
            reflectances[..., VISIBLE.index(channel)] = reflectance(
                radiance[..., 0], solar_irradiance(path, channel), cosine
            )
        night = np.mean(cosine <= NIGHT_COSINE)
        if night:
            notes.append(f"night in {night:.1%} of the pixels: reflectance 0 there")
    missing = [channel for channel in VISIBLE if channel not in present]
    if missing:
        notes.append(f"no radiance file of {', '.join(missing)}: reflectance 0 there")

    return RawScene(
        reflectance=reflectances,
        temperature=temperature,
        mask=_mask(path, labels, shape),
        channels=np.array([channel not in missing for channel in CHANNELS]),
        notes=tuple(notes),
    )


def load(path: Path) -> tuple[None, str]:
    """No bytes, since a product is many files; the SHA-256 of the list of its files' checksums."""
    found = sorted(file for file in path.iterdir() if file.is_file())
    lines = (f"{sha256(file)} {file.name}\n" for file in found)
    return None, hashlib.sha256("".join(lines).encode()).hexdigest()


def cloud_truth(path: Path) -> None:
    """None: products are never simulated."""


def reflectance(radiance: np.ndarray, irradiance: float, cosine: np.ndarray) -> np.ndarray:
    """Reflectance pi * L / (E0 * cos(solar zenith)), float32; 0 at night (`NIGHT_COSINE`).

    radiance: (H, W) mW m-2 sr-1 nm-1. irradiance: mW m-2 nm-1. cosine: (H, W). By day NaN stays.
    """
    night = cosine <= NIGHT_COSINE
    value = np.pi * radiance / (irradiance * np.where(night, 1, cosine))
    return np.where(night, 0, value).astype(np.float32)


def solar_irradiance(path: Path | str, channel: str) -> float:
    """E0 of a channel of S1 to S6, mW m-2 nm-1, at the product's distance from the sun.

    From the product's quality file: the mean over the detectors, for which one and the same value
    is given. Raises SceneError if the file is missing or holds none.
    """
    name = f"{channel}_solar_irradiance_an"
    file = Path(path) / f"{channel}_quality_an.nc"
    with _opened(file) as dataset:
        values = _values(dataset, name, ndim=1)
    if not (values > 0).any():
        raise SceneError(f"{file}: '{name}' holds no value; expected mW m-2 nm-1 for each detector")
    return float(values[values > 0].mean(dtype=np.float64))


def sun_cosine(path: Path | str, shape: tuple[int, int]) -> np.ndarray:
    """Cosine of the solar zenith angle on the 1 km grid: (H, W) float32, NaN where not known.

    Tie points have the rows of the image and their own columns. `track_offset` is the column of
    either grid at the ground track; the track is at tie point 64, and at the edge between pixels
    997 and 998. So the center of pixel c lies at tie point 64 + (c + 0.5 - 998) / 16. Between tie
    points the cosine is linear: unlike the angle it has no kink below the sun.
    """
    path = Path(path)
    with _opened(path / "S7_BT_in.nc") as dataset:
        offset, spacing = _track(dataset)
    with _opened(path / GEOMETRY) as dataset:
        tie_offset, tie_spacing = _track(dataset)
        zenith = _values(dataset, "solar_zenith_tn")
    if zenith.shape[0] != shape[0] or zenith.shape[1] < 2:
        raise SceneError(
            f"{path / GEOMETRY}: 'solar_zenith_tn' has shape {zenith.shape}; expected "
            f"({shape[0]}, columns of tie points)"
        )
    ties = np.cos(np.radians(zenith))
    position = tie_offset + (np.arange(shape[1]) + 0.5 - offset) * spacing / tie_spacing
    left = np.clip(np.floor(position), 0, zenith.shape[1] - 2).astype(int)
    weight = position - left
    weight[(weight < 0) | (weight > 1)] = np.nan  # the tie points do not reach there
    return (ties[:, left] * (1 - weight) + ties[:, left + 1] * weight).astype(np.float32)


def _track(dataset: ForeignHdf5) -> tuple[float, float]:
    """Column at the ground track, and metres from column to column (the first of two numbers)."""
    try:
        spacing = re.findall(r"\d+", str(dataset.attribute("resolution")))[0]
        offset, spacing = float(np.ravel(dataset.attribute("track_offset"))[0]), float(spacing)
    except SceneError:
        raise
    except Exception:  # On damaged files the library raises anything.
        offset = spacing = 0.0
    if spacing <= 0 or not np.isfinite(offset):
        raise SceneError(
            f"{dataset.source}: attributes 'track_offset' and 'resolution' do not "
            "place the grid; expected e.g. 998 and '[ 1000 1000 ]'"
        )
    return offset, spacing


def _mask(path: Path, labels: str, shape: tuple[int, int]) -> np.ndarray:
    with _opened(path / FLAGS) as dataset:
        confidence = _values(dataset, "confidence_in", shape)
        if labels == "bayes" and "bayes_in" in dataset:
            bayes = _values(dataset, "bayes_in", shape)
        else:
            bayes = np.full(shape, np.nan, np.float32)
    known = (confidence >= 0) & (confidence <= 0xFFFF)  # False for NaN
    confidence = np.where(known, confidence, UNFILLED).astype(np.int32)
    known &= confidence & UNFILLED == 0
    if labels == "bayes":
        filled = (bayes >= 0) & (bayes <= BAYES_BITS)
        if not filled.any():
            raise SceneError(
                f"{path / FLAGS}: 'bayes_in' holds no Bayesian mask, only fill; "
                "use the summary cloud flag instead (--labels summary)"
            )
        known &= filled
        cloud = bayes > 0
    else:
        cloud = confidence & SUMMARY_CLOUD > 0
    return np.where(known, cloud, -1).astype(np.int8)


def _visible(path: Path) -> list[str]:
    return [channel for channel in VISIBLE if _radiance_file(path, channel).exists()]


def _radiance_file(path: Path, channel: str) -> Path:
    return path / f"{channel}_radiance_an.nc"


def _opened(file: Path) -> contextlib.AbstractContextManager[ForeignHdf5]:
    """A netCDF-4 file, which is HDF5, read without the dimension tables: over damaged ones the
    netCDF libraries hang.
    """
    return foreign_hdf5.opened(file, SceneError)


def _variable(
    file: ForeignHdf5, name: str, shape: tuple[int, ...] | None = None, ndim: int = 2
) -> h5py.Dataset:
    """A variable (not read yet) of numbers, of `shape` or, without one, of sides within bounds."""
    try:
        variable = file.dataset(name)
        if variable is None:
            raise SceneError(f"{file.source}: no variable '{name}'; found {file.names}")
        kind = variable.dtype.kind
    except SceneError:
        raise
    except Exception as error:  # On damaged files the library raises anything.
        raise SceneError(f"{file.source}: '{name}' is damaged ({reason(error)})") from None
    if kind not in "fiu":
        raise SceneError(f"{file.source}: '{name}' has type {variable.dtype}; expected numbers")
    if shape is not None and variable.shape != shape:
        raise SceneError(f"{file.source}: '{name}' has shape {variable.shape}; expected {shape}")
    if variable.ndim != ndim or not all(1 <= side <= MAX_SIDE for side in variable.shape):
        raise SceneError(
            f"{file.source}: '{name}' has shape {variable.shape}; "
            f"expected {ndim} sides of 1 to {MAX_SIDE}"
        )
    return variable


def _values(
    file: ForeignHdf5, name: str, shape: tuple[int, ...] | None = None, ndim: int = 2
) -> np.ndarray:
    """The values of a variable as float32 by the CF rules: scaled, shifted, NaN where fill."""
    variable = _variable(file, name, shape, ndim)
    try:
        stored = file.values(variable)
        scale, shift = (
            default
            if (found := file.attribute(attribute, variable)) is None
            else float(np.ravel(found)[0])
            for attribute, default in (("scale_factor", 1.0), ("add_offset", 0.0))
        )
        values = stored * scale + shift
        for attribute in ("_FillValue", "missing_value"):
            if (found := file.attribute(attribute, variable)) is not None:
                values[stored == np.ravel(found)[0]] = np.nan
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    except SceneError:
        raise
    except Exception as error:  # as in _variable
        raise SceneError(
            f"{file.source}: '{name}' cannot be read ({reason(error)}); the file is damaged"
        ) from None
