"""The printed scores: both accuracies, and over how many scenes and pixels each score is."""

import pytest

from cloudmask.evaluate.score_table import table
from cloudmask.record.result import ClassifierScores, Inference, MeanScores, Scores

POOLED = Scores(accuracy=0.8, iou=0.61, precision=0.62, recall=0.63, f1=0.64, skill=0.65)
ALL = Scores(accuracy=0.7, iou=0.5)
INFERENCE = Inference(
    scenes=3,
    accuracy=0.9,
    accuracy_all_pixels=0.75,
    iou=0.51,
    iou_scenes=3,
    f1=0.54,
    f1_scenes=2,
    skill=None,
    skill_scenes=0,
    pooled=POOLED,
    pooled_all_pixels=ALL,
    truth="summary",
    trained_labels="bayes",
    nan="ignore",
    true_field=MeanScores(accuracy=0.95),
    baselines={"naive Bayes": ClassifierScores(accuracy=0.6, accuracy_all_pixels=0.55)},
)


def cells(line):
    return [cell for cell in line.split("  ") if cell.strip()]


def test_both_accuracies_both_kinds_of_mean_and_the_number_of_scenes():
    heads, means, pooled, truth, bayes, *legend = table(INFERENCE).splitlines()
    assert [cell.strip() for cell in cells(heads)][:4] == [
        "agreement with",
        "over",
        "accuracy",
        "accuracy, all pixels",
    ]
    assert [cell.strip() for cell in cells(means)] == [
        *("U-Net, mask", "mean of scenes", "90.00%", "75.00%"),
        *("51.00%", "-", "-", "54.00% (2)", "- (0)"),
    ]
    assert [cell.strip() for cell in cells(pooled)] == [
        *("pooled pixels", "80.00%", "70.00%", "61.00%", "62.00%", "63.00%", "64.00%", "65.00%")
    ]
    assert truth.startswith("U-Net, cloud truth") and "95.00%" in truth
    assert bayes.startswith("naive Bayes, mask") and "55.00%" in bayes
    assert "mean of scenes: of 3; (n): of the n scenes that define the score" in legend
    assert "mask: label source 'summary', while the network learned 'bayes'" in legend


@pytest.mark.parametrize(("nan", "words"), [("ignore", "left out"), ("fill", "included (--nan")])
def test_the_legend_says_which_pixels_count(nan, words):
    text = table(INFERENCE.model_copy(update={"nan": nan}))
    assert f"unmeasured ones {words}" in text
    assert "every pixel, as published" in text


def test_what_an_older_result_does_not_have_is_not_shown():
    lines = table(Inference(scenes=1, accuracy=0.9, iou=0.5)).splitlines()
    assert "pooled pixels" not in "".join(lines) and "50.00%" in lines[1]
    assert "label source" not in "".join(lines)
