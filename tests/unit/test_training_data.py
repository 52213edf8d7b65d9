"""What a submission says of its training data, and its script, which makes the same patches."""

import os
import shlex
import subprocess

import pytest
from support.finished_runs import edit, make_run

from cloudmask.commands import prepare
from cloudmask.publication import contribution, submission_text, training_data
from cloudmask.publication.eligibility import BENCHMARK_DATA, DataClaim, choose_runs
from cloudmask.publication.submission_text import Submission

PREPARED = {
    "dtype": "float32",
    "labels": "summary",
    "nan": "fill",
    "missing_channels": "zero",
    "cosmetic": "ignore",
    "calibration": "005",
}


@pytest.fixture
def run(tmp_path):
    """A run that was judged on the public scenes, and trained on synthetic ones."""
    return make_run(tmp_path / "run", public=True)


def submitted(run, claim=BENCHMARK_DATA):
    return Submission(tuple(choose_runs([run.path], "x", claim)), "one", "all", claim.other_data)


def record(run, **prepared):
    edit(run.provenance, lambda tree: tree["data"].update(prepared=prepared))


def train_on(run, **origins):
    data = {"scenes": sum(origins.values()), "origins": origins}
    edit(run.result, lambda tree: tree["training"].update(data=data))


def executed(submission, folder, *arguments):
    """The commands that the script calls, as lists of words."""
    (folder / "bin").mkdir()
    for name in ("cloudmask-data", "cloudmask-prepare", "cloudmask-train"):
        stand_in = folder / "bin" / name
        stand_in.write_text('#!/bin/sh\necho "$(basename "$0")" "$@" >>calls\n')
        stand_in.chmod(0o755)
    script = folder / "run.sh"
    script.write_text(submission_text.script(submission, "hyperparameters.yaml"))
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", script, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done, [shlex.split(line) for line in lines]


def test_the_script_prepares_with_the_options_of_the_store(run, tmp_path):
    record(run, **PREPARED)
    train_on(run, cloud_slstr_ds1=900)
    done, calls = executed(submitted(run), tmp_path, "runs/1")
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in calls] == ["cloudmask-data", "cloudmask-prepare", "cloudmask-train"]
    asked = vars(prepare.parser().parse_args(calls[1][1:]))
    assert {name: asked[name] for name in PREPARED} == PREPARED
    assert asked["scenes"] == ["data/training"]


def test_a_value_that_is_no_option_is_no_command(run, tmp_path):
    record(run, labels="$(touch evil); touch evil")
    train_on(run, cloud_slstr_ds1=900)
    executed(submitted(run), tmp_path, "runs/1")
    assert not (tmp_path / "evil").exists()


def test_an_unknown_calibration_is_that_of_auto(run):
    record(run, **PREPARED | {"calibration": "unknown"})
    assert "--calibration" not in submission_text.script(submitted(run), "h.yaml")


def test_a_run_that_did_not_record_them_says_so(run):
    edit(run.result, lambda tree: tree["inference"].update(trained_labels="summary"))
    text = submission_text.script(submitted(run), "h.yaml")
    assert "# The run did not record all options" in text and "--labels summary" in text


def test_foreign_training_data_are_named_in_every_document(run, tmp_path):
    submission = submitted(run)
    sentence = "Training data other than the benchmark's: 6 synthetic scenes."
    assert sentence in submission_text.readme(submission, []).replace("\\", "")
    assert sentence in submission_text.result_document(submission).replace("\\", "")
    assert sentence in contribution.paragraphs(submission)
    assert "bash run.sh RUN TRAINING_SCENES" in submission_text.readme(submission, [])
    done, _ = executed(submission, tmp_path, "runs/1")
    assert done.returncode and "folder of the training scenes" in done.stderr


def test_the_script_takes_foreign_training_scenes_from_their_folder(run, tmp_path):
    done, calls = executed(submitted(run), tmp_path, "runs/1", "made up")
    assert done.returncode == 0, done.stderr
    assert calls[1][:4] == ["cloudmask-prepare", "--scenes", "made", "up"]


def test_the_benchmarks_training_data_are_called_that(run):
    train_on(run, cloud_slstr_ds1=900)
    submission = submitted(run)
    text = "Training data: 900 scenes of cloud_slstr_ds1, the benchmark's data set."
    assert training_data.statement(submission.runs) == text
    assert "bash run.sh RUN\n" in submission_text.readme(submission, [])


def test_a_mixture_and_unrecorded_scenes_are_foreign(run):
    train_on(run, cloud_slstr_ds1=5, synthetic=1)
    runs = submitted(run).runs
    assert training_data.foreign(runs) == "5 scenes of cloud_slstr_ds1, 1 synthetic scene"
    edit(run.result, lambda tree: tree["training"].pop("data"))
    assert training_data.foreign(submitted(run).runs) == "scenes that the run did not record"


def test_declared_data_are_put_where_the_script_expects_them(run):
    text = submission_text.script(submitted(run, DataClaim("made up")), "h.yaml")
    assert "--scenes data/training" in text and "${2:" not in text
