"""The directory that MLCommons Science takes: `{organization}/{application}/{system}/{descriptor}`.

It holds `result-N.txt` (the log of each run), `config.yaml`, the scripts, `system.yaml`,
`README.md` and `sientific_contribution.pdf`, which the rules spell so.
"""

import re
import shlex
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cloudmask.errors import InputError
from cloudmask.publication import contribution
from cloudmask.publication.eligibility import SubmittedRun, choose_runs
from cloudmask.record import run_directory
from cloudmask.record.rules import TARGET
from cloudmask.scenes import dataset
from cloudmask.system import files
from cloudmask.system.text import markdown

APPLICATION = "cloudmask"
CONTRIBUTION = "sientific_contribution.pdf"
HYPERPARAMETERS = "hyperparameters.yaml"
SYSTEM, SCRIPT, README = "system.yaml", "run.sh", "README.md"
DATA = {
    "name": dataset.NAME,
    "location": dataset.LOCATION,
    "endpoint": dataset.ENDPOINT,
    "retrieval": dataset.RETRIEVAL,
}


@dataclass(frozen=True)
class Submission:
    """Runs that are submitted together; `selection` declares how they were chosen."""

    runs: tuple[SubmittedRun, ...]
    system: str  # name of the machine
    selection: str


def write(folders: Sequence[Path], out: Path, descriptor: str, best: bool) -> Path:
    """Write the directory below `out` from these runs and return it.

    best: submit the best of them alone; how many there were is declared. Raises InputError with
    every reason for which the rules would refuse it.
    """
    runs = choose_runs(folders, descriptor)
    chosen = [max(runs, key=lambda run: run.accuracy)] if best else runs
    who, machine = runs[0].config.submission, runs[0].system
    system = who.platform or machine.gpu or machine.cpu or "unknown"
    submission = Submission(tuple(chosen), system, _selection(runs, best))
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
    _write_yaml(folder / run_directory.CONFIG, _config(first, submission.selection))
    _write_yaml(folder / SYSTEM, first.system.model_dump(exclude_unset=True))
    files.write_text(folder / SCRIPT, _script(first))
    (folder / SCRIPT).chmod(0o755)
    files.write_text(folder / README, _readme(submission))
    contribution.write(
        folder / CONTRIBUTION, submission.runs, submission.system, submission.selection
    )


def _selection(runs: Sequence[SubmittedRun], best: bool) -> str:
    if not best:
        return f"all {len(runs)} runs given" if len(runs) > 1 else "one run"
    accuracies = ", ".join(f"{run.accuracy:.4f}" for run in runs)
    return f"the best of {len(runs)} by accuracy on the inference scenes ({accuracies})"


def _config(run: SubmittedRun, selection: str) -> dict:
    return {
        "benchmark": APPLICATION,
        "division": run.config.submission.division,
        "selection": selection,
        "code": {
            "version": run.provenance["versions"]["cloudmask"],
            "commit": run.commit,
            "container": run.provenance.get("container"),
        },
        "data": DATA | {"patches_sha256": run.patches_checksum},
        "hyperparameters": run.config.model_dump(),
    }


def _script(run: SubmittedRun) -> str:
    return (
        "#!/usr/bin/env bash\n"
        "# Data, patches, training and inference of this submission. One call is one run.\n"
        "set -euo pipefail\n"
        f"{dataset.RETRIEVAL}\n"
        "[[ -e patches.h5 ]] || cloudmask-prepare --scenes data/training --out patches.h5\n"
        f'cloudmask-train --config "$(dirname "$0")/{HYPERPARAMETERS}" --data patches.h5 \\\n'
        '  --scenes data/inference --run "${1:?run directory}"\n'
        f"# The command of the first run: {shlex.join(run.provenance['command'])}\n"
    )


def _readme(submission: Submission) -> str:
    runs = submission.runs
    who = runs[0].config.submission
    rows = "".join(
        f"| result-{number}.txt | {run.training.epochs_run} | {run.accuracy:.4f} | "
        f"{contribution.number(run.training.seconds, 1)} | "
        f"{contribution.number(run.inference.seconds_per_scene, 3)} |\n"
        for number, run in enumerate(runs, 1)
    )
    mean = statistics.mean(run.accuracy for run in runs)
    return (
        f"# {APPLICATION} on {markdown(submission.system)}\n\n"
        f"Submitted by {markdown(who.name)} ({markdown(who.email)}), "
        f"{markdown(who.organization)}; division {who.division}, status {who.status}.\n\n"
        f"Submitted: {submission.selection}. Mean accuracy {mean:.4f} on "
        f"{runs[0].inference.scenes} scenes; the working group's target is {TARGET:g} "
        f"on the data set's {dataset.INFERENCE_SCENES}.\n\n"
        "| log | epochs | accuracy on inference scenes | training (s) | inference (s/scene) |\n"
        f"|---|---|---|---|---|\n{rows}\n"
        f"`{run_directory.CONFIG}`: all hyper-parameters, the code's version, the data and how to "
        f"get them.\n"
        f"`{SYSTEM}`: the machine. `{SCRIPT} RUN`: makes such a run. "
        f"`{CONTRIBUTION}`: the scientific result.\n"
    )


def _write_yaml(path: Path, tree: Mapping) -> None:
    files.write_text(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _name(text: str) -> str:
    """A directory's name made of `text`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "unknown"
