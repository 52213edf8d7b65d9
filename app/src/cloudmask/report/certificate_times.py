"""Tests of the paper's claims on time: by device, number of epochs, repeat and place of the data.

As in certificate_tests, every function takes the runs first and returns a Verdict.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cloudmask.report.certificate_tests import Runs, Verdict, alike, judged, known, untestable
from cloudmask.report.timing import Machine, machines

LINEAR = 0.99  # coefficient of determination from which a line is taken to describe times


def linear_in_epochs(runs: Runs) -> Verdict:
    """Whether the training times of each machine lie on a line over the epochs."""
    lines = []
    for machine in machines(runs):
        points = np.array(machine.points, float).reshape(-1, 2)
        if len({epochs for epochs, _ in machine.points}) > 2 and machine.line:
            fitted = machine.line.fixed + machine.line.slope * points[:, 0]
            rest = ((points[:, 1] - fitted) ** 2).sum()
            spread = ((points[:, 1] - points[:, 1].mean()) ** 2).sum()
            lines.append((machine.label, float(1 - rest / spread)))
    if not lines:
        return untestable("no machine has runs of three different numbers of epochs")
    numbers = ", ".join(f"{label} R² = {value:.4f}" for label, value in lines)
    return judged(all(value >= LINEAR for _, value in lines), numbers)


class EpochTime(NamedTuple):
    """Seconds of an epoch on a device; sure: measured, or by a line whose error is known."""

    seconds: float
    sure: bool


def ordered(runs: Runs, devices: Sequence[str]) -> Verdict:
    """Whether an epoch takes longer on each of these devices than on the one before."""
    families = [s for s in seconds_by_device(runs) if all(device in s for device in devices)]
    if not families:
        return untestable(f"no runs that differ in their device only, on {' and '.join(devices)}")
    sure = [times for times in families if all(times[device].sure for device in devices)]
    orders = [[times[device].seconds for device in devices] for times in sure]
    return _decided(families, sure, all(order == sorted(order) for order in orders))


def slowest(runs: Runs, device: str, fewest: int = 3) -> Verdict:
    """Whether an epoch takes longest on that device, among `fewest` devices or more."""
    families = [s for s in seconds_by_device(runs) if device in s and len(s) >= fewest]
    if not families:
        return untestable(f"needs equal runs on the {device} and on {fewest - 1} other devices")
    sure = [times for times in families if all(time.sure for time in times.values())]
    return _decided(families, sure, all(list(times)[-1] == device for times in sure))


def _decided(
    families: Sequence[Mapping[str, EpochTime]],
    sure: Sequence[Mapping[str, EpochTime]],
    holds: bool,
) -> Verdict:
    """As first epochs: lines through two lengths of run decide nothing, and are shown."""
    if not sure:
        reason = "lines through two lengths of run only, whose error is not known"
        return untestable(reason, f"per epoch: {' | '.join(map(_times, families))}")
    return judged(holds, f"per epoch: {' | '.join(map(_times, sure))}")


def _times(times: Mapping[str, EpochTime]) -> str:
    return ", ".join(
        f"{device} {time.seconds:.3g} s{'' if time.sure else ' (two lengths)'}"
        for device, time in times.items()
    )


def seconds_by_device(runs: Runs) -> list[dict[str, EpochTime]]:
    """Time of an epoch by device, the shortest first, for each family of equal runs.

    A family differs in nothing but its device, with the precision that it brings, and its epochs.
    The seconds are the fitted ones, where runs of different epochs allow that, else the mean.
    """
    families = []
    for family in alike(runs, ("device", "precision", "epochs", "scenes")):
        found: dict[str, EpochTime] = {}
        for machine in machines(family):
            device, time = machine.runs[0].device, _epoch_time(machine)
            if device and time:
                found[device] = min(time, found.get(device, time))
        families.append(dict(sorted(found.items(), key=lambda item: item[1])))
    return families


def _epoch_time(machine: Machine) -> EpochTime | None:
    line = machine.line
    if line and line.slope > 0:
        return EpochTime(line.slope, line.slope_error is not None)
    means = known(machine.runs, lambda run: run.seconds_per_epoch)
    return EpochTime(statistics.fmean(means), True) if means else None


def repeats_vary(runs: Runs, factor: float) -> Verdict:
    """Whether the first epochs of equal runs on one machine differ by that factor."""
    ratios = []
    for machine in machines(runs):
        firsts = known(machine.runs, lambda run: run.times.get("first_epoch"))
        if len(firsts) > 1 and min(firsts) > 0:
            ratios.append(max(firsts) / min(firsts))
    if not ratios:
        return untestable("no machine has the first epochs of two runs")
    return judged(max(ratios) >= factor, f"longest over shortest first epoch {max(ratios):.2f}")


def staged_is_faster(runs: Runs) -> Verdict:
    """Whether runs whose data were staged to the node have shorter first epochs, by device."""
    pairs = []
    for same in alike(runs, ("epochs", "scenes")):
        timed = [run for run in same if "first_epoch" in run.times and "staging" in run.times]
        local = [run.times["first_epoch"] for run in timed if run.times["staging"] > 0]
        shared = [run.times["first_epoch"] for run in timed if not run.times["staging"]]
        if local and shared:
            pairs.append((local, shared))
    if not pairs:
        return untestable("no equal runs of which one staged its data and one read them in place")
    means = [(statistics.fmean(local), statistics.fmean(shared)) for local, shared in pairs]
    numbers = ", ".join(f"{local:.1f} s staged, {shared:.1f} s in place" for local, shared in means)
    return judged(all(local < shared for local, shared in means), f"first epoch {numbers}")


def independent_of_epochs(runs: Runs, tolerance: float) -> Verdict:
    """Whether the time per epoch is the same for runs of different lengths on one machine."""
    ranges = []
    for machine in machines(runs):
        timed = [run for run in machine.runs if run.seconds_per_epoch]
        if len({run.epochs_run for run in timed}) > 1:
            seconds = known(timed, lambda run: run.seconds_per_epoch)
            ranges.append((machine.label, min(seconds), max(seconds)))
    if not ranges:
        return untestable("no machine has the time per epoch of runs of different lengths")
    numbers = ", ".join(f"{label} {low:.2f} to {high:.2f} s" for label, low, high in ranges)
    return judged(all(high <= low * (1 + tolerance) for _, low, high in ranges), numbers)
