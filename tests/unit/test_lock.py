"""The lock of a run directory: one holder, told by name, and nothing left by the dead."""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import threading
import time

import pytest

from cloudmask.commands import run
from cloudmask.errors import InputError, InUse
from cloudmask.system import lock

HOLD = """
import sys, time
from pathlib import Path
from cloudmask.system.lock import exclusive
with exclusive(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.5)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def no_locks(file, operation):
    raise OSError(errno.ENOSYS, "no locks here")


def test_is_held_told_and_removed(tmp_path):
    path = tmp_path / "lock"
    with lock.exclusive(path, "run"):
        with pytest.raises(InputError, match=f"run: in use by process {os.getpid()} on "):
            lock.exclusive(path, "run").__enter__()
        assert path.exists()
    assert not path.exists()
    with lock.exclusive(path, "run"):
        pass


def test_another_process_is_named_and_its_death_frees(tmp_path, holder):
    path = tmp_path / "lock"
    expected = f"run: in use by process {holder.pid} on {platform.node()}"
    with pytest.raises(InputError, match=expected):
        lock.exclusive(path, "run").__enter__()
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with lock.exclusive(path, "run"):
        assert time.monotonic() - began < 2
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_removed_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), lock.exclusive(tmp_path / "lock", "run"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_refused_removal_is_tried_again_and_no_error(tmp_path, monkeypatch):
    """A file server may be busy; the work that the lock protected is done."""
    path, left = tmp_path / "lock", [1]
    unlink = type(path).unlink

    def refused(self, missing_ok=False):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EBUSY, "busy", str(self))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(type(path), "unlink", refused)
    with lock.exclusive(path, "it"):
        pass
    assert not path.exists()
    left[0] = 2
    with lock.exclusive(path, "it"):
        pass
    assert path.exists()
    with lock.exclusive(path, "it"):
        assert path.exists()
    assert not path.exists()


def test_another_node_is_known_by_its_heartbeat(tmp_path, quick):
    """A file system whose locks do not reach the other node."""
    path = tmp_path / "lock"
    path.write_text('{"host": "elsewhere", "process": 7}')
    stop = threading.Event()
    beating = threading.Thread(target=lock._beat, args=(path, stop))
    beating.start()
    with pytest.raises(InputError, match="in use by process 7 on elsewhere"):
        lock.exclusive(path, "run").__enter__()
    stop.set()
    beating.join()
    with lock.exclusive(path, "run"):  # the other one no longer moves
        pass


def test_a_job_that_is_queued_again_waits_for_its_dead_self(monkeypatch):
    def refuse():
        raise InUse("run: in use by process 7 on elsewhere")

    assert run(refuse) == 2
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run(refuse) == 75


def test_a_file_system_without_locks(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    path = tmp_path / "lock"
    with lock.exclusive(path, "run"), pytest.raises(InputError, match="in use by process"):
        lock.exclusive(path, "run").__enter__()
    path.write_text(json.dumps({"host": platform.node(), "process": 1}))
    with lock.exclusive(path, "run"):
        pass


def test_a_damaged_lock_file_holds_nobody_up(tmp_path):
    (tmp_path / "lock").write_text("[1")
    with lock.exclusive(tmp_path / "lock", "run"):
        pass


def test_of_many_one_wins(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, tmp_path / "lock"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(10)
    ]
    deadline = time.monotonic() + 120
    while sum(p.poll() is not None for p in processes) < 9 and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = [p for p in processes if p.poll() is None]
    assert len(alive) == 1
    alive[0].kill()
    outputs = [p.communicate() for p in processes]
    assert sum("in use by" in error for _, error in outputs) == 9


def test_a_kernel_lock_waits_or_does_not(tmp_path):
    path = tmp_path / "lock"
    with lock.KernelLock(path) as first, lock.KernelLock(path) as second:
        assert not lock.is_locked(path)
        assert first.try_acquire() and lock.is_locked(path)
        assert not second.try_acquire()
        first.write_note("mine")
        assert second.note == "mine" == path.read_text()
        threading.Timer(0.2, first.close).start()
        began = time.monotonic()
        second.acquire(10)
        assert time.monotonic() - began > 0.1
        path.unlink()
        assert not second.in_place and not lock.is_locked(path)


def test_a_kernel_lock_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with lock.KernelLock(tmp_path / "lock") as mine:
        with pytest.raises(lock.NoLocks):
            mine.try_acquire()
        with pytest.raises(lock.NoLocks):
            mine.acquire(10)
    assert lock.is_locked(tmp_path / "lock"), "whoever cannot tell must not remove anything"


def test_a_dead_process_that_nobody_waited_for_holds_nothing(tmp_path):
    path = tmp_path / ".lock"
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        path.write_text(json.dumps({"host": platform.node(), "process": child}))
        until = time.monotonic() + 120
        while lock.held(path) and time.monotonic() < until:
            time.sleep(0.01)
        assert not lock.held(path)
    finally:
        os.waitpid(child, 0)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "dangling link"])
def test_a_lock_is_a_file_of_its_own(tmp_path, kind):
    """Another user may have put something there, in a folder such as /tmp."""
    precious = tmp_path / "thesis"
    precious.write_text("years of work")
    path = tmp_path / ".lock"
    if kind == "hard link":
        path.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(precious if kind == "link" else tmp_path / "nothing")
    with pytest.raises(InputError, match="is a link or not a file"), lock.exclusive(path, "it"):
        pytest.fail("nothing is locked")
    assert precious.read_text() == "years of work"
    assert not (tmp_path / "nothing").exists()
    assert kind in {"link", "hard link"} or not lock.held(path)


def test_lock_files_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path, holder):
    path = tmp_path / "lock"
    lock.remove_abandoned(path)
    assert path.exists()
    holder.kill()
    holder.wait()
    assert path.exists()
    lock.remove_abandoned(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "note", [b"\xff\xfe", b"[[", b'{"host": 1}', b'{"process": "x"}', b"\0" * 9]
)
def test_a_note_of_any_kind_is_no_holder(tmp_path, quick, note):
    path = tmp_path / ".lock"
    path.write_bytes(note)
    with lock.exclusive(path, "it"):
        assert lock.held(path)


def test_what_somebody_else_wrote_into_a_lock_does_not_reach_the_terminal(tmp_path):
    path = tmp_path / ".lock"
    with lock.KernelLock(path) as other:
        assert other.try_acquire()
        other.write_note(json.dumps({"host": "node\n\x1b[2Jall is well", "process": 1}))
        with pytest.raises(InUse) as refused, lock.exclusive(path, "it"):
            pytest.fail("held by another")
    assert str(refused.value) == "it: in use by another process"
