"""Positions of pixels: between tie points, across the date line, at the poles, of real lakes."""

import h5py
import numpy as np
import pytest

from cloudmask.scenes.geolocation import Geolocation, from_pixels, from_tie_points

KILOMETERS = 111.2  # of a degree of latitude
TIES, HEIGHT, WIDTH = 5, 20, 60
POSITION = (np.arange(WIDTH) + 0.5) / 16


def vectors(latitude, longitude):
    north, east = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], -1)


def apart(first, second):
    """Distances in kilometers."""
    chord = np.linalg.norm(vectors(*first) - vectors(*second), axis=-1)
    return np.degrees(2 * np.arcsin(chord / 2)) * KILOMETERS


def plane(center, rows, columns):
    """Positions on a 1 km grid around `center`; `rows` and `columns` in kilometers from it."""
    middle = vectors(*center)
    north = np.array([0, 0, 1.0]) if abs(middle[2]) < 0.9 else np.array([1.0, 0, 0])
    right = np.cross(north, middle)
    right /= np.linalg.norm(right)
    down = np.cross(right, middle)
    radians = np.radians(1 / KILOMETERS)
    points = middle + radians * (rows[:, None, None] * down + columns[None, :, None] * right)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    return (
        np.degrees(np.arcsin(points[..., 2])),
        np.degrees(np.arctan2(points[..., 1], points[..., 0])),
    )


@pytest.mark.parametrize(
    "center",
    [(10.0, 20.0), (60.0, 180.0), (-5.0, -179.95), (90.0, 0.0), (-90.0, 0.0), (89.95, 135.0)],
    ids=["plain", "date line", "date line south", "north pole", "south pole", "beside the pole"],
)
def test_between_tie_points(center):
    rows = np.arange(HEIGHT) - HEIGHT / 2
    ties = plane(center, rows, np.arange(TIES) * 16.0 - 32)
    found = from_tie_points(*ties, POSITION)
    # Tie points lie where a row of pixels begins, its center half a row later.
    expected = plane(center, rows + 0.5, POSITION * 16 - 32)
    assert apart((found.latitude, found.longitude), expected).max() < 0.001
    assert found.latitude.shape == (HEIGHT, WIDTH)
    assert np.abs(found.longitude).max() <= 180


def test_outside_of_the_tie_points_nothing_is_known():
    ties = plane((10.0, 20.0), np.arange(HEIGHT), np.arange(TIES) * 16.0)
    found = from_tie_points(*ties, np.array([-0.1, 0.0, 1.5, 4.0, 4.1]))
    np.testing.assert_array_equal(found.known[0], [False, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(found.longitude), ~found.known)


@pytest.mark.parametrize("damaged", [np.nan, np.inf, 91.0, -1e9])
def test_a_damaged_tie_point_makes_its_neighborhood_unknown(damaged):
    latitude, longitude = plane((10.0, 20.0), np.arange(HEIGHT), np.arange(TIES) * 16.0)
    latitude[7, 2] = damaged
    found = from_tie_points(latitude, longitude, POSITION)
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[6:8, 16:48] = False
    np.testing.assert_array_equal(found.known, expected)


def test_tie_points_on_the_other_side_of_the_earth_are_no_neighbors():
    latitude, longitude = plane((10.0, 20.0), np.arange(HEIGHT), np.arange(TIES) * 16.0)
    longitude[:, 4] -= 180
    assert not from_tie_points(latitude, longitude, POSITION).known[:, 48:].any()


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="expected the same two sides"):
        from_tie_points(np.zeros((4, 3)), np.zeros((4, 2)), POSITION)
    with pytest.raises(ValueError, match="1 columns of tie points"):
        from_tie_points(np.zeros((4, 1)), np.zeros((4, 1)), POSITION)


def test_positions_of_pixels_are_taken_as_they_are():
    latitude = np.array([[1.0, 2.0, 95.0]], np.float32)
    longitude = np.array([[359.0, -190.0, 0.0]], np.float32)
    found = from_pixels(latitude, longitude)
    np.testing.assert_array_equal(found.longitude, [[-1.0, 170.0, np.nan]])
    np.testing.assert_array_equal(found.latitude, [[1.0, 2.0, np.nan]])
    assert latitude[0, 2] == 95  # not changed


def test_bounds():
    plain = from_pixels(*plane((10.0, 20.0), np.arange(9.0), np.arange(9.0))).bounds()
    assert not plain.crosses_date_line
    assert plain.west == pytest.approx(20.0, abs=0.01)
    assert plain.east == pytest.approx(20 + 8 / KILOMETERS / np.cos(np.radians(10)), abs=0.001)
    assert (plain.south, plain.north) == pytest.approx((10 - 8 / KILOMETERS, 10), abs=0.001)

    line = from_pixels(*plane((0.0, 179.98), np.arange(9.0), np.arange(9.0))).bounds()
    assert line.crosses_date_line
    assert (line.west, line.east) == pytest.approx((179.98, 179.98 + 8 / KILOMETERS), abs=0.001)


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_bounds_around_a_pole(pole):
    around = np.arange(-20, 21) + 0.5
    found = from_pixels(*plane((pole, 0.0), around, around)).bounds()
    assert (found.west, found.east) == (-180, 180)
    assert pole in (found.south, found.north)
    beside = from_pixels(*plane((pole, 0.0), around + 30, around)).bounds()
    assert beside.east - beside.west < 180
    assert pole not in (beside.south, beside.north)


def test_bounds_and_outline_of_nothing():
    nothing = Geolocation(np.full((3, 4), np.nan), np.full((3, 4), np.nan))
    assert nothing.bounds() is None
    assert nothing.outline().shape == (0, 2)


def test_outline_goes_around_once():
    found = from_pixels(*plane((10.0, 20.0), np.arange(30.0), np.arange(50.0))).outline()
    np.testing.assert_array_equal(found[0], found[-1])
    assert len(found) == 33
    y, x = found.T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2 * KILOMETERS**2
    assert area * np.cos(np.radians(10)) == pytest.approx(29 * 49, rel=0.01)


# Extremes of shores, north and east in degrees, from the World Vector Shorelines (GSHHS 2.0); those
# of Rukwa on the steep eastern side, where its changing level does not move them.
SHORES = {
    "Tanganyika, north end": (-3.338, 29.198),
    "Tanganyika, south end": (-8.801, 31.025),
    "Tanganyika, west end": (-4.309, 29.045),
    "Tanganyika, east end": (-8.628, 31.201),
    "Malawi, north end": (-9.483, 34.039),
    "Malawi, west end": (-9.741, 33.895),
    "Rukwa, south-east end": (-8.465, 32.668),
    "Rukwa, east end": (-8.397, 32.868),
}
LAKES = {"Tanganyika": (-6.0, 29.55), "Malawi": (-10.5, 34.4), "Rukwa": (-8.25, 32.65)}
LAND = {"Ufipa plateau": (-8.0, 31.5), "Kipengere range": (-9.3, 33.9), "Katavi": (-6.9, 31.2)}


@pytest.fixture(scope="module")
def product(shared):
    """Tie points of the real product, (1200, 130), and where it is inland water, (1200, 1500)."""
    (folder,) = (shared / "data" / "slstr_rbt").glob("*.SEN3")
    with h5py.File(folder / "geodetic_tx.nc") as file:
        ties = file["latitude_tx"][...], file["longitude_tx"][...]
    with h5py.File(folder / "flags_in.nc") as file:
        water = file["confidence_in"][...] & 16 > 0
    return *ties, water


REAL_POSITION = 64 + (np.arange(1500) + 0.5 - 998) / 16


@pytest.fixture(scope="module")
def real(product):
    return from_tie_points(*product[:2], REAL_POSITION)


def test_real_lakes_are_where_they_are(product, real):
    water = product[2]
    # Half way between a pixel of water and the next one of land, along rows and along columns.
    ways = [(np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])]
    shore = [
        np.concatenate(
            [(part[one] + part[other])[water[one] != water[other]] / 2 for one, other in ways]
        )
        for part in (real.latitude, real.longitude)
    ]
    for name, place in SHORES.items():
        assert apart(shore, place).min() < 2, name
    for place, expected in [(p, True) for p in LAKES.values()] + [
        (p, False) for p in LAND.values()
    ]:
        distance = apart((real.latitude, real.longitude), place)
        assert distance.min() < 1
        assert water.flat[distance.argmin()] == expected, place


def test_real_tie_points_left_out_are_found_again(product, real):
    latitude, longitude, _ = product
    coarse = from_tie_points(latitude[:, ::2], longitude[:, ::2], REAL_POSITION / 2)
    difference = apart((coarse.latitude, coarse.longitude), (real.latitude, real.longitude))
    assert difference.max() < 0.001  # kilometers
    assert real.known.all()
