"""A seeded share of the fuzzing that `make fuzz` does at length."""

from fuzz import fuzz


def test_three_hundred_damaged_files():
    assert fuzz(300) == []
