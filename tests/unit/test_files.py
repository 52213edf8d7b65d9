"""Files that are either complete or not there."""

import ctypes
import errno
import multiprocessing
import os
import signal

import pytest

from cloudmask.errors import InputError
from cloudmask.system import files


def test_csv_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "t.csv"
    files.write_csv(path, ["a", "b"], [{"a": 1, "b": "x, y", "c": 3}, {"a": None}])
    assert path.read_text() == 'a,b\n1,"x, y"\n,\n'

    def rows():
        yield {"a": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_csv(path, ["a"], rows())
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text().startswith("a,b\n")


def test_half_a_line_is_cut_off(tmp_path):
    path = tmp_path / "log"
    assert files.whole_lines(path) == []
    path.write_text("one\ntwo\nthr")
    assert files.whole_lines(path) == ["one", "two"]
    assert path.read_text() == "one\ntwo\n"
    path.write_text("o")
    assert files.whole_lines(path) == []
    assert path.read_text() == ""


def test_two_that_create_one_name_do_not_overwrite_each_other(tmp_path):
    path = tmp_path / "mask.nc"
    with (
        pytest.raises(InputError, match="exists already"),
        files.creating(path) as late,
    ):
        late.write_text("late")
        with files.creating(path) as early:
            early.write_text("early")
    assert path.read_text() == "early"
    with pytest.raises(InputError, match="exists already"), files.creating(path):
        pytest.fail("an existing name is refused before the work")
    assert [p.name for p in tmp_path.iterdir()] == ["mask.nc"]


def test_folder_is_created_whole_and_only_once(tmp_path):
    with files.creating(tmp_path / "out") as folder:
        folder.mkdir()
        (folder / "a").write_text("1")
    assert (tmp_path / "out" / "a").read_text() == "1"
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="other: exists already"):
        files.move(tmp_path / "out", tmp_path / "other")
    assert (tmp_path / "out" / "a").read_text() == "1"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_names_are_not_overwritten_without_renameat2(tmp_path, monkeypatch, kind):
    class Library:
        @staticmethod
        def renameat2(*arguments):
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(files.ctypes, "CDLL", lambda *a, **k: Library)
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source, target):
        path.mkdir() if kind == "folder" else path.write_text(path.name)
    with pytest.raises(InputError, match="target: exists already"):
        files.move(source, target)
    assert source.exists()
    files.move(source, tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "target"]


def test_moved_aside_never_over_another(tmp_path):
    for number in (1, 2):
        (tmp_path / f"run.{number}").mkdir()
    (tmp_path / "run").mkdir()
    assert files.move_aside(tmp_path / "run") == tmp_path / "run.3"


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path):
    path = tmp_path / "model.keras"

    def write(name):
        with files.replacing(path) as temporary:
            temporary.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=write, args=("dead",))
    child.start()
    child.join()
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".keras"
    others = tmp_path / ".model.not-ours.tmp.keras"
    others.write_text("a user's")
    with files.replacing(path) as temporary:
        temporary.write_text("living")
        assert not left.exists()
        files.remove_temporary(tmp_path)
        assert temporary.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [others.name, "model.keras"]


def test_another_nodes_file_is_abandoned_by_its_age(tmp_path, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_host", lambda: "node7")
        left = files.temporary_path(tmp_path / "a.csv")
    left.write_text("")
    files.remove_temporary(tmp_path)
    assert left.exists()
    files.remove_temporary(tmp_path, locked=True)
    assert not left.exists()
    left.write_text("")
    os.utime(left, (0, 0))
    files.remove_temporary(tmp_path)
    assert not left.exists()


def test_folder_is_synced_after_the_rename(tmp_path, monkeypatch):
    done = []
    sync, replace = files.sync_folder, files.Path.replace
    monkeypatch.setattr(files, "sync_folder", lambda f: (done.append("synced"), sync(f)))
    monkeypatch.setattr(
        files.Path, "replace", lambda p, target: (done.append("renamed"), replace(p, target))
    )
    files.write_text(tmp_path / "a", "1")
    assert done == ["renamed", "synced"]


def test_long_names_are_written(tmp_path):
    path = tmp_path / ("ü" * 120 + ".csv")
    files.write_text(path, "1")
    assert path.read_text() == "1"
