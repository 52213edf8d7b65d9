"""Where the pixels of a scene lie on the earth.

Latitude and longitude of a product are given at tie points. Between them a position is taken on the
chord of the unit sphere: as numbers, longitudes jump at the date line and mean nothing at a pole.
Geodetic latitudes are taken for those of a sphere, which for tie points 16 km apart changes nothing
that a float32 shows.
"""

from dataclasses import dataclass

import numpy as np

# The longitudes of a swath leave a gap at least this wide (degrees) unless a pole lies within it.
WIDEST_GAP = 5.0
# Tie points further apart than this (cosine of 60 degrees) are no neighbors: they are damaged.
NEIGHBORS_COSINE = 0.5
EDGE_POINTS = 9  # of the outline along each edge


@dataclass(frozen=True)
class Bounds:
    """The smallest box around a scene, degrees; `east` exceeds 180 across the date line."""

    west: float
    south: float
    east: float
    north: float

    @property
    def crosses_date_line(self) -> bool:
        """Whether the meridian of 180 degrees lies within."""
        return self.east > 180


@dataclass(frozen=True)
class Geolocation:
    """Latitude and longitude of the pixel centers, both (H, W) float64, degrees north and east.

    Latitude is in -90 to 90, longitude in -180 to 180; both are NaN where not known.
    """

    latitude: np.ndarray
    longitude: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Where the position is known, (H, W) bool."""
        return ~np.isnan(self.latitude)

    def bounds(self) -> Bounds | None:
        """The smallest box of longitudes and latitudes around all pixels; None if none is known.

        Around a pole it has all longitudes, and ends at the pole.
        """
        latitude = self.latitude[self.known]
        if not latitude.size:
            return None
        south, north = float(latitude.min()), float(latitude.max())
        east_of_gap, width = _widest_gap(self.longitude[self.known])
        if width < WIDEST_GAP:
            around_north = latitude.mean() > 0
            south, north = (south, 90.0) if around_north else (-90.0, north)
            return Bounds(-180.0, south, 180.0, north)
        return Bounds(east_of_gap, south, east_of_gap + 360 - width, north)

    def outline(self) -> np.ndarray:
        """Latitude and longitude along the edges of the image, closed: (N, 2) float64, degrees.

        In the order first row, last column, last row, first column; pixels that are not known are
        left out. Empty, (0, 2), if fewer than three are known.
        """
        height, width = self.latitude.shape
        row = np.linspace(0, height - 1, EDGE_POINTS).astype(int)[:-1]
        column = np.linspace(0, width - 1, EDGE_POINTS).astype(int)[:-1]
        top, left = np.zeros_like(column), np.zeros_like(row)
        rows = np.concatenate([top, row, top + height - 1, height - 1 - row])
        columns = np.concatenate([column, left + width - 1, width - 1 - column, left])
        points = np.stack([self.latitude[rows, columns], self.longitude[rows, columns]], axis=1)
        points = points[~np.isnan(points[:, 0])]
        return np.concatenate([points, points[:1]]) if len(points) > 2 else points[:0]


def from_pixels(latitude: np.ndarray, longitude: np.ndarray) -> Geolocation:
    """The geolocation of a product that gives both for each pixel, (H, W), degrees.

    Longitudes of 0 to 360 become -180 to 180. A pixel is not known where either is not finite or
    out of range. Raises ValueError if the shapes differ.
    """
    latitude, longitude = _checked(latitude, longitude)
    return Geolocation(latitude, longitude)


def from_tie_points(
    latitude: np.ndarray, longitude: np.ndarray, position: np.ndarray
) -> Geolocation:
    """The geolocation between tie points that have the rows of the image and their own columns.

    latitude, longitude: (H, ties), degrees; row r of them lies at the beginning of row r of the
    pixels, half a row before their centers. position: (W,), where the center of each column of
    pixels lies among the columns of tie points, such as 1.66; outside of 0 to ties - 1 it is not
    known, nor where a tie point beside it is not. Raises ValueError if the shapes differ or there
    are fewer than two columns of tie points.
    """
    latitude, longitude = _checked(latitude, longitude)
    ties = latitude.shape[1]
    if ties < 2:
        raise ValueError(f"{ties} columns of tie points; expected two or more")
    left = np.clip(np.floor(position), 0, ties - 2).astype(int)
    weight = np.asarray(position, np.float64) - left
    weight[(weight < 0) | (weight > 1)] = np.nan
    points = [_half_a_row_later(part) for part in _vectors(latitude, longitude)]
    apart = sum(part[:, 1:] * part[:, :-1] for part in points) < NEIGHBORS_COSINE
    x, y, z = (part[:, left] * (1 - weight) + part[:, left + 1] * weight for part in points)
    x[apart[:, left]] = np.nan
    found_latitude = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return Geolocation(*_checked(found_latitude, np.degrees(np.arctan2(y, x))))


def _checked(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as new float64 arrays, NaN where either is, and longitudes in -180 to 180."""
    if latitude.ndim != 2 or latitude.shape != longitude.shape:
        raise ValueError(
            f"latitude has shape {latitude.shape}, longitude {longitude.shape}; "
            "expected the same two sides"
        )
    latitude, longitude = latitude.astype(np.float64), longitude.astype(np.float64)
    # False for NaN.
    known = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 360)
    latitude[~known] = longitude[~known] = np.nan
    beyond = np.abs(longitude) > 180
    longitude[beyond] -= np.copysign(360, longitude[beyond])
    return latitude, longitude


def _vectors(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, ...]:
    """The three components on the unit sphere, each of the shape of `latitude`."""
    north, east = np.radians(latitude), np.radians(longitude)
    return np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)


def _half_a_row_later(part: np.ndarray) -> np.ndarray:
    """A component at the centers of the rows, (H, ties); behind the last row it goes on as before.

    The toolbox SNAP places tie points so, and the product's own positions of the detectors agree:
    in a product of 2017 they lie 0.54 rows behind the tie points, and 0.49 columns behind the
    track's side of their columns.
    """
    if len(part) < 2:
        return part
    return np.concatenate([part[:-1] + part[1:], 3 * part[-1:] - part[-2:-1]]) / 2


def _widest_gap(longitude: np.ndarray) -> tuple[float, float]:
    """Where the widest gap of the longitudes ends, and how wide it is, degrees."""
    ordered = np.unique(longitude)
    gaps = np.diff(ordered, append=ordered[0] + 360)
    widest = int(gaps.argmax())
    return float(ordered[(widest + 1) % len(ordered)]), float(gaps[widest])
