"""What started a run is kept with it: scripts that name themselves, and files of the image."""

from pathlib import Path

import pytest

from cloudmask.record import job_files
from cloudmask.record.run_directory import RunDirectory

SLURM = Path(__file__).resolve().parents[2] / "slurm"


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in (job_files.SCRIPT, job_files.SITE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(job_files, "IMAGE", {})
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run")


def kept(run):
    return {str(path.relative_to(run.job)) for path in run.job.rglob("*") if path.is_file()}


def test_without_a_job_nothing_is_kept(run):
    job_files.keep(run)
    assert not run.job.exists()


def test_a_job_script_is_kept_with_its_parts_and_its_site(run, monkeypatch):
    monkeypatch.setenv(job_files.SCRIPT, str(SLURM / "train.sbatch"))
    monkeypatch.setenv(job_files.SITE, "greene")
    job_files.keep(run)
    assert {"train.sbatch", "lib/job.sh", "lib/nodes.sh", "sites/greene.yaml"} <= kept(run)
    assert (run.job / "train.sbatch").read_text() == (SLURM / "train.sbatch").read_text()


def test_every_job_script_that_trains_names_itself():
    text = (SLURM / "lib/nodes.sh").read_text()
    assert f"export {job_files.SCRIPT}=$1" in text
    assert 'nodes::enter slurm/train.sbatch "$@"' in (SLURM / "train.sbatch").read_text()


def test_files_of_the_image_are_kept(run, tmp_path, monkeypatch):
    (tmp_path / "Singularity").write_text("Bootstrap: docker\n")
    image = {tmp_path / "Singularity": "cloudmask.def", tmp_path / "none": "requirements.txt"}
    monkeypatch.setattr(job_files, "IMAGE", image)
    job_files.keep(run)
    assert kept(run) == {"cloudmask.def"}


def test_what_cannot_be_read_is_reported_and_left_out(run, tmp_path, monkeypatch, caplog):
    (tmp_path / "job.sbatch").write_bytes(b"\xff\xfe")
    monkeypatch.setenv(job_files.SCRIPT, str(tmp_path / "job.sbatch"))
    job_files.keep(run)
    assert "not kept with the run" in caplog.text and not run.job.exists()
