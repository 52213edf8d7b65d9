"""Rows on another host: what comes back replaces the run, also after a fetch that was killed."""

from types import SimpleNamespace

import pytest

from cloudmask.experiments.executors.remote import RemoteRow


@pytest.fixture
def row(tmp_path, monkeypatch):
    """A row whose remote run has one file, `result`, of content "new"."""
    plan = SimpleNamespace(
        name="p", folder=tmp_path, run=lambda row: SimpleNamespace(path=tmp_path / row.directory)
    )
    remote = RemoteRow(["ssh"], "there", plan, SimpleNamespace(index=1, directory="0001"))

    def fetch(into, without=()):
        (into / "0001").mkdir()
        (into / "0001" / "result").write_text("new")

    monkeypatch.setattr(remote, "_fetch", fetch)
    return remote


def make(folder, content):
    folder.mkdir()
    (folder / "result").write_text(content)


@pytest.mark.parametrize(
    "left", [(), ("0001",), (".old-1",), ("0001", ".old-1"), ("0001", ".incoming-1", ".old-1")]
)
def test_what_a_killed_fetch_left_blocks_no_later_one(row, tmp_path, left):
    for name in left:
        make(tmp_path / name, name)
    row._fetch_all()
    assert [path.name for path in tmp_path.iterdir()] == ["0001"]
    assert (tmp_path / "0001" / "result").read_text() == "new"


def test_the_run_is_back_if_the_connection_fails_after_a_killed_fetch(row, tmp_path, monkeypatch):
    make(tmp_path / ".old-1", "the only copy")

    def fail(into):
        raise OSError("connection lost")

    monkeypatch.setattr(row, "_fetch", fail)
    with pytest.raises(OSError, match="lost"):
        row._fetch_all()
    assert (tmp_path / "0001" / "result").read_text() == "the only copy"
