"""Agreement of a prediction with a mask, pixel by pixel; class 1 is cloud."""

from dataclasses import dataclass, field

import numpy as np

BINS = 20  # of predicted probability, for calibration


@dataclass
class ConfusionCounts:
    """Counts over valid pixels, which add up over scenes.

    hits: cloud in both; false_alarms: cloud predicted only; misses: cloud in the mask only;
    rejections: clear in both. count, probability, cloud: per probability bin the pixels, the sum of
    the predicted probabilities and the pixels that are cloud; squares: sum of (probability -
    mask)**2.
    """

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    rejections: int = 0
    squares: float = 0.0
    count: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    probability: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    cloud: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @classmethod
    def of(
        cls, probability: np.ndarray, mask: np.ndarray, valid: np.ndarray, threshold: float = 0.5
    ) -> "ConfusionCounts":
        """Count one scene: cloud probability, uint8 mask and bool validity, all of one shape."""
        p, truth = probability[valid].astype(np.float64), mask[valid] > 0
        predicted = p > threshold
        hits = int(np.count_nonzero(predicted & truth))
        positive, clouds = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
        index = np.minimum((p * BINS).astype(np.int64), BINS - 1)
        return cls(
            hits,
            positive - hits,
            clouds - hits,
            p.size - positive - clouds + hits,
            float(np.sum((p - truth) ** 2)),
            np.bincount(index, minlength=BINS),
            np.bincount(index, p, BINS),
            np.bincount(index[truth], minlength=BINS),
        )

    def __add__(self, other: "ConfusionCounts") -> "ConfusionCounts":
        return ConfusionCounts(
            *(getattr(self, name) + getattr(other, name) for name in self.__annotations__)
        )

    @property
    def pixels(self) -> int:
        """Pixels counted."""
        return self.hits + self.false_alarms + self.misses + self.rejections

    def scores(self) -> dict[str, float | None]:
        """Shares between 0 and 1; None where a score is not defined (no pixel to divide by).

        skill is Kuiper's: hit rate minus false-alarm rate. brier is the mean squared difference of
        probability and mask; calibration_error the mean distance of both per probability bin,
        weighted by pixels.
        """
        clouds, clear = self.hits + self.misses, self.false_alarms + self.rejections
        recall, alarm_rate = _share(self.hits, clouds), _share(self.false_alarms, clear)
        gap = np.abs(self.probability - self.cloud).sum()
        return {
            "accuracy": _share(self.hits + self.rejections, self.pixels),
            "iou": _share(self.hits, clouds + self.false_alarms),
            "precision": _share(self.hits, self.hits + self.false_alarms),
            "recall": recall,
            "f1": _share(2 * self.hits, clouds + self.hits + self.false_alarms),
            "skill": None if recall is None or alarm_rate is None else recall - alarm_rate,
            "brier": _share(self.squares, self.pixels),
            "calibration_error": _share(float(gap), self.pixels),
        }

    def confusion(self) -> dict[str, int]:
        """The confusion matrix."""
        names = ("hits", "false_alarms", "misses", "rejections")
        return {name: getattr(self, name) for name in names}

    def calibration(self) -> list[dict[str, float]]:
        """Per filled probability bin: mean probability, share of cloud, pixels."""
        return [
            {
                "probability": float(self.probability[k] / self.count[k]),
                "cloud": float(self.cloud[k] / self.count[k]),
                "pixels": int(self.count[k]),
            }
            for k in np.flatnonzero(self.count)
        ]


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def mean_scores(scores: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Mean of each score over the scenes for which it is defined."""
    means = {}
    for name in scores[0]:
        values = [score[name] for score in scores if score[name] is not None]
        means[name] = float(np.mean(values)) if values else None
    return means
