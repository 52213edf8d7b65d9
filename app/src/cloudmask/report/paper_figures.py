"""The paper's figures 3 to 8, loss and accuracy by epoch, with these runs in the same axes."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from cloudmask.report import paper_diagrams, paper_timing_figures
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import GREY, Drawing, axes, handle, legend, looks, rows_of
from cloudmask.report.groups import Group
from cloudmask.report.paper_comparison import (
    caption,
    data_line,
    ours,
    protocol_line,
    runs_of,
)
from cloudmask.report.published_paper import paper
from cloudmask.report.runs import RecordedRun
from cloudmask.report.training_figures import NAMES

BLACK = "#000000"
HIGHLIGHTED = 1  # index of run 2, which the paper shows alone
MOST_BEST = 3
MOST_LINES = 40  # of one group; with more, single ones cannot be followed


def curves(found: Collection, figure: int, curve: str) -> Drawing:
    """One curve of the paper's five runs and of these runs, by group."""
    name, quantity = NAMES[curve]
    title = f"The paper's figure {figure}: {name.lower()}"
    groups = [g for g in ours(found) if any(run.history.get(curve) for run in g.runs)]
    figure_, axis = axes(title, "epoch", quantity, rows_of(len(groups) + 3))
    for number, run in enumerate(paper().runs):
        highlighted = number == HIGHLIGHTED
        color, width = (BLACK, 1.5) if highlighted else (GREY, 0.8)
        values = run.history[curve]
        axis.plot(range(1, len(values) + 1), values, color=color, lw=width, zorder=3)
        axis.plot(len(values), values[-1], "x", color=color, ms=7, zorder=4)
    look = looks(groups)
    for group in groups:
        _draw(axis, group, curve, look[group.label].color)
    handles = [
        handle("paper, run 2", BLACK),
        handle("paper, runs 1, 3, 4 and 5", GREY),
        handle("last epoch of a run", GREY, "", "x"),
        *(handle(group.label, look[group.label].color) for group in groups),
    ]
    axis.set_xlim(left=0)
    legend(figure_, handles)
    return Drawing(f"paper_{figure}", title, _caption(groups), figure_)


def _draw(axis, group: Group, curve: str, color: str) -> None:
    from matplotlib.collections import LineCollection

    lines = [np.asarray(run.history[curve]) for run in group.runs if run.history.get(curve)]
    many = len(lines) > MOST_LINES
    paths = [np.column_stack([np.arange(1, line.size + 1), line]) for line in lines]
    axis.add_collection(
        LineCollection(
            paths,
            colors=color,
            linewidths=0.4 if many else 1.3,
            alpha=max(0.03, 8 / len(lines)) if many else 0.85,
            rasterized=many,
        )
    )
    ends = np.array([path[-1] for path in paths])
    axis.plot(*ends.T, "x", color=color, ms=4 if many else 7)
    axis.autoscale_view()


def _caption(groups: Sequence[Group], reading: str = "") -> str:
    runs = runs_of(groups)
    own = "" if groups else "None of these runs has this curve."
    digitized = "The paper's curves are digitized from its figure."
    return caption(reading, digitized, own, data_line(groups), protocol_line(runs))


def run_2(found: Collection, figure: int, kind: str) -> Drawing:
    """Training and validation of the paper's run 2 and of the best run of each group."""
    title = f"The paper's figure {figure}: {kind} of run 2"
    pairs = [(g, g.best) for g in ours(found)]
    pairs = [(g, r) for g, r in pairs if r.history.get(kind) and r.history.get(f"val_{kind}")]
    pairs.sort(key=lambda pair: pair[1].test_accuracy or 0.0, reverse=True)
    shown = pairs[:MOST_BEST]
    figure_, axis = axes(title, "epoch", NAMES[kind][1], len(shown) + 4)
    look = looks([group for group, _ in shown])
    _draw_pair(axis, paper().runs[HIGHLIGHTED], kind, BLACK)
    for group, run in shown:
        _draw_pair(axis, run, kind, look[group.label].color)
    handles = [
        handle("paper, run 2", BLACK),
        *(handle(f"{g.label}: {run.name}", look[g.label].color) for g, run in shown),
        handle("training", GREY),
        handle("validation", GREY, "--"),
        handle("lowest validation loss", GREY, "", "o", "none"),
    ]
    axis.set_xlim(left=0)
    legend(figure_, handles)
    best = paper().runs[HIGHLIGHTED]
    reading = (
        f"Run 2 has its lowest validation loss at epoch {best.best_epoch}; "
        f"{best.epochs_run}, which the paper calls its best, is the last."
    )
    return Drawing(f"paper_{figure}", title, _caption([g for g, _ in shown], reading), figure_)


def _draw_pair(axis, run: RecordedRun, kind: str, color: str) -> None:
    for curve, line in ((kind, "-"), (f"val_{kind}", "--")):
        values = run.history[curve]
        axis.plot(range(1, len(values) + 1), values, line, color=color, lw=1.2)
    losses = run.history.get("val_loss")
    if losses and len(losses) == len(run.history[f"val_{kind}"]):
        best = int(np.argmin(losses))
        shown = run.history[f"val_{kind}"][best]
        axis.plot(best + 1, shown, "o", color=color, ms=9, fillstyle="none", mew=1.5)


PAPER_FIGURES: dict[str, Callable[[Collection], Drawing]] = {
    "paper_1": paper_diagrams.training_patches,
    "paper_2": paper_diagrams.inference_tiles,
    "paper_3": partial(run_2, figure=3, kind="loss"),
    "paper_4": partial(curves, figure=4, curve="loss"),
    "paper_5": partial(curves, figure=5, curve="val_loss"),
    "paper_6": partial(curves, figure=6, curve="val_accuracy"),
    "paper_7": partial(curves, figure=7, curve="accuracy"),
    "paper_8": partial(run_2, figure=8, kind="accuracy"),
    "paper_9": paper_timing_figures.one_epoch,
    "paper_time_per_epoch": paper_timing_figures.time_per_epoch,
    "paper_total_time": paper_timing_figures.total_time,
    "paper_inference_time": paper_timing_figures.inference_time,
    "paper_patience": paper_timing_figures.patience,
}
