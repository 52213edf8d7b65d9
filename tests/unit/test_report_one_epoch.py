"""Figures of runs of one epoch, and what figures and captions say of the target and the data."""

import json

import numpy as np
import pytest
from support.paper_runs import as_published, write_run

from cloudmask.report import accuracy_figures, paper_comparison, timing_figures, training_figures
from cloudmask.report.collection import Collection, collect
from cloudmask.report.paper_comparison import PUBLIC, DataOrigin
from cloudmask.report.paper_figures import PAPER_FIGURES
from cloudmask.report.pictures import pictures
from cloudmask.report.published_paper import paper
from cloudmask.report.runs import CURVES, RecordedEvaluation, RecordedRun
from cloudmask.report.timing_tables import targets_table


def one_epoch(number):
    """A run of one epoch with a start-up too short to be seen."""
    run = RecordedRun(f"run {number}", "run", "own", "runs", epochs_run=1, best_epoch=1)
    run.history = {curve: [0.5 + number / 100] for curve in (*CURVES, "seconds")}
    run.times = {"start_up": 0.01, "staging": 0.0, "first_epoch": 30.0, "inference": 9.0}
    accuracy = 0.88 + number / 100
    run.evaluations.append(
        RecordedEvaluation("x", PUBLIC, accuracy=accuracy, accuracy_all_pixels=accuracy - 0.01)
    )
    return run


@pytest.fixture
def found():
    return Collection(["runs"], [one_epoch(number) for number in range(4)])


@pytest.fixture
def public(monkeypatch):
    """Have every run judged on the public scenes."""
    for module in (accuracy_figures, paper_comparison):
        monkeypatch.setattr(module, "data_of", lambda run: DataOrigin(True, PUBLIC))


def marked(drawing, x, y):
    """Whether a marker, not only a line, stands at this point."""
    return any(
        line.get_marker() not in ("none", "None", None) and np.isclose([x, y], point).all()
        for line in drawing.figure.axes[0].lines
        for point in line.get_xydata()
    )


def test_curves_of_one_epoch_are_points(found):
    drawings = [training_figures.repeats(found, curve) for curve in CURVES]
    drawings += [PAPER_FIGURES[f"paper_{number}"](found) for number in (4, 5, 6, 7)]
    for drawing in drawings:
        assert all(marked(drawing, 1, 0.5 + k / 100) for k in range(4)), drawing.name
    for run in found.runs:
        run.history["val_loss"] = [0.7]
        run.best_epoch = None
    for drawing in (training_figures.best(found, "loss"), PAPER_FIGURES["paper_3"](found)):
        assert marked(drawing, 1, 0.53) and marked(drawing, 1, 0.7), drawing.name
    progress = training_figures.time_to_accuracy(found)
    assert marked(progress, 0.01 + 0.53, 0.53)
    for run in found.runs:
        run.history["val_loss"] = [0.5, 0.6]
    assert marked(PAPER_FIGURES["paper_patience"](found), 1, 2)


def test_legend_in_two_columns_is_not_cut_off(found, public):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = accuracy_figures.by_group(found).figure
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    texts = legend.get_texts()
    assert any("Student's" in text.get_text() for text in texts)
    for text in texts:
        box = text.get_window_extent()
        assert box.x1 <= figure.bbox.x1 and box.y0 >= 0, text


def test_parts_without_a_bar_are_not_in_the_legend(found):
    drawing = timing_figures.run_time(found)
    names = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert names == ["first epoch", "inference"]
    assert "Too short to be seen: start-up." in drawing.caption
    for run in found.runs:
        run.times["start_up"] = 3.0
    drawing = timing_figures.run_time(found)
    names = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert "start-up" in names and "Too short" not in drawing.caption


def labels_of(drawing):
    """The legend in one line."""
    entries = drawing.figure.legends[0].get_texts()
    return " ".join(text.get_text().replace("\n", " ") for text in entries)


def test_the_target_is_not_named_for_other_data(found):
    assert "target" not in labels_of(training_figures.time_to_accuracy(found))
    assert "target" not in targets_table(found).note


def test_the_target_is_said_to_be_of_whole_scenes(found, public):
    assert "target for whole scenes" in labels_of(training_figures.time_to_accuracy(found))
    note = targets_table(found).note
    assert "target of 0.9 is for whole test scenes; these are validation patches" in note


def test_training_data_are_told_without_an_evaluation(tmp_path):
    folder = write_run(tmp_path / "runs" / "a", as_published(paper().runs[0])[:3])
    tree = json.loads((folder / "result.json").read_text())
    del tree["inference"]
    tree["training"]["data"] = {"scenes": 9, "origins": {"synthetic": 9}}
    (folder / "result.json").write_text(json.dumps(tree))
    caption = PAPER_FIGURES["paper_6"](collect([tmp_path / "runs"])).caption
    assert "these runs: 9 synthetic scenes for training, no evaluation." in caption


def test_greenes_figure_is_laid_beside_both_readings_of_table_4(found):
    caption = PAPER_FIGURES["paper_time_per_epoch"](found).caption
    assert "Greene's figure ends with 134 s at 100 epochs." in caption
    assert "99 to 142 s read as seconds per epoch, 38 to 43 s read as minutes" in caption


def test_a_picture_names_the_accuracy_of_its_scene(found, tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    evaluation = found.runs[0].evaluations[0]
    evaluation.pictures, evaluation.per_scene = tmp_path, {"a": 0.87}
    (picture,) = pictures(found)
    assert picture.caption.endswith(": pixel accuracy 87.0%. a")


def test_words_of_table_3_are_those_of_the_manuals():
    assert "checked, with a stopwatch" in str(paper().rows("ways_to_run"))
