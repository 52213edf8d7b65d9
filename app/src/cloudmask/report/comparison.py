"""Pairs of groups that differ in one thing only, and what that thing does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from cloudmask.report.groups import STOPPING, Group
from cloudmask.report.runs import RecordedRun
from cloudmask.report.statistics import PermutationTest, SampleSummary, compare, holm, summarize

# What the benchmark's readers ask for first.
FIRST = ("early stopping", "device", "device and precision", "precision", "tiling")
FEWEST = 2  # different runs on each side; of one alone nobody knows how far another would lie
MOST = 40  # comparisons shown; with more, each one alone means little

Samples = tuple[Sequence[float], Sequence[float]]
QUANTITIES: dict[str, Callable[[RecordedRun], float | None]] = {
    "test accuracy": lambda run: run.test_accuracy,
    "s per epoch": lambda run: run.seconds_per_epoch,
}


@dataclass(frozen=True)
class Comparison:
    """One quantity in two groups; `corrected` is p after Holm over all comparisons of a report.

    data: over which scenes, of both groups where they differ; None for times.
    """

    factor: str
    quantity: str
    names: tuple[str, str]
    summaries: tuple[SampleSummary, SampleSummary]
    test: PermutationTest
    corrected: float | None = None
    data: str | None = None


class _Pair(NamedTuple):
    """Two samples to be compared; the fields are those of Comparison."""

    factor: str
    quantity: str
    names: tuple[str, str]
    samples: Samples
    paired: bool
    data: str | None

    def compared(self) -> Comparison:
        first, second = self.samples
        summaries = (summarize(first), summarize(second))
        test = compare(first, second, self.paired)
        return Comparison(self.factor, self.quantity, self.names, summaries, test, data=self.data)


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """All of them, those of FIRST before others, no more than MOST."""
    found = [*_tilings(groups)]
    for index, first in enumerate(groups):
        for second in groups[index + 1 :]:
            factor = only_difference(first, second)
            if not factor:
                continue
            for name, quantity in QUANTITIES.items():
                # Repeats that are equal to the last digit are one observation.
                a, b = (list(dict.fromkeys(g.values(quantity))) for g in (first, second))
                if min(len(a), len(b)) >= FEWEST:
                    names = (first.label, second.label)
                    data = _data(name, first, second)
                    found.append(_Pair(factor, name, names, (a, b), False, data))
    found.sort(key=lambda c: FIRST.index(c.factor) if c.factor in FIRST else len(FIRST))
    # Tests take their time: only those that are shown are made.
    made = [pair.compared() for pair in found[:MOST]]
    corrected = holm([comparison.test.p for comparison in made])
    return [replace(c, corrected=p) for c, p in zip(made, corrected, strict=True)]


def _data(quantity: str, first: Group, second: Group) -> str | None:
    if "accuracy" not in quantity:
        return None
    return " against ".join(dict.fromkeys((first.tested_on, second.tested_on)))


def only_difference(first: Group, second: Group) -> str | None:
    """What sets two groups of one source apart; None for nothing, or for more than one thing."""
    names = dict.fromkeys([*first.factors, *second.factors])
    differing = [n for n in names if first.factors.get(n) != second.factors.get(n)]
    if "early stopping" in differing:
        # Its own settings exist only where it is on.
        differing = [name for name in differing if not name.startswith(STOPPING)]
    if differing == ["device", "precision"]:
        # A GPU brings the precision that it is fast in; named as what it is, two things at once.
        return "device and precision"
    return differing[0] if len(differing) == 1 and differing[0] != "source" else None


def _tilings(groups: Sequence[Group]) -> list[_Pair]:
    """The same models evaluated in two ways of tiling: pairs, since each run has both."""
    found = []
    for group in groups:
        both = [(run.evaluations, _tiled(run)) for run in group.runs]
        pairs = [tiled for evaluations, tiled in both if len(evaluations) > 1 and len(tiled) == 2]
        if not pairs:
            continue
        names = (f"{group.label}, whole", f"{group.label}, published")
        for name, quantity in (
            ("test accuracy", lambda evaluation: evaluation.accuracy),
            ("s per scene", lambda evaluation: evaluation.seconds_per_scene),
        ):
            values = [(quantity(p["whole"]), quantity(p["published"])) for p in pairs]
            known = [pair for pair in values if None not in pair]
            if len(known) >= FEWEST:
                a, b = zip(*known, strict=True)
                found.append(_Pair("tiling", name, names, (a, b), True, _data(name, group, group)))
    return found


def _tiled(run: RecordedRun) -> dict:
    """The last evaluation of each tiling, of those with the options of the run's first."""
    alike = [e for e in run.evaluations if e.options == run.test.options]
    alike = [e for e in alike if e.precision == run.test.precision]
    return {e.tiling: e for e in alike if e.tiling in ("whole", "published")}
