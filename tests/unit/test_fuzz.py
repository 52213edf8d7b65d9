"""A seeded share of the fuzzing that `make fuzz` does at length."""

import pytest
from fuzz import fuzz

pytestmark = pytest.mark.slow


def test_three_hundred_damaged_files():
    assert fuzz(300) == []
