"""Temperature scaling of probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloudmask.evaluate.scaling import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, scaled

TEMPERATURES = st.floats(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
PROBABILITIES = arrays(np.float32, (5, 4, 1), elements=st.floats(0, 1, width=32))


def test_logits_are_divided_by_the_temperature():
    logits = np.linspace(-8, 8, 41)
    probability = (1 / (1 + np.exp(-logits))).astype(np.float32)
    expected = 1 / (1 + np.exp(-logits / 1.7))
    np.testing.assert_allclose(scaled(probability, 1.7), expected, atol=1e-6)


def test_temperature_1_changes_nothing():
    probability = np.float32([0, 1e-30, 0.3, 0.5, 1])
    assert scaled(probability, 1.0) is probability


@given(PROBABILITIES, TEMPERATURES)
def test_the_order_stays_and_nothing_crosses_one_half(probability, temperature):
    with np.errstate(all="raise", under="ignore"):
        result = scaled(probability, temperature)
    assert result.shape == probability.shape and result.dtype == np.float32
    order = np.argsort(probability, axis=None)
    assert (np.diff(result.ravel()[order]) >= 0).all()
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_array_equal(result > 0.5, probability > 0.5)


@pytest.mark.parametrize("temperature", [LOWEST_TEMPERATURE, 0.7, 3.0, HIGHEST_TEMPERATURE])
def test_certainty_is_as_far_from_one_half_on_both_sides(temperature):
    above = np.nextafter(np.float32(0.5), np.float32(1))
    low, half, next_, high = scaled(np.float32([0, 0.5, above, 1]), temperature)
    assert half == 0.5 < next_ and low == pytest.approx(1 - high, abs=1e-7) and low < half


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match=r"expected 0\.05 to 20"):
        scaled(np.float32([0.5]), temperature)
