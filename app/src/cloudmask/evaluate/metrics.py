"""Agreement of a prediction with a mask, pixel by pixel; class 1 is cloud."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from cloudmask.record.result import CalibrationBin, Confusion, MeanScores, Scores

BINS = 20  # of predicted probability, for calibration


@dataclass
class ConfusionCounts:
    """The contingency table over valid pixels, and what calibration needs; they add up over scenes.

    hits: cloud in both; false_alarms: cloud predicted only; misses: cloud in the mask only;
    correct_negatives: clear in both. squares: sum of (probability - mask)**2. count, probability,
    cloud: per bin of probability the pixels, the sum of the predicted probabilities, and the pixels
    that are cloud.
    """

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    correct_negatives: int = 0
    squares: float = 0.0
    count: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    probability: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    cloud: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @classmethod
    def of(
        cls, probability: np.ndarray, mask: np.ndarray, valid: np.ndarray, threshold: float = 0.5
    ) -> "ConfusionCounts":
        """Count one scene: cloud probability, uint8 mask and bool validity, all of one shape."""
        p, cloudy = probability[valid].astype(np.float64), mask[valid] > 0
        predicted = p > threshold
        hits = int(np.count_nonzero(predicted & cloudy))
        positive, clouds = int(np.count_nonzero(predicted)), int(np.count_nonzero(cloudy))
        index = np.minimum((p * BINS).astype(np.int64), BINS - 1)
        return cls(
            hits,
            positive - hits,
            clouds - hits,
            p.size - positive - clouds + hits,
            float(np.sum((p - cloudy) ** 2)),
            np.bincount(index, minlength=BINS),
            np.bincount(index, p, BINS),
            np.bincount(index[cloudy], minlength=BINS),
        )

    def __add__(self, other: "ConfusionCounts") -> "ConfusionCounts":
        names = [field.name for field in fields(self)]
        return ConfusionCounts(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def pixels(self) -> int:
        """Pixels counted."""
        return self.hits + self.false_alarms + self.misses + self.correct_negatives

    def scores(self) -> Scores:
        """Fractions between 0 and 1; None where a score is not defined (no pixel to divide by).

        skill is the Hanssen-Kuipers discriminant (true skill statistic, TSS): hit rate minus false
        alarm rate. brier is the mean squared difference of probability and mask; calibration_error
        the mean distance of both per probability bin, weighted by pixels.
        """
        clouds, clear = self.hits + self.misses, self.false_alarms + self.correct_negatives
        hit_rate, alarm_rate = _fraction(self.hits, clouds), _fraction(self.false_alarms, clear)
        gap = float(np.abs(self.probability - self.cloud).sum())
        return Scores(
            accuracy=_fraction(self.hits + self.correct_negatives, self.pixels),
            iou=_fraction(self.hits, clouds + self.false_alarms),
            precision=_fraction(self.hits, self.hits + self.false_alarms),
            recall=hit_rate,
            f1=_fraction(2 * self.hits, clouds + self.hits + self.false_alarms),
            skill=None if hit_rate is None or alarm_rate is None else hit_rate - alarm_rate,
            brier=_fraction(self.squares, self.pixels),
            calibration_error=_fraction(gap, self.pixels),
        )

    def confusion(self) -> Confusion:
        """The contingency table, whose correct negatives the file calls rejections."""
        return Confusion(
            hits=self.hits,
            false_alarms=self.false_alarms,
            misses=self.misses,
            rejections=self.correct_negatives,
        )

    def calibration(self) -> tuple[CalibrationBin, ...]:
        """The filled bins of probability."""
        return tuple(
            CalibrationBin(
                probability=float(self.probability[k] / self.count[k]),
                cloud=float(self.cloud[k] / self.count[k]),
                pixels=int(self.count[k]),
            )
            for k in np.flatnonzero(self.count)
        )


def _fraction(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def mean_scores(scores: Sequence[Scores]) -> MeanScores:
    """Mean of each score over the scenes for which it is defined, and the number of those scenes.

    The mean over no scene is None.
    """
    found: dict[str, float | int | None] = {}
    for name in Scores.model_fields:
        values = [value for one in scores if (value := getattr(one, name)) is not None]
        found[name] = float(np.mean(values)) if values else None
        if (count := f"{name}_scenes") in MeanScores.model_fields:
            found[count] = len(values)
    return MeanScores.model_validate(found)


@dataclass
class Agreement:
    """One classifier's counts scene by scene against one field: the mask, or the cloud truth.

    valid: over the pixels that are measured and labeled; everywhere: over all pixels, as published.
    """

    valid: list[ConfusionCounts] = field(default_factory=list)
    everywhere: list[ConfusionCounts] = field(default_factory=list)

    def add(
        self, probability: np.ndarray, mask: np.ndarray, valid: np.ndarray, threshold: float = 0.5
    ) -> None:
        """Count one scene; arrays as in `ConfusionCounts.of`, the mask 0 where it is not known."""
        counts = ConfusionCounts.of(probability, mask, valid, threshold)
        self.valid.append(counts)
        everywhere = np.ones_like(valid)
        self.everywhere.append(
            counts if valid.all() else ConfusionCounts.of(probability, mask, everywhere, threshold)
        )

    def scores(self) -> MeanScores:
        """Means over the scenes, and the scores of their pixels together."""
        accuracies = [counts.scores().accuracy for counts in self.everywhere]
        together = {
            "accuracy_all_pixels": float(np.mean([value or 0.0 for value in accuracies])),
            "pooled": self.pooled().scores(),
            "pooled_all_pixels": sum(self.everywhere, ConfusionCounts()).scores(),
        }
        means = mean_scores([counts.scores() for counts in self.valid])
        return means.model_copy(update=together)

    def pooled(self) -> ConfusionCounts:
        """The valid pixels of all scenes together."""
        return sum(self.valid, ConfusionCounts())
