"""The report's statistics against SciPy, NumPy and hand."""

import numpy as np
import pytest

from cloudmask.report import statistics
from cloudmask.report.statistics import (
    LEVEL,
    compare,
    fit_line,
    holm,
    student_interval,
    summarize,
)

# Test accuracies of the paper's five runs, and five others.
PAPER = [0.884168, 0.896051, 0.890086, 0.889887, 0.885192]
OTHER = [0.901, 0.8931, 0.8999, 0.8871, 0.9055]


def test_summary():
    found = summarize(PAPER)
    assert (found.n, found.low, found.high) == (5, min(PAPER), max(PAPER))
    assert found.mean == pytest.approx(np.mean(PAPER))
    assert found.sd == pytest.approx(np.std(PAPER, ddof=1))
    assert found.interval[0] < found.mean < found.interval[1]
    assert (summarize([1.0]).sd, summarize([1.0, 2.0]).interval) == (None, None)
    assert (summarize([0.9] * 5).sd, summarize([0.9] * 5).interval) == (0.0, None)


def test_the_interval_is_scipys_of_the_mean():
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.ttest_1samp(PAPER, 0).confidence_interval(LEVEL)
    assert student_interval(PAPER) == pytest.approx(tuple(theirs))


@pytest.mark.parametrize("size", [3, 5, 10])
def test_the_interval_covers_as_often_as_it_says(size):
    rng = np.random.default_rng(size)
    count = 2000
    hits = [low <= 0 <= high for low, high in map(student_interval, rng.normal(size=(count, size)))]
    # Three standard errors of the rate over so many simulations: 1.5 percentage points.
    assert np.mean(hits) == pytest.approx(LEVEL, abs=3 * np.sqrt(LEVEL * (1 - LEVEL) / count))


def test_equal_repeats_are_one_observation_of_the_interval():
    assert summarize([*PAPER, PAPER[0], PAPER[0]]).interval == summarize(PAPER).interval
    assert summarize([0.9, 0.9, 0.9, 0.8]).interval is None


def test_without_scipy_there_is_no_interval_and_no_p(monkeypatch):
    monkeypatch.setattr(statistics, "available", lambda: False)
    assert summarize(PAPER).interval is None
    found = compare(PAPER, OTHER)
    assert (found.p, found.superiority < 0.5) == (None, True)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("size", [2, 5])
def test_exact_permutations_agree_with_scipy(paired, size):
    stats = pytest.importorskip("scipy.stats")
    a, b = PAPER[:size], OTHER[:size]
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x, axis) - np.mean(y, axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
    )
    found = compare(a, b, paired)
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.smallest_p == pytest.approx(2 / (2**size if paired else {2: 6, 5: 252}[size]))


def test_many_values_are_permuted_at_random():
    rng = np.random.default_rng(3)
    same = compare(rng.normal(size=40), rng.normal(size=40))
    apart = compare(rng.normal(size=40), rng.normal(1, size=40))
    assert apart.p < 0.002 < 0.05 < same.p


def test_without_two_on_each_side_there_is_no_test():
    found = compare([0.9], [0.8, 0.7])
    assert (found.p, found.effect, found.superiority) == (None, None, 1.0)


def test_no_effect_size_where_the_spread_is_that_of_rounding():
    first, second = np.full(3, 0.1), np.full(3, 0.6284)
    assert np.var(first, ddof=1) > 0
    assert compare(first, second).effect is None


def test_hedges_g_by_hand():
    # Means 3 and 1, both variances 2, so that d is 2 / sqrt(2); for 2 degrees of freedom the
    # correction is 1 - 3 / 7.
    found = compare([2.0, 4.0], [0.0, 2.0])
    assert found.effect == pytest.approx(2 / np.sqrt(2) * (1 - 3 / 7))
    assert found.superiority == pytest.approx(3.5 / 4)


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, 0.06, 0.06]
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_line_agrees_with_numpy():
    x, y = [10, 30, 50, 50], [1052.7, 1696.7, 2421.6, 2390.0]
    (slope, fixed), covariance = np.polyfit(x, y, 1, cov=True)
    line = fit_line(x, y)
    assert (line.slope, line.fixed) == (pytest.approx(slope), pytest.approx(fixed))
    assert line.slope_error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert line.fixed_error == pytest.approx(np.sqrt(covariance[1, 1]))
    assert fit_line([10, 30], [1, 2]).slope_error is None
    assert fit_line([10, 10], [1, 2]) is None
