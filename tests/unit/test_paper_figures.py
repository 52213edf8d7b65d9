"""The paper's figures and tables with runs beside them: what is drawn, and what captions say."""

import numpy as np
import pytest
from support.paper_runs import as_published, write_run

from cloudmask.report import document, paper_comparison, paper_diagrams, paper_tables
from cloudmask.report.collection import collect
from cloudmask.report.paper_comparison import PUBLIC, UNKNOWN, DataOrigin
from cloudmask.report.paper_figures import PAPER_FIGURES
from cloudmask.report.published_paper import paper

CURVES = {4: "loss", 5: "val_loss", 6: "val_accuracy", 7: "accuracy"}


@pytest.fixture
def found(tmp_path):
    """Two runs beside the paper's: one by its protocol, one short and without early stopping."""
    write_run(tmp_path / "runs" / "long", as_published(paper().runs[2]), 0.89)
    short = as_published(paper().runs[0])[:12]
    other = {"early_stopping": {"enabled": False}, "training": {"epochs": 12, "batch_size": 8}}
    write_run(tmp_path / "runs" / "short", short, 0.8, **other, system={"gpu": "NVIDIA A100"})
    return collect([tmp_path / "runs"])


def lines_of(drawing):
    """All lines of a figure as arrays of points."""
    (axis,) = drawing.figure.axes
    segments = [path.vertices for c in axis.collections for path in c.get_paths()]
    return [line.get_xydata() for line in axis.lines] + segments


def is_drawn(drawing, values):
    """Whether one line of the figure has these values over the epochs 1, 2, …"""
    expected = np.column_stack([np.arange(1, len(values) + 1), values])
    return any(
        line.shape == expected.shape and np.allclose(line, expected) for line in lines_of(drawing)
    )


@pytest.mark.parametrize("number", CURVES)
def test_curves_of_both_are_in_the_same_axes(found, number):
    drawing = PAPER_FIGURES[f"paper_{number}"](found)
    curve = CURVES[number]
    for run in (*paper().runs, *(run for run in found.runs if run.origin == "run")):
        assert is_drawn(drawing, run.history[curve]), run.name


def test_every_figure_and_table_of_the_paper_is_there(found):
    report = document.build(found)
    drawn = {drawing.name for drawing in report.drawings if drawing.figure}
    assert drawn >= set(PAPER_FIGURES) >= {f"paper_{number}" for number in range(1, 10)}
    assert {f"paper_table_{k}" for k in (1, 2, 3, 4)} <= {table.name for table in report.tables}
    assert set(paper().citations) <= set(report.citations)


def test_without_the_published_results_there_is_nothing_of_the_paper(found):
    found.runs = [run for run in found.runs if run.origin != "paper"]
    report = document.build(found)
    names = [part.name for part in (*report.drawings, *report.tables)]
    assert not [name for name in names if name.startswith("paper")]


def test_captions_say_what_cannot_be_compared(found, monkeypatch):
    caption = PAPER_FIGURES["paper_6"](found).caption
    assert f"the paper's scenes are {PUBLIC}, of these runs: {UNKNOWN}." in caption
    assert "no early stopping" in caption
    assert "batch 8, not 32" in caption
    found.runs = [run for run in found.runs if run.name != "short"]
    del found.groups
    monkeypatch.setattr(paper_comparison, "data_of", lambda run: DataOrigin(True, PUBLIC))
    caption = PAPER_FIGURES["paper_6"](found).caption
    assert f"Same data: {PUBLIC}. Same stopping rule and training settings." in caption


@pytest.mark.parametrize(
    ("origins", "words"),
    [
        (
            [DataOrigin(True, "100 scenes"), DataOrigin(False, "3 synthetic scenes")],
            f"Same data, {PUBLIC}: {{0}}. Not comparable in accuracy or loss: the paper's scenes "
            f"are {PUBLIC}, of these runs: 3 synthetic scenes ({{1}}).",
        ),
        (
            [DataOrigin(False, "2 scenes"), DataOrigin(False, "3 synthetic scenes")],
            f"the paper's scenes are {PUBLIC}, of these runs, not comparable with each other "
            "either: 2 scenes ({0}); 3 synthetic scenes ({1}).",
        ),
    ],
)
def test_captions_say_which_runs_are_over_which_data(found, monkeypatch, origins, words):
    data = dict(zip(("long", "short"), origins, strict=True))
    monkeypatch.setattr(paper_comparison, "data_of", lambda run: data[run.name])
    labels = [group.label for group in paper_comparison.ours(found)]
    for name in ("paper_3", "paper_6", "paper_patience"):
        assert words.format(*labels) in PAPER_FIGURES[name](found).caption
    times = PAPER_FIGURES["paper_inference_time"](found).caption
    machine_of = {"long": "own · V100", "short": "own · A100"}
    for name, origin in data.items():
        assert f"{origin.text} ({machine_of[name]})" in times


def test_labels_that_are_not_the_benchmarks_are_part_of_the_data(tmp_path):
    facts = {"scenes": 100, "months": {"2019-10": 100}, "origins": {PUBLIC: 100}}
    judged = {"data": {**facts, "seen_in_training": 0}, "truth": "summary"}
    write_run(tmp_path / "runs" / "a", as_published(paper().runs[0])[:3], inference=judged)
    caption = PAPER_FIGURES["paper_6"](collect([tmp_path / "runs"])).caption
    words = f"of these runs: 100 scenes of {PUBLIC}, labels: summary cloud flag."
    assert words in caption


def test_hardware_is_compared_in_captions_of_times(found):
    assert (
        "Other hardware: A100, V100; there V100."
        in PAPER_FIGURES["paper_inference_time"](found).caption
    )


def test_runs_without_curves_are_said_to_have_none(found):
    for run in found.runs:
        run.history = {}
    drawing = PAPER_FIGURES["paper_4"](found)
    assert "None of these runs has this curve." in drawing.caption
    assert is_drawn(drawing, paper().runs[0].history["loss"])


def test_patches_and_tiles_are_the_papers(found):
    """The crop and the numbers of patches and tiles, by this program's own geometry."""
    patches = paper_diagrams.training_patches(found)
    facts = paper().facts["preprocessing"]
    boxes = [box.get_bbox().bounds for box in patches.figure.axes[0].patches]
    assert len(boxes) == 1 + facts["patches"] + 1
    assert boxes[-1] == (110, 88, facts["crop"][1], facts["crop"][0])
    corners = np.array(boxes[1:-1])
    assert corners[:, :2].min(axis=0).tolist() == [110, 88]
    assert (corners[:, :2] + corners[:, 2:]).max(axis=0).tolist() == [1390, 1112]
    tiles = paper_diagrams.inference_tiles(found)
    assert len(tiles.figure.axes[0].patches) == 1 + facts["tiles"] + 2


def test_table_4_has_both_and_names_the_differences(found):
    table = paper_tables.results_table(found)
    rows = {row["run"]: row for row in table.rows}
    assert [row["whose"] for row in table.rows] == ["paper"] * 5 + ["these runs"] * 2
    assert rows["NYU Greene run 2"]["test_accuracy"] == 0.896051
    assert (rows["long"]["data"], rows["long"]["differences"]) == (UNKNOWN, None)
    assert rows["short"]["differences"] == (
        "no early stopping; batch 8, not 32; at most 12 epochs, not 200"
    )


def test_accuracies_of_table_1_stand_beside_their_data(found):
    rows = paper_tables.methods_table(found).rows
    assert len(rows) == len(paper().rows("methods")) + 2
    assert all(row["data"] for row in rows)
    assert {row["data"] for row in rows if row["whose"] == "these runs"} == {UNKNOWN}
