"""Few numbers, honestly: mean, spread, Student's interval, exact tests, effect size, a line.

The t distribution and the permutation tests are SciPy's. Where it is not installed, reports have no
intervals and no p values, and say so (`available`).
"""

import functools
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloudmask.system.distribution import install_command

LEVEL = 0.95
# Fewer different values have no interval: of two it would be 13 standard errors long on each side.
FEWEST = 3
EXACT = 50_000  # up to so many permutations all are tried, beyond that RESAMPLES at random
RESAMPLES = 4000
SEED = 20240108  # of the permutations, so that a report made again is the same
WITHOUT_SCIPY = (
    " SciPy is not installed, so that there are no intervals and no p values; expected "
    f"{install_command('report')}."
)


def available() -> bool:
    """Whether SciPy is there for intervals and p values."""
    return importlib.util.find_spec("scipy") is not None


@dataclass(frozen=True)
class SampleSummary:
    """Of n values: mean, sample standard deviation (None for one), interval of the mean."""

    n: int
    mean: float
    sd: float | None
    interval: tuple[float, float] | None
    low: float
    high: float


def summarize(values: Sequence[float]) -> SampleSummary:
    """Statistics of one value or more.

    In the interval, values that are equal to the last digit count once: repeats show no chance.
    """
    array = np.asarray(values, float)
    sd = float(array.std(ddof=1)) if array.size > 1 else None
    low, high = float(array.min()), float(array.max())
    interval = student_interval(list(dict.fromkeys(array.tolist())))
    return SampleSummary(array.size, float(array.mean()), sd, interval, low, high)


def student_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """Interval of the mean at LEVEL by Student's t; None for fewer than FEWEST values.

    It covers the mean of a normal distribution as often as LEVEL says, for any number of values.
    """
    array = np.asarray(values, float)
    if array.size < FEWEST or not available():
        return None
    half = quantile(array.size - 1) * float(array.std(ddof=1)) / math.sqrt(array.size)
    mean = float(array.mean())
    return mean - half, mean + half


@functools.cache
def quantile(freedom: int) -> float:
    """How many standard errors an interval at LEVEL is long on each side."""
    from scipy import stats

    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


@dataclass(frozen=True)
class PermutationTest:
    """Difference of two means (first minus second) and how sure it is.

    p: of a permutation test, two-sided (twice the smaller tail); smallest_p: what p these sizes
    allow at best; effect: Hedges' g, None without spread; superiority: chance that a value of the
    first is above one of the second, ties counting half.
    """

    difference: float
    p: float | None
    smallest_p: float
    effect: float | None
    superiority: float
    paired: bool


def compare(
    first: Sequence[float], second: Sequence[float], paired: bool = False
) -> PermutationTest:
    """Compare two samples, value by value where they are `paired` (the same runs twice)."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    difference = float(a.mean() - b.mean())
    above = np.sign(a[:, None] - b[None, :])
    superiority = float((above + 1).mean() / 2)
    count = 2**a.size if paired else math.comb(a.size + b.size, a.size)
    p = _permuted(a, b, paired, count) if min(a.size, b.size) > 1 else None
    smallest = min(2 / (count if count <= EXACT else RESAMPLES + 1), 1.0)
    return PermutationTest(difference, p, smallest, _hedges(a, b), superiority, paired)


def _permuted(a: np.ndarray, b: np.ndarray, paired: bool, count: int) -> float | None:
    """p of the difference of the means over all permutations, of more than EXACT over some."""
    if not available():
        return None
    from scipy import stats

    found = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=EXACT if count <= EXACT else RESAMPLES,
        random_state=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def _hedges(a: np.ndarray, b: np.ndarray) -> float | None:
    """Difference of the means in pooled standard deviations, corrected for few values."""
    freedom = a.size + b.size - 2
    if min(a.size, b.size) < 2:
        return None
    pooled = math.sqrt(((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / freedom)
    # Equal values have a spread, too: that of rounding.
    if pooled <= 1e-12 * max(abs(a).max(), abs(b).max()):
        return None
    return float((a.mean() - b.mean()) / pooled * (1 - 3 / (4 * freedom - 1)))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for being many (Holm's method); None stays None."""
    known = sorted((p, k) for k, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, k) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[k] = largest
    return corrected


@dataclass(frozen=True)
class Line:
    """seconds = fixed + slope * epochs; the errors are standard errors, None for two points."""

    fixed: float
    slope: float
    fixed_error: float | None
    slope_error: float | None
    n: int


def fit_line(epochs: Sequence[float], seconds: Sequence[float]) -> Line | None:
    """Least squares; None unless there are two different numbers of epochs."""
    x, y = np.asarray(epochs, float), np.asarray(seconds, float)
    if np.unique(x).size < 2:
        return None
    spread = ((x - x.mean()) ** 2).sum()
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread)
    fixed = float(y.mean() - slope * x.mean())
    if x.size < 3:
        return Line(fixed, slope, None, None, x.size)
    variance = ((y - fixed - slope * x) ** 2).sum() / (x.size - 2)
    slope_error = math.sqrt(variance / spread)
    fixed_error = math.sqrt(variance * (1 / x.size + x.mean() ** 2 / spread))
    return Line(fixed, slope, fixed_error, slope_error, x.size)
