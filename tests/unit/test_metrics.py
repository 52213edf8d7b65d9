"""Metrics against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from cloudmask.evaluate.metrics import BINS, Agreement, ConfusionCounts, mean_scores

SHAPE = (40, 50, 1)


def sample(seed):
    rng = np.random.default_rng(seed)
    probability = rng.random(SHAPE, dtype=np.float32)
    mask = (rng.random(SHAPE) < probability).astype(np.uint8)
    return probability, mask, rng.random(SHAPE) < 0.9


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_scores_are_scikit_learns(threshold):
    probability, mask, valid = sample(1)
    counts = ConfusionCounts.of(probability, mask, valid, threshold)
    truth, predicted = mask[valid], probability[valid] > threshold
    (negatives, false_alarms), (misses, hits) = oracle.confusion_matrix(truth, predicted)
    assert counts.confusion().model_dump() == {
        "hits": hits,
        "false_alarms": false_alarms,
        "misses": misses,
        "rejections": negatives,
    }
    expected = {
        "accuracy": oracle.accuracy_score(truth, predicted),
        "iou": oracle.jaccard_score(truth, predicted),
        "precision": oracle.precision_score(truth, predicted),
        "recall": oracle.recall_score(truth, predicted),
        "f1": oracle.f1_score(truth, predicted),
        "skill": oracle.balanced_accuracy_score(truth, predicted, adjusted=True),
        "brier": oracle.brier_score_loss(truth, probability[valid].astype(float)),
    }
    scores = counts.scores()
    assert {name: getattr(scores, name) for name in expected} == pytest.approx(expected)


def test_calibration_is_scikit_learns():
    probability, mask, valid = sample(2)
    rows = ConfusionCounts.of(probability, mask, valid).calibration()
    fraction, mean = calibration_curve(mask[valid], probability[valid].astype(float), n_bins=BINS)
    assert [row.cloud for row in rows] == pytest.approx(fraction)
    assert [row.probability for row in rows] == pytest.approx(mean)
    assert sum(row.pixels for row in rows) == valid.sum()


def test_counts_add_up():
    one, two = sample(3), sample(4)
    joined = ConfusionCounts.of(*(np.concatenate(pair) for pair in zip(one, two, strict=True)))
    total = ConfusionCounts.of(*one) + ConfusionCounts.of(*two)
    assert total.scores().model_dump() == pytest.approx(joined.scores().model_dump())


def test_undefined_scores_are_none_and_left_out_of_the_mean():
    clear = np.zeros(SHAPE, np.uint8)
    valid = np.ones(SHAPE, bool)
    scores = ConfusionCounts.of(clear.astype(np.float32), clear, valid).scores()
    assert scores.accuracy == 1
    assert scores.iou is scores.precision is scores.recall is scores.skill is None
    other = ConfusionCounts.of(*sample(5)).scores()
    assert mean_scores([scores, other]).iou == other.iou
    assert mean_scores([scores, other]).accuracy == (1 + other.accuracy) / 2
    assert mean_scores([scores]).iou is None


def test_probability_one_falls_into_the_last_bin():
    counts = ConfusionCounts.of(
        np.ones(SHAPE, np.float32), np.ones(SHAPE, np.uint8), np.ones(SHAPE, bool)
    )
    assert counts.count[-1] == counts.hits == np.prod(SHAPE)


def test_means_pooled_and_all_pixels_are_scikit_learns():
    """Three scenes, one of them without cloud: a mean tells over how many it is."""
    samples = [sample(6), sample(7), (np.full(SHAPE, 0.1, np.float32), *clear_scene())]
    agreement = Agreement()
    for probability, mask, valid in samples:
        agreement.add(probability, mask, valid)
    found = agreement.scores()
    measured = [(mask[valid], p[valid] > 0.5) for p, mask, valid in samples]
    everywhere = [(mask.ravel(), p.ravel() > 0.5) for p, mask, _ in samples]
    functions = {
        "accuracy": oracle.accuracy_score,
        "iou": oracle.jaccard_score,
        "f1": oracle.f1_score,
        "skill": lambda *pair: oracle.balanced_accuracy_score(*pair, adjusted=True),
    }
    accuracies = [oracle.accuracy_score(*pair) for pair in everywhere]
    assert found.accuracy_all_pixels == pytest.approx(np.mean(accuracies))
    assert found.accuracy_all_pixels != pytest.approx(found.accuracy)
    for name, function in functions.items():
        defined = measured if name == "accuracy" else measured[:2]
        assert getattr(found, name) == pytest.approx(np.mean([function(*pair) for pair in defined]))
        for pairs, pooled in ((measured, found.pooled), (everywhere, found.pooled_all_pixels)):
            together = [np.concatenate(part) for part in zip(*pairs, strict=True)]
            assert getattr(pooled, name) == pytest.approx(function(*together))
    counts = {name: getattr(found, f"{name}_scenes") for name in ("iou", "f1", "skill", "recall")}
    assert counts == dict.fromkeys(counts, 2)


def clear_scene():
    return np.zeros(SHAPE, np.uint8), np.ones(SHAPE, bool)
