"""The directory that MLCommons Science takes: `{organization}/{application}/{system}/{descriptor}`.

It holds `result-N.txt` (the log of each run), `config.yaml`, the scripts, definition and lock files
that ran (`job/`), `systems/NAME.json`, `README.md`, `result.md`, `VERSION` and
`sientific_contribution.pdf`, which the rules spell so.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cloudmask.errors import InputError
from cloudmask.patches.geometry import PATCH
from cloudmask.publication import contribution, submission_text, training_data
from cloudmask.publication.eligibility import BENCHMARK_DATA, DataClaim, SubmittedRun, choose_runs
from cloudmask.publication.submission_text import APPLICATION, Submission
from cloudmask.record import run_directory
from cloudmask.record.system_description import system_description
from cloudmask.scenes import dataset
from cloudmask.system import files, reading

CONTRIBUTION = "sientific_contribution.pdf"
HYPERPARAMETERS = "hyperparameters.yaml"
SYSTEM, SYSTEMS, SCRIPT, README, RESULT = (
    "system.yaml",
    "systems",
    "run.sh",
    "README.md",
    "result.md",
)
VERSION, PACKAGES = "VERSION", "packages.txt"
DATA = {
    "name": dataset.NAME,
    "location": dataset.LOCATION,
    "endpoint": dataset.ENDPOINT,
    "retrieval": dataset.RETRIEVAL,
}
UNUSED = "not used: no step filters by the temperature of the sea surface"


def write(
    folders: Sequence[Path],
    out: Path,
    descriptor: str,
    best: bool,
    claim: DataClaim = BENCHMARK_DATA,
) -> Path:
    """Write the directory below `out` from these runs and return it.

    best: submit the best of them alone; how many there were is declared. claim: the data that the
    submission is about. Raises InputError with every reason for which the rules would refuse it.
    """
    runs = choose_runs(folders, descriptor, claim)
    chosen = [max(runs, key=lambda run: run.accuracy)] if best else runs
    who, machine = runs[0].config.submission, runs[0].system
    system = who.platform or machine.gpu or machine.cpu or "unknown"
    submission = Submission(tuple(chosen), system, _selection(runs, best), claim.other_data)
    folder = out / _name(who.organization) / APPLICATION / _name(system) / descriptor
    if folder.exists():
        raise InputError(f"{folder}: is there already; expected another --descriptor")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.creating(folder) as temporary:
        temporary.mkdir()
        _fill(temporary, submission)
    return folder


def _fill(folder: Path, submission: Submission) -> None:
    first = submission.runs[0]
    for number, run in enumerate(submission.runs, 1):
        shutil.copy(run.directory.log, folder / f"result-{number}.txt")
    shutil.copy(first.directory.config, folder / HYPERPARAMETERS)
    _write_yaml(folder / run_directory.CONFIG, _config(submission))
    _write_yaml(folder / SYSTEM, first.system.model_dump(exclude_unset=True))
    (folder / SYSTEMS).mkdir()
    facts = first.provenance.model_dump()
    described = system_description(first.result, facts, first.config.submission)
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    files.write_text(folder / SYSTEMS / f"{_name(submission.system)}.json", text)
    files.write_text(folder / VERSION, f"{first.version}\n")
    _copy_job(first, folder)
    files.write_text(folder / SCRIPT, submission_text.script(submission, HYPERPARAMETERS))
    (folder / SCRIPT).chmod(0o755)
    contribution.write(folder / CONTRIBUTION, submission)
    files.write_text(folder / RESULT, submission_text.result_document(submission))
    files.write_text(folder / README, submission_text.readme(submission, _listing(folder)))


def _copy_job(run: SubmittedRun, folder: Path) -> None:
    """Copy the scripts, definition and lock files that the run has kept, and list its packages."""
    source = run.directory.job
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            copy = folder / run_directory.JOB / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # As bytes: a script may be in any encoding.
            content = reading.read_bytes(path, reading.MIB)
            with files.replacing(copy) as temporary:
                temporary.write_bytes(content)
    if packages := run.provenance.packages:
        lines = [f"{name}=={version}\n" for name, version in sorted(packages.items())]
        files.write_text(folder / PACKAGES, "".join(lines))


def _listing(folder: Path) -> list[tuple[str, str]]:
    """The files of the directory in the order of reading it, and what each is."""
    known = {
        RESULT: "the results, beginning with the table of measurements",
        CONTRIBUTION: "the scientific result, all settings, references",
        "result-N.txt": "the MLPerf log of each run",
        run_directory.CONFIG: "identification, program, data, selection and all hyper-parameters",
        HYPERPARAMETERS: "the configuration as `cloudmask-train --config` takes it",
        SCRIPT: "makes such a run",
        f"{run_directory.JOB}/": "batch scripts, image definition and lock file that ran",
        PACKAGES: "the Python packages that the first run found installed",
        f"{SYSTEMS}/": "the machine, by the keys of MLPerf submissions",
        SYSTEM: "the machine as the run recorded it",
        VERSION: "version of the program",
    }
    return [
        (name, meaning)
        for name, meaning in known.items()
        if name == "result-N.txt" or (folder / name).exists()
    ]


def _selection(runs: Sequence[SubmittedRun], best: bool) -> str:
    if not best:
        return {1: "one run", 2: "both runs given"}.get(len(runs), f"all {len(runs)} runs given")
    accuracies = ", ".join(f"{run.accuracy:.4f}" for run in runs)
    return f"the best of {len(runs)} by accuracy on the inference scenes ({accuracies})"


def _config(submission: Submission) -> dict[str, Any]:
    """config.yaml: the keys of the policy, identification first, then what is ours."""
    run = submission.runs[0]
    config, where, container = run.config, submission.program, run.provenance.container
    return {
        **submission.identification,
        "benchmark": APPLICATION,
        "selection": submission.selection,
        "github": {
            "description": f"{APPLICATION}, the MLCommons Science cloud-masking benchmark",
            "repo": where["repository"],
            "branch": where["branch"],
            "version": run.version,
            "tag": where["tag"],
            "commit": where["commit"],
        },
        "code": {
            "version": run.version,
            "commit": run.commit,
            "container": container.model_dump(exclude_unset=True) if container else None,
        },
        "data": _data(submission),
        # By the names that the policy lists for this benchmark.
        "policy": {
            "epochs": config.training.epochs,
            "learning_rate": config.training.learning_rate,
            "batch_size": config.training.batch_size,
            "MIN_SST": UNUSED,
            "PATCH_SIZE": PATCH,
            "seed": config.seed,
        },
        "hyperparameters": config.model_dump(),
    }


def _data(submission: Submission) -> dict[str, Any]:
    """Where the data is, the commands that fetch it, and what the runs recorded of it."""
    run = submission.runs[0]
    facts: dict[str, Any] = {
        "training_data": training_data.statement(submission.runs),
        "patches_sha256": run.patches_checksum,
    }
    for part, found in (("training", run.training.data), ("inference", run.inference.data)):
        if found:
            facts[part] = found.model_dump(exclude_none=True)
    if submission.other_data:
        return {"name": submission.other_data, "benchmark_data": False, **facts}
    return DATA | {"commands": submission_text.data_commands(submission)} | facts


def _write_yaml(path: Path, tree: Mapping) -> None:
    files.write_text(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _name(text: str) -> str:
    """A directory's name made of `text`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "unknown"
