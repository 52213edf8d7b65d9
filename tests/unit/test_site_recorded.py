"""Every executor names the site to its rows, which record it with the run."""

import io
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.sites import LSF, SSH

from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.experiments.executors import EXECUTORS, remote
from cloudmask.experiments.executors.executor import Launch, RowInputs, SubmitRequest
from cloudmask.experiments.executors.slurm import load_site
from cloudmask.experiments.experiment import load_experiment
from cloudmask.record.job_files import SITE
from cloudmask.system.signals import StopRequest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {"slurm": "gpus: {cpu: {}}\n", "lsf": LSF, "ssh": SSH}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """The plan of one row, in a working directory with a site file of each executor."""
    (tmp_path / "e.yaml").write_text("name: e\n")
    (tmp_path / "p.h5").touch()
    for name, text in FILES.items():
        (tmp_path / f"my {name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return plan.preview(load_experiment("e.yaml"), Path("runs"))


@pytest.mark.parametrize("kind", FILES)
def test_the_command_line_names_the_site(planned, kind):
    site = f"my {kind}.yaml"
    executor = EXECUTORS[kind](site, SubmitRequest("e.yaml", RowInputs("p.h5")))
    (launch,) = executor.launches(planned, planned.rows)
    text = " ".join(launch.command)
    assert f"{SITE}={site}" in text or f"export {SITE}='{site}'; " in text


def test_rows_of_this_machine_are_local_whatever_was_exported(planned, monkeypatch):
    monkeypatch.setenv(SITE, "greene")
    planned.folder.mkdir(parents=True)
    show = (sys.executable, "-c", f"import os; print(os.environ['{SITE}'])")
    local = EXECUTORS["local"]("local", SubmitRequest("e.yaml", RowInputs("p.h5")))
    codes = local.start(planned, [Launch(tuple(planned.rows), show)], StopRequest())
    assert codes == {1: 0}
    assert (planned.folder / "logs/0001.log").read_text() == "local\n"


def test_a_run_of_another_host_gets_the_site_file_that_the_host_does_not_see(planned):
    planned.folder.mkdir(parents=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        folder = tarfile.TarInfo("0001")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    Path("run.tar").write_bytes(content.getvalue())
    row = SimpleNamespace(index=1, directory="0001", parameters={})
    copy = "import shutil, sys; shutil.copyfileobj(open('run.tar', 'rb'), sys.stdout.buffer)"
    ssh = [sys.executable, "-c", copy]
    remote.RemoteRow(ssh, "there", planned, row, Path("my ssh.yaml"))._fetch_all()
    assert (planned.folder / "0001/job/sites/my ssh.yaml").read_text() == SSH


def test_a_name_that_export_cannot_hand_on_is_refused(planned):
    Path("a,b.yaml").write_text(FILES["slurm"])
    with pytest.raises(InputError, match="without a comma"):
        load_site("a,b.yaml")
