"""Long names in figures: whole, inside of the figure, and not on top of each other."""

import itertools

import pytest

from cloudmask.report import accuracy_figures, paper_timing_figures, timing_figures
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import wrapped
from cloudmask.report.runs import RecordedEvaluation, RecordedRun

DEVICE = "Intel Xeon Gold 6248R at the University of Virginia"
DATA = "88 scenes of cloud_slstr_ds1, 12 synthetic scenes"
FIGURES = (
    accuracy_figures.by_group,
    accuracy_figures.by_scene,
    accuracy_figures.energy,
    timing_figures.run_time,
    timing_figures.epoch_time,
    timing_figures.fixed_cost,
    paper_timing_figures.one_epoch,
    paper_timing_figures.inference_time,
)


def recorded(rate, repeat):
    """A run whose group has a name of some 100 characters, and data of 50 besides."""
    run = RecordedRun(f"{rate}-{repeat}", "run", "own", "runs", device=DEVICE, joules=1e6)
    run.settings = {"training.learning_rate": rate, "training.batch_size": int(rate * 1e5)}
    run.epochs_run, run.seconds_per_epoch = 10 * repeat, 100 * rate + repeat
    run.times = {"first_epoch": 50.0 * repeat, "later_epochs": 12345.0, "staging": 60.0}
    scenes = {"a": 0.91 + rate, "b": 0.93 + repeat / 100}
    options = {"truth": "summary", "nan": "ignore"}
    run.evaluations.append(
        RecordedEvaluation(
            "x",
            DATA,
            options=options,
            accuracy=0.92 + rate,
            per_scene=scenes,
            seconds_per_scene_all=1,
        )
    )
    return run


@pytest.fixture(scope="module")
def found():
    rates = (0.0005, 0.001, 0.02)
    return Collection(["runs"], [recorded(rate, k) for rate in rates for k in (1, 2, 3)])


def boxes_of(figure):
    """The text of the figure's names and of its legends with their extent in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    texts = [text for axis in figure.axes for text in axis.texts]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


@pytest.mark.parametrize("draw", FIGURES)
def test_names_fit_and_do_not_overlap(draw, found):
    figure = draw(found).figure
    boxes = boxes_of(figure)
    assert any(DEVICE in text.replace("\n", " ") for text, _ in boxes)
    for text, box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)


def test_dots_lie_below_the_name_of_their_row_and_above_the_next(found):
    figure = accuracy_figures.by_group(found).figure
    boxes = [box for _, box in boxes_of(figure)]
    (axis,) = figure.axes
    dots = [
        axis.transData.transform(point)
        for line in axis.lines
        if line.get_marker() == "o"
        for point in line.get_xydata()
    ]
    assert len(dots) == 9
    for x, y in dots:
        assert not any(box.contains(x, y) for box in boxes)


def test_text_is_wrapped_at_words_and_long_words_are_cut():
    assert wrapped("one two", 5) == "one\ntwo"
    assert wrapped("cloud-free", 8) == "cloud-fr\nee"
    assert wrapped("one · two", 6) == "one ·\ntwo"
    assert wrapped("") == ""
