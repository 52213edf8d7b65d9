"""What is fetched from another machine takes the place of what is here, whenever it is killed."""

import shutil
from types import SimpleNamespace

import pytest

from cloudmask.errors import Fault
from cloudmask.experiments.executors.remote import RemoteRow

SHELL = ["sh", "-c"]  # in the place of ssh: this machine is the other one


@pytest.fixture
def row(tmp_path):
    """A row with a run directory here, and a newer one in the folder `far`."""
    here, far = tmp_path / "here", tmp_path / "far/runs/e"
    for folder, text in ((here / "0001", "old"), (far / "0001", "new")):
        folder.mkdir(parents=True)
        (folder / "history.csv").write_text(text)
    (here / "plan.json").write_text("{}")
    run = SimpleNamespace(path=here / "0001")
    plan = SimpleNamespace(folder=here, name="e", run=lambda row: run)
    return RemoteRow(SHELL, str(tmp_path / "far"), plan, SimpleNamespace(index=1, directory="0001"))


def left(here):
    return sorted(path.name for path in here.iterdir() if path.name != "plan.json")


@pytest.mark.parametrize("names", [(), ("0001",), (".old-1",), ("0001", ".old-1")])
def test_what_a_killed_fetch_left_does_not_block_the_next(row, tmp_path, names):
    here = tmp_path / "here"
    shutil.rmtree(here / "0001")
    for name in names:
        (here / name).mkdir()
        (here / name / "history.csv").write_text("older")
    row._fetch_all()
    assert left(here) == ["0001"]
    assert (here / "0001/history.csv").read_text() == "new"


def test_a_run_that_a_killed_fetch_had_moved_comes_back(row, tmp_path):
    """Also where the other machine does not answer any more: nothing is lost."""
    here = tmp_path / "here"
    (here / "0001").rename(here / ".old-1")
    gone = RemoteRow(["false"], row._folder, row._plan, row._row)
    with pytest.raises(Fault):
        gone._send()
    assert left(here) == ["0001"]
    assert (here / "0001/history.csv").read_text() == "old"
