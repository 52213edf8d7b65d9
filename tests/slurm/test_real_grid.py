"""An experiment over real Slurm: an array, cancelled in the middle, then the rest of it."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.experiments import rows_by_state

from cloudmask.experiments import plan

GRID = Path(sys.executable).with_name("cloudmask-grid")
EXPERIMENT = """\
name: e
parameters:
  model.filters: 2
  training.batch_size: 8
  training.epochs: 1
  training.learning_rate: 1e-4..1e-2 log 3
  seed: [1, 2]
repeats: 2
"""
# In place of slurm/train.sbatch: what it comes to, without the time that containers take to start.
BATCH = """\
#!/usr/bin/env bash
exec {grid} run "$1" --index "$SLURM_ARRAY_TASK_ID" --data {data}
"""


@pytest.fixture
def folder(tmp_path, store_path, cluster):
    """A folder with the experiment, a site and the job's script."""
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    # A node for each row, so that some wait.
    (tmp_path / "site.yaml").write_text(
        "time: '10'\ncpus: 1\ngpus: {cpu: {}}\noptions: [--exclusive, '--exclude=n[3-6]']\n"
    )
    (tmp_path / "slurm").mkdir()
    batch = tmp_path / "slurm/train.sbatch"
    batch.write_text(BATCH.format(grid=GRID, data=store_path))
    return tmp_path


def grid(folder, *arguments):
    command = [GRID, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def states(folder):
    """Row numbers by state."""
    return rows_by_state(grid(folder, "status", "e.yaml"))


@pytest.mark.long
def test_grid_of_twelve_cancelled_in_the_middle(folder):
    done = grid(folder, "submit", "e.yaml", "--site", "site.yaml", "--gpu", "cpu")
    assert done.returncode == 0, done.stderr
    assert "--array=1-12" in done.stdout
    job = re.search(r"Submitted batch job (\d+)", done.stdout)[1]
    until = time.monotonic() + 600
    while len(states(folder).get("finished", ())) < 3:
        assert time.monotonic() < until, states(folder)
        time.sleep(0.5)
    subprocess.run(["scancel", "--signal=KILL", job], check=True)
    subprocess.run(["scancel", job], check=True)
    while subprocess.run(["squeue", "-h", "-j", job], capture_output=True).stdout.strip():
        assert time.monotonic() < until
        time.sleep(0.2)
    left = states(folder)
    assert left["finished"] and "running" not in left
    # What Slurm has dropped cannot be told from what waits by files alone: missing has all of it.
    missing = grid(folder, "missing", "e.yaml").stdout.strip()
    assert set(plan.parse_ranges(missing)) == set(range(1, 13)) - left["finished"]
    done = grid(
        folder, "rerun", "e.yaml", "--site", "site.yaml", "--gpu", "cpu", "--index", missing
    )
    assert done.returncode == 0, done.stderr
    assert f"--array={missing}" in done.stdout
    until = time.monotonic() + 600
    while states(folder) != {"finished": set(range(1, 13))}:
        assert time.monotonic() < until, states(folder)
        time.sleep(0.5)
    frozen = plan.load(folder / "runs/e")
    for row in frozen.rows:
        assert frozen.run(row).read_result().experiment["seed"] == row.parameters["seed"]
