"""The kinds of tests that claims of the paper are put to: each looks at runs and gives a verdict.

Every function takes the runs first, whether they are the paper's or those of a report, and returns
a Verdict; what else it takes belongs to the claim.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloudmask.report.groups import factors_of
from cloudmask.report.paper_stopping import best_epoch, epochs_to, stop_epochs
from cloudmask.report.runs import RecordedRun
from cloudmask.system.text import plural

Outcome = Literal["confirmed", "refuted", "not testable"]
Runs = Sequence[RecordedRun]
Quantity = Callable[[RecordedRun], float | None]
NONE_STOPPED = "no run with its validation losses was ended by early stopping"
NO_REPEATS = "no two runs have the same seed and settings"


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
    """Whether the epoch of the lowest validation loss is the last of runs that it ended early."""
    pairs = [
        (best, run.epochs_run) for run in runs if run.stopped_early and (best := best_epoch(run))
    ]
    if not pairs:
        return untestable(NONE_STOPPED)
    numbers = ", ".join(f"{best} of {last}" for best, last in pairs[:5])
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    return judged(all(best == last for best, last in pairs), f"best epochs {numbers}{more}")


def last_is_worse(runs: Runs) -> Verdict:
    """Whether the last weights have a higher validation loss than the best, of runs ended early."""
    losses = [
        run.history["val_loss"]
        for run in runs
        if run.stopped_early and len(run.history.get("val_loss", ())) > 1
    ]
    if not losses:
        return untestable(NONE_STOPPED)
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
    """Whether early stopping with that patience, replayed, ends every run in the published range.

    A run that goes on beyond the range is outside; one that was over before says nothing.
    """
    replayed = [
        (stop_epochs(losses).get(patience), len(losses))
        for run in runs
        if (losses := run.history.get("val_loss"))
    ]
    stops = [stop for stop, _ in replayed if stop is not None]
    beyond = sum(stop is None and length > high for stop, length in replayed)
    if not stops and not beyond:
        return untestable("no validation loss is long enough to stop")
    inside = sum(low <= stop <= high for stop in stops)
    numbers = [f"stops at {', '.join(map(str, stops[:5]))}{' …' * (len(stops) > 5)}"] * bool(stops)
    numbers += [f"{plural(beyond, 'run')} without a stop by epoch {high}"] * bool(beyond)
    total = len(stops) + beyond
    reason = f"replayed on the validation losses; confirmed if all lie in {low} to {high}"
    return judged(inside == total, f"{'; '.join(numbers)}; {inside} of {total} inside", reason)


def equal_seeds_differ(runs: Runs, quantity: Quantity, digits: int) -> Verdict:
    """Whether runs of the same settings, seed and device come out differently."""
    several = [values for same in _repeats(runs) if len(values := known(same, quantity)) > 1]
    if not several:
        return untestable(NO_REPEATS)
    return _largest_range(several, digits)


def equal_seeds_stop_apart(runs: Runs) -> Verdict:
    """Whether equal runs have different numbers of epochs, of those that could differ.

    Repeats that all went to their limit had no choice.
    """
    repeats = [same for same in _repeats(runs) if len(same) > 1]
    if not repeats:
        return untestable(NO_REPEATS)
    free = [same for same in repeats if any(run.stopped_early for run in same)]
    several = [values for same in free if len(values := known(same, _epochs)) > 1]
    if not several:
        return untestable("all runs with the same seed went to their limit of epochs")
    return _largest_range(several, 0)


def _epochs(run: RecordedRun) -> float | None:
    return run.epochs_run


def _repeats(runs: Runs) -> list[list[RecordedRun]]:
    """The runs of equal settings, device and seed."""
    return [
        [run for run in same if run.seed == seed]
        for same in alike(runs)
        for seed in {run.seed for run in same} - {None}
    ]


def _largest_range(several: Sequence[Sequence[float]], digits: int) -> Verdict:
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
