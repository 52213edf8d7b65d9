"""Figures over epochs and over time: loss, accuracy, early stopping, the time to an accuracy."""

from collections.abc import Sequence

import numpy as np

from cloudmask.record.rules import TARGET
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import GREY, Drawing, Look, axes, handle, legend, looks, rows_of
from cloudmask.report.groups import Group, data_note
from cloudmask.report.runs import RecordedRun
from cloudmask.report.timing import progress
from cloudmask.system.text import plural

NAMES = {
    "loss": ("Training loss", "binary cross-entropy"),
    "val_loss": ("Validation loss", "binary cross-entropy"),
    "accuracy": ("Training accuracy", "pixel accuracy (agreement with the mask)"),
    "val_accuracy": ("Validation accuracy", "pixel accuracy (agreement with the mask)"),
}
# From so many lines on single ones cannot be followed: they become pixels, and medians join them.
MANY = 40
MOST_BEST = 3  # groups whose best runs are drawn one by one
NO_CURVES = "no run has figures by epoch"


def repeats(found: Collection, curve: str) -> Drawing:
    """One curve of all runs, in the color of their group."""
    title, unit = NAMES[curve]
    name = f"repeats_{curve}"
    groups = [group for group in found.groups if any(_has(run, curve) for run in group.runs)]
    if not groups:
        return Drawing(name, f"{title}, all repeats", "", missing=NO_CURVES)
    look = looks(found.groups)
    figure, axis = axes(f"{title}, all repeats", "epoch", unit, rows_of(len(groups) + 1))
    for group in groups:
        _draw_group(axis, group, curve, look[group.label])
    handles = [handle(_counted(g, curve), look[g.label].color, look[g.label].line) for g in groups]
    if any(run.stopped_early for group in groups for run in group.runs):
        handles.append(handle("ended by early stopping", GREY, "", "x"))
    axis.set_xlim(left=0)
    legend(figure, handles)
    caption = "Each line is a run."
    if any(sum(_has(run, curve) for run in group.runs) > MANY for group in groups):
        caption = f"Thin lines are runs; of groups of more than {MANY}, thick ones are the medians."
    caption += data_note(groups, _trained_on)
    return Drawing(name, f"{title}, all repeats", caption, figure)


def _trained_on(group: Group) -> str:
    """What the losses and accuracies of its epochs are over."""
    return group.trained_on


def _has(run: RecordedRun, curve: str) -> bool:
    return bool(run.history.get(curve))


def _counted(group: Group, curve: str) -> str:
    return f"{group.label} (n = {sum(_has(run, curve) for run in group.runs)})"


def _draw_group(axis, group: Group, curve: str, look: Look) -> None:
    from matplotlib.collections import LineCollection

    lines = [np.asarray(run.history[curve]) for run in group.runs if _has(run, curve)]
    many = len(lines) > MANY
    paths = [np.column_stack([np.arange(1, line.size + 1), line]) for line in lines]
    axis.add_collection(
        LineCollection(
            paths,
            colors=look.color,
            linestyles=look.line,
            linewidths=0.4 if many else 1.3,
            alpha=max(0.03, 8 / len(lines)) if many else 0.85,
            rasterized=many,
        )
    )
    if many:
        longest = max(line.size for line in lines)
        padded = np.full((len(lines), longest), np.nan)
        for row, line in zip(padded, lines, strict=True):
            row[: line.size] = line
        # Of the runs still going: those that stopped early are in the medians before.
        axis.plot(np.arange(1, longest + 1), np.nanmedian(padded, axis=0), color=look.color, lw=2)
    stopped = [path[-1] for path, run in zip(paths, _with(group, curve), strict=True) if run]
    if stopped:
        size = 4 if many else 8
        axis.plot(*np.transpose(stopped), "x", color=look.color, ms=size, mew=size / 4)
    axis.autoscale_view()


def _with(group: Group, curve: str) -> list[bool]:
    return [run.stopped_early for run in group.runs if _has(run, curve)]


def best(found: Collection, kind: str) -> Drawing:
    """Training and validation of single runs, with the epoch kept; `kind` is loss or accuracy."""
    title = f"{kind.capitalize()} of the best runs"
    name = f"best_{kind}"
    pairs = [(group, group.best) for group in found.groups]
    pairs = [(group, run) for group, run in pairs if _has(run, kind) and _has(run, f"val_{kind}")]
    pairs.sort(key=lambda pair: pair[1].test_accuracy or 0.0, reverse=True)
    shown = pairs[:MOST_BEST]
    if not shown:
        return Drawing(name, title, "", missing=NO_CURVES)
    look = looks(found.groups)
    figure, axis = axes(title, "epoch", NAMES[kind][1], len(shown) + 4)
    for group, run in shown:
        color = look[group.label].color
        for curve, line in ((kind, "-"), (f"val_{kind}", "--")):
            values = run.history[curve]
            axis.plot(range(1, len(values) + 1), values, line, color=color)
        # The log of another program may have more epochs than values of validation.
        if run.best_epoch and 0 < run.best_epoch <= len(values):
            kept = values[run.best_epoch - 1]
            axis.plot(run.best_epoch, kept, "o", color=color, markersize=8, fillstyle="none")
        if run.stopped_early:
            axis.axvline(len(run.history[kind]), color=color, linewidth=1, linestyle=":")
    handles = [
        handle(f"{group.label}: {run.name}", look[group.label].color) for group, run in shown
    ]
    handles += [handle("training", GREY), handle("validation", GREY, "--")]
    handles += [handle("epoch whose weights are kept", GREY, "", "o", "none")]
    if any(run.stopped_early for _, run in shown):
        handles.append(handle("early stopping", GREY, ":"))
    legend(figure, handles)
    left = len(pairs) - len(shown)
    more = (
        f" The best runs of {plural(left, 'more group')} are in the figures of all repeats."
        if left
        else ""
    )
    caption = (
        "For each group the run with the best test accuracy, or else validation accuracy: a best "
        f"of n.{more}"
    )
    caption += data_note([group for group, _ in shown], _trained_on)
    return Drawing(name, title, caption, figure)


def time_to_accuracy(found: Collection) -> Drawing:
    """The best validation accuracy so far against the seconds since the run began."""
    title = "Time to accuracy"
    groups = [group for group in found.groups if any(map(progress, group.runs))]
    if not groups:
        return Drawing(
            "time_to_accuracy", title, "", missing="no run has times and accuracies by epoch"
        )
    look = looks(found.groups)
    figure, axis = axes(
        title,
        "seconds since the run began",
        "best validation accuracy so far",
        rows_of(len(groups) + 1),
    )
    for group in groups:
        _draw_progress(axis, group.runs, look[group.label])
    axis.axhline(TARGET, color=GREY, linewidth=1)
    handles = [handle(g.label, look[g.label].color, look[g.label].line) for g in groups]
    legend(figure, [*handles, handle(f"the working group's target, {TARGET:g}", GREY)])
    caption = (
        "Start-up and staging count, as the rules require. Validation patches, not whole scenes; "
        "logs without times by epoch cannot be shown."
    )
    caption += data_note(groups, _trained_on)
    return Drawing("time_to_accuracy", title, caption, figure)


def _draw_progress(axis, runs: Sequence[RecordedRun], look: Look) -> None:
    from matplotlib.collections import LineCollection

    known = [curve for run in runs if (curve := progress(run))]
    many = len(known) > MANY
    # As steps: an accuracy is known from the end of its epoch on.
    paths = [
        np.column_stack([np.repeat(seconds, 2)[1:], np.repeat(accuracy, 2)[:-1]])
        for seconds, accuracy in known
    ]
    axis.add_collection(
        LineCollection(
            paths,
            colors=look.color,
            linestyles=look.line,
            linewidths=0.5 if many else 1.4,
            alpha=max(0.05, 8 / len(known)) if many else 0.85,
            rasterized=many,
        )
    )
    axis.autoscale_view()
