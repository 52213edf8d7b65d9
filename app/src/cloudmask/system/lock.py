"""One process at a time, on one node or on several, and a killed holder keeps nothing.

The kernel's lock is the authority on one node and on file systems that carry it between nodes
(NFS). Where they do not (Lustre mounted with `localflock` or without locks), a heartbeat does: the
holder touches the lock file every few seconds, and a newcomer from another node watches whether it
still moves.
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
from typing import TextIO

from cloudmask.errors import InUse

HEARTBEAT_SECONDS = 5.0
# A holder that has not moved for three beats is dead; a loaded node may miss one or two.
WATCH_SECONDS = 3 * HEARTBEAT_SECONDS

# Seen from outside, where nobody waits for a beat: clocks of nodes differ, and network file systems
# show a time stamp late.
SILENT_SECONDS = 60.0

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` for the block; `what` names in messages what it protects.

    Raises InputError that names the holder (host and process) if there is one. The file is removed
    at the end.
    """
    file, kernel = _open(path, what)
    try:
        _watch(path, file, kernel, what)
        file.seek(0)
        file.truncate()
        json.dump({"host": platform.node(), "process": os.getpid()}, file)
        file.flush()
    except BaseException:
        file.close()
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
        file.close()


def held(path: Path) -> bool:
    """Whether a living process seems to hold the lock file; looks at the file only.

    On another node a holder counts as dead after SILENT_SECONDS without a heartbeat.
    """
    try:
        with path.open(encoding="utf-8") as file:
            holder = _holder(file)
            silent = time.time() - os.fstat(file.fileno()).st_mtime
    except OSError:
        return False
    if holder.get("host") == platform.node() and isinstance(holder.get("process"), int):
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's
            pass
    return silent < SILENT_SECONDS


def _open(path: Path, what: str) -> tuple[TextIO, bool]:
    """The lock file, and whether the kernel has locked it for this process."""
    while True:
        file = path.open("a+", encoding="utf-8")
        kernel = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            kernel = False
            if error.errno not in _NO_LOCKS:
                holder = _holder(file)
                file.close()
                raise InUse(f"{what}: in use by {_name(holder)}") from None
        # The holder before us may have removed the file between our opening and locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file, kernel
        file.close()


def _watch(path: Path, file: TextIO, kernel: bool, what: str) -> None:
    """Refuse if the file names a holder whom the kernel may not know and who is still alive."""
    holder = _holder(file)
    if not holder or (kernel and holder.get("host") == platform.node()):
        return
    first = path.stat().st_mtime_ns
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(HEARTBEAT_SECONDS / 5)
        # Opening makes a network file system ask its server for the time stamp.
        with path.open(encoding="utf-8") as again:
            if os.fstat(again.fileno()).st_mtime_ns != first:
                raise InUse(f"{what}: in use by {_name(holder)}")


def _holder(file: TextIO) -> dict:
    file.seek(0)
    try:
        holder = json.loads(file.read() or "{}")
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _name(holder: dict) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('process')} on {holder.get('host')}"


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
