"""What a submission says of its training data, and its script, which makes the same patches."""

import os
import shlex
import shutil
import subprocess

import pytest
from support.finished_runs import edit, make_run

from cloudmask.commands import prepare, train
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


STAND_IN = """\
#!/bin/sh
echo "$(basename "$0")" "$@" >>calls
echo "patches.h5: 1 patch of 1 scene, unchanged; checksum ${CHECKSUM:-12ab}"
"""


def executed(submission, folder, *arguments, **variables):
    """The commands that the script calls, as lists of words."""
    (folder / "bin").mkdir()
    for name in ("cloudmask-data", "cloudmask-prepare", "cloudmask-train"):
        stand_in = folder / "bin" / name
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
    script = folder / "run.sh"
    script.write_text(submission_text.script(submission, "hyperparameters.yaml"))
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", script, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path} | variables,
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
    assert [call[0] for call in calls] == [
        "cloudmask-data", "cloudmask-prepare", "cloudmask-prepare", "cloudmask-train",
    ]  # fmt: skip
    assert calls[2][1:] == ["--verify", "patches.h5"]
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
    assert any(text.startswith(sentence) for text in contribution.paragraphs(submission))
    variable = "TRAINING_SCENES=FOLDER bash run.sh RUN [SEED]"
    assert variable in submission_text.readme(submission, [])
    done, _ = executed(submission, tmp_path, "runs/1")
    assert done.returncode and "folder of the training scenes" in done.stderr


def test_the_script_takes_foreign_training_scenes_from_their_folder(run, tmp_path):
    done, calls = executed(submitted(run), tmp_path, "runs/1", TRAINING_SCENES="made up")
    assert done.returncode == 0, done.stderr
    assert calls[1][:4] == ["cloudmask-prepare", "--scenes", "made", "up"]


def test_the_benchmarks_training_data_are_called_that(run):
    train_on(run, cloud_slstr_ds1=900)
    submission = submitted(run)
    text = "Training data: 900 scenes of cloud_slstr_ds1, the benchmark's data set."
    assert training_data.statement(submission.runs) == text
    assert "    bash run.sh RUN [SEED]\n" in submission_text.readme(submission, [])


def test_a_mixture_and_unrecorded_scenes_are_foreign(run):
    train_on(run, cloud_slstr_ds1=5, synthetic=1)
    runs = submitted(run).runs
    assert training_data.foreign(runs) == "5 scenes of cloud_slstr_ds1, 1 synthetic scene"
    edit(run.result, lambda tree: tree["training"].pop("data"))
    assert training_data.foreign(submitted(run).runs) == "scenes that the run did not record"


def test_declared_data_are_put_where_the_script_expects_them(run, tmp_path):
    submission = submitted(run, DataClaim("made up"))
    done, calls = executed(submission, tmp_path, "runs/1")
    assert (done.returncode, calls) == (2, [])
    assert done.stderr.startswith("data/inference: no such folder; expected scenes there")
    readme = submission_text.readme(submission, [])
    for words in ("put or link the scenes", "`TRAINING_SCENES` and `INFERENCE_SCENES`"):
        assert words in readme
    for part in ("training", "inference"):
        (tmp_path / "data" / part).mkdir(parents=True)
    shutil.rmtree(tmp_path / "bin")
    done, calls = executed(submission, tmp_path, "runs/1")
    assert done.returncode == 0, done.stderr
    assert calls[0][:3] == ["cloudmask-prepare", "--scenes", "data/training"]


def test_scenes_that_lie_elsewhere_are_named_by_variables(run, tmp_path):
    for part in ("learn", "judge"):
        (tmp_path / part).mkdir()
    folders = {"TRAINING_SCENES": "learn", "INFERENCE_SCENES": "judge"}
    for claim in (DataClaim("made up"), BENCHMARK_DATA):
        done, calls = executed(submitted(run, claim), tmp_path, "runs/1", **folders)
        assert done.returncode == 0, done.stderr
        assert calls[0][:3] == ["cloudmask-prepare", "--scenes", "learn"]
        assert calls[-1][calls[-1].index("--scenes") + 1] == "judge"
        shutil.rmtree(tmp_path / "bin")
        (tmp_path / "calls").unlink()


def test_patches_that_are_there_must_be_those_of_the_run(run, tmp_path):
    (tmp_path / "patches.h5").write_text("some other store")
    done, calls = executed(submitted(run), tmp_path, "runs/1", CHECKSUM="99ff")
    assert done.returncode == 2 and "cloudmask-train" not in {call[0] for call in calls}
    assert done.stderr == (
        "patches.h5: not the patches of the submitted run; expected checksum 12ab\n"
    )
    shutil.rmtree(tmp_path / "bin")
    (tmp_path / "calls").unlink()
    done, calls = executed(submitted(run), tmp_path, "runs/1")
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in calls[1:]] == ["cloudmask-prepare", "cloudmask-train"]


def test_the_script_takes_the_seed(run, tmp_path):
    for arguments, seed in ((["runs/1"], "seed=1234"), (["runs/1", "77"], "seed=77")):
        folder = tmp_path / seed
        folder.mkdir()
        done, calls = executed(submitted(run), folder, *arguments, TRAINING_SCENES="x")
        assert done.returncode == 0, done.stderr
        asked = train.parser().parse_args(calls[-1][1:])
        assert asked.set == [seed] and str(asked.run) == "runs/1"


def test_whether_inference_scenes_were_seen_is_told_as_recorded(run):
    def forget(tree):
        tree["inference"]["data"].pop("seen_in_training")

    for claim in (BENCHMARK_DATA, DataClaim("made up")):
        text = " ".join(contribution.paragraphs(submitted(run, claim)))
        assert "None of the inference scenes was trained on." in text
    edit(run.result, forget)
    submission = submitted(run, DataClaim("made up"))
    sentence = "Whether inference scenes were trained on is not known."
    for text in (
        " ".join(contribution.paragraphs(submission)),
        submission_text.readme(submission, []),
        submission_text.result_document(submission),
    ):
        assert sentence in text and "never trained" not in text and "None of the" not in text
