"""Few numbers, honestly: mean, spread, bootstrap interval, exact tests, effect size, a line."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95
# Fewer values than this have no bootstrap interval: a resample would hardly differ from them.
FEWEST = 3
EXACT = 50_000  # up to so many resamples or permutations all are tried, beyond that RESAMPLES
SEED = 20240108  # of the resampling, so that a report made again is the same


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
    """Statistics of one value or more."""
    array = np.asarray(values, float)
    sd = float(array.std(ddof=1)) if array.size > 1 else None
    low, high = float(array.min()), float(array.max())
    return SampleSummary(array.size, float(array.mean()), sd, bootstrap(array), low, high)


def bootstrap(values: Sequence[float] | np.ndarray) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean at LEVEL; None for fewer than FEWEST values.

    None as well for values that are all the same: repeats to the last digit, which show no chance.
    """
    array = np.asarray(values, float)
    if array.size < FEWEST or not np.ptp(array):
        return None
    means = array[_resamples(array.size)].mean(axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


@functools.cache
def _resamples(size: int) -> np.ndarray:
    """Indices of all resamples of few values, of many RESAMPLES at random."""
    if size**size <= EXACT:
        return np.array(list(itertools.product(range(size), repeat=size)))
    return np.random.default_rng(SEED).integers(0, size, (RESAMPLES, size))


@dataclass(frozen=True)
class PermutationTest:
    """Difference of two means (first minus second) and how sure it is.

    p: of a permutation test, two-sided; smallest_p: what p these sizes allow at best; effect:
    Hedges' g, None without spread; superiority: chance that a value of the first is above one of
    the second, ties counting half.
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
    if paired:
        count = 2**a.size
        smallest = 2 / count
        p = _sign_flips(a - b) if a.size > 1 else None
    else:
        count = math.comb(a.size + b.size, a.size)
        # With equal sizes a permutation and its mirror image are equally extreme.
        smallest = (2 if a.size == b.size else 1) / count
        p = _permutations(a, b) if min(a.size, b.size) > 1 else None
    return PermutationTest(difference, p, min(smallest, 1.0), _hedges(a, b), superiority, paired)


def _permutations(a: np.ndarray, b: np.ndarray) -> float:
    pool, size = np.concatenate([a, b]), a.size
    observed = abs(a.mean() - b.mean())
    if math.comb(pool.size, size) <= EXACT:
        chosen = np.array(list(itertools.combinations(range(pool.size), size)))
        sums = pool[chosen].sum(axis=1)
        extra = 0
    else:
        rng = np.random.default_rng(SEED)
        sums = np.array([rng.permutation(pool)[:size].sum() for _ in range(RESAMPLES)])
        extra = 1  # the sample itself is one of the permutations
    differences = np.abs(sums / size - (pool.sum() - sums) / b.size)
    hits = np.count_nonzero(differences >= observed * (1 - 1e-9) - 1e-15)
    return (hits + extra) / (sums.size + extra)


def _sign_flips(differences: np.ndarray) -> float:
    observed, size = abs(differences.mean()), differences.size
    if 2**size <= EXACT:
        signs = np.array(list(itertools.product((-1, 1), repeat=size)))
        extra = 0
    else:
        signs = np.random.default_rng(SEED).choice((-1, 1), (RESAMPLES, size))
        extra = 1
    means = np.abs((signs * differences).mean(axis=1))
    hits = np.count_nonzero(means >= observed * (1 - 1e-9) - 1e-15)
    return (hits + extra) / (len(signs) + extra)


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
