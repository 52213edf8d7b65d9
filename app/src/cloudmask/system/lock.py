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
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from cloudmask.errors import InputError, InUse
from cloudmask.system import process, reading

HEARTBEAT_SECONDS = 5.0
# A holder that has not moved for three beats is dead; a loaded node may miss one or two.
WATCH_SECONDS = 3 * HEARTBEAT_SECONDS

# For who only looks at the file and does not wait for a beat: the clocks of nodes differ, and
# network file systems show a time stamp late.
SILENT_SECONDS = 60.0

LONGEST_NOTE = 1 << 16  # bytes

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class NoLocks(OSError):
    """The file system does not know locks."""


class KernelLock:
    """The kernel's lock on the file `path`, which is made if need be; a context manager.

    Opening does not lock; closing unlocks, and so does the death of the process. The file may carry
    a note that tells others who holds it.
    """

    def __init__(self, path: Path):
        """Open the file; raises InputError if it is a link or no file, OSError."""
        self.path = path
        # Others may have put a link to a file of ours there, which a note would overwrite, or a
        # named pipe, at which opening waits.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise _no_lock_file(path) from None
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise _no_lock_file(path)
        self._file = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")

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

    def acquire(self, seconds: float) -> bool:
        """Take the lock, waiting for it at most so long: its holder may be stopped; or NoLocks."""
        until = time.monotonic() + seconds
        while not self.try_acquire():
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        return True

    def try_acquire(self) -> bool:
        """Take the lock unless another process holds it; raises NoLocks."""
        return _try(self._file.fileno())

    def release(self) -> None:
        """Give the lock back; the file stays open."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

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
        return self._file.read(LONGEST_NOTE)

    def touch(self) -> None:
        """Show that the holder is alive: set the time of the file's last change."""
        os.utime(self._file.fileno())

    def write_note(self, text: str) -> None:
        """Replace the note."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()


def _no_lock_file(path: Path) -> InputError:
    return InputError(f"{path}: is a link or not a file; expected nothing there, or a lock file")


def is_locked(path: Path) -> bool:
    """Whether a process holds the kernel's lock on this file; True also where that is unknown."""
    try:
        with reading.opened(path) as file:
            return not _try(file.fileno())
    except (FileNotFoundError, InputError):
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
        lock.write_note(json.dumps(_self()))
    except BaseException:
        lock.close()
        raise
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(lock, stop), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _remove(path)
        lock.close()


def _remove(path: Path) -> None:
    """Remove a lock file of this process.

    One that stays protects nothing, and the work that it protected is done: that is no error. A
    file server may refuse the first attempt only, being busy.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Remove a lock file of `exclusive` whose holder died; nothing happens if it may live."""
    if held(path):
        return
    # While this process has the lock, nobody takes it for his own: see `_open`.
    with contextlib.suppress(NoLocks), KernelLock(path) as lock:
        if lock.try_acquire() and lock.in_place:
            path.unlink()


def held(path: Path) -> bool:
    """Whether a living process seems to hold the lock file of `exclusive`; looks at the file only.

    On another node a holder counts as dead after SILENT_SECONDS without a heartbeat.
    """
    try:
        holder = _holder(reading.read_text(path, LONGEST_NOTE))
        silent = time.time() - path.stat().st_mtime
    except (OSError, InputError, ValueError):
        return False
    number, start = holder.get("process"), holder.get("start", 0)
    here = holder.get("host") == platform.node()
    if here and isinstance(number, int) and isinstance(start, int):
        return process.alive(number, start) and silent < SILENT_SECONDS
    return silent < SILENT_SECONDS


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
        with reading.opened(lock.path) as again:
            if os.fstat(again.fileno()).st_mtime_ns != first:
                raise InUse(f"{what}: in use by {_name(holder)}")


def _self() -> dict[str, Any]:
    """The note of a holder: this process."""
    own = os.getpid()
    return {"host": platform.node(), "process": own, "start": process.started(own) or 0}


def _holder(note: str) -> dict[str, Any]:
    try:
        holder = reading.parse_json(note or "{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _name(holder: dict[str, Any]) -> str:
    number, host = holder.get("process"), holder.get("host")
    # Whoever can write to the folder can put any text there.
    if isinstance(number, int) and isinstance(host, str) and host.isprintable() and len(host) < 256:
        return f"process {number} on {host}"
    return "another process"


def _beat(lock: KernelLock, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            lock.touch()


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
