"""Steps of a job that need no container: caches, and who else is on the node."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOW = 'echo "code=${CLOUDMASK_CLEAR_CACHES_CODE-unset} jobs=${CLOUDMASK_OTHER_JOBS-unset}"'


@pytest.fixture
def step(tmp_path):
    """Run a step of slurm/lib/job.sh with these variables; what it left, and what it logged."""
    for tool in ("bash", "date"):
        (tmp_path / tool).symlink_to(shutil.which(tool))

    def step(name, **variables):
        script = f"source slurm/lib/job.sh; signals::catch; {name}; {SHOW}"
        done = subprocess.run(
            [shutil.which("bash"), "-euc", script],
            cwd=ROOT,
            env={"PATH": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr

    return step


def program(path, text):
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("value", ["store", "none", ""])
def test_without_a_command_nothing_is_run(step, value):
    # What an earlier job has left in the environment is not taken for an answer.
    left = {"CLOUDMASK_CLEAR_CACHES_CODE": "0"}
    assert step("job::clear_caches", CLOUDMASK_CLEAR_CACHES=value, **left)[0] == (
        "code=unset jobs=unset"
    )


def test_the_sites_command_runs_without_a_shell(step, tmp_path):
    program(tmp_path / "drop", f'printf "%s\\n" "$@" >{tmp_path}/arguments')
    shown, _ = step("job::clear_caches", CLOUDMASK_CLEAR_CACHES="drop --all $(ls); *")
    assert shown == "code=0 jobs=unset"
    assert (tmp_path / "arguments").read_text().split() == ["--all", "$(ls);", "*"]


def test_a_command_that_fails_ends_no_job(step, tmp_path):
    program(tmp_path / "drop", "echo no >&2; exit 3")
    shown, log = step("job::clear_caches", CLOUDMASK_CLEAR_CACHES="drop")
    assert shown == "code=3 jobs=unset"
    assert "WARNING: drop: exit code 3; caches stay" in log
    assert step("job::clear_caches", CLOUDMASK_CLEAR_CACHES="absent")[0].startswith("code=127")


def test_other_jobs_of_the_node_are_noted(step, tmp_path):
    job = {"SLURM_JOB_ID": "12", "SLURMD_NODENAME": "n1"}
    assert step("job::note_other_jobs")[0] == "code=unset jobs=unset"
    # No squeue on the node: nobody could ask.
    assert step("job::note_other_jobs", **job)[0] == "code=unset jobs=unset"
    program(tmp_path / "squeue", '[[ " $* " == *" --nodelist=n1 "* ]] && echo 12')
    assert step("job::note_other_jobs", **job) == ("code=unset jobs=", "")
    program(tmp_path / "squeue", "printf '12\\n13\\n14\\n'")
    shown, log = step("job::note_other_jobs", **job)
    assert shown == "code=unset jobs=13 14"
    assert "WARNING: shares n1 with: 13 14" in log
