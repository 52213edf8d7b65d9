"""Masks for maps: as xarray and Zarr on the grid of the instrument, as GeoTIFF on a stated grid.

What is in them is the same as in netCDF, from `mask_content`. The packages are of the extra `map`.
"""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudmask.errors import InputError, SceneError
from cloudmask.evaluate.mask_content import FILL, MaskVariable, attributes, variables
from cloudmask.evaluate.prediction import Prediction
from cloudmask.scenes.geolocation import Geolocation
from cloudmask.system import files
from cloudmask.system.distribution import install_command

if TYPE_CHECKING:
    import pyproj
    import xarray

BANDS = ("cloud_mask", "cloud_probability")  # of a GeoTIFF, in this order
LARGEST_GRID = 1 << 28  # pixels; the whole earth at 0.02 degrees has 162 million
BLOCK_PIXELS = 1 << 22  # resampled at a time: their positions take some hundred megabytes
ZARR_FORMAT = 2  # which every reader knows
ZARR_MARK = ".zgroup"


@dataclass(frozen=True)
class Grid:
    """A grid of a map. A pixel of it takes the nearest pixel of the scene within `radius` meters.

    crs: reference system, any text that PROJ knows. resolution: side of a pixel in units of `crs`.
    bounds: west, south, east and north in units of `crs`; without them those of the scene, which
    in degrees continue beyond 180 across the date line.
    """

    crs: str = "EPSG:4326"
    resolution: float = 0.01
    bounds: tuple[float, float, float, float] | None = None
    radius: float = 1000.0


DEFAULT_GRID = Grid()
METERS = 1000.0  # resolution on a grid in meters, if none is given
RESOLUTIONS = (1e-6, 1e6)  # others are slips of the pen


def grid_of(crs: str, resolution: float | None) -> Grid:
    """The grid of a reference system, by default as fine as a scene.

    Raises InputError if the system is unknown or a package is missing.
    """
    _require("pyproj")
    fine = DEFAULT_GRID.resolution if _projection(crs).is_geographic else METERS
    return Grid(crs, fine if resolution is None else resolution)


def check_grid(grid: Grid) -> None:
    """Raise InputError for an impossible grid, or for a missing package."""
    _require("pyproj", "pyresample", "rasterio")
    _projection(grid.crs)
    low, high = RESOLUTIONS
    if not (low <= grid.resolution <= high and 0 < grid.radius < math.inf):
        raise InputError(
            f"grid: resolution {grid.resolution:g}, radius {grid.radius:g}; expected {low:g} to "
            f"{high:g}, and a radius above 0"
        )


def dataset(
    prediction: Prediction, layers: Sequence[str] = (), created: str = ""
) -> "xarray.Dataset":
    """The content of the mask as xarray decodes it from netCDF; in memory."""
    _require("xarray")
    import xarray

    content = variables(prediction, layers)
    data, coordinates = (
        {
            name: (found.dimensions, found.values, _stored_attributes(found))
            for name, found in content.items()
            if found.coordinate == coordinate
        }
        for coordinate in (False, True)
    )
    stored = xarray.Dataset(data, coordinates, attributes(prediction, created))
    return xarray.decode_cf(stored).load()


def write_zarr(
    path: Path, prediction: Prediction, layers: Sequence[str] = (), created: str = ""
) -> None:
    """Write the mask as a Zarr store, a folder; an earlier one at `path` is replaced.

    Raises InputError if something else is there, for an unknown layer or a missing package.
    """
    _require("zarr")
    if path.is_symlink() or (path.exists() and not (path / ZARR_MARK).is_file()):
        raise InputError(f"{path}: exists already and is no Zarr store; expected a new name")
    content = dataset(prediction, layers, created)
    with files.scratch_folder(path) as scratch:
        new = scratch / "new.zarr"
        with files.creating(new) as temporary:
            content.to_zarr(temporary, mode="w-", zarr_format=ZARR_FORMAT, consolidated=True)
        if path.exists():
            path.rename(scratch / "old.zarr")
        files.move(new, path)


def write_cog(
    path: Path, prediction: Prediction, grid: Grid = DEFAULT_GRID, created: str = ""
) -> None:
    """Write mask and probability as a cloud-optimized GeoTIFF on `grid`, atomically.

    Two bands uint8, `BANDS`: 0 clear, 1 cloud; probability in steps by the band's scale. Both are
    255 where the nearest pixel is not measured or further away than the grid's radius. Raises
    InputError if the scene has no positions, for an impossible grid, and for a missing package.
    """
    geolocation = prediction.scene.geolocation
    if geolocation is None or not geolocation.known.any():
        raise SceneError(
            f"{prediction.scene.name}: no position of its pixels is known, so it cannot be put on "
            "a map; expected a product with its geodetic files (or --format netcdf)"
        )
    target = _target(geolocation, grid)
    content = variables(prediction)
    bands = [content[name] for name in BANDS]
    values = _resampled(geolocation, np.stack([band.values for band in bands], axis=-1), target)
    tags = attributes(prediction, created) | {
        "cdm_data_type": "Grid",
        "resampling": f"nearest pixel within {grid.radius:g} m",
    }
    packed = _geotiff(values, target, bands, tags)
    with files.replacing(path) as temporary:
        temporary.write_bytes(packed)


@dataclass(frozen=True)
class _Target:
    """A grid of `height` rows and `width` columns whose upper left corner is (west, north)."""

    grid: Grid
    west: float
    north: float
    height: int
    width: int

    def centers(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Longitude in -180 to 180 and latitude of the pixels in `rows`; infinite off the earth."""
        import pyproj

        first, last, _ = rows.indices(self.height)
        x = self.west + (np.arange(self.width) + 0.5) * self.grid.resolution
        y = self.north - (np.arange(first, last) + 0.5) * self.grid.resolution
        back = pyproj.Transformer.from_crs(self.grid.crs, "EPSG:4326", always_xy=True)
        longitude, latitude = back.transform(*np.meshgrid(x, y))
        return (longitude + 180) % 360 - 180, latitude


def _target(geolocation: Geolocation, grid: Grid) -> _Target:
    """Pixels of the grid begin at multiples of its resolution, so that grids of scenes fit.

    Given bounds are kept as they are.
    """
    check_grid(grid)
    step = grid.resolution
    if grid.bounds is None:
        west, south, east, north = _bounds(geolocation, grid.crs)
        west, south = math.floor(west / step) * step, math.floor(south / step) * step
    else:
        _projection(grid.crs)
        west, south, east, north = grid.bounds
    if not (west < east and south < north and all(map(math.isfinite, (west, south, east, north)))):
        raise InputError(f"grid: bounds {grid.bounds}; expected west < east and south < north")
    # A billionth, so that bounds that are multiples of the resolution stay that.
    width, height = (math.ceil((b - a) / step - 1e-9) for a, b in ((west, east), (south, north)))
    if width * height > LARGEST_GRID:
        raise InputError(
            f"grid: {height} x {width} pixels; expected at most {LARGEST_GRID:,}, by a coarser "
            "resolution or, around a pole, a polar projection such as EPSG:3995"
        )
    return _Target(grid, west, south + height * step, height, width)


def _bounds(geolocation: Geolocation, crs: str) -> tuple[float, float, float, float]:
    """The smallest box around the scene in units of `crs`: west, south, east, north."""
    import pyproj

    box = geolocation.bounds()
    if _projection(crs).is_geographic and box:
        return box.west, box.south, box.east, box.north
    there = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    known = geolocation.known
    x, y = there.transform(geolocation.longitude[known], geolocation.latitude[known])
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"grid: the scene is not wholly within {crs}; expected bounds with it")
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _projection(crs: str) -> "pyproj.CRS":
    import pyproj

    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        raise InputError(
            f"--crs {crs}: unknown reference system; expected one such as EPSG:4326"
        ) from None


def _resampled(geolocation: Geolocation, values: np.ndarray, target: _Target) -> np.ndarray:
    """The nearest of the values (H, W, bands) for each pixel of `target`."""
    from pyresample import geometry, kd_tree

    source = geometry.SwathDefinition(geolocation.longitude, geolocation.latitude)
    found = np.full((target.height, target.width, values.shape[2]), FILL, np.uint8)
    step = max(1, BLOCK_PIXELS // target.width)
    for first in range(0, target.height, step):
        rows = slice(first, first + step)
        block = geometry.SwathDefinition(*target.centers(rows))
        # Its search for the part of the source that is needed errs at poles and the date line.
        found[rows] = kd_tree.resample_nearest(
            source, values, block, target.grid.radius, fill_value=FILL, reduce_data=False
        )
    return found


def _geotiff(
    values: np.ndarray, target: _Target, bands: Sequence[MaskVariable], tags: Mapping[str, Any]
) -> bytes:
    import rasterio
    from rasterio.io import MemoryFile

    step = target.grid.resolution
    profile = {
        "driver": "COG",
        "height": target.height,
        "width": target.width,
        "count": len(bands),
        "dtype": "uint8",
        "nodata": FILL,
        "crs": target.grid.crs,
        "transform": rasterio.transform.from_origin(target.west, target.north, step, step),
        "compress": "deflate",
        "overview_resampling": "nearest",
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(np.moveaxis(values, -1, 0))
            file.descriptions = BANDS
            file.scales = [float(band.attributes.get("scale_factor", 1)) for band in bands]
            file.update_tags(**{name: str(value) for name, value in tags.items()})
            for index, band in enumerate(bands, 1):
                file.update_tags(index, long_name=band.attributes["long_name"])
        return bytes(memory.getbuffer())


def _stored_attributes(variable: MaskVariable) -> dict[str, Any]:
    filled = {} if variable.fill is None else {"_FillValue": variable.fill}
    return {**variable.attributes, **filled}


def _require(*packages: str) -> None:
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"no package '{name}', which maps need; install it by: {install_command('map')}"
            ) from None
