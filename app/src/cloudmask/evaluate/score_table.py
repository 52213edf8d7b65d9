"""The scores of an evaluation as a plain table for people."""

from collections.abc import Sequence

from cloudmask.record.result import ClassifierScores, Inference, MeanScores
from cloudmask.system.tables import plain_table

SCORES = {
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "skill": "skill",
}
ACCURACIES = ("accuracy", "accuracy, all pixels")


def table(inference: Inference) -> str:
    """The scores of the network and the baselines in percent, and what the columns mean.

    Against the mask, which the benchmark takes for truth (its target is 90 %), and against the
    cloud truth where it is known; each as the mean over scenes, and over all their pixels together.
    A mean over fewer scenes than were judged is followed by their number.
    """
    entries: dict[str, ClassifierScores] = {"U-Net": inference, **inference.baselines}
    rows = []
    for name, scores in entries.items():
        rows += _rows(f"{name}, mask", scores, inference.scenes)
        if scores.true_field:
            rows += _rows(f"{name}, cloud truth", scores.true_field, inference.scenes)
    heads = (*ACCURACIES, *SCORES.values())
    lines = plain_table(("agreement with", "over", *heads), rows, right=heads)
    return "\n".join([*lines, *_legend(inference)])


def _rows(name: str, scores: MeanScores, scenes: int) -> list[list[str]]:
    """The lines of one classifier: means over scenes and, if known, over all pixels together."""
    everywhere, together = scores.accuracy_all_pixels, scores.pooled_all_pixels
    means = [_mean(scores, key, scenes) for key in SCORES]
    rows = [[name, "mean of scenes", *_percent([scores.accuracy, everywhere]), *means]]
    if scores.pooled:
        accuracies = [scores.pooled.accuracy, together.accuracy if together else None]
        pooled = [getattr(scores.pooled, key) for key in SCORES]
        rows.append(["", "pooled pixels", *_percent([*accuracies, *pooled])])
    return rows


def _mean(scores: MeanScores, key: str, scenes: int) -> str:
    """A mean, followed by the number of its scenes if they are not all."""
    (cell,) = _percent([getattr(scores, key)])
    count = getattr(scores, f"{key}_scenes")
    return cell if count in (None, scenes) else f"{cell} ({count})"


def _percent(values: Sequence[float | None]) -> list[str]:
    return ["-" if value is None else f"{value:.2%}" for value in values]


def _legend(inference: Inference) -> list[str]:
    unmeasured = "included (--nan fill)" if inference.nan == "fill" else "left out"
    lines = [
        f"accuracy and the other scores: over labeled pixels, unmeasured ones {unmeasured}",
        "accuracy, all pixels: over every pixel, as published; unlabeled ones count as clear sky",
        "skill: Hanssen-Kuipers discriminant (TSS), hit rate minus false alarm rate",
        f"mean of scenes: of {inference.scenes}; (n): of the n scenes that define the score",
    ]
    if inference.truth:
        learned = inference.trained_labels
        other = f", while the network learned '{learned}'" if learned != inference.truth else ""
        lines.append(f"mask: label source '{inference.truth}'{other if learned else ''}")
    return lines
