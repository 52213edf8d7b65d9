"""One copy per node: tasks as processes of their own that come, wait, end and are killed."""

import errno
import fcntl
import getpass
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloudmask.errors import InputError
from cloudmask.overlay import manifest, node_cache
from cloudmask.overlay.build import build, plan
from cloudmask.overlay.e2fsprogs import tool
from cloudmask.system import disk, files
from cloudmask.system.lock import KernelLock

MEGABYTES = 150
STAGE = Path(sys.executable).with_name("cloudmask-stage")
SOURCES = Path(__file__).resolve().parents[2] / "app" / "src"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An overlay with patches, large enough to be caught while it is copied, and a scene."""
    try:
        tool("mkfs.ext3")
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("image")
    with (folder / "patches").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(10**6))
    (folder / "scene").write_bytes(os.urandom(1000))
    inside = {manifest.PATCHES: folder / "patches", f"{manifest.SCENES}/a.hdf": folder / "scene"}
    build(plan(inside, folder / "o.ext3"), 2)
    return folder / "o.ext3"


@pytest.fixture
def local(tmp_path):
    """A node's own disk; nothing may be left on it at the end."""
    path = tmp_path / "local"
    path.mkdir()
    yield path
    assert list(path.rglob("*")) == []


@pytest.fixture
def task(image):
    """A function that starts a task, which the test's end kills if it still runs."""
    tasks = []

    def start(*places, image=image):
        words = [word for place in places for word in ("--local", place)]
        tasks.append(Task([STAGE, "share", image, *words]))
        return tasks[-1]

    yield start
    for each in tasks:
        each.process.kill()
        each.process.wait()


class Task:
    def __init__(self, words):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            list(map(str, words)), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def ready(self):
        """Folder of the files, the task's own folder, the record."""
        data, tmp = (Path(self.process.stdout.readline().strip()) for _ in range(2))
        return data, tmp, json.loads(self.process.stdout.readline())

    def end(self, told=""):
        """End as a job does that has finished; returns what it said."""
        _, errors = self.process.communicate(told, timeout=300)
        assert self.process.returncode == 0, errors
        return errors


def user_folder(local):
    return local / f"cloudmask-{getpass.getuser()}"


def copying(local):
    """Wait until somebody copies; returns the unfinished file."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [path for path in local.rglob(".patches.*") if path.is_file()]
        if found and found[0].stat().st_blocks:
            return found[0]
    raise AssertionError("nobody copies")


def test_the_files_are_those_of_the_overlay(task, image, local):
    one = task(local)
    data, tmp, record = one.ready()
    expected = manifest.read(image)
    assert files.sha256(data / "patches.h5") == expected.content(manifest.PATCHES).sha256
    assert (data / "inference" / "a.hdf").stat().st_size == 1000
    assert tmp.is_dir()
    assert record["method"] == "copied"
    assert record["bytes"] == MEGABYTES * 10**6 + 1000
    assert 0 < record["end"] - record["begin"] == record["seconds"]
    assert user_folder(local).stat().st_mode & 0o77 == 0
    assert "verified" in one.end()


def test_eight_at_once_copy_once(task, local):
    tasks = [task(local) for _ in range(8)]
    ready = [each.ready() for each in tasks]
    assert len({data for data, _, _ in ready}) == 1
    assert len({tmp for _, tmp, _ in ready}) == 8
    methods = [record["method"] for _, _, record in ready]
    assert methods.count("copied") == 1
    assert sum(record["bytes"] for _, _, record in ready) == MEGABYTES * 10**6 + 1000
    assert "waited for another task's copy" in methods
    late = task(local)
    assert late.ready()[2]["method"] == "found another task's copy"
    for each in tasks:
        each.end()
        assert (ready[0][0] / "patches.h5").exists()
    late.end()


def test_a_copy_is_kept_for_a_task_to_come(task, local):
    first = task(local)
    data, tmp, _ = first.ready()
    first.end("keep\n")
    assert (data / "patches.h5").exists() and not tmp.exists()
    second = task(local)
    assert second.ready()[2]["method"] == "found another task's copy"
    second.end("keep\n")
    # The one to come never comes: the mark loses its meaning, or somebody cleans.
    clean = [STAGE, "clean", "--local", local]
    subprocess.run(clean, check=True)
    assert (data / "patches.h5").exists()
    os.utime(data.parent / ".kept", (0, 0))
    subprocess.run(clean, check=True)
    assert not data.exists()
    third = task(local)
    third.ready()
    third.end("keep\n")
    subprocess.run([*clean, "--kept"], check=True)


def mark_of(data):
    return data.parent / ".verified"


def test_what_is_found_is_compared_once_and_by_whom_is_noted(task, image, local):
    first = task(local)
    data, _, _ = first.ready()
    noted = json.loads(mark_of(data).read_text())
    assert noted[manifest.PATCHES]["verified by"]["process"] == first.process.pid
    second = task(local)
    assert second.ready()[2]["method"] == "found another task's copy"
    assert json.loads(mark_of(data).read_text()) == noted
    # As if nobody had compared it, say with files from an older version.
    mark_of(data).unlink()
    third = task(local)
    assert third.ready()[2]["method"] == "found another task's copy"
    noted = json.loads(mark_of(data).read_text())
    assert noted[manifest.PATCHES]["verified by"]["process"] == third.process.pid
    for each in (first, second, third):
        each.end()


@pytest.mark.parametrize("marked", [True, False])
def test_a_copy_that_is_not_the_overlays_is_not_believed(task, image, local, marked):
    """Of the right size: put there by somebody, or damaged on the node's disk."""
    first = task(local)
    data, _, _ = first.ready()
    patches = data / "patches.h5"
    patches.chmod(0o600)
    with patches.open("r+b") as file:
        file.seek(MEGABYTES * 10**6 // 2)
        file.write(b"forged")
    if not marked:
        mark_of(data).unlink()
    second = task(local)
    assert second.ready()[2]["method"] == "copied"
    assert "patches.h5: damaged on this node's disk; copying it again" in second.end()
    expected = manifest.read(image).content(manifest.PATCHES)
    assert files.sha256(patches) == expected.sha256
    first.end()


def test_a_stopped_copier_is_waited_for_only_so_long(local, image, task, monkeypatch, caplog):
    other = task(local)
    copying(local)
    other.process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(node_cache, "TOLD_SECONDS", 0.2)
    monkeypatch.setattr(node_cache, "STALLED_SECONDS", 1)
    cache = node_cache.NodeCache(image, [local], 2)
    with caplog.at_level("WARNING"):
        copy = cache.open()
    cache.close()
    assert copy.data == "" and "is copying but makes no progress" in copy.reason
    assert f"waiting for process {other.process.pid} on " in caplog.text
    other.process.send_signal(signal.SIGCONT)
    other.ready()
    other.end()


def test_a_killed_copier_holds_nobody_up(task, local):
    first, second = task(local), task(local)
    unfinished = copying(local)
    first.process.send_signal(signal.SIGSTOP)
    second.process.send_signal(signal.SIGSTOP)
    pid = int(unfinished.name.split(".")[3])
    assert unfinished.exists(), "the copy was faster than this test"
    copier, waiter = (first, second) if pid == first.process.pid else (second, first)
    copier.process.kill()
    waiter.process.send_signal(signal.SIGCONT)
    _, _, record = waiter.ready()
    assert record["method"] == "copied"
    assert not unfinished.exists()
    waiter.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_copier_that_is_asked_to_stop_tidies_up(task, local, number):
    one = task(local)
    copying(local)
    one.process.send_signal(number)
    assert one.process.wait(20) == 75
    assert "stop requested" in one.process.stderr.read()


def test_a_waiter_that_is_asked_to_stop_leaves(task, local):
    first = task(local)
    first.ready()
    content = next(path for path in user_folder(local).iterdir() if len(path.name) == 64)
    with (content / ".copying").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = task(local)
        while len(list((user_folder(local) / "leases").iterdir())) < 2:
            time.sleep(0.01)
        second.process.terminate()
        assert second.process.wait(10) == 75
    first.end()


def test_what_the_dead_leave_is_removed_and_the_living_keep_theirs(task, local):
    dead, living = task(local), task(local)
    _, tmp, _ = dead.ready()
    data, _, _ = living.ready()
    (tmp / "left").touch()
    dead.process.kill()
    dead.process.wait()
    other = local / "cloudmask-somebody"
    other.mkdir()
    clean = [STAGE, "clean", "--local", local]
    subprocess.run(clean, check=True)
    assert not tmp.exists()
    assert (data / "patches.h5").exists()
    living.process.kill()
    living.process.wait()
    assert (data / "patches.h5").exists()  # nobody has come since
    subprocess.run(clean, check=True)
    assert not user_folder(local).exists()
    other.rmdir()  # would fail, had it been taken for ours


def test_without_room_the_next_place_is_taken_and_then_none(task, local, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", small], check=True)
    try:
        one = task(tmp_path / "missing", small, local)
        data, _, _ = one.ready()
        assert data.is_relative_to(local)
        one.end()
        none = task(tmp_path / "missing", small)
        data, tmp, record = none.ready()
        assert (str(data), str(tmp), record["bytes"]) == (".", ".", 0)
        assert f"{tmp_path}/missing: no such directory" in record["reason"]
        assert f"{small}: 0.22 GB are needed, 0.02 GB are free" in record["reason"]
        assert "WARNING" in none.end()
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_network_file_system_is_no_nodes_own(tmp_path, image, monkeypatch):
    assert disk.file_system(tmp_path) not in {"", *disk.NETWORK}
    monkeypatch.setattr(disk, "file_system", lambda place: "lustre")
    mine = node_cache.NodeCache(image, [tmp_path], 1)
    staged = mine.open()
    assert (staged.method, staged.data) == (node_cache.FROM_OVERLAY, "")
    assert f"{tmp_path}: on lustre, which is no node's own" in staged.reason


def test_a_disk_that_fails_is_passed_over(tmp_path, image, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error", "disk")

    monkeypatch.setattr(node_cache.extract, "extract", broken)
    staged = node_cache.NodeCache(image, [tmp_path], 1).open()
    assert (staged.method, "Input/output error" in staged.reason) == (node_cache.FROM_OVERLAY, True)
    assert not list(tmp_path.glob("cloudmask-*"))


@pytest.mark.parametrize("place", ["the lock's note", "the mark"])
def test_a_disk_that_is_full_for_small_files_is_passed_over(local, image, monkeypatch, place):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    first = node_cache.NodeCache(image, [local], 2)
    first.open()
    (mark,) = local.glob(f"*/*/{node_cache.VERIFIED}")
    mark.unlink()
    if place == "the mark":
        monkeypatch.setattr(files, "write_text", full)
    else:
        monkeypatch.setattr(KernelLock, "write_note", full)
    cache = node_cache.NodeCache(image, [local], 2)
    staged = cache.open()
    assert (staged.data, f"{local}: [Errno 28] No space left" in staged.reason) == ("", True)
    cache.close()
    first.close()


def test_the_size_of_a_copy_is_known_while_its_files_are_renamed(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "there").write_bytes(bytes(8192))
    listed = os.walk
    monkeypatch.setattr(
        os, "walk", lambda top: [(at, below, [*names, "gone"]) for at, below, names in listed(top)]
    )
    assert node_cache._size(tmp_path) == 8192


def test_a_damaged_overlay_leaves_nothing(task, image, local, tmp_path):
    damaged = tmp_path / "damaged.ext3"
    damaged.write_bytes(image.read_bytes())
    text = manifest.beside(image).read_text()
    manifest.beside(damaged).write_text(text)
    size = damaged.stat().st_size
    with damaged.open("r+b") as file:
        for place in range(size // 4, size, size // 50):
            file.seek(place)
            file.write(os.urandom(64))
    one = task(local, image=damaged)
    _, errors = one.process.communicate(timeout=300)
    assert one.process.returncode == 2
    assert "damaged" in errors and "Traceback" not in errors


@pytest.mark.slow
def test_fifty_tasks_come_go_and_die(task, local):
    """In waves, a third of them killed: the living always have their file, the end is clean."""
    for _ in range(5):
        tasks = [task(local) for _ in range(10)]
        for number, each in enumerate(tasks):
            if number % 3 == 0:
                time.sleep(0.02)
                each.process.kill()
        for number, each in enumerate(tasks):
            if number % 3:
                data, _, _ = each.ready()
                assert (data / "patches.h5").stat().st_size == MEGABYTES * 10**6
                each.end()
    # Also by its other name.
    subprocess.run([STAGE, "sweep", "--local", local], check=True)


def test_staging_runs_on_a_bare_python(local):
    """Without any installed package, as on a node."""
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCES)!r}); "
        "from cloudmask.commands.stage import main; sys.exit(main())"
    )
    command = [sys.executable, "-I", "-S", "-c", program, "clean", "--local", local]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_copy_of_another_size_is_not_believed(image, local):
    first = node_cache.NodeCache(image, [local], 1)
    copy = first.open()
    scene = next(Path(copy.data).rglob("a.hdf"))
    scene.write_bytes(b"forged")
    second = node_cache.NodeCache(image, [local], 1)
    assert second.open().method == node_cache.COPIED
    assert scene.stat().st_size == 1000
    second.close()
    first.close()
