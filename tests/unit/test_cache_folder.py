"""The folder of a node cache: used only where it is the user's alone, and nothing else removed."""

import contextlib
import errno
import multiprocessing
import os
import re
import shutil
import signal
import stat
import time
from pathlib import Path

import pytest

from cloudmask.overlay import cache_folder
from cloudmask.overlay.cache_folder import CacheFolder, Lease, Unusable
from cloudmask.system.lock import KernelLock
from cloudmask.system.private_folder import PrivateFolder

CONTENT = "0" * 64  # the id of some files
NOBODY = 65534


@pytest.fixture
def usual(tmp_path):
    """The folder's usual name."""
    return tmp_path / f"cloudmask-{cache_folder._user()}"


@pytest.fixture
def precious(tmp_path):
    """A folder of the user's elsewhere, which must stay as it is."""
    folder = tmp_path / "precious"
    (folder / "results").mkdir(parents=True)
    (folder / "thesis").write_text("years of work")
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["results", "thesis"]
    assert (folder / "thesis").read_text() == "years of work"


def by_link(folder: Path, precious: Path) -> None:
    folder.symlink_to(precious)


def open_to_others(folder: Path, precious: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def readable_by_others(folder: Path, precious: Path) -> None:
    folder.mkdir(mode=0o755)


def of_another_user(folder: Path, precious: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)


def a_file(folder: Path, precious: Path) -> None:
    folder.write_text("")


def a_pipe(folder: Path, precious: Path) -> None:
    os.mkfifo(folder)


def a_run_moved_there(folder: Path, precious: Path) -> None:
    """Where the sticky bit is missing, others can rename what they cannot read."""
    folder.mkdir(mode=0o700)
    (folder / ".lock").touch()
    (folder / "result.json").touch()


def with_linked_leases(folder: Path, precious: Path) -> None:
    """As another user could have made it before it was this user's."""
    folder.mkdir(mode=0o700)
    (folder / "holders").symlink_to(precious)


def with_linked_lock(folder: Path, precious: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / ".lock").symlink_to(precious / "thesis")


def with_hard_linked_lock(folder: Path, precious: Path) -> None:
    folder.mkdir(mode=0o700)
    os.link(precious / "thesis", folder / ".lock")


def with_pipe_as_lock(folder: Path, precious: Path) -> None:
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / ".lock")


SQUATTED = {
    by_link: "is a link or a file",
    a_file: "is a link or a file",
    a_pipe: "is a link or a file",
    open_to_others: "is open to other users",
    readable_by_others: "is open to other users",
    of_another_user: "belongs to another user",
    a_run_moved_there: "holds something else",
    with_linked_leases: "holds something else",
    with_linked_lock: "holds something else",
    with_hard_linked_lock: "holds something else",
    with_pipe_as_lock: "holds something else",
}


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("squat", SQUATTED, ids=lambda f: f.__name__)
def test_a_name_taken_by_others_is_passed_over_and_told(tmp_path, usual, precious, caplog, squat):
    squat(usual, precious)
    before = listing(tmp_path)
    with caplog.at_level("WARNING"), CacheFolder(tmp_path) as folder:
        assert re.fullmatch(rf"{usual.name}-[0-9a-f]{{16}}", folder.path.name)
        assert f"{usual} {SQUATTED[squat]}; using {folder.path.name} instead" in caplog.text
        lease = Lease(folder, CONTENT)
        lease.acquire()
        # Another task of the same user finds the same folder.
        with CacheFolder(tmp_path) as again:
            assert again.path == folder.path
        lease.release(keep=True)
        assert (folder.path / CONTENT).is_dir()
    cache_folder.clean(tmp_path, kept=True)
    assert listing(tmp_path) == before


def test_only_what_the_cache_has_made_is_removed(tmp_path, usual):
    with CacheFolder(tmp_path) as folder:
        lease = Lease(folder, CONTENT)
        lease.acquire()
        (usual / "mine").mkdir()
        (usual / CONTENT / "link").symlink_to(tmp_path)
        lease.release(keep=False)
    assert [path.name for path in usual.iterdir()] == [".lock", "mine"]


def test_a_lease_of_the_dead_is_removed_and_no_link_followed(tmp_path, usual, precious):
    with CacheFolder(tmp_path) as folder:
        lease = Lease(folder, CONTENT)
        lease.acquire()
        dead = usual / "leases" / "dead-1-2"
        dead.mkdir()
        (dead / "results").symlink_to(precious)
        (usual / "leases" / "linked").symlink_to(precious)
        lease.release(keep=False)
    assert precious.is_dir()


def test_work_stays_in_the_folder_that_was_looked_at(tmp_path, usual, precious):
    """Its name is given to another folder meanwhile."""
    with CacheFolder(tmp_path) as folder:
        lease = Lease(folder, CONTENT)
        lease.acquire()
        usual.rename(tmp_path / "moved")
        usual.symlink_to(precious)
        (lease.content / "data").mkdir()
        lease.release(keep=False)
        assert not (tmp_path / "moved" / CONTENT).exists()
    assert usual.is_symlink()


def test_another_user_who_swaps_the_folder_meanwhile_gains_nothing(tmp_path, usual, precious):
    if os.geteuid():
        pytest.skip("only root can be two users")
    directory = tmp_path / "scratch"
    directory.mkdir()
    directory.chmod(0o777)  # without the sticky bit
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    name = directory / usual.name

    def swap():
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        while True:
            with contextlib.suppress(OSError):
                name.rename(directory / f"stolen-{time.time_ns()}")
            with contextlib.suppress(OSError):
                name.symlink_to(precious)
            with contextlib.suppress(OSError):
                name.unlink()
            with contextlib.suppress(OSError):
                name.mkdir(mode=0o777)
                (name / CONTENT).symlink_to(precious)

    attacker = multiprocessing.get_context("fork").Process(target=swap, daemon=True)
    attacker.start()
    try:
        until = time.monotonic() + 3
        tried = 0
        while time.monotonic() < until:
            with contextlib.suppress(Unusable, OSError), CacheFolder(directory) as folder:
                lease = Lease(folder, CONTENT)
                lease.acquire()
                assert folder.below.stat().st_uid == os.geteuid()
                (lease.content / "patches").touch()
                lease.release(keep=False)
                tried += 1
    finally:
        attacker.kill()
        attacker.join()
    assert tried > 10


def test_a_stopped_task_of_the_same_user_holds_nobody_up(tmp_path, usual, monkeypatch):
    def hold(ready):
        with CacheFolder(tmp_path) as folder, folder.tidied():
            ready.set()
            os.kill(os.getpid(), signal.SIGSTOP)

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=hold, args=(ready,))
    other.start()
    try:
        assert ready.wait(10)
        monkeypatch.setattr(cache_folder, "PATIENCE", 0.3)
        with (
            CacheFolder(tmp_path) as folder,
            pytest.raises(
                Unusable, match="another of your tasks holds its lock and does not respond"
            ),
        ):
            Lease(folder, CONTENT).acquire()
    finally:
        other.kill()
        other.join()


def test_where_the_file_system_keeps_no_modes_nothing_is_made(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(stat, "S_IMODE", lambda mode: 0o755)
    with pytest.raises(Unusable, match="a new folder there is open to other users"):
        CacheFolder(tmp_path)
    assert list(tmp_path.iterdir()) == [] and not caplog.text


def test_a_full_disk_is_told_and_nothing_left(tmp_path, monkeypatch):
    def no_room(self, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(KernelLock, "__init__", no_room)
    with pytest.raises(Unusable, match="No space left on device"):
        CacheFolder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_the_last_task_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    """The other task is quicker each time, but for the last."""
    opened, left = PrivateFolder.__init__, [3]

    def vanish(self, directory, name):
        if left[0]:
            left[0] -= 1
            (directory / name).rmdir()
        opened(self, directory, name)

    monkeypatch.setattr(PrivateFolder, "__init__", vanish)
    with CacheFolder(tmp_path) as folder:
        assert folder.path.is_dir()


def test_a_folder_that_others_move_for_ever_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(PrivateFolder, "in_place", False)
    with pytest.raises(Unusable, match="keeps disappearing"):
        CacheFolder(tmp_path)


def test_a_folder_that_cannot_be_made_again_is_closed_once(tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with CacheFolder(tmp_path) as folder:
        shutil.rmtree(folder.path)
        monkeypatch.setattr(PrivateFolder, "make", no_room)
        with pytest.raises(Unusable, match="No space left on device"):
            Lease(folder, CONTENT).acquire()


@pytest.mark.parametrize("keep", [False, True])
def test_a_lease_whose_folder_the_site_has_removed_ends_without_a_fault(tmp_path, usual, keep):
    with CacheFolder(tmp_path) as folder:
        lease = Lease(folder, CONTENT)
        lease.acquire()
        shutil.rmtree(usual)
        lease.release(keep)
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_cannot_be_given_back_is_told(tmp_path, caplog, monkeypatch):
    with CacheFolder(tmp_path) as folder:
        lease = Lease(folder, CONTENT)
        lease.acquire()
        with monkeypatch.context() as patched:
            patched.setattr(cache_folder, "PATIENCE", 0)
            with KernelLock(folder.below / ".lock") as other:
                assert other.try_acquire()
                lease.release(keep=False)
        assert "not cleaned up: " in caplog.text and "does not respond" in caplog.text
    cache_folder.clean(tmp_path, kept=False)
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_have_left_is_removed_under_every_name(tmp_path, usual):
    """The usual name was taken by others for a time only."""
    usual.write_text("")
    with CacheFolder(tmp_path) as folder:
        Lease(folder, CONTENT).acquire()
        assert folder.path != usual
    usual.unlink()
    with CacheFolder(tmp_path) as folder:
        Lease(folder, CONTENT).acquire()
        assert folder.path == usual
    cache_folder.clean(tmp_path, kept=False)
    assert list(tmp_path.iterdir()) == []


def test_the_usual_folder_is_cleaned_where_nobody_may_list_names(tmp_path, monkeypatch):
    """A scratch directory of mode 1733."""
    with CacheFolder(tmp_path) as folder:
        Lease(folder, CONTENT).acquire()
    listed = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda path, what: [] if path == tmp_path else listed(path, what)
    )
    cache_folder.clean(tmp_path, kept=False)
    assert list(tmp_path.iterdir()) == []
