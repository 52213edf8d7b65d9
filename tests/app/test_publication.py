"""Submission, RO-Crate and Croissant of real runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cloudmask.patches.store import INVALID
from cloudmask.record.compliance import findings
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files

BIN = Path(sys.executable).parent
EXPERIMENT = """\
name: e
parameters:
  model.filters: 2
  training.batch_size: 8
  training.epochs: 1
  submission.organization: A University
  submission.platform: Two Cores
  submission.name: Ada
  submission.user: ada
  submission.email: ada@example.org
repeats: 2
"""


def call(name, *arguments, cwd):
    return subprocess.run(
        [BIN / name, *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def runs(store_path, scenes, tmp_path_factory):
    """Folder with an experiment of two finished runs, by committed code."""
    folder = tmp_path_factory.mktemp("publication")
    (folder / "e.yaml").write_text(EXPERIMENT)
    done = subprocess.run(
        [BIN / "cloudmask-grid", "submit", "e.yaml", "--jobs", "2", "--data", store_path,
         "--scenes", scenes],
        cwd=folder,
        env=os.environ | {"CLOUDMASK_GIT_COMMIT": "0123abc"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def copy(runs, tmp_path):
    """A copy of the experiment, to be damaged; returns the two run directories."""
    shutil.copytree(runs / "runs", tmp_path / "runs")
    return sorted(tmp_path.glob("runs/e/0*"))


OTHER = ("--other-data", "synthetic scenes")


def test_submission_of_all_and_of_the_best(runs, tmp_path):
    folders = sorted(runs.glob("runs/e/0*"))
    done = call("cloudmask-submission", *folders, "--out", tmp_path, *OTHER, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    submission = tmp_path / "A_University/cloudmask/Two_Cores/paper"
    assert {path.name for path in submission.iterdir()} == {
        "README.md",
        "VERSION",
        "config.yaml",
        "hyperparameters.yaml",
        "packages.txt",
        "result-1.txt",
        "result-2.txt",
        "result.md",
        "run.sh",
        "sientific_contribution.pdf",
        "system.yaml",
        "systems",
    }
    assert findings(submission / "result-2.txt") == []
    assert (submission / "sientific_contribution.pdf").read_bytes().startswith(b"%PDF-")
    config = yaml.safe_load((submission / "config.yaml").read_text())
    assert config["code"]["commit"] == "0123abc"
    assert config["data"]["name"] == "synthetic scenes"
    assert config["data"]["training"]["origins"] == {"synthetic": 6}
    assert config["hyperparameters"]["training"]["epochs"] == 1
    assert config["selection"] == "both runs given"
    accuracy = f"{RunDirectory(folders[0]).read_result().inference.accuracy:.4f}"
    assert accuracy in (submission / "README.md").read_text()
    subprocess.run(["bash", "-n", submission / "run.sh"], check=True)

    best = (*OTHER, "--best", "--descriptor", "best")
    done = call("cloudmask-submission", *folders, "--out", tmp_path, *best, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (submission.with_name("best") / "result-2.txt").exists()
    for name in ("config.yaml", "README.md"):
        assert "the best of 2 by accuracy" in (submission.with_name("best") / name).read_text()
    done = call("cloudmask-submission", *folders, "--out", tmp_path, *OTHER, cwd=tmp_path)
    assert done.returncode == 2 and "is there already" in done.stderr
    done = call("cloudmask-submission", *folders, "--out", tmp_path / "claim", cwd=tmp_path)
    assert done.returncode == 2 and "evaluated 2 synthetic scenes, not the" in done.stderr


def edit(path, change):
    tree = yaml.safe_load(path.read_text())
    change(tree)
    text = json.dumps(tree) if path.suffix == ".json" else yaml.safe_dump(tree)
    path.write_text(text)


def test_submission_is_refused_with_all_reasons(copy, tmp_path):
    first, second = copy
    log = first / "mlperf.log"
    log.write_text(log.read_text().replace('"seed"', '"sead"'))
    edit(first / "provenance.json", lambda t: t["git"].update(dirty=True))
    edit(first / "config.yaml", lambda t: t["submission"].update(email=""))
    edit(first / "result.json", lambda t: t.pop("inference"))
    (second / "result.json").unlink()
    done = call("cloudmask-submission", first, second, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    for reason in (
        "5 things are missing or wrong",
        f"{first}: mlperf.log: seed: missing",
        "no inference over whole scenes",
        "uncommitted changes",
        "submission.email is not set",
        f"{second}: not finished; only a finished run has a result.json",
    ):
        assert reason in done.stderr
    # The whole experiment: what several runs lack is told once.
    (first / "result.json").unlink()
    done = call("cloudmask-submission", first.parent, "--out", tmp_path / "out", cwd=tmp_path)
    assert "no submission, 1 thing is missing or wrong" in done.stderr
    assert f"{first} and 1 more: not finished" in done.stderr


def test_runs_that_do_not_belong_together_are_refused(copy, tmp_path):
    first, second = copy
    edit(second / "result.json", lambda t: t["experiment"]["training"].update(epochs=7))
    edit(second / "result.json", lambda t: t["system"].update(gpu="A100"))
    edit(second / "result.json", lambda t: t["inference"]["accuracy_per_scene"].popitem())
    edit(second / "provenance.json", lambda t: t["data"].update(checksum="other"))
    edit(second / "provenance.json", lambda t: t["git"].update(commit="4567def"))
    for folders, reason in (
        ((first, second), "another configuration than"),
        ((first, second), "another system than"),
        ((first, second), "judged other scenes than"),
        ((first, second), "trained on other patches than"),
        ((first, second), "ran other code than"),
        ((first, first), "the same run is given twice"),
    ):
        words = (*folders, "--out", tmp_path / "out", *OTHER)
        done = call("cloudmask-submission", *words, cwd=tmp_path)
        assert done.returncode == 2 and reason in done.stderr


def test_crate_of_a_run_and_of_an_experiment(copy, tmp_path):
    rocrate = pytest.importorskip("rocrate.rocrate")
    experiment = tmp_path / "runs/e"
    for folder, actions in ((copy[0], 1), (experiment, 2)):
        done = call("cloudmask-fair", "crate", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        crate = rocrate.ROCrate(folder)
        ids = {entity.id for entity in crate.get_entities()}
        prefix = "" if folder == copy[0] else f"{copy[0].name}/"
        assert {f"{prefix}result.json", f"{prefix}config.yaml", f"{prefix}mlperf.log"} <= ids
        made = crate.get_by_type("CreateAction")
        assert len(made) == actions
        assert made[0]["instrument"]["identifier"] == "0123abc"
        assert made[0]["agent"]["name"] == "ada"
        assert all((folder / entity.id).exists() for entity in crate.data_entities)
    done = call("cloudmask-fair", "crate", tmp_path, cwd=tmp_path)
    assert done.returncode == 2 and "expected a finished run" in done.stderr


def test_croissant_is_valid_and_describes_scenes_bands_and_patches(scenes, store_path, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = tmp_path / "data"
    shutil.copytree(scenes, folder)
    out = folder / "croissant.json"
    words = ("--patches", store_path, "--out", out)
    done = call("cloudmask-fair", "croissant", folder, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    valid = call("mlcroissant", "validate", "--jsonld", out, cwd=tmp_path)
    assert valid.returncode == 0, valid.stderr
    dataset = mlcroissant.Dataset(out)
    records = list(dataset.records("scenes"))
    assert len(records) == 8
    assert sum(record["scenes/part"] in ("inference", b"inference") for record in records) == 2
    bands = list(dataset.records("bands"))
    assert [band["bands/place"] for band in bands] == [*range(6), *range(3)]
    described = json.loads(out.read_text())
    sums = {each["sha256"] for each in described["distribution"] if "sha256" in each}
    assert len(sums) == 9 and files.sha256(store_path) in sums
    # Shapes and types are those of the files.
    arrays = {
        field["@id"]: (field["cr:arrayShape"], field["dataType"])
        for each in described["recordSet"]
        for field in each["field"]
        if "cr:arrayShape" in field
    }
    assert arrays == {
        "contents/refs": ("512,512,6", "cr:Float32"),
        "contents/bts": ("512,512,3", "cr:Float32"),
        "contents/bayes": ("512,512,1", "cr:UInt8"),
        "contents/summary": ("512,512,1", "cr:UInt8"),
        "patches/patches": ("24,256,256,9", "cr:Float16"),
        "patches/labels": ("24,256,256", "cr:UInt8"),
    }
    texts = {
        field["@id"]: field["description"]
        for each in described["recordSet"]
        for field in each["field"]
    }
    assert f"{INVALID} added where nothing was measured" in texts["patches/labels"]
    (folder / "training/S3A_short.hdf").write_bytes(b"no scene")
    done = call("cloudmask-fair", "croissant", folder, "--out", out, cwd=tmp_path)
    assert done.returncode == 2 and "S3A_short.hdf: not a readable HDF5 file" in done.stderr
    done = call("cloudmask-fair", "croissant", tmp_path / "runs", "--out", out, cwd=tmp_path)
    assert done.returncode == 2 and "no scenes" in done.stderr
