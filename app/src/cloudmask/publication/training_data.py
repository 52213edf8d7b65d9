"""What the runs of a submission were trained on, as it says so and as it can be repeated."""

import shlex
from collections.abc import Sequence

from cloudmask.patches.store import DESCRIBED
from cloudmask.publication.eligibility import SubmittedRun
from cloudmask.scenes import calibration, dataset

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


def seen(runs: Sequence[SubmittedRun]) -> str:
    """A sentence on whether the inference scenes were trained on; a run that did is refused."""
    unknown = sum(
        run.inference.data is None or run.inference.data.seen_in_training is None for run in runs
    )
    if not unknown:
        return "None of the inference scenes was trained on."
    which = "" if unknown == len(runs) else f" for {unknown} of the {len(runs)} runs"
    return f"Whether inference scenes were trained on is not known{which}."


def prepare_lines(run: SubmittedRun) -> str:
    """Lines of a script that make the run's patch store `$patches` of the scenes in `$training`.

    One that is there is used; either must be the store that the run was trained on.
    """
    lines = ""
    known = run.provenance.data.prepared if run.provenance.data else None
    if not known:
        lines += (
            "# The run did not record all options of its patch store; others are the defaults.\n"
        )
        known = {"labels": run.inference.trained_labels or ""}
    options = "".join(f" {shlex.quote(word)}" for word in _options(known))
    lines += (
        f"patches={PATCHES}\n"
        'if [[ ! -e "$patches" ]]; then\n'
        '  cloudmask-prepare --scenes "$training" --out "$patches"' + options + "\nfi\n"
    )
    if checksum := run.patches_checksum:
        lines += (
            'found="$(cloudmask-prepare --verify "$patches")"\n'
            f"expected={shlex.quote(f'checksum {checksum}')}\n"
            'if [[ "$found" != *"$expected"* ]]; then\n'
            '  echo "$patches: not the patches of the submitted run; expected $expected" >&2\n'
            "  exit 2\nfi\n"
        )
    return lines


def _options(prepared: dict[str, str]) -> list[str]:
    """The options of cloudmask-prepare that make a store as this one was made."""
    options = []
    for name in OPTIONS:
        value = prepared.get(name)
        # What "auto" found, where no scene has a calibration that is known, cannot be asked for.
        if value and (name, value) != ("calibration", calibration.UNKNOWN):
            options += [f"--{name.replace('_', '-')}", value]
    return options
