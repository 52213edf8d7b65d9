"""One process at a time, on one node or on several, and a process that dies holds nothing.

`KernelLock` is the kernel's lock on a file (flock). It is the authority on one node and on file
systems that carry it between nodes (NFS). Where they do not (Lustre mounted with `localflock` or
without locks), `exclusive` adds a heartbeat: the holder touches the lock file every few seconds,
and a newcomer from another node watches whether it still moves.
"""

import contextlib
import errno
import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from cloudmask.errors import InUse

HEARTBEAT_SECONDS = 5.0
# A holder that has not moved for three beats is dead; a loaded node may miss one or two.
WATCH_SECONDS = 3 * HEARTBEAT_SECONDS

# For who only looks at the file and does not wait for a beat: the clocks of nodes differ, and
# network file systems show a time stamp late.
SILENT_SECONDS = 60.0

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class NoLocks(OSError):
    """The file system does not know locks."""


class KernelLock:
    """The kernel's lock on the file `path`, which is made if need be; a context manager.

    Opening does not lock; closing unlocks, and so does the death of the process. The file may carry
    a note that tells others who holds it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = path.open("a+", encoding="utf-8")

    def __enter__(self) -> "KernelLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which gives the lock back."""
        self._file.close()

    def acquire(self) -> None:
        """Wait for the lock; raises NoLocks."""
        with _no_locks():
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def try_acquire(self) -> bool:
        """Take the lock unless another process holds it; raises NoLocks."""
        return _try(self._file.fileno())

    @property
    def in_place(self) -> bool:
        """Whether the file still has its name: a holder may have removed it since it was opened."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    @property
    def note(self) -> str:
        """What the holder, or the last one, wrote into the file."""
        self._file.seek(0)
        return self._file.read()

    def write_note(self, text: str) -> None:
        """Replace the note."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()


def is_locked(path: Path) -> bool:
    """Whether a process holds the kernel's lock on this file; True also where that is unknown."""
    try:
        with path.open("rb") as file:
            return not _try(file.fileno())
    except FileNotFoundError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` for the block; `what` names in messages what it protects.

    Raises InUse that names the holder (host and process) if there is one. The file is removed at
    the end.
    """
    lock, by_kernel = _open(path, what)
    try:
        _watch(lock, by_kernel, what)
        lock.write_note(json.dumps({"host": platform.node(), "process": os.getpid()}))
    except BaseException:
        lock.close()
        raise
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(path, stop), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)
        lock.close()


def held(path: Path) -> bool:
    """Whether a living process seems to hold the lock file of `exclusive`; looks at the file only.

    On another node a holder counts as dead after SILENT_SECONDS without a heartbeat.
    """
    try:
        with path.open(encoding="utf-8") as file:
            holder = _holder(file.read())
            silent = time.time() - os.fstat(file.fileno()).st_mtime
    except OSError:
        return False
    if holder.get("host") == platform.node() and isinstance(holder.get("process"), int):
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # It lives, and belongs to another user.
            pass
        if _is_zombie(holder["process"]):
            return False
    return silent < SILENT_SECONDS


def _is_zombie(process: int) -> bool:
    """Whether a process is dead, although its parent has not taken note of that yet."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The state follows the name in parentheses, which may hold any character.
    return status.rpartition(")")[2].split()[:1] == ["Z"]


def _open(path: Path, what: str) -> tuple[KernelLock, bool]:
    """The opened lock, and whether the kernel has locked it for this process."""
    while True:
        lock = KernelLock(path)
        by_kernel = True
        try:
            if not lock.try_acquire():
                holder = _holder(lock.note)
                lock.close()
                raise InUse(f"{what}: in use by {_name(holder)}")
        except NoLocks:
            by_kernel = False
        if lock.in_place:
            return lock, by_kernel
        lock.close()


def _watch(lock: KernelLock, by_kernel: bool, what: str) -> None:
    """Refuse if the file names a holder whom the kernel may not know and who is still alive."""
    holder = _holder(lock.note)
    if not holder or (by_kernel and holder.get("host") == platform.node()):
        return
    first = lock.path.stat().st_mtime_ns
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(HEARTBEAT_SECONDS / 5)
        # Opening makes a network file system ask its server for the time stamp.
        with lock.path.open(encoding="utf-8") as again:
            if os.fstat(again.fileno()).st_mtime_ns != first:
                raise InUse(f"{what}: in use by {_name(holder)}")


def _holder(note: str) -> dict[str, Any]:
    try:
        holder = json.loads(note or "{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _name(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('process')} on {holder.get('host')}"


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def _try(descriptor: int) -> bool:
    try:
        with _no_locks():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except NoLocks:
        raise
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _no_locks() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise NoLocks(error.errno, error.strerror) from None
        raise
