"""Tables of the report, row by row."""

import pytest

from cloudmask.record.result import CalibrationBin
from cloudmask.report import document, paper_tables
from cloudmask.report.collection import Collection
from cloudmask.report.document import FIGURES, build
from cloudmask.report.markdown import markdown
from cloudmask.report.paper_comparison import DataOrigin
from cloudmask.report.published import published
from cloudmask.report.runs import RecordedEvaluation, RecordedRun
from cloudmask.report.tables import (
    comparisons_table,
    evaluations_table,
    groups_table,
    runs_table,
    scenes_table,
)
from cloudmask.report.timing_tables import targets_table


@pytest.mark.parametrize("everywhere, shown", [(0.85, True), (0.9, False), (None, False)])
def test_accuracy_over_all_pixels_is_shown_where_it_differs(everywhere, shown):
    run = RecordedRun("r", "run", "own", "runs/r")
    scores = {"iou": 0.8}
    evaluation = RecordedEvaluation(
        "whole", accuracy=0.9, accuracy_all_pixels=everywhere, scores=scores
    )
    run.evaluations.append(evaluation)
    table = evaluations_table(Collection([], [run]))
    assert ("accuracy, all pixels" in [column.head for column in table.heads]) is shown
    header, row = table.to_csv().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert found["accuracy"] == "0.9"
    assert found["accuracy_all_pixels"] == ("" if everywhere is None else str(everywhere))


def recorded(name, data, accuracy, **settings):
    run = RecordedRun(name, "run", "own", f"runs/{name}", settings=settings)
    run.evaluations.append(RecordedEvaluation("whole", data, accuracy=accuracy))
    return run


@pytest.mark.parametrize(
    ("everywhere", "words"),
    [(0.89, "is 0.8900 and does not reach 0.9"), (0.91, "reaches 0.9"), (None, "not recorded")],
)
def test_the_target_counts_all_pixels(monkeypatch, everywhere, words):
    monkeypatch.setattr(document, "data_of", lambda run: DataOrigin(True, ""))
    run = recorded("r", None, 0.905)
    run.test.accuracy_all_pixels = everywhere
    (line,) = [line for line in document.summary(Collection([], [run])) if "Highest" in line]
    assert "0.9050 (n = 1)" in line and words in line


def test_scenes_that_are_not_the_benchmarks_have_no_target():
    (line,) = [
        line
        for line in document.summary(Collection([], [recorded("r", SYNTHETIC, 0.95)]))
        if "Highest" in line
    ]
    assert "target" not in line


SYNTHETIC = "4 synthetic scenes"


@pytest.fixture
def mixed():
    """Runs over synthetic scenes, runs of which nobody knows over what, and the paper's."""
    own = [recorded(f"s{k}", SYNTHETIC, 0.95 + k / 100) for k in range(3)]
    old = [recorded(f"o{k}", None, 0.7 + k / 100) for k in range(3)]
    return Collection(["runs"], [*own, *old, *published()])


def test_no_accuracy_without_its_data(mixed, tmp_path):
    """Every row with a test accuracy, and every sentence, says over what it is."""
    expected = {SYNTHETIC, "data unknown", "100 scenes of cloud_slstr_ds1"}
    for table in (runs_table(mixed), groups_table(mixed)):
        assert {row["test_data"] for row in table.rows} == expected
        assert "tested on" in [column.head for column in table.heads]
    report = build(mixed)
    for line in markdown(report, tmp_path).splitlines():
        if "0.9600" in line:  # the mean over the synthetic scenes
            assert SYNTHETIC in line
        if "0.7100" in line:
            assert "data unknown" in line
        if "0.8891" in line:
            assert "100 scenes of cloud_slstr_ds1" in line
    assert sum("Highest mean test accuracy" in line for line in report.summary) == 2
    assert f"not comparable with: {SYNTHETIC}, data unknown" in report.summary[-1]


def test_a_comparison_over_different_data_is_named_as_one(mixed):
    (row,) = [row for row in comparisons_table(mixed).rows if row["quantity"] == "test accuracy"]
    assert (row["factor"], row["data"]) == ("test data", f"{SYNTHETIC} against data unknown")


def test_a_comparison_over_equal_data_says_which():
    runs = [
        recorded(f"{rate}-{k}", SYNTHETIC, 0.9 + k / 99, rate=rate)
        for rate in (1, 2)
        for k in (1, 2)
    ]
    (row,) = comparisons_table(Collection(["runs"], runs)).rows
    assert (row["factor"], row["data"]) == ("rate", SYNTHETIC)


def test_large_numbers_are_readable_in_every_format():
    run = RecordedRun("r", "run", "own", "runs/r", seconds_per_epoch=12345.678)
    table = runs_table(Collection([], [run]))
    assert "| 12,345.68 |" in table.to_markdown()
    assert "12,345.68" in [cell.text for cell in table.cells[0]]
    assert "12345.678" in table.to_csv()


def test_what_stands_in_the_files_of_runs_is_named_after_them(tmp_path):
    runs = [RecordedRun(name, "run", "own", name, notes=["x is missing"]) for name in "ab"]
    (alarm,) = [a for a in build(Collection(["runs"], runs)).alarms if a.level == "warning"]
    assert alarm.title == "2 runs with incomplete or contradictory files"
    assert alarm.text == "a; b: x is missing."
    text = markdown(build(Collection(["runs"], runs[:1])), tmp_path)
    assert "**warning: 1 run with incomplete or contradictory files.** a: x is missing." in text


def evaluated(name, data, accuracies, labels="bayes", **facts):
    """A run with an accuracy per scene and with scores."""
    run = RecordedRun(name, "run", "own", f"runs/{name}", **facts)
    accuracy = sum(accuracies.values()) / len(accuracies)
    options = {"truth": labels} if labels else {}
    run.evaluations.append(
        RecordedEvaluation(
            "whole",
            data,
            options=options,
            accuracy=accuracy,
            scores={"iou": 0.8},
            per_scene=accuracies,
        )
    )
    return run


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["bayes"], "against the Bayesian mask. "),
        (["summary"], "against the summary cloud flag. "),
        (["bayes", "summary"], "against the Bayesian mask or the summary cloud flag. "),
        ([None], "against labels of an unknown source. "),
    ],
)
def test_scores_name_the_labels_that_the_runs_used(labels, words):
    runs = [evaluated(str(source), SYNTHETIC, {"a": 0.9}, source) for source in labels]
    table = evaluations_table(Collection([], runs))
    assert words in table.note
    assert ("imperfect" in table.note) is ("bayes" in labels)
    data = {row["run"]: row["data"] for row in table.rows}
    if "summary" in labels:
        assert data["summary"] == f"{SYNTHETIC}, labels: summary cloud flag"
    if "bayes" in labels:
        assert data["bayes"] == SYNTHETIC


def test_scenes_of_different_data_are_apart():
    """A scene of one name in two data sets, and two label sources: three rows, each named."""
    runs = [
        evaluated("one", SYNTHETIC, {"a": 0.9, "b": 0.8}),
        evaluated("two", "4 scenes of another", {"a": 0.5, "b": 0.6}),
        evaluated("three", SYNTHETIC, {"a": 0.1, "b": 0.2}, "summary"),
    ]
    table = scenes_table(Collection([], runs))
    assert "tested on" in [column.head for column in table.heads]
    assert [(row["data"], row["scene"], row["mean"]) for row in table.rows] == [
        (SYNTHETIC, "b", 0.8),
        (SYNTHETIC, "a", 0.9),
        ("4 scenes of another", "a", 0.5),
        ("4 scenes of another", "b", 0.6),
        (f"{SYNTHETIC}, labels: summary cloud flag", "a", 0.1),
        (f"{SYNTHETIC}, labels: summary cloud flag", "b", 0.2),
    ]


def test_worst_and_best_scenes_of_each_data_set():
    many = {f"scene {k:02}": k / 100 for k in range(12)}
    runs = [evaluated("one", SYNTHETIC, many), evaluated("two", "others", {"a": 0.001, "b": 1.0})]
    table = scenes_table(Collection([], runs))
    assert [row["scene"] for row in table.shown][4:6] == ["scene 04", "scene 07"]
    assert [row["scene"] for row in table.shown][-2:] == ["a", "b"]
    assert "of each data set; the CSV file has all" in table.note


def test_table_4_has_devices():
    table = paper_tables.results_table(Collection(["runs"], [*published()]))
    assert "device" in [column.head for column in table.heads]


CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.fixture
def over_two():
    """Two groups, each trained and tested on data of its own, with all that figures show."""
    runs = [
        evaluated("one", SYNTHETIC, {"a": 0.9, "b": 0.8}, trained_on="9 synthetic scenes"),
        evaluated("two", "4 scenes of another", {"a": 0.5, "b": 0.6}, trained_on="9 of another"),
    ]
    for run in runs:
        run.history = {curve: [0.5, 0.6] for curve in CURVES} | {"seconds": [1.0, 1.0]}
        run.joules = 1000.0
        run.test.calibration = (CalibrationBin(probability=0.5, cloud=0.5, pixels=10),)
    return Collection(["runs"], runs)


@pytest.mark.parametrize("name", [n for n in FIGURES if n.startswith(("acc", "cal", "energy"))])
def test_captions_of_test_accuracies_name_the_data_of_each_group(over_two, name):
    one, two = [group.label for group in over_two.groups]
    words = f"Not comparable over different data: {SYNTHETIC} ({one}); 4 scenes of another ({two})."
    assert words in FIGURES[name](over_two).caption
    over_two.runs.pop()
    del over_two.groups
    assert "comparable" not in FIGURES[name](over_two).caption


@pytest.mark.parametrize("name", [n for n in FIGURES if n.startswith(("best", "rep", "time_to"))])
def test_captions_of_curves_name_the_training_data_of_each_group(over_two, name):
    one, two = [group.label for group in over_two.groups]
    words = f"over different data: 9 synthetic scenes ({one}); 9 of another ({two})."
    assert words in FIGURES[name](over_two).caption
    rows = targets_table(over_two).rows
    assert [row["data"] for row in rows] == ["9 synthetic scenes", "9 of another"]
