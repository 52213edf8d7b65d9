"""One run as the report sees it, whether it left a run directory, a log or a line in a paper."""

import csv
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record import result, rules
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report.stopwatches import read_stopwatch

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
# Settings that name a run, or that a repeat may vary without becoming another experiment.
NOT_DECISIVE = ("name", "seed", "config_sha256", "precision", "submission", "checkpoint")


@dataclass
class RecordedEvaluation:
    """Whole scenes classified once.

    accuracy, scores: shares between 0 and 1; per_scene: accuracy of each scene by its name, or by
    its rank where the log gives no names; constant: every pixel got the same class; seconds: all
    of it, seconds_per_scene: the network alone.
    """

    where: str
    tiling: str | None = None
    precision: str | None = None
    options: dict = field(default_factory=dict)
    accuracy: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    per_scene: dict[str, float] = field(default_factory=dict)
    calibration: list[dict[str, float]] = field(default_factory=list)
    seconds: float | None = None
    seconds_per_scene: float | None = None
    pictures: Path | None = None
    constant: bool = False


@dataclass
class RecordedRun:
    """Facts of one run; None, or empty, where they are not known. Times in seconds.

    origin: "run", "log" or "paper"; source: whose; path: what was read. settings: the flat
    hyper-parameters that repeats share. history: per curve of CURVES, and `seconds`, a value per
    epoch. times: `start_up`, `staging`, `first_epoch`, `later_epochs`, `training` (both of these,
    where the log does not tell them apart), `inference`.
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
    deterministic: bool = False
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
    log_problems: list[str] | None = None
    set_aside: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def test(self) -> RecordedEvaluation:
        """The evaluation that counts: the run's own, or the first that was made of it."""
        return self.evaluations[0] if self.evaluations else RecordedEvaluation("none")

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy over whole scenes, as the benchmark defines it."""
        return self.test.accuracy

    @property
    def training_seconds(self) -> float | None:
        """Seconds in epochs, all attempts together."""
        parts = [self.times.get(name) for name in ("first_epoch", "later_epochs", "training")]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None


def number(section: Mapping, key: str) -> float | None:
    """`section[key]` as a finite number, None if it is anything else; text of a number counts."""
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        value = float(value)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole(section: Mapping, key: str) -> int | None:
    """`section[key]` as a whole number, None if it is none."""
    value = number(section, key)
    return None if value is None else int(value)


def text(section: Mapping, key: str) -> str | None:
    """`section[key]` if it is a text that is not empty, else None."""
    value = section.get(key)
    return value if isinstance(value, str) and value else None


def flat(tree: Mapping, prefix: str = "") -> dict:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    leaves = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def read_run(folder: Path, name: str) -> RecordedRun:
    """Read a finished run directory, or the output folder of an evaluation.

    Raises InputError if its result is missing or damaged; what else is damaged becomes a note.
    """
    outcome = result.read_result(folder)
    sections = (outcome.get(key, {}) for key in result.SECTIONS)
    experiment, training, inference, system, energy = sections
    run = RecordedRun(name, "run", "own", str(folder))
    _describe(run, experiment, system)
    run.epochs_run = whole(training, "epochs_run")
    run.best_epoch = whole(training, "best_epoch")
    run.stopped_early = training.get("stopped_early") is True
    run.accuracy = number(training, "accuracy")
    run.val_accuracy = number(training, "val_accuracy")
    run.val_loss = number(training, "val_loss")
    run.seconds_per_epoch = number(training, "seconds_per_epoch")
    run.patches_per_second = number(training, "patches_per_second")
    run.data_wait = number(training, "data_wait_fraction")
    run.attempts = whole(training, "attempts") or 1
    run.joules = number(energy, "joules")
    if inference:
        run.evaluations.append(_evaluation(inference, "in the run", folder))
    for path in sorted(folder.glob("evaluation*/")):
        _note(run, path / result.NAME, lambda p: run.evaluations.append(_read_evaluation(p)))
    _note(run, folder / "history.csv", lambda path: run.history.update(_read_history(path)))
    _note(run, RunDirectory(folder).provenance, lambda path: _read_provenance(run, path))
    if (folder / "mlperf.log").exists():
        _note(run, folder / "mlperf.log", lambda path: _check_log(run, path))
    _split_time(run, folder, training)
    return run


def _describe(run: RecordedRun, experiment: Mapping, system: Mapping) -> None:
    leaves = flat(experiment)
    decisive = {k: v for k, v in leaves.items() if k.split(".")[0] not in NOT_DECISIVE}
    decisive.pop("training.precision", None)  # the one it chose is in the system
    enabled = decisive.get("early_stopping.enabled")
    run.early_stopping = enabled if isinstance(enabled, bool) else None
    if run.early_stopping is False:
        decisive = {k: v for k, v in decisive.items() if not k.startswith("early_stopping.")}
    run.settings = {k: v for k, v in decisive.items() if k != "early_stopping.enabled"}
    run.settings.pop("evaluation.tiling", None)
    run.deterministic = leaves.get("training.deterministic") is True
    run.seed = whole(experiment, "seed")
    run.epochs_set = whole(leaves, "training.epochs")
    run.machine = text(system, "host")
    run.device = device_name(text(system, "gpu") or text(system, "cpu"))
    run.workers = whole(system, "replicas") or whole(system, "gpus") or 1
    run.nodes = whole(system, "nodes")
    run.precision = text(system, "precision")


def device_name(name: str | None) -> str | None:
    """A processor's name without what every name has: "Tesla V100-SXM2-16GB" becomes "V100"."""
    if not isinstance(name, str):
        return None
    for noise in ("(R)", "(TM)", "NVIDIA", "Tesla", "Processor", "CPU", "GeForce"):
        name = name.replace(noise, "")
    words = re.sub(r"@.*|-(SXM|PCI).*", "", name).split()
    return " ".join(word for word in words if not word.endswith("-Core")) or None


def _evaluation(inference: Mapping, where: str, folder: Path) -> RecordedEvaluation:
    scores = ("iou", "precision", "recall", "f1", "skill", "brier", "calibration_error")
    known = {name: number(inference, name) for name in scores}
    scenes, per_scene = whole(inference, "scenes"), number(inference, "seconds_per_scene_all")
    accuracies = inference.get("accuracy_per_scene")
    accuracies = accuracies if isinstance(accuracies, Mapping) else {}
    bins = inference.get("calibration")
    pictures = folder / "pictures"
    return RecordedEvaluation(
        where=where,
        tiling=text(inference, "tiling"),
        precision=text(inference, "computed_in"),
        options={key: inference.get(key) for key in ("truth", "nan", "threshold")},
        accuracy=number(inference, "accuracy"),
        scores={name: value for name, value in known.items() if value is not None},
        baselines=_baselines(inference),
        per_scene={k: v for k in accuracies if (v := number(accuracies, k)) is not None},
        calibration=bins if isinstance(bins, list) else [],
        seconds=scenes * per_scene if scenes and per_scene else None,
        seconds_per_scene=number(inference, "seconds_per_scene"),
        pictures=pictures if pictures.is_dir() else None,
        constant=_is_constant(inference.get("confusion")),
    )


def _is_constant(confusion) -> bool:
    if not isinstance(confusion, Mapping):
        return False
    hits, false_alarms, misses, rejections = (
        number(confusion, key) for key in ("hits", "false_alarms", "misses", "rejections")
    )
    return (hits, false_alarms) == (0, 0) or (misses, rejections) == (0, 0)


def _baselines(inference: Mapping) -> dict[str, dict[str, float]]:
    found = inference.get("baselines")
    if not isinstance(found, Mapping):
        return {}
    return {
        name: {k: v for k in scores if (v := number(scores, k)) is not None}
        for name, scores in found.items()
        if isinstance(scores, Mapping)
    }


def _read_evaluation(path: Path) -> RecordedEvaluation:
    inference = result.read_result(path).get("inference", {})
    return _evaluation(inference, path.parent.name, path.parent)


def _read_history(path: Path) -> dict[str, list[float]]:
    with path.open(newline="", encoding="utf-8") as handle:
        head, *rows = csv.reader(handle)
    columns = dict(zip(head, zip(*rows, strict=True), strict=True))
    return {name: [float(cell) for cell in columns[name]] for name in (*CURVES, "seconds")}


def _read_provenance(run: RecordedRun, path: Path) -> None:
    facts = json.loads(path.read_text(encoding="utf-8"))
    git, versions = facts["git"], facts["versions"]
    commit = (git["commit"] or "commit unknown")[:12] + ("-dirty" if git["dirty"] else "")
    run.code = f"{versions['cloudmask']}, {commit}, TensorFlow {versions['tensorflow']}"
    run.data = (facts["data"] or {}).get("checksum")


def _check_log(run: RecordedRun, path: Path) -> None:
    run.log_problems = rules.problems(path)


def _note(run: RecordedRun, path: Path, read) -> None:
    """Read one more file of a run; what is wrong with it is told, not raised."""
    try:
        read(path)
    except FileNotFoundError:
        run.notes.append(f"{path.name} is missing")
    except InputError as error:
        run.notes.append(str(error).replace(str(path), path.name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        reason = type(error).__name__ if not str(error) else str(error).split("\n")[0]
        run.notes.append(f"{path.name} is damaged ({reason})")


def _split_time(run: RecordedRun, folder: Path, training: Mapping) -> None:
    timers: dict[str, float] = {}
    if (folder / "summary.txt").exists():
        _note(run, folder / "summary.txt", lambda path: timers.update(read_stopwatch(path).seconds))
    seconds, first = number(training, "seconds"), number(training, "first_epoch_seconds")
    parts = {
        "start_up": timers.get("init"),
        "staging": number(training, "staging_seconds"),
        "first_epoch": first,
        "later_epochs": None if seconds is None or first is None else max(seconds - first, 0.0),
        "inference": timers.get("inference") or run.test.seconds,
    }
    run.times = {name: value for name, value in parts.items() if value is not None}
