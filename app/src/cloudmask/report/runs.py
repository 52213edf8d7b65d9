"""One run as the report sees it, whether it left a run directory, a log or a line in a paper."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cloudmask.errors import InputError
from cloudmask.record import recorded_provenance, rules
from cloudmask.record.result import (
    BENCHMARK_LABELS,
    CalibrationBin,
    ClassifierScores,
    Confusion,
    Inference,
    Result,
    System,
    Training,
)
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report.run_settings import LARGEST, LONGEST, decisive, flat
from cloudmask.report.stopwatches import read_stopwatch
from cloudmask.scenes.slstr import LABEL_NAMES
from cloudmask.system.text import one_line, plural

SCORES = ("iou", "precision", "recall", "f1", "skill", "brier", "calibration_error")
UNKNOWN = "data unknown"
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass
class RecordedEvaluation:
    """Whole scenes classified once.

    data: what the scenes are, None where nobody says. accuracy, scores: fractions between 0 and 1;
    accuracy_all_pixels: with the pixels that were not measured or have no label, as clear, which is
    how published results count;
    per_scene: accuracy of each scene by its name, or by its rank where the log gives no names;
    constant: every pixel got the same class; seconds: all of it; seconds_per_scene: the network
    alone; seconds_per_scene_all: with reading and writing, as published times are.
    """

    where: str
    data: str | None = None
    tiling: str | None = None
    precision: str | None = None
    options: dict = field(default_factory=dict)
    accuracy: float | None = None
    accuracy_all_pixels: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    per_scene: dict[str, float] = field(default_factory=dict)
    calibration: tuple[CalibrationBin, ...] = ()
    seconds: float | None = None
    seconds_per_scene: float | None = None
    seconds_per_scene_all: float | None = None
    pictures: Path | None = None
    constant: bool = False

    @property
    def tested_on(self) -> str:
        """The scenes, and the labels where they are not the benchmark's: what accuracies are of."""
        return described(self.data, self.labels)

    @property
    def labels(self) -> str | None:
        """The label source judged by; None where nobody says."""
        return self.options.get("truth")


@dataclass
class RecordedRun:
    """Facts of one run; None, or empty, where they are not known. Times in seconds.

    origin: "run", "log" or "paper"; source: whose; path: what was read. settings: the flat
    hyper-parameters that all repeats have. history: per curve of CURVES, and `seconds`, a value per
    epoch. data: checksum of the patches; trained_on: what they were cut from. times: `start_up`,
    `staging`, `first_epoch`, `later_epochs`, `training` (both of these, where the log does not
    separate them), `inference`.
    """

    name: str
    origin: str
    source: str
    path: str
    machine: str | None = None
    device: str | None = None
    workers: int | None = None
    nodes: int | None = None
    precision: str | None = None
    settings: dict = field(default_factory=dict)
    early_stopping: bool | None = None
    seed: int | None = None
    epochs_set: int | None = None
    epochs_run: int | None = None
    best_epoch: int | None = None
    stopped_early: bool = False
    accuracy: float | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    seconds_per_epoch: float | None = None
    patches_per_second: float | None = None
    data_wait: float | None = None
    joules: float | None = None
    attempts: int = 1
    history: dict[str, list[float]] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    evaluations: list[RecordedEvaluation] = field(default_factory=list)
    code: str | None = None
    data: str | None = None
    trained_on: str | None = None
    log_problems: list[str] | None = None
    set_aside: bool = False
    shared_node: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def test(self) -> RecordedEvaluation:
        """The evaluation that counts: the run's own, or the first that was made of it."""
        return self.evaluations[0] if self.evaluations else RecordedEvaluation("none")

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy over whole scenes; of own runs over the pixels that were measured."""
        return self.test.accuracy

    @property
    def published_accuracy(self) -> float | None:
        """Test accuracy as the paper and the target count it; None where that was not recorded."""
        return self.test.accuracy_all_pixels

    @property
    def training_seconds(self) -> float | None:
        """Seconds in epochs, all attempts together."""
        parts = [self.times.get(name) for name in ("first_epoch", "later_epochs", "training")]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None


def described(data: str | None, labels: str | None) -> str:
    """Scenes in words, with the label source unless it is the benchmark's, or is not known."""
    if labels in (None, BENCHMARK_LABELS):
        return data or UNKNOWN
    return f"{data or UNKNOWN}, labels: {LABEL_NAMES.get(labels, labels)}"


def number(section: Mapping, key: str) -> float | None:
    """`section[key]` as a number up to LARGEST, None otherwise; text of a number counts."""
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        value = float(value)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) <= LARGEST else None


def whole(section: Mapping, key: str) -> int | None:
    """`section[key]` as a whole number, None if it is none."""
    value = number(section, key)
    return None if value is None else int(value)


def text(section: Mapping, key: str) -> str | None:
    """`section[key]` if it is a text that is not empty, else None."""
    value = section.get(key)
    return value if isinstance(value, str) and value else None


def read_run(directory: RunDirectory, name: str) -> RecordedRun:
    """Read a finished run directory, or the output folder of an evaluation.

    Raises InputError if its result is missing or damaged; what else is damaged becomes a note.
    """
    result = directory.read_result()
    run = RecordedRun(name, "run", "own", str(directory))
    _describe(run, result)
    if training := result.training:
        _add_training(run, training)
    run.joules = result.energy.joules if result.energy else None
    if result.inference:
        run.evaluations.append(_evaluation(result.inference, "in the run", directory))
    for folder in directory.evaluations():
        _note(run, folder.result, functools.partial(_add_evaluation, run, folder))
    _note(run, directory.history, lambda: _add_history(run, directory))
    _note(run, directory.provenance, lambda: _add_provenance(run, directory))
    if directory.log.exists():
        _note(run, directory.log, lambda: _add_problems(run, directory))
    _split_time(run, directory, training)
    return run


def _describe(run: RecordedRun, result: Result) -> None:
    # Neither is ever missing, so that a default of today says nothing of the run.
    leaves = flat(result.experiment)
    enabled = leaves.get("early_stopping.enabled")
    run.early_stopping = enabled if isinstance(enabled, bool) else None
    run.epochs_set = whole(leaves, "training.epochs")
    run.seed = whole(result.experiment, "seed")
    run.settings = decisive(result.experiment)
    system = result.system or System()
    run.machine = system.host or None
    run.device = device_name(system.gpu or system.cpu)
    run.workers = system.replicas or system.gpus or 1
    run.nodes = system.nodes
    run.precision = system.precision or None
    others = system.other_jobs
    run.shared_node = bool(
        others and (others.jobs or others.busy_processes or others.gpu_processes)
    )


def checked(run: RecordedRun) -> RecordedRun:
    """The run with every text in one line of at most LONGEST characters.

    Raises InputError if it holds a number that is not finite or larger than any that is measured:
    no figure could show it beside others.
    """
    path = run.path  # It names files, and is shown by who knows that.
    run = _checked(run, run.path)
    run.path = path
    return run


def _checked(value: Any, where: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        parts = {entry.name: getattr(value, entry.name) for entry in fields(value)}
        return type(value)(
            **{key: _checked(part, f"{where}: {key}") for key, part in parts.items()}
        )
    if isinstance(value, BaseModel):
        _checked(value.model_dump(), where)
    if isinstance(value, dict):
        return {_checked(key, where): _checked(v, f"{where} {key}") for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_checked(item, where) for item in value)
    if isinstance(value, str):
        return one_line(value)[:LONGEST]
    if isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        raise InputError(f"{where}: expected a number of at most {LARGEST:g}, found another")
    return value


def _add_training(run: RecordedRun, training: Training) -> None:
    run.trained_on = training.data.text() if training.data else None
    run.epochs_run = training.epochs_run
    run.best_epoch = training.best_epoch
    run.stopped_early = training.stopped_early
    run.accuracy = training.accuracy
    run.val_accuracy = training.val_accuracy
    run.val_loss = training.val_loss
    run.seconds_per_epoch = training.seconds_per_epoch
    run.patches_per_second = training.patches_per_second
    run.data_wait = training.data_wait_fraction
    run.attempts = training.attempts


def device_name(name: str | None) -> str | None:
    """A processor's name without what every name has: "Tesla V100-SXM2-16GB" becomes "V100"."""
    if not isinstance(name, str):
        return None
    for noise in ("(R)", "(TM)", "NVIDIA", "Tesla", "Processor", "CPU", "GeForce"):
        name = name.replace(noise, "")
    parts = re.sub(r"@.*|-(SXM|PCI).*", "", name).split()
    return " ".join(part for part in parts if not part.endswith("-Core")) or None


def _evaluation(inference: Inference, where: str, folder: RunDirectory) -> RecordedEvaluation:
    for entry in inference.calibration:
        if not (0 <= entry.probability <= 1 and 0 <= entry.cloud <= 1 and entry.pixels >= 0):
            raise InputError(f"{folder.result}: 'calibration': expected fractions and counts")
    scenes, per_scene = inference.scenes, inference.seconds_per_scene_all
    accuracies = inference.accuracy_per_scene.items()
    return RecordedEvaluation(
        where=where,
        data=inference.data.text() if inference.data else None,
        tiling=inference.tiling or None,
        precision=inference.computed_in or None,
        options={key: getattr(inference, key) for key in ("truth", "nan", "threshold")},
        accuracy=inference.accuracy,
        accuracy_all_pixels=inference.accuracy_all_pixels,
        scores=_known(inference, SCORES),
        baselines={
            name: _known(scores, ("accuracy", *SCORES))
            for name, scores in inference.baselines.items()
        },
        per_scene={name: value for name, value in accuracies if value is not None},
        calibration=inference.calibration,
        seconds=scenes * per_scene if scenes and per_scene else None,
        seconds_per_scene=inference.seconds_per_scene,
        seconds_per_scene_all=per_scene,
        pictures=folder.pictures if folder.pictures.is_dir() else None,
        constant=inference.confusion is not None and _is_constant(inference.confusion),
    )


def _known(scores: ClassifierScores, names: Sequence[str]) -> dict[str, float]:
    """Those of the scores that are defined."""
    return {name: value for name in names if (value := getattr(scores, name)) is not None}


def _is_constant(table: Confusion) -> bool:
    """Whether every pixel got the same class."""
    return not (table.hits or table.false_alarms) or not (table.misses or table.rejections)


def _add_evaluation(run: RecordedRun, folder: RunDirectory) -> None:
    inference = folder.read_result().inference
    if inference is None:
        raise InputError(f"{folder.result}: no 'inference'; expected the result of an evaluation")
    run.evaluations.append(_evaluation(inference, folder.path.name, folder))


def _add_history(run: RecordedRun, directory: RunDirectory) -> None:
    epochs = directory.read_history()
    if run.epochs_run not in (None, len(epochs)):
        raise InputError(
            f"{directory.history}: has {plural(len(epochs), 'epoch')}, {directory.result.name} "
            f"has {run.epochs_run}"
        )
    for curve in (*CURVES, "seconds"):
        run.history[curve] = [getattr(epoch, curve) for epoch in epochs]


def _add_provenance(run: RecordedRun, directory: RunDirectory) -> None:
    facts = recorded_provenance.read(directory.provenance, "git", "versions")
    git, versions = facts.git, facts.versions
    commit = (git.commit or "commit unknown")[:12] + ("-dirty" if git.dirty else "")
    run.code = f"{versions.get('cloudmask')}, {commit}, TensorFlow {versions.get('tensorflow')}"
    run.data = (facts.data.checksum or None) if facts.data else None


def _add_problems(run: RecordedRun, directory: RunDirectory) -> None:
    run.log_problems = rules.problems(directory.log)


def _note(run: RecordedRun, path: Path, read: Callable[[], None]) -> None:
    """Read one more file of a run; what is wrong with it becomes a note, not an error."""
    if not path.exists():
        run.notes.append(f"{path.name} is missing")
        return
    try:
        read()
    except MemoryError:
        raise
    except Exception as error:  # What is in a damaged file can make a reader raise anything.
        run.notes.append(f"{path.name} is damaged ({reason(error, path)})")


def reason(error: Exception, path: Path) -> str:
    """The error in one line, without the path that is shown beside it."""
    return one_line(str(error).removeprefix(f"{path}: ")) or type(error).__name__


def _split_time(run: RecordedRun, directory: RunDirectory, training: Training | None) -> None:
    timers: dict[str, float] = {}
    summary = directory.summary
    if summary.exists():
        _note(run, summary, lambda: timers.update(read_stopwatch(summary).seconds))
    seconds = training.seconds if training else None
    first = training.first_epoch_seconds if training else None
    parts = {
        "start_up": timers.get("init"),
        "staging": training.staging_seconds if training else None,
        "first_epoch": first,
        "later_epochs": None if seconds is None or first is None else max(seconds - first, 0.0),
        "inference": timers.get("inference") or run.test.seconds,
    }
    run.times = {name: value for name, value in parts.items() if value is not None}
