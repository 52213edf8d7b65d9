"""The chain of jobs, and single scripts, against a stand-in of sbatch; tests/slurm has Slurm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GRID = Path(sys.executable).with_name("cloudmask-grid")
SBATCH = """\
#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in *refused*) echo "sbatch: error: Invalid partition" >&2; exit 1;; esac
echo "$((40 + $(wc -l <"$CALLS")));cluster"
"""
SITE = "time: '10'\ngpus: {v100: {gres: 'gpu:v100'}, cpu: {image: cpu.sif}}\noverlay: made.ext3\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin/sbatch"
    stand_in.write_text(SBATCH)
    stand_in.chmod(0o755)
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "e.yaml").write_text("name: e\nrepeats: 3\n")
    (tmp_path / "data/training").mkdir(parents=True)
    (tmp_path / "data/inference").mkdir()
    return tmp_path


def grid(folder, *words, path=None):
    environment = os.environ | {
        "PATH": path or f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
    }
    words = [GRID, *map(str, words)]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_three_jobs_that_wait_for_each_other(folder):
    done = grid(folder, "chain", "e.yaml", "--site", "site.yaml", "--gpu", "v100", "--gpus", 2)
    assert done.returncode == 0, done.stderr
    prepare, train, evaluate = (folder / "calls").read_text().splitlines()
    assert "--gres" not in prepare and "CLOUDMASK_IMAGE=cloudmask.sif" in prepare
    assert prepare.endswith("--job-name=e-prepare slurm/prepare.sbatch")
    assert "--dependency=afterok:41 --kill-on-invalid-dep=yes" in train
    assert "--gres=gpu:v100:2" in train
    assert train.endswith("--job-name=e --array=1-3 slurm/train.sbatch e.yaml")
    assert "--dependency=aftercorr:42" in evaluate and "--gres=gpu:v100:1" in evaluate
    assert evaluate.endswith("--job-name=e-evaluate --array=1-3 slurm/evaluate.sbatch e.yaml")
    assert done.stdout.splitlines()[-3:] == ["prepare: job 41", "train: job 42", "evaluate: job 43"]
    again = grid(folder, "chain", "e.yaml", "--site", "site.yaml", "--gpu", "v100")
    assert "every row was submitted" in again.stdout
    (folder / "made.ext3").touch()
    (folder / "e.yaml").write_text("name: e\nrepeats: 4\n")
    shown = grid(folder, "chain", "e.yaml", "--site", "site.yaml", "--gpu", "v100", "--dry-run")
    assert [line.split("=")[0] for line in shown.stdout.splitlines()] == ["train", "evaluate"]


def test_what_cannot_be_chained_is_reported(folder):
    words = ("chain", "e.yaml", "--site", "site.yaml", "--gpu", "v100")
    (folder / "data/training").rmdir()
    done = grid(folder, *words)
    assert done.returncode == 2
    assert "made.ext3: no overlay, and no scenes in data/training" in done.stderr
    (folder / "data/training").mkdir()
    done = grid(folder, *words, path="/nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "sbatch: no such command" in done.stderr
    (folder / "site.yaml").write_text(SITE + "partition: refused\n")
    done = grid(folder, *words)
    assert done.returncode == 1
    assert "prepare: sbatch refused (exit code 1): sbatch: error: Invalid partition" in done.stderr
    # Nothing was handed over, so nothing is marked as submitted.
    assert "3 planned" in grid(folder, "status", "e.yaml").stdout


def test_another_script_with_the_sites_options(folder):
    (folder / "slurm").mkdir()
    (folder / "slurm/scaling.sbatch").touch()
    words = ("batch", "slurm/scaling.sbatch", "my.yaml", "--site", "site.yaml", "--gpu", "v100")
    done = grid(folder, *words, "--gpus", 4, "--nodes", 2)
    assert done.returncode == 0, done.stderr
    (call,) = (folder / "calls").read_text().splitlines()
    assert "--nodes=2 --ntasks-per-node=1 --gres=gpu:v100:4" in call
    assert call.endswith("slurm/scaling.sbatch my.yaml")
    assert grid(folder, *words, "--nodes", 0).returncode == 2
    assert grid(folder, "batch", "none.sbatch", *words[3:]).returncode == 2
