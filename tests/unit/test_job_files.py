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
    monkeypatch.chdir(SLURM.parent)
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


def test_a_site_file_elsewhere_is_the_one_that_is_kept(run, tmp_path, monkeypatch):
    """Not the one of the same name that comes with the jobs, and without a job script, too."""
    (tmp_path / "greene.yaml").write_text("executor: lsf\n")
    monkeypatch.setenv(job_files.SITE, str(tmp_path / "greene.yaml"))
    monkeypatch.chdir(SLURM.parent)
    job_files.keep(run)
    assert kept(run) == {"sites/greene.yaml"}
    assert (run.job / "sites/greene.yaml").read_text() == "executor: lsf\n"


def test_files_of_two_sites_of_one_name_are_both_kept(run, tmp_path, monkeypatch):
    for content in ("one\n", "two\n", "one\n"):
        folder = tmp_path / content.strip()
        folder.mkdir(exist_ok=True)
        (folder / "here.yaml").write_text(content)
        monkeypatch.setenv(job_files.SITE, str(folder / "here.yaml"))
        job_files.keep(run)
    assert kept(run) == {"sites/here.yaml", "sites/here-2.yaml"}
    assert (run.job / "sites/here-2.yaml").read_text() == "two\n"


def test_a_site_that_has_no_file_is_only_named(run, monkeypatch, caplog):
    monkeypatch.setenv(job_files.SITE, "local")
    job_files.keep(run)
    assert not run.job.exists() and not caplog.text
