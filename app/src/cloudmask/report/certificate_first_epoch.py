"""The claim that the first epoch costs more than the later ones, put to each machine by itself."""

import statistics
from dataclasses import dataclass

from cloudmask.report.certificate_tests import Runs, Verdict, described, judged, untestable
from cloudmask.report.published_paper import Paper
from cloudmask.report.runs import RecordedRun
from cloudmask.report.statistics import available, quantile
from cloudmask.report.timing import Machine, machines

# Of Rivanna's totals: what the first epoch costs in later ones, and how near "about" is.
RATIOS = {"A100": 30, "V100": 13}
ABOUT = 0.1
NO_TIMES = "no run has the time of its first epoch, no machine runs of other lengths"
TOTALS_READ = "a run of one epoch in epochs of the fitted line, start-up included"


@dataclass(frozen=True)
class _FirstEpoch:
    """ratio: in later epochs; longer: whether it is, None where the runs cannot tell."""

    text: str
    ratio: float
    longer: bool | None


def first_is_longest(runs: Runs) -> Verdict:
    """Whether on every machine the first epoch takes longer than the later ones.

    By its own time where that is known, else by the line through runs of different lengths: what it
    has beyond the cost per epoch is paid once. A line decides where that is more than its error at
    LEVEL; two lengths always lie on a line, whose error nobody knows.
    """
    found = [first for machine in machines(runs) if (first := _first_epoch(machine))]
    told = [first for first in found if first.longer is not None]
    reason = "compiling the training step included"
    if silent := [first.text for first in found if first.longer is None]:
        reason += "; undecided, since the error of the line is not known or too large: "
        reason += ", ".join(silent)
    if told:
        numbers = ", ".join(first.text for first in told)
        holds = all(first.longer for first in told)
        return judged(holds, f"first in later epochs, {numbers}", reason)
    if found:
        return untestable(reason)
    return untestable(NO_TIMES)


def _first_epoch(machine: Machine) -> _FirstEpoch | None:
    measured = [ratio for run in machine.runs if (ratio := _measured(run)) is not None]
    if measured:
        text = f"{machine.label} {described(measured, 1)}"
        ratio = statistics.fmean(measured)
        return _FirstEpoch(text, ratio, ratio > 1)
    line = machine.line
    if line is None or line.slope <= 0:
        return None
    lengths = sorted({epochs for epochs, _ in machine.points})
    listing = ", ".join(map(str, lengths))
    ratio = 1 + line.fixed / line.slope
    text = f"{machine.label} {ratio:.1f} (fit of {listing} epochs)"
    if line.fixed_error is None or not available():
        return _FirstEpoch(text, ratio, None)
    half = quantile(line.n - 2) * line.fixed_error
    return _FirstEpoch(text, ratio, line.fixed > 0 if abs(line.fixed) > half else None)


def _measured(run: RecordedRun) -> float | None:
    first, later = run.times.get("first_epoch"), run.times.get("later_epochs")
    if not first or not later or not run.epochs_run or run.epochs_run < 2:
        return None
    return first / (later / (run.epochs_run - 1))


def on_rivanna(run: RecordedRun) -> str:
    """Why the run's first epoch is not of the machines whose ratio is published; "" if it is."""
    place = f"{run.source} {run.machine or ''}"
    if "Rivanna" in place and run.device in RATIOS and (run.workers or 1) == 1:
        return ""
    return f"other machines than Rivanna with one {' or '.join(RATIOS)}"


def first_as_published(runs: Runs) -> Verdict:
    """Whether the first epoch costs about as many later ones as published for each device."""
    found = [
        (RATIOS.get(machine.runs[0].device or ""), first)
        for machine in machines(runs)
        if (first := _first_epoch(machine))
    ]
    if not found:
        return untestable(NO_TIMES)
    numbers = f"first in later epochs, {', '.join(first.text for _, first in found)}"
    told = [(expected, first) for expected, first in found if first.longer is not None]
    if not told:
        return untestable("the error of the line is not known or too large", numbers)
    near = [expected and abs(first.ratio / expected - 1) <= ABOUT for expected, first in told]
    return judged(all(near), numbers)


def first_of_totals_is_longest(paper: Paper) -> Verdict:
    """Whether a run of one epoch costs more than an epoch of each device's line."""
    found = _ratios(paper)
    return judged(min(found.values()) > 1, _listed(found), TOTALS_READ)


def first_of_totals(paper: Paper) -> Verdict:
    """What a run of one epoch costs in the totals of Rivanna, in epochs of each device's line."""
    found = _ratios(paper)
    near = all(abs(found[device] / expected - 1) <= ABOUT for device, expected in RATIOS.items())
    return judged(near, _listed(found), TOTALS_READ)


def _ratios(paper: Paper) -> dict[str, float]:
    return {m.runs[0].device or "": _one_in_later(m) for m in machines(paper.totals)}


def _listed(found: dict[str, float]) -> str:
    return ", ".join(f"{device} {ratio:.0f}" for device, ratio in found.items())


def _one_in_later(machine: Machine) -> float:
    """The run of one epoch over the cost per epoch; 0 where there is no line."""
    return min(machine.points)[1] / machine.line.slope if machine.line else 0.0
