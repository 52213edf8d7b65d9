"""Read Sentinel-3 SLSTR Level-1 RBT products: folders (SAFE) of netCDF files, nadir view.

Brightness temperatures S7 to S9 are on the 1 km grid (1200 x 1500), radiances S1 to S6 on the 500 m
grid of twice the size, the sun's position on tie points every 16 km across the track. Names, grids
and flag bits: S3 PDFS 005.1, "Product Data Format Specification - SLSTR Level 1".

The values are the product's own. Pixels whose exception flag is set keep the value that is stored:
S7 saturates near 312 K, and by day its flag would discard half of a hot scene. Whether the
adjustments of S1 to S6 are applied depends on the baseline collection: see `scenes.calibration`.

The mean of 2 x 2 pixels of 500 m stands for a pixel of the 1 km grid. By the products' own
`start_offset` (rows of 500 m and 1 km from the ascending node: 40873 and 20437 in one) the grid of
500 m begins 500 m before that of 1 km, so that the mean lies half a pixel of 1 km too early along
the track; across it, `track_offset` is twice the other and both agree. Nothing is corrected.
"""

import re
from pathlib import Path

import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes import product_name
from cloudmask.scenes.formats import FOLDER_SUFFIX, flags, netcdf, scene_name
from cloudmask.scenes.formats.flags import FLAGS
from cloudmask.scenes.formats.product_files import ProductFiles, listed, product_files
from cloudmask.scenes.formats.tie_points import tie_positions, tie_values
from cloudmask.scenes.geolocation import Geolocation, from_pixels, from_tie_points
from cloudmask.scenes.origin import PRODUCT, Origin
from cloudmask.scenes.raw import RawScene, ReadOptions, halve
from cloudmask.scenes.slstr import (
    CHANNELS,
    COSMETIC,
    DUPLICATE,
    THERMAL,
    VISIBLE,
)

GEOMETRY, TIE_POINTS, POSITIONS = "geometry_tn.nc", "geodetic_tx.nc", "geodetic_in.nc"

# From a solar zenith angle of 87 degrees it is night: dividing by a cosine that goes to zero would
# turn noise into reflectance.
NIGHT_COSINE = 0.05
# Below 10 degrees of sun a reflectance that is missing is one of the twilight, when the visible
# channels are switched off.
TWILIGHT_COSINE = 0.1736

_BASELINE = re.compile(rb"baselineCollection>\s*(\d{3})\s*<")


def check(path: Path, options: ReadOptions) -> tuple[int, int]:
    """Height and width of the 1 km grid, from headers alone.

    Raises SceneError, naming the file, if a channel is missing that should be there, if the flags
    are missing though labels are wanted, or if a file cannot be opened or does not fit.
    """
    return _check(product_files(path), options)


def _check(files: ProductFiles, options: ReadOptions) -> tuple[int, int]:
    _require_rbt(files)
    shape = _shape(files)
    for channel in _present(files, THERMAL):
        with files.opened(f"{channel}_BT_in.nc") as dataset:
            netcdf.variable(dataset, f"{channel}_BT_in", shape)
    if options.labels and FLAGS in files:
        with files.opened(FLAGS) as dataset:
            netcdf.variable(dataset, "confidence_in", shape)
            if "bayes_in" in dataset:
                netcdf.variable(dataset, "bayes_in", shape)
    elif options.labels:
        raise SceneError(f"{files.path / FLAGS}: no such file; expected the flags of the scene")
    for channel in _present(files, VISIBLE):
        name, factor = _radiance(files, channel)
        with files.opened(f"{name}.nc") as dataset:
            netcdf.variable(dataset, name, (factor * shape[0], factor * shape[1]))
    _require_channels(files, shape, options)
    return shape


def read(path: Path, options: ReadOptions, content: np.ndarray | None = None) -> RawScene:
    """Read a product, with the labels that `options` want if it has them.

    Raises SceneError, naming the file, if something is damaged or does not fit.
    """
    files = product_files(path)
    shape = _check(files, ReadOptions(None, options.missing_channels))
    missing = [c for c in CHANNELS if c not in _present(files, CHANNELS)]
    reflectances, dark, notes = _reflectances(files, shape)
    visible = ", ".join(c for c in missing if c in VISIBLE)
    thermal = ", ".join(c for c in missing if c in THERMAL)
    if visible:
        notes.append(f"no radiance file of {visible}: reflectance 0 there")
    if thermal:
        notes.append(f"no file of {thermal}: 270 K there")
    confidence = None
    try:
        confidence = flags.confidence(files, shape)
    except SceneError as error:
        if options.labels:
            raise
        notes.append(f"no flags: {error}")
    mask, unlabeled = None, "no labels wanted"
    if options.labels:
        mask, unlabeled = flags.mask(files, options.labels, confidence)
    if mask is not None and confidence is not None and options.cosmetic == "ignore":
        mask[confidence & (COSMETIC | DUPLICATE) > 0] = -1
    return RawScene(
        reflectance=reflectances,
        temperature=_temperatures(files, shape),
        channels=np.array([channel not in missing for channel in CHANNELS]),
        mask=mask,
        unlabeled=unlabeled,
        dark=dark,
        confidence=confidence,
        origin=_origin(files),
        notes=tuple(notes),
    )


def load(path: Path) -> tuple[None, str]:
    """No bytes, since a product is many files; the SHA-256 of the list of its files' checksums."""
    return None, product_files(path).checksum()


def origin(path: Path) -> Origin:
    """Where the product comes from: attributes of its files, its manifest, and its name."""
    return _origin(product_files(path))


def _origin(files: ProductFiles) -> Origin:
    name = scene_name(files.path)
    with files.opened(_image_file(files)) as dataset:
        start, stop, processor, baseline = (
            netcdf.text(dataset, key)
            for key in ("start_time", "stop_time", "source", "processing_baseline")
        )
        # The folder may have been renamed.
        own = netcdf.text(dataset, "product_name").removesuffix(FOLDER_SUFFIX)
    parts = product_name.parse(name) or product_name.parse(own)
    radiances = _present(files, VISIBLE)
    if radiances:
        # The reflectances are what the baselines differ in.
        with files.opened(f"{_radiance(files, radiances[0])[0]}.nc") as dataset:
            baseline = netcdf.text(dataset, "processing_baseline") or baseline
    if not baseline and (found := _BASELINE.search(files.manifest())):
        baseline = found[1].decode()
    return Origin(
        product=name,
        platform=parts.platform if parts else "",
        start=start or (product_name.iso_time(parts.granule.start) if parts else ""),
        stop=stop or (product_name.iso_time(parts.granule.stop) if parts else ""),
        baseline=baseline or (parts.collection if parts else ""),
        processor=processor,
        source=PRODUCT,
    )


def geolocation(path: Path, shape: tuple[int, int]) -> Geolocation | None:
    """Latitude and longitude of the pixels: the product's own, or between its tie points."""
    files = product_files(path)
    if POSITIONS in files:
        with files.opened(POSITIONS) as dataset:
            return from_pixels(
                netcdf.values(dataset, "latitude_in", shape, kind=np.float64),
                netcdf.values(dataset, "longitude_in", shape, kind=np.float64),
            )
    if TIE_POINTS not in files:
        return None
    with files.opened(TIE_POINTS) as dataset:
        latitude = tie_values(dataset, "latitude_tx", shape)
        longitude = netcdf.values(dataset, "longitude_tx", latitude.shape, kind=np.float64)
    position = tie_positions(files, _image_file(files), TIE_POINTS, shape[1])
    return from_tie_points(latitude, longitude, position)


def cloud_truth(path: Path) -> None:
    """None: products are never simulated."""


def _require_rbt(files: ProductFiles) -> None:
    other = product_name.other_product(scene_name(files.path))
    if other:
        raise SceneError(f"{files.path}: {other}; expected an SLSTR Level-1 RBT product")


def _present(files: ProductFiles, channels: tuple[str, ...]) -> list[str]:
    return [channel for channel in channels if _file_of(files, channel) in files]


def _file_of(files: ProductFiles, channel: str) -> str:
    if channel in THERMAL:
        return f"{channel}_BT_in.nc"
    return f"{_radiance(files, channel)[0]}.nc"


def _image_file(files: ProductFiles) -> str:
    """A file of the 1 km grid; raises SceneError if there is none."""
    thermal = _present(files, THERMAL)
    if not thermal:
        raise SceneError(f"{files.path}: no file of S7 to S9; expected S7_BT_in.nc")
    return f"{thermal[0]}_BT_in.nc"


def _radiance(files: ProductFiles, channel: str) -> tuple[str, int]:
    """Variable of a channel's radiance, and pixels of its grid in one of the 1 km grid.

    Smaller copies of products have the radiances on the 1 km grid already.
    """
    small = f"{channel}_radiance_in"
    full = f"{channel}_radiance_an"
    return (small, 1) if f"{small}.nc" in files and f"{full}.nc" not in files else (full, 2)


def _shape(files: ProductFiles) -> tuple[int, int]:
    file = _image_file(files)
    with files.opened(file) as dataset:
        return netcdf.variable(dataset, file.removesuffix(".nc")).shape


def _require_channels(files: ProductFiles, shape: tuple[int, int], options: ReadOptions) -> None:
    """Raise SceneError for a missing channel, unless it cannot be there: at night, or elsewhere.

    Products without S1 to S6 are delivered as well; what their manifest lists did not arrive.
    """
    if options.missing_channels == "zero":
        return
    thermal = [c for c in THERMAL if c not in _present(files, THERMAL)]
    visible = [c for c in VISIBLE if c not in _present(files, VISIBLE)]
    names = listed(files) if visible else frozenset()
    lost = [c for c in visible if f"{_radiance(files, c)[0]}.nc" in names]
    if lost and GEOMETRY in files and not (_cosine(files, shape) > TWILIGHT_COSINE).any():
        lost = []
    for channel, why in ((thermal, "a thermal channel"), (lost, "its manifest lists it")):
        if channel:
            raise SceneError(
                f"{files.path / _file_of(files, channel[0])}: no such file, but {why}; "
                "--missing-channels zero goes on without it"
            )


def _temperatures(files: ProductFiles, shape: tuple[int, int]) -> np.ndarray:
    temperature = np.full((*shape, len(THERMAL)), np.nan, np.float32)
    for channel in _present(files, THERMAL):
        with files.opened(f"{channel}_BT_in.nc") as dataset:
            values = netcdf.values(dataset, f"{channel}_BT_in", shape)
        temperature[..., THERMAL.index(channel)] = values
    return temperature


def _reflectances(
    files: ProductFiles, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Reflectances (H, W, 6), where a missing one is darkness (H, W), and notes."""
    reflectances = np.zeros((*shape, len(VISIBLE)), np.float32)
    present = _present(files, VISIBLE)
    if not present:
        return reflectances, None, []
    cosine = _cosine(files, shape)
    unlit = np.ones(shape, bool)
    for channel in present:
        name, factor = _radiance(files, channel)
        with files.opened(f"{name}.nc") as dataset:
            radiance = netcdf.values(dataset, name, (factor * shape[0], factor * shape[1]))
        if factor == 2:
            radiance = halve(radiance[..., None])[..., 0]
        unlit &= np.isnan(radiance)
        values = reflectance(radiance, _irradiance(files, channel), cosine)
        reflectances[..., VISIBLE.index(channel)] = values
    dark = np.where(np.isnan(cosine), unlit, cosine <= TWILIGHT_COSINE)
    night = np.mean(cosine <= NIGHT_COSINE)
    notes = [f"night in {night:.1%} of the pixels: reflectance 0 there"] if night else []
    return reflectances, dark, notes


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
    return _irradiance(product_files(Path(path)), channel)


def _irradiance(files: ProductFiles, channel: str) -> float:
    name = f"{channel}_solar_irradiance_an"
    with files.opened(f"{channel}_quality_an.nc") as dataset:
        values = netcdf.values(dataset, name, ndim=1)
        source = dataset.source
    if not (values > 0).any():
        raise SceneError(
            f"{source}: '{name}' holds no value; expected mW m-2 nm-1 for each detector"
        )
    return float(values[values > 0].mean(dtype=np.float64))


def sun_cosine(path: Path | str, shape: tuple[int, int]) -> np.ndarray:
    """Cosine of the solar zenith angle on the 1 km grid: (H, W) float32, NaN where not known.

    Between tie points the cosine is linear: unlike the angle it has no kink below the sun.
    """
    return _cosine(product_files(Path(path)), shape)


def _cosine(files: ProductFiles, shape: tuple[int, int]) -> np.ndarray:
    with files.opened(GEOMETRY) as dataset:
        zenith = tie_values(dataset, "solar_zenith_tn", shape)
    ties = np.cos(np.radians(zenith))
    position = tie_positions(files, _image_file(files), GEOMETRY, shape[1])
    left = np.clip(np.floor(position), 0, zenith.shape[1] - 2).astype(int)
    weight = position - left
    weight[(weight < 0) | (weight > 1)] = np.nan  # the tie points do not reach there
    return (ties[:, left] * (1 - weight) + ties[:, left + 1] * weight).astype(np.float32)
