"""Times that the paper and its authors published, with those of these runs in the same axes."""

from collections.abc import Sequence

import numpy as np

from cloudmask.report.collection import Collection
from cloudmask.report.drawing import (
    COLORS,
    GREY,
    MIDDLE,
    Drawing,
    axes,
    dots,
    handle,
    legend,
    logarithmic,
    look,
    looks,
    row_axes,
    rows_of,
)
from cloudmask.report.paper_comparison import (
    caption,
    data_line,
    hardware_line,
    ours,
    protocol_line,
    runs_of,
    work_line,
)
from cloudmask.report.paper_stopping import stop_epochs
from cloudmask.report.published_paper import paper
from cloudmask.report.timing import Machine, machines

BLACK = "#000000"
MOST_ROWS = 24
LONGEST_PATIENCE = 30
MINUTE = 60


def one_epoch(found: Collection) -> Drawing:
    """Figure 9: seconds of one epoch by machine, and the first epochs of these runs."""
    title = "The paper's figure 9: one epoch"
    bars = paper().one_epoch
    own = [(m, _first_epochs(m)) for m in _machines(found)]
    own = [(machine, values) for machine, values in own if values][: MOST_ROWS - len(bars)]
    names = [f"{bar.machine}, {bar.host}" for bar in bars]
    names += [f"{machine.label}, n = {len(values)}" for machine, values in own]
    figure, axis, rows = row_axes(title, "seconds", names)
    logarithmic(axis.xaxis)
    colors = {"shared": COLORS[1], "local": COLORS[0]}
    for row, bar in zip(rows, bars, strict=False):
        color = colors[bar.storage]
        if bar.low is not None and bar.high is not None:
            axis.plot([bar.low, bar.high], [row + MIDDLE] * 2, color=color, lw=1.5)
        axis.plot(bar.seconds, row + MIDDLE, "D", color=color, markersize=7)
    for row, (_, values) in zip(rows[len(bars) :], own, strict=True):
        axis.plot(values, dots(row, len(values)), "o", color=COLORS[2], alpha=0.7, markersize=5)
    handles = [
        handle("paper, shared file system", COLORS[1], "-", "D"),
        handle("paper, local disk", COLORS[0], "-", "D"),
    ]
    if own:
        handles.append(handle("first epoch of one of these runs", COLORS[2], "", "o"))
    legend(figure, handles)
    return Drawing("paper_9", title, _one_epoch_caption([m for m, _ in own]), figure)


def _one_epoch_caption(known: Sequence[Machine]) -> str:
    return caption(
        "Digitized; lines are the ranges of several runs, and the paper's are whole runs of one "
        "epoch.",
        "The amounts of data may differ, so only the order of machines can be compared."
        if known
        else "None of these runs has the time of its first epoch.",
        work_line(known),
    )


def _machines(found: Collection) -> list[Machine]:
    return machines(runs_of(ours(found)))


def _first_epochs(machine: Machine) -> list[float]:
    return [run.times["first_epoch"] for run in machine.runs if "first_epoch" in run.times]


def time_per_epoch(found: Collection) -> Drawing:
    """Seconds per epoch against epochs: Greene, table 4 in both readings, these runs."""
    title = "Time per epoch by number of epochs"
    own = [(machine, points) for machine in _machines(found) if (points := _per_epoch(machine))]
    figure, axis = axes(title, "epochs run", "seconds per epoch", rows_of(len(own) + 3))
    axis.plot(*zip(*paper().greene, strict=True), "-o", color=BLACK, ms=5, label="greene")
    known = [(r.epochs_run, r.seconds_per_epoch) for r in paper().runs]
    table = [(epochs, value) for epochs, value in known if epochs and value]
    axis.plot(*zip(*table, strict=True), "D", color=GREY, ms=6)
    minutes = [(epochs, MINUTE * value / epochs) for epochs, value in table]
    axis.plot(*zip(*minutes, strict=True), "D", color=GREY, ms=6, fillstyle="none")
    handles = [
        handle("Greene, by number of epochs", BLACK, "-", "o"),
        handle("table 4, read as seconds per epoch", GREY, "", "D"),
        handle("table 4, read as minutes in total", GREY, "", "D", "none"),
    ]
    for number, (machine, points) in enumerate(own):
        color, _, marker = look(number)
        axis.plot(*zip(*points, strict=True), marker, color=color, ms=6)
        handles.append(handle(machine.label, color, "", marker))
    logarithmic(axis.xaxis, axis.yaxis)
    legend(figure, handles)
    runs = [run for machine, _ in own for run in machine.runs]
    text = caption(
        "Greene's figure continues to the values of table 4 read as seconds per epoch, and lies "
        "three times above the other reading.",
        hardware_line(runs, "V100"),
        work_line([machine for machine, _ in own]),
    )
    return Drawing("paper_time_per_epoch", title, text, figure)


def _per_epoch(machine: Machine) -> list[tuple[int, float]]:
    known = [(run.epochs_run, run.seconds_per_epoch) for run in machine.runs]
    return sorted((epochs, seconds) for epochs, seconds in known if epochs and seconds)


def total_time(found: Collection) -> Drawing:
    """Training seconds against epochs: Rivanna's totals with their lines, these runs."""
    title = "Total time by number of epochs"
    known = [*machines(paper().totals), *(m for m in _machines(found) if m.points)]
    figure, axis = axes(title, "epochs run", "training (s)", rows_of(len(known)))
    handles = []
    for number, machine in enumerate(known):
        color, style, marker = look(number)
        axis.plot(*zip(*machine.points, strict=True), marker, color=color, ms=6)
        label = machine.label
        if machine.line:
            fixed, slope = machine.line.fixed, machine.line.slope
            x = np.geomspace(1, max(epochs for epochs, _ in machine.points))
            seconds = fixed + slope * x
            axis.plot(x[seconds > 0], seconds[seconds > 0], style, color=color, lw=1.2)
            label += f": {fixed:.0f} s + {slope:.1f} s per epoch"
        handles.append(handle(label, color, style, marker))
    logarithmic(axis.xaxis, axis.yaxis)
    legend(figure, handles)
    runs = [run for machine in known[2:] for run in machine.runs]
    text = caption(
        "A line bends upward where the epochs outweigh the fixed cost. Rivanna's totals are "
        "of whole jobs.",
        hardware_line(runs, "A100 and V100"),
        work_line(known[2:]),
    )
    return Drawing("paper_total_time", title, text, figure)


def inference_time(found: Collection) -> Drawing:
    """Seconds per scene: table 4 and these runs."""
    title = "Inference time per scene"
    shown: list[tuple[str, list[float], str]] = [
        ("Table 4, V100, Greene", _scene_seconds(paper().runs), GREY)
    ]
    own = [m for m in _machines(found) if _scene_seconds(m.runs)][: MOST_ROWS - 1]
    shown += [(m.label, _scene_seconds(m.runs), COLORS[2]) for m in own]
    names = [f"{label}, n = {len(values)}" for label, values, _ in shown]
    figure, axis, rows = row_axes(title, "seconds per scene", names)
    for row, (_, values, color) in zip(rows, shown, strict=True):
        axis.plot(values, dots(row, len(values)), "o", color=color, alpha=0.7, markersize=5)
    axis.set_xlim(left=0)
    handles = [handle("a run of the paper", GREY, "", "o")]
    legend(figure, [*handles, *([handle("one of these runs", COLORS[2], "", "o")] if own else [])])
    runs = [run for machine in own for run in machine.runs]
    text = caption(
        "All times contain reading and writing.",
        hardware_line(runs, "V100"),
        work_line(own),
    )
    return Drawing("paper_inference_time", title, text, figure)


def _scene_seconds(runs: Sequence) -> list[float]:
    known = [run.test.seconds_per_scene_all for run in runs]
    return [seconds for seconds in known if seconds]


def patience(found: Collection) -> Drawing:
    """The epoch at which early stopping would have ended each run, by its patience."""
    title = "Early stopping by patience"
    groups = [g for g in ours(found) if any(run.history.get("val_loss") for run in g.runs)]
    figure, axis = axes(title, "patience (epochs)", "stops after epoch", rows_of(len(groups) + 4))
    for number, run in enumerate(paper().runs):
        color, width = (BLACK, 1.5) if number == 1 else (GREY, 0.8)
        _draw_stops(axis, run.history["val_loss"], color, width)
    for length, low, high in paper().rows("short_patience"):
        axis.plot([length] * 2, [low, high], color=BLACK, lw=4, alpha=0.5)
    axis.axvline(paper().patience, color=GREY, lw=1, ls=":")
    look_of = looks(groups)
    for group in groups:
        for run in group.runs:
            _draw_stops(axis, run.history.get("val_loss", []), look_of[group.label].color, 1.0)
    handles = [
        handle("paper, run 2", BLACK),
        handle("paper, runs 1, 3, 4 and 5", GREY),
        handle("published ranges with patience 3, 5 and 7", BLACK, "", "|"),
        handle(f"the paper's patience, {paper().patience}", GREY, ":"),
        *(handle(group.label, look_of[group.label].color) for group in groups),
    ]
    axis.set_xlim(0, LONGEST_PATIENCE)
    axis.set_ylim(bottom=0)
    legend(figure, handles)
    text = caption(
        "Replayed on the validation losses of the finished runs; a line ends where the run was "
        "over before. The ranges are of other runs.",
        data_line(groups),
        protocol_line(runs_of(groups)),
    )
    return Drawing("paper_patience", title, text, figure)


def _draw_stops(axis, losses: Sequence[float], color: str, width: float) -> None:
    known = [(p, epoch) for p, epoch in stop_epochs(losses).items() if p <= LONGEST_PATIENCE]
    if known:
        axis.step(*zip(*known, strict=True), color=color, lw=width, where="mid")
