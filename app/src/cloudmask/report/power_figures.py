"""Figure of power: what GPUs and nodes drew while runs went on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cloudmask.errors import InputError
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.telemetry import PowerSeries, read_power
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import GREY, Drawing, axes, handle, legend, look, rows_of
from cloudmask.report.groups import Group

MOST_LINES = 7  # the colors of the palette: more lines hide each other
POINTS = 300  # of a line; a pixel of the figure is one or two of them


def gpu_power(found: Collection) -> Drawing:
    """Watts of all GPUs of the first run of each group over its time, and of its node."""
    title = "GPU power over time"
    known = [(group, power) for group in found.groups if (power := _first_power(group))]
    if not known:
        return Drawing("gpu_power", title, "", missing="no run has the power of its GPUs")
    shown = known[:MOST_LINES]
    figure, axis = axes(title, "minutes sampled", "watts", rows_of(len(shown) + 2))
    handles = []
    for k, (group, power) in enumerate(shown):
        color = look(k).color
        minutes, watts = _thinned(power.gpus)
        axis.plot(minutes, watts, "-", color=color, linewidth=1.2)
        if power.node:
            axis.plot(*_thinned(power.node), ":", color=color, linewidth=1.2)
        for seconds in power.breaks:
            axis.axvline(seconds / 60, color=GREY, linewidth=0.8, linestyle="--")
        mean = np.mean([value for _, value in power.gpus])
        repeats = f", first of {len(group.runs)}" if len(group.runs) > 1 else ""
        handles.append(handle(f"{group.label}{repeats}: mean {mean:.0f} W", color))
    if any(power.node for _, power in shown):
        handles.append(handle("the whole node, other jobs included", GREY, ":"))
    if any(power.breaks for _, power in shown):
        handles.append(handle("a later attempt begins", GREY, "--"))
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    legend(figure, handles)
    return Drawing("gpu_power", title, _caption(len(known)), figure)


def _caption(groups: int) -> str:
    text = (
        "All GPUs of the first worker's node together, in means over a three-hundredth of the run; "
        "telemetry.csv has every sample. Time between the attempts of a run is left out."
    )
    more = groups - MOST_LINES
    return f"{text} The first {MOST_LINES} groups of {groups} are drawn." if more > 0 else text


def _first_power(group: Group) -> PowerSeries | None:
    """That of the first of the group's own runs that knows it."""
    for run in group.runs:
        if run.origin == "run":
            try:
                power = read_power(RunDirectory(Path(run.path)).telemetry)
            except InputError:
                continue  # Without telemetry a run is whole; it is only not drawn here.
            if power.gpus:
                return power
    return None


def _thinned(series: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Minutes and watts: the means over at most POINTS equal spans, each at its middle sample."""
    seconds, watts = np.array(series).T
    if len(seconds) <= POINTS:
        return seconds / 60, watts
    parts = np.array_split(np.arange(len(seconds)), POINTS)
    means = [[seconds[part].mean(), watts[part].mean()] for part in parts]
    minutes, values = np.array(means).T
    return minutes / 60, values
