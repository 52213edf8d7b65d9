"""What a host sends back for a row: only files of that row's run are unpacked, within bounds."""

import io
import sys
import tarfile

import pytest

from cloudmask.errors import Fault
from cloudmask.experiments.executors import remote
from cloudmask.experiments.plan import Plan, Row

ROW = Row(1, "0001", {})


@pytest.fixture
def plan(tmp_path):
    folder = tmp_path / "runs" / "e"
    (folder / "0002").mkdir(parents=True)
    (folder / "plan.json").write_text("plan")
    (folder / "0002" / "result.json").write_text("result")
    return Plan("e", folder, {}, (), (ROW,))


def sent(tmp_path, *members):
    """A command that stands for `ssh` and sends these members."""
    path = tmp_path / "sent.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content.decode()
            archive.addfile(member, io.BytesIO(content) if member.size else None)
    copy = f"import shutil, sys; shutil.copyfileobj(open({str(path)!r}, 'rb'), sys.stdout.buffer)"
    return [sys.executable, "-c", copy]


def fetch(tmp_path, plan, *members):
    """Both ways of fetching: a look at a running row, and its end."""
    row = remote.RemoteRow(sent(tmp_path, *members), "there", plan, ROW, plan.folder / "site.yaml")
    row._fetch(plan.folder, remote.HEAVY)
    row._fetch_all()


def test_the_files_of_the_row_are_unpacked(tmp_path, plan):
    members = [
        ("0001", tarfile.DIRTYPE, b""),
        ("0001/history.csv", tarfile.REGTYPE, b"epoch"),
        ("0001/checkpoints/a/x.npy", tarfile.REGTYPE, b"1"),
    ]
    fetch(tmp_path, plan, *members)
    assert (plan.folder / "0001" / "history.csv").read_text() == "epoch"
    assert (plan.folder / "0001" / "checkpoints" / "a" / "x.npy").exists()


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("plan.json", tarfile.REGTYPE, b"hostile"),
        ("0002/result.json", tarfile.REGTYPE, b"hostile"),
        ("0001/../0002/result.json", tarfile.REGTYPE, b"hostile"),
        ("../../outside", tarfile.REGTYPE, b"hostile"),
        ("/tmp/cloudmask-outside", tarfile.REGTYPE, b"hostile"),
        ("./0002/result.json", tarfile.REGTYPE, b"hostile"),
        ("0001", tarfile.REGTYPE, b"hostile"),
        ("0001/link", tarfile.SYMTYPE, b"../0002"),
        ("0001/link", tarfile.LNKTYPE, b"plan.json"),
        ("0001/pipe", tarfile.FIFOTYPE, b""),
        ("0001/device", tarfile.CHRTYPE, b""),
        ("", tarfile.DIRTYPE, b""),
    ],
)
def test_nothing_else_is_touched(tmp_path, plan, name, kind, content):
    with pytest.raises(Fault, match=r"the host sent .*; expected files and folders of 0001"):
        fetch(tmp_path, plan, ("0001", tarfile.DIRTYPE, b""), (name, kind, content))
    assert (plan.folder / "plan.json").read_text() == "plan"
    assert (plan.folder / "0002" / "result.json").read_text() == "result"
    below = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    known = {"runs", "runs/e", "runs/e/plan.json", "runs/e/0002", "runs/e/0002/result.json"}
    assert below - {"sent.tar", "runs/e/0001"} == known


def test_what_comes_back_is_bounded(tmp_path, plan, monkeypatch):
    monkeypatch.setattr(remote, "MOST_BYTES", 10)
    with pytest.raises(Fault, match="sent more than"):
        fetch(tmp_path, plan, ("0001/large", tarfile.REGTYPE, bytes(11)))
