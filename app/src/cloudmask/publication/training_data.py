"""What the runs of a submission were trained on, as it says so and as it can be repeated."""

import shlex
from collections.abc import Sequence

from cloudmask.patches.store import DESCRIBED
from cloudmask.publication.eligibility import SubmittedRun
from cloudmask.scenes import calibration, dataset
from cloudmask.system.text import one_line

PATCHES = "patches.h5"
# In the order of `cloudmask-prepare --help`.
OPTIONS = ("dtype", *DESCRIBED.values())


def foreign(runs: Sequence[SubmittedRun]) -> str | None:
    """The training data in words if they are not the benchmark's; None if they are."""
    found = {run.training.data.text() if run.training.data else "" for run in runs}
    if all(run.training.data and run.training.data.of_data_set for run in runs):
        return None
    return "; ".join(sorted(text or "scenes that the run did not record" for text in found))


def statement(runs: Sequence[SubmittedRun]) -> str:
    """A sentence that names the training data."""
    if other := foreign(runs):
        return f"Training data other than the benchmark's: {other}."
    data = runs[0].training.data
    return f"Training data: {data.text() if data else dataset.NAME}, the benchmark's data set."


def prepare_lines(run: SubmittedRun, other: str | None) -> str:
    """Lines of a script that make the run's patch store, unless it is there.

    other: what the training scenes are if the script does not fetch them; their folder is then its
    second argument.
    """
    folder, lines = "data/training", ""
    if other:
        lines += f"# The training scenes, whose folder is to be given: {one_line(other)}\n"
        folder = '"${2:?folder of the training scenes}"'
    known = run.provenance.data.prepared if run.provenance.data else None
    if not known:
        lines += (
            "# The run did not record all options of its patch store; others are the defaults.\n"
        )
        known = {"labels": run.inference.trained_labels or ""}
    command = shlex.join(["--out", PATCHES, *_options(known)])
    return f"{lines}[[ -e {PATCHES} ]] || cloudmask-prepare --scenes {folder} {command}\n"


def _options(prepared: dict[str, str]) -> list[str]:
    """The options of cloudmask-prepare that make a store as this one was made."""
    options = []
    for name in OPTIONS:
        value = prepared.get(name)
        # What "auto" found, where no scene has a calibration that is known, cannot be asked for.
        if value and (name, value) != ("calibration", calibration.UNKNOWN):
            options += [f"--{name.replace('_', '-')}", value]
    return options
