"""What the validation patches say about the kept network's probabilities: one pass after training.

Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks") and the thresholds
for two uses of a mask. All of it follows from a histogram, so that memory does not grow with data.
"""

import logging

import numpy as np

from cloudmask.errors import Interrupted
from cloudmask.evaluate.metrics import BINS as PROBABILITY_BINS
from cloudmask.evaluate.scaling import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from cloudmask.patches.batches import BatchLoader
from cloudmask.record.result import Calibration
from cloudmask.train.attempt import Attempt
from cloudmask.train.logits import BINS, EDGES, LogitCounts
from cloudmask.train.step import TrainStep

# What a threshold for a use may cost, in percent of a class: cloud that is missed where none may
# pass, clear pixels that are lost where none may be. A thermometer of the sea wants the first.
COST_PERCENT = 2

CENTERS = (EDGES[:-1] + EDGES[1:]) / 2
HALF = BINS // 2  # the edge that stands for probability 0.5
THRESHOLDS = (1e-6, 1 - 1e-6)  # A threshold lies between 0 and 1.
HALVINGS = 50  # of the interval that holds the temperature

logger = logging.getLogger(__name__)


def calibrate(attempt: Attempt, step: TrainStep, validation: BatchLoader) -> Calibration:
    """Look once at the validation patches with the present weights; all workers take part.

    Raises Interrupted if any of them was requested to stop: the same command does it again.
    """
    sums = np.zeros((2, BINS), np.int64)
    for batch in validation.epoch(0, deliver=step.to_device):
        found = step.count_logits(batch, attempt.stop.requested).numpy()
        sums += found[:-1].reshape(2, BINS).astype(np.int64)
        if found[-1]:
            raise Interrupted(
                f"{attempt.run}: trained, calibration not finished; the same command continues"
            )
    calibration, notes = fit(LogitCounts(*sums))
    if attempt.devices.chief:
        for note in notes:
            logger.warning("calibration: %s", note)
        logger.info(_line(calibration))
    return calibration


def fit(counts: LogitCounts) -> tuple[Calibration, list[str]]:
    """The calibration, and a line about each figure that could not be found.

    Such a temperature is 1, such a threshold 0.5.
    """
    notes: list[str] = []
    if not (counts.clear.any() and counts.cloud.any()):
        notes.append("the validation patches do not hold both cloud and clear pixels")
    temperature = 1.0 if notes else _temperature(counts)
    if temperature is None:
        limits = f"{LOWEST_TEMPERATURE:g} to {HIGHEST_TEMPERATURE:g}"
        notes.append(f"no temperature of {limits} fits the validation patches; it stays 1")
        temperature = 1.0
    thresholds = {"cloud": _favor_cloud(counts), "clear": _favor_clear(counts)}
    if counts.clear.any() and counts.cloud.any():
        notes += [
            f"no threshold favors {use} at a cost of {COST_PERCENT} %; it stays 0.5"
            for use, edge in thresholds.items()
            if edge is None
        ]
    favor_cloud, favor_clear = (
        0.5 if edge is None else float(np.clip(_sigmoid(EDGES[edge] / temperature), *THRESHOLDS))
        for edge in thresholds.values()
    )
    calibration = Calibration(
        temperature=temperature,
        calibration_error_before=_error(counts, 1.0),
        calibration_error_after=_error(counts, temperature),
        threshold_favor_clear=favor_clear,
        threshold_favor_cloud=favor_cloud,
        pixels=counts.pixels,
    )
    return calibration, notes


def _temperature(counts: LogitCounts) -> float | None:
    """The temperature of the least negative log-likelihood; None if it is out of all range.

    The likelihood is concave in 1 / temperature: where its slope changes sign is its only peak.
    """
    pixels = counts.clear + counts.cloud

    def slope(factor: float) -> float:
        return float(np.sum(CENTERS * (counts.cloud - pixels * _sigmoid(CENTERS * factor))))

    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    if not slope(low) > 0 > slope(high):
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return 2 / (low + high)


def _favor_cloud(counts: LogitCounts) -> int | None:
    """The highest edge up to 0.5 above which enough cloud lies; None if none is low enough."""
    missed = np.cumsum(counts.cloud)[:HALF]  # below the edges 1 to HALF
    good = np.flatnonzero(100 * missed <= COST_PERCENT * counts.cloud.sum())
    return int(good[-1]) + 1 if good.size and counts.cloud.any() else None


def _favor_clear(counts: LogitCounts) -> int | None:
    """The lowest edge from 0.5 on above which few clear pixels lie; None if none is high enough."""
    lost = np.cumsum(counts.clear[::-1])[::-1][HALF:]  # above the edges HALF to BINS - 1
    good = np.flatnonzero(100 * lost <= COST_PERCENT * counts.clear.sum())
    return int(good[0]) + HALF if good.size and counts.clear.any() else None


def _error(counts: LogitCounts, temperature: float) -> float | None:
    """The calibration error of the scaled probabilities, as `evaluate/metrics.py` defines it."""
    if not counts.pixels:
        return None
    probability = _sigmoid(CENTERS / temperature)
    index = np.minimum((probability * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    surplus = probability * (counts.clear + counts.cloud) - counts.cloud
    return float(np.abs(np.bincount(index, surplus)).sum() / counts.pixels)


def _sigmoid(logit: np.ndarray | float) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logit)))


def _line(calibration: Calibration) -> str:
    before, after = calibration.calibration_error_before, calibration.calibration_error_after
    errors = ""
    if before is not None and after is not None:
        errors = f"calibration error {before:.4f} before, {after:.4f} after; "
    return (
        f"calibration: temperature {calibration.temperature:.3f}; {errors}threshold "
        f"{calibration.threshold_favor_cloud:.3f} to miss few clouds, "
        f"{calibration.threshold_favor_clear:.3f} to keep clear sky clear"
    )
