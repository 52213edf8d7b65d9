"""What of a run can be laid beside the paper: the same data, stopping rule and hardware or not."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloudmask.errors import InputError
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report.collection import Collection
from cloudmask.report.groups import Group
from cloudmask.report.published_paper import GREENE, paper
from cloudmask.report.runs import RecordedRun, described
from cloudmask.scenes import dataset
from cloudmask.system.text import named, plural

PUBLIC = dataset.NAME
UNKNOWN = f"data not known to be {PUBLIC}"
FILTERS = 32  # of the first level of the published network
DEVICE = "V100"


class Labeled(Protocol):
    """Runs under a label: a group, or a machine."""

    @property
    def label(self) -> str:
        """What a reader knows them by."""

    @property
    def runs(self) -> tuple[RecordedRun, ...]:
        """At least one."""


@dataclass(frozen=True)
class DataOrigin:
    """public: the scenes judged are those of the paper, by the run's own record; text: what is."""

    public: bool
    text: str


def data_of(run: RecordedRun) -> DataOrigin:
    """Which scenes a run was judged by; what no record says is not taken for the paper's."""
    if run.origin == "paper":
        return DataOrigin(True, PUBLIC)
    if run.origin == "run":
        return _recorded(run.path, _stamp(run.path))
    return DataOrigin(False, UNKNOWN)


def _stamp(path: str) -> int:
    """By which a result that was written again is told from the one that was read."""
    try:
        return RunDirectory(path).result.stat().st_mtime_ns
    except OSError:
        return 0


@functools.cache
def _recorded(path: str, stamp: int) -> DataOrigin:
    """What `result.json` says of the scenes; it does so where the evaluation wrote it down."""
    try:
        result = RunDirectory(path).read_result()
    except (InputError, OSError):
        return DataOrigin(False, UNKNOWN)
    if result.inference is None or result.inference.data is None:
        return DataOrigin(False, UNKNOWN)
    text = described(result.inference.data.text(), result.inference.truth)
    trained = result.training.data if result.training else None
    if trained is not None and set(trained.origins) != {PUBLIC}:
        return DataOrigin(False, f"{text}, trained on {trained.text()}")
    return DataOrigin(trained is not None and result.inference.of_benchmark, text)


def protocol_differences(run: RecordedRun) -> list[str]:
    """In what the training differs from the paper's, where that is known: "batch 4, not 32"."""
    facts = paper().facts
    expected = {
        "training.batch_size": ("batch", facts["batch_size"]),
        "training.learning_rate": ("learning rate", facts["learning_rate"]),
        "model.filters": ("filters", FILTERS),
    }
    if run.early_stopping is not False:
        expected["early_stopping.patience"] = ("patience", facts["patience"])
    found = [] if run.early_stopping is not False else ["no early stopping"]
    known = {key: run.settings.get(key) for key in expected}
    found += [
        f"{name} {known[key]}, not {value}"
        for key, (name, value) in expected.items()
        if known[key] is not None and known[key] != value
    ]
    if run.epochs_set is not None and run.epochs_set != facts["limit"]:
        found.append(f"at most {plural(run.epochs_set, 'epoch')}, not {facts['limit']}")
    return found


def protocol_unknown(run: RecordedRun) -> bool:
    """Whether the run does not say how it was stopped."""
    return run.early_stopping is None or run.epochs_set is None


def last_accuracy(run: RecordedRun) -> float | None:
    """Training accuracy of the last epoch, which table 4 has; a run's own is of the kept one."""
    values = run.history.get("accuracy")
    return values[-1] if values and run.origin == "run" else run.accuracy


def hardware_of(run: RecordedRun) -> str:
    """Device and workers: "A100 ×2"; "" where neither is known."""
    count = f" ×{run.workers}" if run.workers and run.workers > 1 else ""
    return f"{run.device}{count}" if run.device else ""


def ours(found: Collection) -> list[Group]:
    """The groups of runs that are not the paper's own."""
    return [group for group in found.groups if group.runs[0].origin != "paper"]


def has_paper(found: Collection) -> bool:
    """Whether the published results belong to the report."""
    return any(run.origin == "paper" and run.source == GREENE for run in found.runs)


def runs_of(groups: Iterable[Group]) -> list[RecordedRun]:
    """The runs of all the groups."""
    return [run for group in groups for run in group.runs]


def data_line(members: Sequence[Labeled]) -> str:
    """On the data of groups beside the paper's: which group is over which, where they differ."""
    by_data = _by_data(members)
    same = [name for data in [*by_data] if data.public for name in by_data.pop(data)]
    if not by_data:
        return f"Same data: {PUBLIC}." if same else ""
    comparable = f"Same data, {PUBLIC}: {named(same)}. " if same else ""
    apart = ", not comparable with each other either" if len(by_data) > 1 else ""
    return (
        f"{comparable}Not comparable in accuracy or loss: the paper's scenes are {PUBLIC}, of "
        f"these runs{apart}: {_listing(by_data, len(by_data) > 1 or bool(same))}."
    )


def work_line(members: Sequence[Labeled]) -> str:
    """One sentence on the amount of data, which times depend on, of groups or machines."""
    by_data = _by_data(members)
    if all(data.public for data in by_data):
        return ""
    return f"Times compare only over as much data: {_listing(by_data, len(by_data) > 1)}."


def _by_data(members: Sequence[Labeled]) -> dict[DataOrigin, list[str]]:
    """The labels of the groups or machines that have runs over each data."""
    found: dict[DataOrigin, dict[str, None]] = {}
    for member in members:
        for run in member.runs:
            found.setdefault(data_of(run), {})[member.label] = None
    return {data: list(found[data]) for data in sorted(found, key=lambda data: data.text)}


def _listing(by_data: Mapping[DataOrigin, Sequence[str]], whose: bool) -> str:
    """The data in words; `whose`: with the labels of those who have them."""
    return "; ".join(
        f"{data.text} ({named(labels)})" if whose else data.text for data, labels in by_data.items()
    )


def protocol_line(runs: Sequence[RecordedRun]) -> str:
    """One sentence on the stopping rule and the settings of training."""
    if not runs:
        return ""
    differences = list(dict.fromkeys(line for run in runs for line in protocol_differences(run)))
    if differences:
        return f"Other training than the paper's: {'; '.join(differences)}."
    if any(protocol_unknown(run) for run in runs):
        return "Stopping rule not known for all of these runs."
    return "Same stopping rule and training settings."


def hardware_line(runs: Sequence[RecordedRun], published: str) -> str:
    """One sentence on the devices beside the `published` ones."""
    devices = sorted({hardware_of(run) for run in runs} - {""})
    if not devices:
        return ""
    same = devices == [published]
    return "Same hardware." if same else f"Other hardware: {', '.join(devices)}; there {published}."


def caption(*parts: str) -> str:
    """The sentences that are not empty, in one line."""
    return " ".join(part for part in parts if part)
