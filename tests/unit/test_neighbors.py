"""Who else works on a node."""

import os
import subprocess

import pytest

from cloudmask.record import neighbors
from cloudmask.record.neighbors import OtherJobs

SQUEUE = '#!/bin/sh\n[ "$2" = --nodelist=n1 ] && printf "12\\n13\\n13\\n"\n'


@pytest.fixture(autouse=True)
def no_job(monkeypatch, tmp_path):
    for name in (neighbors.VARIABLE, "SLURM_JOB_ID", "SLURMD_NODENAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_without_slurm_nobody_can_ask_for_jobs():
    assert neighbors.look().jobs is None


def test_what_the_job_script_found(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv(neighbors.VARIABLE, "13 12 x;y")
    assert neighbors.look().jobs == ("13",)
    monkeypatch.setenv(neighbors.VARIABLE, "")
    assert neighbors.look().jobs == ()


def test_slurm_is_asked_where_it_can_be(monkeypatch, tmp_path):
    (tmp_path / "squeue").write_text(SQUEUE)
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    assert neighbors.look().jobs == ("13",)
    # A controller that does not answer leaves what the job script found.
    monkeypatch.setenv("SLURMD_NODENAME", "n2")
    monkeypatch.setenv(neighbors.VARIABLE, "14")
    assert neighbors.look().jobs == ("14",)


def test_a_busy_process_of_another_user_is_counted(monkeypatch):
    if os.geteuid():
        pytest.skip("only root can start a process of another user")
    before = neighbors.look().busy_processes
    command = ["/bin/sh", "-c", "while :; do :; done"]
    busy = subprocess.Popen(command, user=4242, group=4242, cwd="/")
    try:
        assert any(neighbors.look().busy_processes > before for _ in range(10))
        monkeypatch.setattr(neighbors, "FIRST_USER", 5000)  # as of a service of the system
        assert neighbors.look().busy_processes == 0
    finally:
        busy.kill()
        busy.wait()


def test_both_looks_count():
    first, later = OtherJobs(("1",), 2, None), OtherJobs(("2", "1"), 0, 1)
    merged = first.merged(later)
    assert merged == OtherJobs(("1", "2"), 2, 1)
    assert merged.seen and not OtherJobs((), 0, 0).seen and not OtherJobs(None, 0, None).seen
    assert OtherJobs(None, 0, None).merged(OtherJobs(None, 0, None)).jobs is None
