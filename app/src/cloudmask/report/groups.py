"""Groups of runs that repeat each other: equal in every setting that decides the result."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudmask.report.runs import UNKNOWN, RecordedRun, described
from cloudmask.report.statistics import SampleSummary, summarize
from cloudmask.system.text import named

ALWAYS_SHOWN = ("source", "device", "workers")
Quantity = Callable[[RecordedRun], float | None]
STOPPING = "early_stopping."
TEST_DATA, TRAINING_DATA = "test data", "training data"
# What is told of these by one run holds for others with the same patches, or scenes besides.
SAME = {TRAINING_DATA: ("patches",), TEST_DATA: ("patches", "scenes")}


@dataclass(frozen=True)
class Group:
    """Runs with equal factors.

    label: what distinguishes them from other groups; rest: what else differs.
    """

    label: str
    rest: str
    factors: dict
    runs: tuple[RecordedRun, ...]

    def summary(self, quantity: Quantity) -> SampleSummary | None:
        """Statistics of `quantity(run)` over the runs that have it; None if none has."""
        values = self.values(quantity)
        return summarize(values) if values else None

    def values(self, quantity: Quantity) -> list[float]:
        """`quantity(run)` of the runs that have it."""
        return [value for run in self.runs if (value := quantity(run)) is not None]

    @property
    def tested_on(self) -> str:
        """What the scenes are over which its test accuracies are; equal for all of its runs."""
        return described(self.factors.get(TEST_DATA), self.factors.get("evaluation truth"))

    @property
    def trained_on(self) -> str:
        """What its patches were cut from."""
        return self.factors.get(TRAINING_DATA) or UNKNOWN

    @property
    def by_names(self) -> int:
        """How many of its runs do not tell their test data: their scenes have the same names."""
        if TEST_DATA not in self.factors:
            return 0
        return sum(run.test_accuracy is not None and not run.test.data for run in self.runs)

    @property
    def best(self) -> RecordedRun:
        """The run with the highest test accuracy; without any, the highest in validation."""
        return max(
            self.runs,
            key=lambda run: (run.test_accuracy or 0.0, run.val_accuracy or 0.0, run.name),
        )


def group(runs: Sequence[RecordedRun]) -> list[Group]:
    """Groups in the order of their first runs; runs set aside by a later one belong to none."""
    members: dict[tuple, list[RecordedRun]] = defaultdict(list)
    factors: dict[tuple, dict] = {}
    counted = [run for run in runs if not run.set_aside]
    for run, found in zip(counted, _with_data([*map(factors_of, counted)]), strict=True):
        key = tuple(sorted((name, str(value)) for name, value in found.items()))
        factors.setdefault(key, found)
        members[key].append(run)
    labels = _labels(list(factors.values()))
    return [
        Group(label, rest, factors[key], tuple(members[key]))
        for (label, rest), key in zip(labels, factors, strict=True)
    ]


def data_note(groups: Sequence[Group], data: Callable[[Group], str]) -> str:
    """Which groups are over which data; "" where all are over the same."""
    by_data: dict[str, list[str]] = defaultdict(list)
    for one in groups:
        by_data[data(one)].append(one.label)
    if len(by_data) < 2:
        return ""
    listing = "; ".join(f"{text} ({named(labels)})" for text, labels in by_data.items())
    return f" Not comparable over different data: {listing}."


def _with_data(found: Sequence[dict]) -> Sequence[dict]:
    """The factors of runs, with the data that a run does not tell and an equal one does.

    Runs of older versions do not tell theirs. Patches are equal by their checksum; test scenes of
    equal names are taken for equal only where the patches are, too.
    """
    for name, same in SAME.items():
        told: dict[tuple, set[str]] = defaultdict(set)
        for factors in found:
            if name in factors:
                told[tuple(map(factors.get, same))].add(factors[name])
        for factors in found:
            texts = told.get(tuple(map(factors.get, same)), set())
            if name not in factors and len(texts) == 1 and all(key in factors for key in same):
                factors[name] = next(iter(texts))
    return found


def factors_of(run: RecordedRun) -> dict:
    """Everything that sets a run apart from others except its repeat; what is unknown is left out.

    The scenes judged count by their names, so that means are never taken over different ones.
    """
    settings = {k: v for k, v in run.settings.items() if k != "training.epochs"}
    options = {f"evaluation {key}": value for key, value in run.test.options.items()}
    factors = {
        "source": run.source,
        "device": run.device,
        "workers": run.workers,
        "nodes": run.nodes,
        "precision": run.precision,
        "early stopping": run.early_stopping,
        "tiling": run.test.tiling,
        "epochs": run.epochs_set,
        "patches": run.data and run.data[:8],
        TEST_DATA: run.test.data,
        TRAINING_DATA: run.trained_on,
        "scenes": _scenes(run),
        **settings,
        **options,
    }
    settings_known = {name: value for name, value in factors.items() if value is not None}
    # The threshold of the evaluation itself is the one that counted.
    if "evaluation threshold" in settings_known:
        settings_known.pop("evaluation.threshold", None)
    return settings_known


def _scenes(run: RecordedRun) -> str | None:
    names = sorted(run.test.per_scene)
    if not names:
        return None
    return f"{len(names)} ({hashlib.sha256(' '.join(names).encode()).hexdigest()[:6]})"


def _labels(factors: Sequence[dict]) -> list[tuple[str, str]]:
    """Label of each group, and what else differs from the other groups of its source.

    A label has as few of the differences as distinguish all groups of a source.
    """
    found = []
    for own in factors:
        siblings = [other for other in factors if other["source"] == own["source"]]
        chosen, rest = _distinguishing(siblings)
        parts = [own["source"], _device(own), *_phrases(own, chosen)]
        found.append((" · ".join(part for part in parts if part), ", ".join(_phrases(own, rest))))
    counts = Counter(label for label, _ in found)
    seen: Counter[str] = Counter()
    unique = []
    for label, others in found:
        seen[label] += 1
        unique.append((f"{label} #{seen[label]}" if counts[label] > 1 else label, others))
    return unique


def _distinguishing(siblings: Sequence[dict]) -> tuple[list[str], list[str]]:
    """Factors that distinguish the siblings, and the others in which they differ."""
    names = dict.fromkeys(name for factors in siblings for name in factors)
    varying = [name for name in names if _varies(siblings, name)]
    chosen = [name for name in varying if name in ALWAYS_SHOWN]
    apart = _kinds(siblings, chosen)
    for name in varying:
        if name not in chosen and _kinds(siblings, [*chosen, name]) > apart:
            chosen.append(name)
            apart = _kinds(siblings, chosen)
    return (
        [name for name in chosen if name not in ALWAYS_SHOWN],
        [name for name in varying if name not in chosen],
    )


def _varies(siblings: Sequence[dict], name: str) -> bool:
    if name.startswith(STOPPING):  # where it is off, its settings are not there
        siblings = [factors for factors in siblings if name in factors]
    return len({str(factors.get(name)) for factors in siblings}) > 1


def _kinds(siblings: Sequence[dict], names: Sequence[str]) -> int:
    return len({tuple(str(factors.get(name)) for name in names) for factors in siblings})


def _phrases(factors: dict, names: Sequence[str]) -> list[str]:
    return [_phrase(name, factors[name]) for name in names if name in factors]


def _device(factors: dict) -> str:
    workers = factors.get("workers") or 1
    name = factors.get("device", "")
    return f"{name} ×{workers}" if workers > 1 else name


def _phrase(name: str, value) -> str:
    if name == "early stopping":
        return "early stopping" if value else "no early stopping"
    if name == "precision":
        return str(value)
    if name == "tiling":
        return f"tiling {value}"
    if name in ("epochs", "nodes"):
        return f"{value} {name}" if value != 1 else f"1 {name[:-1]}"
    if name == TEST_DATA:
        return f"tested on {value}"
    if name == TRAINING_DATA:
        return f"trained on {value}"
    if name == "scenes":
        return f"{value} scenes"
    return f"{name.rpartition('.')[2]} {value}"
