"""A folder of output: one process at a time, never into what others made, taken up after a kill."""

import subprocess
import sys
import threading

import pytest

from cloudmask.errors import InputError, InUse
from cloudmask.system.output import LOCK, MARKER, claimed, file_claimed


def _write(folder, *names):
    folder.announce(names)
    for name in names:
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text("ours")


def test_a_new_folder_says_whose_it_is(tmp_path):
    with claimed(tmp_path / "out", "report") as folder:
        assert (folder.path / MARKER).read_text() == "report\n"
        _write(folder, "page", "tables/a.csv")
    assert (tmp_path / "out" / MARKER).read_text() == "report\npage\ntables/a.csv\n"
    assert not (tmp_path / "out" / LOCK).exists()


def test_what_an_earlier_one_left_is_replaced_and_what_others_put_there_stays(tmp_path):
    with claimed(tmp_path, "report") as folder:
        _write(folder, "page", "tables/a.csv", "tables/b.csv")
    (tmp_path / "tables" / "notes.txt").write_text("theirs")
    with claimed(tmp_path, "report") as folder:
        _write(folder, "page", "tables/b.csv")
        folder.keep_only(["page", "tables/b.csv"])
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["b.csv", "notes.txt"]


def test_a_file_of_others_is_never_replaced(tmp_path):
    with claimed(tmp_path, "report") as folder:
        _write(folder, "page")
    (tmp_path / "report.md").write_text("theirs")
    with claimed(tmp_path, "report") as folder, pytest.raises(InputError, match=r"report\.md: not"):
        folder.announce(["page", "report.md"])
    assert (tmp_path / "report.md").read_text() == "theirs"


@pytest.mark.parametrize("held", ["files", "evaluation"])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, held):
    if held == "evaluation":
        (tmp_path / MARKER).write_text("evaluation\n")
    (tmp_path / "x").write_text("theirs")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="no report"), claimed(tmp_path, "report"):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="is a file"), claimed(tmp_path / "out", "report"):
        pass


@pytest.mark.parametrize("listed", ["../x", "/etc/passwd", "a\x00b", ""])
def test_a_marker_leads_nowhere_else(tmp_path, listed):
    (tmp_path / MARKER).write_text(f"report\n{listed}\n")
    with pytest.raises(InputError, match="cannot be a path"), claimed(tmp_path, "report"):
        pass


def test_nothing_is_left_of_an_output_that_was_never_begun(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "out", "report"):
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()
    with claimed(tmp_path, "report"):
        pass
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from cloudmask.system import output
with output.claimed(Path(sys.argv[1]), "report") as folder:
    folder.announce(["page", "tables.csv"])
    (folder.path / "tables.csv").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_one_that_was_killed_in_its_first_writing_is_taken_up(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")])
    assert done.returncode == -9
    assert (tmp_path / "out" / LOCK).exists()
    with claimed(tmp_path / "out", "report") as folder:
        _write(folder, "page", "tables.csv")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [MARKER, "page", "tables.csv"]


def test_two_at_once_are_one_and_a_refusal(tmp_path):
    """Of one kind and of two; whoever is first."""
    for number, kinds in enumerate([("report", "report"), ("report", "evaluation")] * 20):
        barrier, ended, outcomes = threading.Barrier(2), threading.Event(), []

        def work(
            kind,
            path=tmp_path / f"{number}",
            barrier=barrier,
            ended=ended,
            to=outcomes,
            kinds=kinds,
        ):
            barrier.wait()
            try:
                with claimed(path, kind) as folder:
                    _write(folder, "page")
                    ended.wait(10)
                to.append("done")
            except InputError as error:
                # Of another kind it is also refused for what the first has written already.
                to.append("refused" if isinstance(error, InUse) or len({*kinds}) > 1 else error)
                ended.set()

        threads = [threading.Thread(target=work, args=(kind,)) for kind in kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["done", "refused"]


def test_a_file_needs_a_folder_that_is_there(tmp_path):
    for path in (tmp_path / "nodir/c.json", tmp_path):
        with (
            pytest.raises(InputError, match=f"{path}: expected the name of a file in an existing"),
            file_claimed(path),
        ):
            pass
