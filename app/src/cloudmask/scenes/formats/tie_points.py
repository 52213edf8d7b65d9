"""What products give on tie points, every 16 km across the track, and where these lie."""

import re

import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.scenes.formats import netcdf
from cloudmask.scenes.formats.product_files import ProductFiles


def tie_values(dataset: ForeignHdf5, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Values (H, tie points) float64 of a variable on tie points."""
    values = netcdf.values(dataset, name, kind=np.float64)
    if values.shape[0] != shape[0] or values.shape[1] < 2:
        raise SceneError(
            f"{dataset.source}: '{name}' has shape {values.shape}; expected "
            f"({shape[0]}, columns of tie points)"
        )
    return values


def tie_positions(files: ProductFiles, image: str, name: str, columns: int) -> np.ndarray:
    """The column of tie points (W,), in fractions, at the center of each of W columns of the image.

    image: a file of the image's grid; name: one of the tie points'.
    Tie points have the rows of the image and their own columns. `track_offset` is the column of
    either grid at the ground track; the track is at tie point 64, and at the edge between pixels
    997 and 998. So the center of pixel c lies at tie point 64 + (c + 0.5 - 998) / 16.
    """
    with files.opened(image) as dataset:
        offset, spacing = _track(dataset)
    with files.opened(name) as dataset:
        tie_offset, tie_spacing = _track(dataset)
    return tie_offset + (np.arange(columns) + 0.5 - offset) * spacing / tie_spacing


def _track(dataset: ForeignHdf5) -> tuple[float, float]:
    """Column at the ground track, and metres from column to column (the first of two numbers)."""
    try:
        spacing = re.findall(r"\d+", str(dataset.attribute("resolution")))[0]
        offset, spacing = float(np.ravel(dataset.attribute("track_offset"))[0]), float(spacing)
    except SceneError:
        raise
    except Exception:  # On damaged files the library raises anything.
        offset = spacing = 0.0
    if not 0 < spacing < np.inf or not np.isfinite(offset):
        raise SceneError(
            f"{dataset.source}: attributes 'track_offset' and 'resolution' do not "
            "place the grid; expected e.g. 998 and '[ 1000 1000 ]'"
        )
    return offset, spacing
