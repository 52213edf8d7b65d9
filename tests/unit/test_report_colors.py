"""Colors that occur together can be told apart, also by deuteranopes."""

from itertools import combinations

import numpy as np
import pytest
from support.colors import DEUTERANOPIA, difference, lab

from cloudmask.evaluate import pictures
from cloudmask.report import drawing, timing_figures

FAR = 15  # CIEDE2000; 1 is just noticeable between large areas side by side


def rgb(text):
    return tuple(int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))


def test_differences_by_the_published_pairs():
    """Four of the pairs in table 1 of Sharma, Wu and Dalal 2005."""
    for first, second, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (56, -27, -3), 31.9030),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ):
        assert difference(first, second) == pytest.approx(expected, abs=1e-4)


PALETTES = {
    "panels": pictures.COLORS,
    "mask": {
        "clear": (0, 0, 0),
        "cloud": (1, 1, 1),
        "coast": pictures.COAST,
        "none": pictures.COLORS[pictures.NO_MEASUREMENT],
    },
    "groups": {color: rgb(color) for color in (*drawing.COLORS, drawing.GREY, "#FFFFFF")},
    "parts": {part: rgb(color) for part, color in timing_figures.PART_COLORS.items()},
}


@pytest.mark.parametrize("seen", [np.eye(3), DEUTERANOPIA], ids=["everybody", "deuteranopes"])
@pytest.mark.parametrize("name", PALETTES)
def test_colors_are_far_apart(name, seen):
    for (first, a), (second, b) in combinations(PALETTES[name].items(), 2):
        assert difference(lab(a, seen), lab(b, seen)) >= FAR, (first, second)


def test_the_former_colors_were_not():
    clear, none = (0.13, 0.26, 0.42), (0.35, 0.20, 0.45)
    assert difference(lab(clear, DEUTERANOPIA), lab(none, DEUTERANOPIA)) < 3
