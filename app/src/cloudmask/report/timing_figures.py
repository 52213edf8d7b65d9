"""Figures of time: its parts, per epoch by machine, fixed cost and slope, scaling."""

import numpy as np

from cloudmask.report.collection import Collection
from cloudmask.report.drawing import (
    COLORS,
    GREY,
    LEGEND_ROW,
    MIDDLE,
    STYLE,
    WIDTH,
    Drawing,
    axes,
    dots,
    handle,
    legend,
    logarithmic,
    look,
    row_axes,
    row_heights,
    wrapped,
)
from cloudmask.report.statistics import Line
from cloudmask.report.timing import PARTS, Machine, machines, parts, scalings

MOST_BARS = 24
# Of the parts; hatching sets "not separated" off from both kinds of epochs.
PART_COLORS = {
    "start_up": "#4D4D4D",
    "staging": "#CC79A7",
    "first_epoch": "#E69F00",
    "later_epochs": "#0072B2",
    "training": "#A8D4F0",
    "inference": "#009E73",
}


def run_time(found: Collection) -> Drawing:
    """Bars of the mean time of each part, by group, with a scale of its own for each source."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    title = "Run time"
    known = [(group, parts(group)) for group in found.groups]
    known = [(group, split) for group, split in known if split][:MOST_BARS]
    if not known:
        return Drawing("run_time", title, "", missing="no run has times")
    sources = list(dict.fromkeys(group.factors["source"] for group, _ in known))
    bars = {s: [(g, t) for g, t in known if g.factors["source"] == s] for s in sources}
    used = [part for part in PARTS if any(part in split for _, split in known)]
    legend_rows = -(-len(used) // 2)
    names = {s: [f"{g.label}: {sum(t.values()):,.0f} s" for g, t in bars[s]] for s in sources}
    rows = {source: row_heights(names[source]) for source in sources}
    heights = [0.55 * (rows[source][-1] + 1) + 0.35 for source in sources]
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "x"}):
        size = (WIDTH, sum(heights) + 0.45 * len(sources) + LEGEND_ROW * legend_rows + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(sources), 1, squeeze=False, height_ratios=heights)[:, 0]
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        for axis, source in zip(panels, sources, strict=True):
            for row, name, (_, split) in zip(
                rows[source], names[source], bars[source], strict=True
            ):
                left = 0.0
                for part, seconds in split.items():
                    # An edge would hide what is short.
                    style = {"hatch": "//", "edgecolor": "white"} if part == "training" else {}
                    axis.barh(row, seconds, 0.4, left, color=PART_COLORS[part], **style)
                    left += seconds
                axis.text(0, row - 0.28, wrapped(name), fontsize=9, va="bottom")
            axis.set_ylim(rows[source][-1] + 0.4, -0.85)
            axis.set_xlim(left=0)
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
        panels[-1].set_xlabel("seconds, mean of the group")
        handles = [
            Patch(
                facecolor=PART_COLORS[part],
                label=PARTS[part],
                hatch="//" if part == "training" else None,
                edgecolor="white",
            )
            for part in used
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
    remarks = []
    if len(sources) > 1:
        remarks.append("Each source has a scale of its own.")
    if "staging" in used:
        remarks.append("Staging takes no time where data are read in place.")
    if "training" in used:
        remarks.append(
            "Logs of others do not separate the first epoch from the rest; the fit of the fixed "
            "cost does."
        )
    caption = " ".join(remarks)
    return Drawing("run_time", title, caption, figure)


def epoch_time(found: Collection) -> Drawing:
    """Seconds per epoch of each run, by machine, beside the fitted cost of an epoch alone."""

    title = "Time per epoch by machine"
    known = [m for m in machines(found.runs) if any(run.seconds_per_epoch for run in m.runs)]
    if not known:
        return Drawing("epoch_time", title, "", missing="no run has its time per epoch")
    known = known[:MOST_BARS]
    seconds = [[r.seconds_per_epoch for r in m.runs if r.seconds_per_epoch] for m in known]
    names = [f"{m.label}, n = {len(values)}" for m, values in zip(known, seconds, strict=True)]
    figure, axis, rows = row_axes(title, "seconds per epoch", names)
    logarithmic(axis.xaxis)
    for row, machine, values in zip(rows, known, seconds, strict=True):
        axis.plot(values, dots(row, len(values)), "o", color=COLORS[0], alpha=0.6, markersize=5)
        if line := _shown(machine):
            axis.plot(line.slope, row + MIDDLE, "D", color=COLORS[1], markersize=7)
    handles = [handle("a run: training time / epochs", COLORS[0], "", "o")]
    remarks = []
    if any(map(_shown, known)):
        remarks.append(
            "Where dots lie far to the right of the diamond, the first pass over the data is what "
            "costs."
        )
        handles.append(handle("an epoch without the fixed cost, fitted", COLORS[1], "", "D"))
    legend(figure, handles)
    if any(run.origin == "paper" for machine in known for run in machine.runs):
        remarks.append("The paper's times are as published; see the note on them.")
    return Drawing("epoch_time", title, " ".join(remarks), figure)


def _shown(machine: Machine) -> Line | None:
    """The fitted line, if it has a cost per epoch that a logarithmic axis can show."""
    line = machine.line
    return line if line and line.slope > 0 else None


def fixed_cost(found: Collection) -> Drawing:
    """Training seconds over epochs, and the line through the runs of each machine."""
    title = "Fixed cost and cost per epoch"
    known = [(machine, line) for machine in machines(found.runs) if (line := machine.line)]
    if not known:
        reason = "no machine has runs with different numbers of epochs"
        return Drawing("fixed_cost", title, "", missing=reason)
    figure, axis = axes(title, "epochs run", "training (s)", len(known))
    handles = []
    for k, (machine, line) in enumerate(known):
        color, style, marker = look(k)
        epochs, seconds = zip(*machine.points, strict=True)
        axis.plot(epochs, seconds, marker, color=color, markersize=6)
        x = np.array([0, max(epochs)])
        axis.plot(x, line.fixed + line.slope * x, style, color=color, linewidth=1.2)
        label = f"{machine.label}: {line.fixed:.0f} s + {line.slope:.1f} s per epoch"
        handles.append(handle(label, color, style, marker))
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    legend(figure, handles)
    caption = (
        "Where a line meets the left edge is what a run costs besides its epochs, such as the "
        "first pass over a shared file system. Two points always lie on a line."
    )
    return Drawing("fixed_cost", title, caption, figure)


def scaling(found: Collection) -> Drawing:
    """Patches per second over the number of workers, beside what would be ideal."""
    title = "Scaling over workers"
    known = scalings(found.groups)
    if not known:
        reason = "no runs differ in their number of workers only"
        return Drawing("scaling", title, "", missing=reason)
    figure, axis = axes(title, "workers (GPUs, or processes on CPUs)", "patches/s", len(known) + 1)
    handles = []
    for k, line in enumerate(known):
        color, style, marker = look(k)
        axis.plot(line.workers, line.rates, style, marker=marker, color=color)
        ideal = [line.rates[0] * workers / line.workers[0] for workers in line.workers]
        axis.plot(line.workers, ideal, "--", color=GREY, linewidth=1)
        handles.append(handle(line.label, color, style, marker))
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    ticks = sorted({workers for line in known for workers in line.workers})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    legend(figure, [*handles, handle("ideal", GREY, "--")])
    caption = "Training throughput; the table has the efficiencies."
    return Drawing("scaling", title, caption, figure)
