"""The kinds of tests that claims of the paper are put to: each looks at runs and gives a verdict.

Every function takes the runs first, whether they are the paper's or those of a report, and returns
a Verdict; what else it takes belongs to the claim.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloudmask.report.groups import factors_of
from cloudmask.report.paper_stopping import best_epoch, epochs_to, stop_epochs
from cloudmask.report.runs import RecordedRun
from cloudmask.report.timing import machines
from cloudmask.system.text import plural

Outcome = Literal["confirmed", "refuted", "not testable"]
Runs = Sequence[RecordedRun]
Quantity = Callable[[RecordedRun], float | None]
LINEAR = 0.99  # coefficient of determination from which a line is taken to describe times


@dataclass(frozen=True)
class Verdict:
    """outcome: of a test; numbers: what it saw; reason: why not testable, or how to read it."""

    outcome: Outcome
    numbers: str = ""
    reason: str = ""

    @property
    def text(self) -> str:
        """Numbers and reason in one line."""
        return "; ".join(part for part in (self.numbers, self.reason) if part)


def untestable(reason: str, numbers: str = "") -> Verdict:
    """The verdict where nothing can be said."""
    return Verdict("not testable", numbers, reason)


def judged(holds: bool, numbers: str, reason: str = "") -> Verdict:
    """Confirmed if it holds, else refuted."""
    return Verdict("confirmed" if holds else "refuted", numbers, reason)


def alike(runs: Runs, but: Sequence[str] = ()) -> list[list[RecordedRun]]:
    """The runs by everything that decides the result, the factors `but` left out."""
    members: dict[tuple, list[RecordedRun]] = defaultdict(list)
    for run in runs:
        factors = {k: str(v) for k, v in factors_of(run).items() if k not in but}
        members[tuple(sorted(factors.items()))].append(run)
    return list(members.values())


def known(runs: Runs, quantity: Quantity) -> list[float]:
    """The values of the runs that have one."""
    return [value for run in runs if (value := quantity(run)) is not None]


def described(values: Sequence[float], digits: int) -> str:
    """Number, range and mean: "n = 5: 0.8842 to 0.8961, mean 0.8891"."""
    low, high, mean = min(values), max(values), statistics.fmean(values)
    if len(values) == 1:
        return f"n = 1: {low:.{digits}f}"
    return f"n = {len(values)}: {low:.{digits}f} to {high:.{digits}f}, mean {mean:.{digits}f}"


def within(runs: Runs, quantity: Quantity, low: float, high: float, digits: int = 4) -> Verdict:
    """Whether every value, rounded to the claim's digits, lies between low and high."""
    values = known(runs, quantity)
    if not values:
        return untestable("no run has this figure")
    inside = sum(low <= round(value, digits) <= high for value in values)
    return judged(inside == len(values), f"{described(values, digits)}; {inside} inside")


def below(runs: Runs, quantity: Quantity, limit: float, digits: int = 4) -> Verdict:
    """Whether every value stays below the limit."""
    values = known(runs, quantity)
    if not values:
        return untestable("no run has this figure")
    return judged(max(values) < limit, described(values, digits))


def mean_is(runs: Runs, quantity: Quantity, value: float, spread: float) -> Verdict:
    """Whether the mean is the value, within the published spread of equal seeds."""
    values = known(runs, quantity)
    if not values:
        return untestable("no run has this figure")
    distance = abs(statistics.fmean(values) - value)
    return judged(distance <= spread, described(values, 4), f"within {spread:g} of {value:g}")


def epochs_until(runs: Runs, accuracy: float, low: int, high: int) -> Verdict:
    """Whether the accuracy is reached as soon as published: the spread of equal seeds decides.

    A mean that differs from the middle of the published range by no more than its width cannot be
    told from it: equal seeds alone differ as much.
    """
    counts = [epochs_to(run, accuracy) for run in runs if run.history.get("val_accuracy")]
    reached = [float(count) for count in counts if count is not None]
    if not counts:
        return untestable("no run has a validation accuracy by epoch")
    if len(reached) < len(counts):
        return Verdict("refuted", f"reached by {len(reached)} of {plural(len(counts), 'run')}")
    return judged(
        abs(statistics.fmean(reached) - (low + high) / 2) <= high - low,
        described(reached, 0),
        _sooner(statistics.fmean(reached), low, high),
    )


def _sooner(mean: float, low: int, high: int) -> str:
    difference = (low + high) / 2 - mean
    if abs(difference) <= high - low:
        return f"no faster or slower than equal seeds differ ({high - low} epochs)"
    word = "sooner" if difference > 0 else "later"
    epochs = plural(round(abs(difference)), "epoch")
    return f"{epochs} {word}, more than equal seeds differ ({high - low})"


def stops_by_rule(runs: Runs) -> Verdict:
    """Whether runs end `patience` epochs after the lowest validation loss, or at their limit."""
    kinds = {"after the patience": 0, "at the limit": 0, "otherwise": 0}
    for run in runs:
        patience, best = run.settings.get("early_stopping.patience"), best_epoch(run)
        if run.early_stopping and isinstance(patience, int) and best and _plain_rule(run):
            kinds[_ending(run, best + patience)] += 1
    if not sum(kinds.values()):
        return untestable("no run with early stopping on the validation loss has its losses")
    numbers = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return judged(not kinds["otherwise"], numbers)


def _plain_rule(run: RecordedRun) -> bool:
    """Whether early stopping looked at the validation loss, and counted any improvement."""
    monitor = run.settings.get("early_stopping.monitor", "val_loss")
    return monitor == "val_loss" and not run.settings.get("early_stopping.min_delta")


def _ending(run: RecordedRun, stop: int) -> str:
    if run.epochs_run == stop:
        return "after the patience"
    return "at the limit" if run.epochs_run == run.epochs_set else "otherwise"


def all_stopped_early(runs: Runs) -> Verdict:
    """Whether early stopping ended every run that had it."""
    stopping = [run for run in runs if run.early_stopping and run.epochs_run]
    if not stopping:
        return untestable("no run had early stopping")
    early = sum(run.stopped_early for run in stopping)
    return judged(
        early == len(stopping),
        f"{early} of {plural(len(stopping), 'run')}; the others at their limit",
    )


def best_is_last(runs: Runs) -> Verdict:
    """Whether the epoch of the lowest validation loss is the last."""
    pairs = [(best, run.epochs_run) for run in runs if (best := best_epoch(run))]
    if not pairs:
        return untestable("no run has a validation loss by epoch")
    numbers = ", ".join(f"{best} of {last}" for best, last in pairs[:5])
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    return judged(all(best == last for best, last in pairs), f"best epochs {numbers}{more}")


def last_is_worse(runs: Runs) -> Verdict:
    """Whether the last weights have a higher validation loss than the best."""
    losses = [run.history["val_loss"] for run in runs if len(run.history.get("val_loss", ())) > 1]
    if not losses:
        return untestable("no run has a validation loss by epoch")
    differences = [values[-1] - min(values) for values in losses]
    worse = sum(difference > 0 for difference in differences)
    numbers = f"last minus lowest loss, {described(differences, 4)}; higher in {worse}"
    return judged(worse > len(losses) / 2, numbers)


def bumpy(runs: Runs, fraction: float) -> Verdict:
    """Whether the validation loss rises from one epoch to the next as often as that."""
    curves = [run.history["val_loss"] for run in runs if len(run.history.get("val_loss", ())) > 9]
    if not curves:
        return untestable("no run has a validation loss of ten epochs or more")
    rises = [float(np.mean(np.diff(curve) > 0)) for curve in curves]
    numbers = f"fraction of epochs in which it rises, {described(rises, 2)}"
    return judged(statistics.fmean(rises) >= fraction, numbers)


def patience_stops(runs: Runs, patience: int, low: int, high: int) -> Verdict:
    """Whether early stopping with that patience, replayed, ends runs in the published range."""
    losses = [run.history["val_loss"] for run in runs if run.history.get("val_loss")]
    stops = [stop for curve in losses if (stop := stop_epochs(curve).get(patience))]
    if not stops:
        return untestable("no validation loss is long enough to stop")
    reason = f"replayed; published {low} to {high}: confirmed where the ranges overlap"
    overlap = min(stops) <= high and max(stops) >= low
    return judged(overlap, described([float(stop) for stop in stops], 0), reason)


def equal_seeds_differ(runs: Runs, quantity: Quantity, digits: int) -> Verdict:
    """Whether runs of the same settings, seed and device come out differently."""
    repeats = [
        known([run for run in same if run.seed == seed], quantity)
        for same in alike(runs)
        for seed in {run.seed for run in same} - {None}
    ]
    several = [values for values in repeats if len(values) > 1]
    if not several:
        return untestable("no two runs have the same seed and settings")
    ranges = [max(values) - min(values) for values in several]
    numbers = f"largest range of equal seeds {max(ranges):.{digits}f}"
    return judged(max(ranges) > 0, f"{numbers}, n = {max(map(len, several))}")


def shortest_is_best(runs: Runs) -> Verdict:
    """Whether of equal runs the one that stopped first has the highest test accuracy."""
    stopping = [run for run in runs if run.early_stopping]
    found = []
    for same in alike(stopping):
        known = [(run.epochs_run, run.published_accuracy) for run in same]
        pairs = [(epochs, accuracy) for epochs, accuracy in known if epochs and accuracy]
        if len({epochs for epochs, _ in pairs}) > 2:
            found.append((min(pairs), max(pairs, key=lambda pair: pair[1] or 0.0)))
    if not found:
        return untestable("needs three equal runs with early stopping of different lengths")
    numbers = ", ".join(
        f"shortest {short[0]} epochs: {short[1]:.4f}, best {best[0]}: {best[1]:.4f}"
        for short, best in found
    )
    return judged(all(short == best for short, best in found), numbers)


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


def ordered(runs: Runs, devices: Sequence[str]) -> Verdict:
    """Whether an epoch takes longer on each of these devices than on the one before."""
    families = [s for s in seconds_by_device(runs) if all(device in s for device in devices)]
    if not families:
        return untestable(f"no runs that differ in their device only, on {' and '.join(devices)}")
    orders = [[seconds[device] for device in devices] for seconds in families]
    numbers = " | ".join(map(_times, families))
    return judged(all(order == sorted(order) for order in orders), f"per epoch: {numbers}")


def slowest(runs: Runs, device: str, fewest: int = 3) -> Verdict:
    """Whether an epoch takes longest on that device, among `fewest` devices or more."""
    families = [s for s in seconds_by_device(runs) if device in s and len(s) >= fewest]
    if not families:
        return untestable(f"needs equal runs on the {device} and on {fewest - 1} other devices")
    numbers = " | ".join(map(_times, families))
    return judged(all(list(s)[-1] == device for s in families), f"per epoch: {numbers}")


def _times(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{device} {value:.3g} s" for device, value in seconds.items())


def seconds_by_device(runs: Runs) -> list[dict[str, float]]:
    """Seconds of an epoch by device, the shortest first, for each family of equal runs.

    A family differs in nothing but its device, with the precision that it brings, and its epochs.
    The seconds are the fitted ones, where runs of different epochs allow that, else the mean.
    """
    families = []
    for family in alike(runs, ("device", "precision", "epochs", "scenes")):
        found: dict[str, float] = {}
        for machine in machines(family):
            means = known(machine.runs, lambda run: run.seconds_per_epoch)
            fitted = machine.line.slope if machine.line else 0.0
            seconds = fitted if fitted > 0 else statistics.fmean(means) if means else None
            device = machine.runs[0].device
            if device and seconds:
                found[device] = min(seconds, found.get(device, seconds))
        families.append(dict(sorted(found.items(), key=lambda item: item[1])))
    return families


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
            ranges.append((min(seconds), max(seconds)))
    if not ranges:
        return untestable("no machine has the time per epoch of runs of different lengths")
    numbers = ", ".join(f"{low:.2f} to {high:.2f} s" for low, high in ranges)
    return judged(all(high <= low * (1 + tolerance) for low, high in ranges), numbers)
