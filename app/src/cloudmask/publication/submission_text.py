"""What a submission says in words: README.md, result.md and the script that repeats a run."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from cloudmask.publication import program, reference, training_data
from cloudmask.publication.eligibility import SubmittedRun
from cloudmask.record.rules import TARGET
from cloudmask.scenes import dataset
from cloudmask.system.text import markdown, markdown_code

APPLICATION = "cloudmask"


@dataclass(frozen=True)
class Submission:
    """Runs that are submitted together; `selection` declares how they were chosen.

    other_data: what the runs were trained and judged on, if not the benchmark's data set.
    """

    runs: tuple[SubmittedRun, ...]
    system: str  # name of the machine
    selection: str
    other_data: str | None = None

    @property
    def identification(self) -> dict[str, str]:
        """Who submits what, by the names and in the order of the Science policy."""
        who = self.runs[0].config.submission
        return {
            "name": who.name,
            "user": who.user,
            "e-mail": who.email,
            "organisation": who.organization,
            "division": who.division,
            "status": who.status,
            "platform": self.system,
        }

    @property
    def program(self) -> dict[str, str | None]:
        """Where the program is; see `publication.program.location`."""
        first = self.runs[0]
        return program.location(
            first.provenance.git.model_dump(), first.config.submission.model_dump()
        )


def data_commands(submission: Submission) -> list[str]:
    """Commands that fetch the data; none for data that is not the benchmark's."""
    if submission.other_data:
        return []
    sync = (
        f"aws s3 sync --no-sign-request --endpoint-url {dataset.ENDPOINT} {dataset.LOCATION} data"
    )
    return [dataset.RETRIEVAL, sync]


def readme(submission: Submission, listing: Sequence[tuple[str, str]]) -> str:
    """README.md: identification, results, how to run it, and the files (name, meaning)."""
    first = submission.runs[0]
    target = (
        ""
        if submission.other_data
        else f" The working group's target is {TARGET:g} on the data set's "
        f"{dataset.INFERENCE_SCENES} inference scenes, over all pixels."
    )
    identification = "".join(
        f"- {name}: {markdown(str(value))}\n" for name, value in submission.identification.items()
    )
    files = "".join(f"- `{name}`: {meaning}\n" for name, meaning in listing)
    return (
        f"# {APPLICATION} on {markdown(submission.system)}\n\n{identification}\n"
        f"## Results\n\n{_table(submission)}\n"
        f"{markdown(reference.comparison(submission.runs, submission.other_data))}\n\n"
        f"{markdown(training_data.statement(submission.runs))}\n\n"
        f"Submitted: {submission.selection}.{target}\n\n"
        f"{_runs(submission)}\n"
        f"## How to run it\n\n{_how_to_run(submission)}\n"
        f"The first run was started by {markdown_code(shlex.join(first.provenance.command))}; "
        f"{_started(first)}\n\n"
        f"## Files\n\n{files}"
    )


def result_document(submission: Submission) -> str:
    """The document that the policy wants to begin with the table of measurements."""
    return (
        f"{_table(submission)}\n"
        f"{markdown(reference.comparison(submission.runs, submission.other_data))}\n\n"
        f"{markdown(training_data.statement(submission.runs))}\n\n"
        f"{_runs(submission)}\n"
        "The scientific basis, the settings and the literature are in "
        "`sientific_contribution.pdf`.\n"
    )


def script(submission: Submission, hyperparameters: str) -> str:
    """A script that repeats a run: data, patches, training and inference."""
    commands, first = data_commands(submission), submission.runs[0]
    fetch = commands[0] if commands else f"# Data: {_comment(submission.other_data)}"
    # What is fetched, or put there by hand, holds the training scenes as well.
    other = None if submission.other_data else training_data.foreign(submission.runs)
    return (
        "#!/usr/bin/env bash\n"
        "# Data, patches, training and inference of this submission. One call is one run.\n"
        "set -euo pipefail\n"
        f"{fetch}\n"
        f"{training_data.prepare_lines(first, other)}"
        f'cloudmask-train --config "$(dirname "$0")/{hyperparameters}" \\\n'
        f"  --data {training_data.PATCHES} \\\n"
        '  --scenes data/inference --run "${1:?run directory}"\n'
        "# The command of the first run: "
        f"{_comment(shlex.join(first.provenance.command))}\n"
    )


def _comment(text: str | None) -> str:
    """The text in one line: a comment in a script ends with it."""
    return " ".join((text or "").split())


def _table(submission: Submission) -> str:
    rows = [reference.HEADS, *reference.table(submission.runs, submission.other_data)]
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([lines[0], f"|{'---|' * len(reference.HEADS)}\n", *lines[1:]])


def _runs(submission: Submission) -> str:
    rows = "".join(
        f"| result-{number}.txt | {run.training.epochs_run} | {run.accuracy:.4f} | "
        f"{reference.number(run.training.seconds, 1)} | "
        f"{reference.number(run.inference.seconds_per_scene_all, 3)} |\n"
        for number, run in enumerate(submission.runs, 1)
    )
    return (
        "| log | epochs | accuracy, measured pixels | training (s) | inference (s/scene) |\n"
        f"|---|---|---|---|---|\n{rows}"
    )


def _how_to_run(submission: Submission) -> str:
    """Program, data and command, each as it is got."""
    scenes = ""
    found = submission.program
    known = [f"{key} {markdown(value)}" for key, value in found.items() if value]
    commands = "".join(f"    {command}\n" for command in data_commands(submission))
    data = f"The data set {dataset.NAME}, by one of\n\n{commands}"
    if submission.other_data:
        declared = reference.declared_data(submission.runs[0], submission.other_data)
        data = f"{markdown(declared)}\n"
    elif other := training_data.foreign(submission.runs):
        scenes = " TRAINING_SCENES"
        data += f"\nThe training scenes are others: {markdown(other)}.\n"
    return (
        f"The program: {', '.join(known)}.\n\n{data}\n"
        f"Then, for each run, with a run directory of its own:\n\n    bash run.sh RUN{scenes}\n\n"
        "`config.yaml` and `hyperparameters.yaml` hold every setting. Another value of a setting "
        "is `--set section.key=value`; many values are an experiment of `cloudmask-grid`, which "
        "gives each run its directory, and `cloudmask-submission` makes such a folder of them.\n"
    )


def _started(run: SubmittedRun) -> str:
    """Which of its files tell how a run was started."""
    kept = sorted(path.name for path in run.directory.job.glob("*.sbatch"))
    if kept:
        return f"the batch script that ran is `job/{kept[0]}`."
    return "it ran without a batch script."
