"""Which runs may be submitted: a run as the rules want it, or every reason against it."""

import re
from collections.abc import Sequence
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
from cloudmask.system.text import plural

NEEDED = ("command", "git", "versions")  # of the provenance
DECLARE = "expected those, or --other-data with what they are"


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


class NotEligible(Exception):
    """A run cannot be submitted; `texts` are the reasons."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__("; ".join(texts))
        self.texts = list(texts)


def choose_runs(
    folders: Sequence[Path], descriptor: str, claim: DataClaim = BENCHMARK_DATA
) -> list[SubmittedRun]:
    """The runs in these run directories and experiments, all of which can be submitted together.

    Raises InputError with every reason for which the rules would refuse them.
    """
    runs: list[SubmittedRun] = []
    reasons: list[Reason] = []
    for directory in _run_directories(folders):
        try:
            runs.append(_read_run(directory, claim))
        except NotEligible as error:
            reasons += [Reason(directory.path, text) for text in error.texts]
    reasons += _differences(runs)
    if claim.other_data is not None and not claim.other_data.strip():
        reasons.append(Reason(None, "--other-data is empty; expected what the data are"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", descriptor):
        text = f"--descriptor {descriptor!r}: expected letters, digits, points, dashes"
        reasons.append(Reason(None, text))
    if reasons:
        lines = _lines(reasons)
        count = "1 thing is" if len(lines) == 1 else f"{len(lines)} things are"
        listing = "".join(f"\n  {line}" for line in lines)
        raise InputError(f"no submission, {count} missing or wrong:{listing}")
    return runs


def _run_directories(folders: Sequence[Path]) -> list[RunDirectory]:
    """The run directories; an experiment's folder stands for all rows of its plan."""
    found: list[RunDirectory] = []
    for folder in folders:
        planned = plan.load(folder) if folder.is_dir() else None
        found += [planned.run(row) for row in planned.rows] if planned else [RunDirectory(folder)]
    return found


def _read_run(directory: RunDirectory, claim: DataClaim) -> SubmittedRun:
    """Read and judge one run; raises NotEligible."""
    if not directory.finished:
        raise NotEligible(
            [f"not finished; only a finished run has a {directory.result.name}"],
        )
    try:
        result = directory.read_result()
        config = load_config(directory.config)
        facts = recorded_provenance.read(directory.provenance, *NEEDED)
        problems = findings(directory.log)
    except (InputError, OSError) as error:
        raise NotEligible([f"damaged: {error}"]) from None
    texts = [f"{directory.log.name}: {problem}" for problem in problems]
    training, inference, system = result.training, result.inference, result.system
    if inference is None or inference.accuracy is None:
        texts.append("no inference over whole scenes; train with --scenes")
    else:
        texts += _data_problems(inference, claim)
    texts += _code_problems(facts)
    missing = unidentified(config.submission.model_dump())
    texts += [f"{key} is not set in its configuration" for key in missing]
    if training is None or system is None:
        texts.append(f"{directory.result.name} has no training or no system; it is no training run")
    if texts or not (training and inference and system) or inference.accuracy is None:
        raise NotEligible(texts)
    return SubmittedRun(
        directory, config, facts, result, training, inference, system, inference.accuracy
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


def _differences(runs: Sequence[SubmittedRun]) -> list[Reason]:
    """Where runs are no repeats of the first, as those of one submission are."""
    if not runs:
        return []
    reasons = []
    first, *others = runs
    for run in others:
        for what, value in _common_facts(run).items():
            if value != _common_facts(first)[what]:
                reasons.append(Reason(run.directory.path, f"{what} {first.directory}"))
    if len({run.directory.path.resolve() for run in runs}) < len(runs):
        reasons.append(Reason(None, "the same run is given twice"))
    return reasons


def _common_facts(run: SubmittedRun) -> dict[str, Any]:
    """What is the same in all runs of one submission, by what to say where it is not."""
    return {
        # The seeds may differ: MLPerf's HPC rules want them distinct.
        "has another configuration than": {
            key: value
            for key, value in run.result.experiment.items()
            if key not in ("seed", "config_sha256")
        },
        "ran on another system than": run.system.model_dump(
            include={"gpu", "gpus", "nodes", "cpu"}
        ),
        "ran other code than": run.commit,
        "was trained on other patches than": run.patches_checksum,
        "judged other scenes than": set(run.inference.accuracy_per_scene),
    }


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
