"""Which runs may be submitted: a run as the rules want it, or every reason against it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmask.config.settings import Config, load_config, unidentified
from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.record import recorded_provenance
from cloudmask.record.compliance import findings
from cloudmask.record.recorded_provenance import Provenance
from cloudmask.record.result import BENCHMARK_LABELS, Inference, Result, System, Training
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes import dataset
from cloudmask.scenes.listing import inference_scenes
from cloudmask.system.text import named, plural

SETTINGS = "has another configuration than"
NAMED_SETTINGS = 4  # of those that differ
EXPECTED = "expected a finished run, an experiment, or a folder of them"
NEEDED = ("command", "git", "versions")  # of the provenance
DECLARE = "expected those, or --other-data TEXT that says what they are"


@dataclass(frozen=True)
class DataClaim:
    """Which data a submission says it is about: those of the benchmark, or `other_data`.

    scene_list: the list that `cloudmask-data` made, by which the claim is checked.
    """

    other_data: str | None = None
    scene_list: Path | None = None


BENCHMARK_DATA = DataClaim()


@dataclass(frozen=True)
class SubmittedRun:
    """A finished run with everything that a submission needs."""

    directory: RunDirectory
    config: Config
    provenance: Provenance
    result: Result
    training: Training
    inference: Inference
    system: System
    accuracy: float  # on whole inference scenes, 0 to 1

    @property
    def seed(self) -> int | str:
        """The seed that it ran with."""
        return self.config.seed

    @property
    def commit(self) -> str | None:
        """Commit of the code that ran."""
        return self.provenance.git.commit

    @property
    def version(self) -> str | None:
        """Version of the program that ran."""
        return self.provenance.versions.get("cloudmask")

    @property
    def patches_checksum(self) -> str | None:
        """Checksum of the patches that it was trained on."""
        return self.provenance.data.checksum if self.provenance.data else None


@dataclass(frozen=True)
class Reason:
    """What speaks against a submission, and in which run; None where it is not about one run."""

    folder: Path | None
    text: str


@dataclass(frozen=True)
class _ReadRun:
    """A run whose files could be read, whether or not it may be submitted."""

    directory: RunDirectory
    config: Config
    provenance: Provenance
    result: Result


class NotEligible(Exception):
    """A run cannot be submitted; `texts` are the reasons."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__("; ".join(texts))
        self.texts = list(texts)


def choose_runs(
    folders: Sequence[Path], descriptor: str, claim: DataClaim = BENCHMARK_DATA
) -> list[SubmittedRun]:
    """The runs in these folders, all of which can be submitted together.

    A folder is a run, an experiment, or holds some of either. Raises InputError with every reason
    for which the rules would refuse them.
    """
    if claim.scene_list and claim.other_data is not None:
        raise InputError(
            "--scene-list, --other-data: expected one; the list is of the benchmark's scenes"
        )
    runs: list[SubmittedRun] = []
    read: list[_ReadRun] = []
    directories, reasons = _run_directories(folders)
    for directory in directories:
        try:
            read.append(_read_run(directory))
            runs.append(_eligible(read[-1], claim))
        except NotEligible as error:
            reasons += [Reason(directory.path, text) for text in error.texts]
    reasons += _differences(read)
    if claim.other_data is not None and not claim.other_data.strip():
        reasons.append(Reason(None, "--other-data is empty; expected a description of the data"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", descriptor):
        text = f"--descriptor {descriptor!r}: expected letters, digits, points, dashes"
        reasons.append(Reason(None, text))
    if reasons:
        lines = _lines(reasons)
        count = "1 thing is" if len(lines) == 1 else f"{len(lines)} things are"
        listing = "".join(f"\n  {line}" for line in lines)
        raise InputError(f"no submission, {count} missing or wrong:{listing}")
    return runs


def _run_directories(folders: Sequence[Path]) -> tuple[list[RunDirectory], list[Reason]]:
    """The run directories in these folders, and why a folder has none."""
    found: list[RunDirectory] = []
    reasons = []
    for folder in folders:
        if not folder.is_dir():
            held = "is a file" if folder.exists() else "no such folder"
            reasons.append(Reason(folder, f"{held}; {EXPECTED}"))
        elif inside := _runs_in(folder):
            found += inside
        else:
            reasons.append(Reason(folder, f"holds no run; {EXPECTED}"))
    return found, reasons


def _runs_in(folder: Path, above: frozenset[Path] = frozenset()) -> list[RunDirectory]:
    """The runs in a folder; an experiment's stands for all rows of its plan.

    What lies in a run, such as its evaluations, belongs to it. above: the folders it lies in, to
    which a link may lead back.
    """
    if planned := plan.load(folder):
        return [planned.run(row) for row in planned.rows]
    run = RunDirectory(folder)
    if run.result.exists() or run.config.exists():
        return [run]
    above |= {folder.resolve()}
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    return [run for path in inside if path.resolve() not in above for run in _runs_in(path, above)]


def _read_run(directory: RunDirectory) -> _ReadRun:
    """Read one run; raises NotEligible."""
    if not directory.finished:
        raise NotEligible(
            [f"not finished; only a finished run has a {directory.result.name}"],
        )
    try:
        result = directory.read_result()
        config = load_config(directory.config)
        facts = recorded_provenance.read(directory.provenance, *NEEDED)
    except (InputError, OSError) as error:
        raise NotEligible([f"damaged: {error}"]) from None
    return _ReadRun(directory, config, facts, result)


def _eligible(run: _ReadRun, claim: DataClaim) -> SubmittedRun:
    """Judge one run; raises NotEligible."""
    log, result = run.directory.log.name, run.result
    try:
        texts = [f"{log}: {problem}" for problem in findings(run.directory.log)]
    except (InputError, OSError) as error:
        texts = [f"damaged: {error}"]
    training, inference, system = result.training, result.inference, result.system
    if inference is None or inference.accuracy is None:
        texts.append("no inference over whole scenes; train with --scenes")
    else:
        texts += _data_problems(inference, claim)
    texts += _code_problems(run.provenance)
    missing = unidentified(run.config.submission.model_dump())
    texts += [f"{key} is not set in its configuration" for key in missing]
    if training is None or system is None:
        name = run.directory.result.name
        texts.append(f"{name} has no training or no system; it is no training run")
    if texts or not (training and inference and system) or inference.accuracy is None:
        raise NotEligible(texts)
    return SubmittedRun(
        run.directory,
        run.config,
        run.provenance,
        result,
        training,
        inference,
        system,
        inference.accuracy,
    )


def _data_problems(inference: Inference, claim: DataClaim) -> list[str]:
    """What speaks against the inference scenes."""
    texts, data = [], inference.data
    seen = data.seen_in_training if data else None
    if data and seen:
        texts.append(f"its training saw {seen} of the {data.scenes} inference scenes")
    if claim.other_data is not None:
        if dataset.NAME in claim.other_data and not inference.of_benchmark:
            found = data.text() if data else "unknown scenes"
            texts.append(f"--other-data names {dataset.NAME}, but its result has {found}")
        return texts
    if data is None:
        texts.append(f"its result does not say which scenes were evaluated; {DECLARE}")
    elif not data.of_data_set:
        texts.append(f"evaluated {data.text()}, not the data set {dataset.NAME}; {DECLARE}")
    elif not data.of_benchmark:
        months = ", ".join(f"{count} of {month}" for month, count in data.months.items())
        texts.append(
            f"evaluated {plural(data.scenes, 'scene')} ({months or 'of unknown months'}), not the "
            f"{dataset.INFERENCE_SCENES} of {dataset.INFERENCE_MONTH} that the benchmark has; "
            f"{DECLARE}"
        )
    elif seen is None:
        texts.append("its result does not say whether the training saw the inference scenes")
    elif not seen and not inference.of_benchmark:
        texts.append(
            f"judged {inference.scenes} of {plural(data.scenes, 'scene')} by the label source "
            f"{inference.truth}; the benchmark judges all by {BENCHMARK_LABELS}; {DECLARE}"
        )
    elif claim.scene_list:
        others = set(inference.accuracy_per_scene) ^ inference_scenes(claim.scene_list)
        if others:
            texts.append(
                f"{plural(len(others), 'scene')} evaluated and not among the inference scenes of "
                f"{claim.scene_list}, or the other way round, such as {min(others)}"
            )
    return texts


def _code_problems(facts: Provenance) -> list[str]:
    if not facts.versions.get("cloudmask"):
        return ["the program's version is not known"]
    if not facts.git.commit:
        return ["the code's commit is not known; run from a checkout or image"]
    if facts.git.dirty:
        return ["the code had uncommitted changes; expected a commit as it is"]
    return []


def _differences(runs: Sequence[_ReadRun]) -> list[Reason]:
    """Where runs are no repeats of the first, as those of one submission are.

    Runs that cannot be submitted count as well, so that every reason is told at once.
    """
    reasons = []
    first: dict[str, tuple[RunDirectory, Any]] = {}
    for run in runs:
        for what, value in _common_facts(run).items():
            where, expected = first.setdefault(what, (run.directory, value))
            if value != expected:
                text = f"{what} {where}"
                if what == SETTINGS:
                    text += f": {named(_different(value, expected), NAMED_SETTINGS)}"
                reasons.append(Reason(run.directory.path, text))
    if len({run.directory.path.resolve() for run in runs}) < len(runs):
        reasons.append(Reason(None, "the same run is given twice"))
    return reasons


def _common_facts(run: _ReadRun) -> dict[str, Any]:
    """What is the same in all runs of one submission, by what to say where it is not.

    What a run lacks is left out: that is a reason of its own.
    """
    result, patches = run.result, run.provenance.data
    facts: dict[str, Any] = {
        # The seeds may differ: MLPerf's HPC rules want them distinct.
        SETTINGS: {
            key: value
            for key, value in _flat(result.experiment).items()
            if key not in ("seed", "config_sha256")
        },
        "was trained on other patches than": patches.checksum if patches else None,
    }
    if commit := run.provenance.git.commit:
        facts["ran other code than"] = commit
    if result.system:
        facts["ran on another system than"] = result.system.model_dump(
            include={"gpu", "gpus", "nodes", "cpu"}
        )
    if result.inference:
        facts["judged other scenes than"] = set(result.inference.accuracy_per_scene)
    return facts


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings by their full names, such as training.epochs."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the settings that differ, or that only one has."""
    names = dict.fromkeys([*one, *other])
    return [
        name for name in names if (name in one, one.get(name)) != (name in other, other.get(name))
    ]


def _lines(reasons: Sequence[Reason]) -> list[str]:
    """A line for each reason; one that several runs have is listed once."""
    folders: dict[str, list[Path | None]] = {}
    for reason in reasons:
        folders.setdefault(reason.text, []).append(reason.folder)
    lines = []
    for text, (first, *others) in folders.items():
        more = f" and {len(others)} more" if others else ""
        lines.append(f"{first}{more}: {text}" if first else text)
    return lines
