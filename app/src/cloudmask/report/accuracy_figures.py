"""Figures of accuracy: by group, by scene, calibration, against energy."""

import numpy as np

from cloudmask.record.rules import TARGET
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import (
    GREY,
    MIDDLE,
    Drawing,
    axes,
    dots,
    handle,
    legend,
    looks,
    row_axes,
    rows_of,
)
from cloudmask.report.groups import Group, data_note
from cloudmask.report.paper_comparison import data_of
from cloudmask.report.runs import RecordedRun
from cloudmask.report.statistics import LEVEL
from cloudmask.scenes import dataset
from cloudmask.system.text import plural

MOST_GROUPS = 30
FEWEST_PIXELS = 0.001  # fraction of all pixels that a bin of the calibration must hold


def by_group(found: Collection) -> Drawing:
    """Test accuracy of each run, mean and interval of each group."""

    title = "Test accuracy"
    groups = [group for group in found.groups if group.values(_accuracy)][:MOST_GROUPS]
    if not groups:
        return Drawing("accuracy_by_group", title, "", missing="no run has a test accuracy")
    look = looks(found.groups)
    names = [f"{g.label}, n = {len(g.values(_accuracy))}, {g.tested_on}" for g in groups]
    figure, axis, rows = row_axes(title, "accuracy over whole scenes", names)
    handles = [handle("run", GREY, "", "o")]
    for row, group in zip(rows, groups, strict=True):
        _draw_dots(axis, row, group, look[group.label].color)
    differ = [
        _draw_published_mean(axis, row, group) for row, group in zip(rows, groups, strict=True)
    ]
    if any(differ):
        handles.append(handle("mean over all pixels", "black", "", "D", "none"))
    if any(data_of(run).public for group in groups for run in group.runs):
        axis.axvline(TARGET, color=GREY, linewidth=1, linestyle="--")
        handles.append(handle(f"target {TARGET:g} for {dataset.NAME}, all pixels", GREY, "--"))
    summaries = [summary for group in groups if (summary := group.summary(_accuracy))]
    if any(summary.n > 1 for summary in summaries):
        handles.append(handle("mean of the group", "black", "", "|"))
    if any(summary.interval for summary in summaries):
        handles.append(handle(f"{LEVEL:.0%} interval of the mean (Student's t)", "black"))
    legend(figure, handles, columns=2)
    caption = (
        "Behind each group stands what it was tested on. The accuracies of own runs are over "
        "measured pixels, those of published runs over all pixels."
    )
    caption += data_note(groups, tested_on)
    return Drawing("accuracy_by_group", title, caption, figure)


def tested_on(group: Group) -> str:
    """What its test accuracies are over."""
    return group.tested_on


def _accuracy(run: RecordedRun) -> float | None:
    return run.test_accuracy


def _draw_published_mean(axis, row: float, group: Group) -> bool:
    """Mark the mean accuracy as published results count it, where it is another."""
    summary = group.summary(lambda run: run.published_accuracy)
    measured = group.summary(_accuracy)
    if summary is None or measured is None or summary.mean == measured.mean:
        return False
    axis.plot(summary.mean, row + MIDDLE, "D", color="black", markersize=6, fillstyle="none")
    return True


def _draw_dots(axis, row: float, group: Group, color: str) -> None:
    values = group.values(_accuracy)
    axis.plot(values, dots(row, len(values)), "o", color=color, alpha=0.6, markersize=5)
    summary = group.summary(_accuracy)
    if summary is None:
        return
    if summary.interval:
        axis.plot(summary.interval, [row + MIDDLE] * 2, color="black", linewidth=2)
    if summary.n > 1:
        axis.plot(summary.mean, row + MIDDLE, "|", color="black", markersize=16, markeredgewidth=2)


def by_scene(found: Collection) -> Drawing:
    """Accuracy of each scene, sorted, by group."""
    title = "Accuracy per scene"
    groups = [(group, _scene_means(group)) for group in found.groups]
    groups = [(group, means) for group, means in groups if len(means) > 1]
    if not groups:
        return Drawing("accuracy_per_scene", title, "", missing="no run has accuracies of scenes")
    look = looks(found.groups)
    figure, axis = axes(
        title, "percentage of scenes, best first", "accuracy", rows_of(len(groups) + 1)
    )
    for group, means in groups:
        style = look[group.label]
        ranks = (np.arange(len(means)) + 0.5) / len(means) * 100
        axis.plot(ranks, means, style.line, color=style.color, linewidth=1.8)
    axis.set_xlim(0, 100)
    handles = [
        handle(
            f"{g.label}, {plural(len(m), 'scene')}, {g.tested_on}",
            look[g.label].color,
            look[g.label].line,
        )
        for g, m in groups
    ]
    legend(figure, handles)
    caption = (
        "Mean over the runs of a group for each scene, sorted: of own runs over measured pixels, "
        "of published runs over all pixels. Groups may have different scenes."
    )
    caption += data_note([group for group, _ in groups], tested_on)
    return Drawing("accuracy_per_scene", title, caption, figure)


def _scene_means(group: Group) -> list[float]:
    """The mean of each scene over the group's runs, which have the same scenes; highest first."""
    known = [run.test.per_scene for run in group.runs if run.test.per_scene]
    if not known:
        return []
    means = [np.mean([scenes[name] for scenes in known]) for name in known[0]]
    return sorted(map(float, means), reverse=True)


def calibration(found: Collection) -> Drawing:
    """Frequency of cloud over predicted probability."""
    title = "Calibration"
    groups = [(group, bins) for group in found.groups if (bins := _bins(group)) is not None]
    if not groups:
        reason = "no run has its predicted probabilities counted"
        return Drawing("calibration", title, "", missing=reason)
    look = looks(found.groups)
    figure, axis = axes(
        title, "predicted probability of cloud", "frequency of cloud in the mask", len(groups) + 1
    )
    axis.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    for group, (probability, cloud) in groups:
        style = look[group.label]
        axis.plot(probability, cloud, style.line, color=style.color, marker=style.marker, ms=4)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    handles = [handle(f"{g.label}, {g.tested_on}", *look[g.label]) for g, _ in groups]
    legend(figure, [*handles, handle("perfect calibration", GREY, "--")])
    caption = (
        "All pixels of all runs of a group. Above the diagonal the network underestimates the "
        "probability of cloud."
    )
    caption += data_note([group for group, _ in groups], tested_on)
    return Drawing("calibration", title, caption, figure)


def _bins(group: Group) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean probability and frequency of cloud per twentieth of probability, weighted by pixels."""
    rows = []
    for run in group.runs:
        for entry in run.test.calibration:
            rows.append((entry.probability, entry.cloud, entry.pixels))
    if not rows:
        return None
    probability, cloud, pixels = np.array(rows, float).T
    index = np.minimum((probability * 20).astype(int), 19)
    filled = np.unique(index)
    # A frequency over very few pixels has no meaning and only draws the eye.
    counts = np.bincount(index, pixels, 20)
    filled = filled[counts[filled] >= FEWEST_PIXELS * counts.sum()]
    weights = counts[filled]
    return (
        np.bincount(index, probability * pixels, 20)[filled] / weights,
        np.bincount(index, cloud * pixels, 20)[filled] / weights,
    )


def energy(found: Collection) -> Drawing:
    """Test accuracy over the energy of the run."""
    title = "Energy against accuracy"
    groups = [
        group
        for group in found.groups
        if any(run.joules is not None and run.test_accuracy is not None for run in group.runs)
    ]
    if not groups:
        reason = "no run has both its energy measured and a test accuracy"
        return Drawing("energy", title, "", missing=reason)
    look = looks(found.groups)
    figure, axis = axes(title, "energy of the run (kJ)", "test accuracy", rows_of(len(groups)))
    for group in groups:
        pairs = [
            (run.joules / 1000, run.test_accuracy)
            for run in group.runs
            if run.joules is not None and run.test_accuracy is not None
        ]
        style = look[group.label]
        axis.plot(*zip(*pairs, strict=True), style.marker, color=style.color, alpha=0.8)
    handles = [
        handle(f"{g.label}, {g.tested_on}", look[g.label].color, "", look[g.label].marker)
        for g in groups
    ]
    legend(figure, handles)
    caption = (
        "Energy of the GPUs, and of the CPU packages where the system permits reading it; see "
        "telemetry.csv."
    )
    caption += data_note(groups, tested_on)
    return Drawing("energy", title, caption, figure)
