"""One copy of an overlay's files on each node, used by all tasks there, gone with the last one.

In a directory of the node's own disk:

    cloudmask-USER/                everything of one user
      .lock                        taken for a moment by whoever comes or goes
      leases/HOST-PID-N/           one for each task; its file `lock` is locked while the task lives
        content                    which overlay it uses
        tmp/                       for the task's temporary files
      ID/                          an overlay's files, by the checksum of their content
        .copying                   locked by whoever copies; the others wait for it
        .kept                      the last task expects another: a later one of an array
        data/patches.h5 …

All locks are the kernel's: it takes them from a process that dies, however it dies. Who comes or
goes removes the leases of the dead, and copies that no living task uses and that are not kept for
one to come.

A directory such as /tmp can be written to by everybody. So the folder is used only if it is a real
one of this user's that nobody else can write to, and nothing is removed but what has a name that
this module gives.
"""

import contextlib
import os
import platform
import pwd
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from cloudmask.system import disk
from cloudmask.system.lock import KernelLock, is_locked

LEASES = "leases"
KEPT = ".kept"
CONTENT_ID = re.compile(r"[0-9a-f]{64}")  # a SHA-256, the name of a copy
# A later task of an array comes to a node within minutes of the one before, or not at all.
KEPT_SECONDS = 3600


class Unusable(Exception):
    """No copy can be made in a directory; the message says why."""


class CacheFolder:
    """The folder of this user in a directory of the node's own disk."""

    def __init__(self, directory: Path):
        self._directory = directory
        self.path = directory / f"cloudmask-{_user()}"

    def check(self) -> None:
        """Raise Unusable if the directory is missing or not the node's own."""
        if not self._directory.is_dir():
            raise Unusable("no such directory")
        # The locks of a network's file system may be each node's own: one node would remove what
        # another uses.
        if (kind := disk.file_system(self._directory)) in disk.NETWORK:
            raise Unusable(f"on {kind}, which is no node's own")

    def clean(self, kept: bool) -> None:
        """Remove what the dead have left, with `kept` also copies kept for a task to come.

        A folder that is not this user's alone is left as it is.
        """
        if self.path.is_dir():
            with contextlib.suppress(OSError, Unusable), self.tidied():
                for mark in self.path.glob(f"*/{KEPT}") if kept else ():
                    mark.unlink()

    @contextlib.contextmanager
    def tidied(self) -> Iterator[None]:
        """Hold the folder for the block, made if need be; then remove what no living task uses."""
        with self._locked():
            try:
                yield
            finally:
                self._tidy()

    def _locked(self) -> KernelLock:
        """The folder's lock, taken; closing it gives it back."""
        while True:
            # What one user stages is of no concern to others on the node.
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._check_owner()
            try:
                lock = KernelLock(self.path / ".lock")
            except FileNotFoundError:
                continue
            lock.acquire()
            # The last task may have removed the folder between our opening and locking the file.
            if lock.in_place:
                return lock
            lock.close()

    def _check_owner(self) -> None:
        """Raise Unusable unless the folder is a real one that this user alone can write to."""
        status = self.path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise Unusable(f"{self.path} is a link or a file, expected a folder of yours")
        if status.st_uid != os.geteuid():
            raise Unusable(f"{self.path} belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Unusable(f"{self.path} can be written to by other users")

    def _tidy(self) -> None:
        used = set()
        for folder in (self.path / LEASES).glob("*"):
            if is_locked(folder / "lock"):
                used.add((folder / "content").read_text(encoding="utf-8"))
            else:
                shutil.rmtree(folder, ignore_errors=True)
        for mark in self.path.glob(f"*/{KEPT}"):
            if time.time() - mark.stat().st_mtime < KEPT_SECONDS:
                used.add(mark.parent.name)
        for path in self.path.iterdir():
            if CONTENT_ID.fullmatch(path.name) and path.name not in used:
                shutil.rmtree(path, ignore_errors=True)
        if not used:
            self._remove()

    def _remove(self) -> None:
        """Remove the folder, unless somebody else has put something into it."""
        for remove in (
            (self.path / LEASES).rmdir,
            (self.path / ".lock").unlink,
            self.path.rmdir,
        ):
            with contextlib.suppress(OSError):
                remove()


class Lease:
    """A task's claim to the files with the id `content_id`, and to a folder of its own, `tmp`."""

    def __init__(self, folder: CacheFolder, content_id: str):
        self._folder = folder
        self._home = folder.path / LEASES / f"{platform.node()}-{os.getpid()}-{time.time_ns()}"
        self._lock: KernelLock | None = None
        self.content = folder.path / content_id
        self.tmp = self._home / "tmp"

    def acquire(self) -> None:
        """Make the folders; that of the files is empty if nobody has copied them yet.

        Raises Unusable if the directory is missing, cannot be written or is not the node's own.
        """
        self._folder.check()
        try:
            with self._folder.tidied():
                self.tmp.mkdir(parents=True)
                (self._home / "content").write_text(self.content.name, encoding="utf-8")
                self.content.mkdir(exist_ok=True)
                self._lock = KernelLock(self._home / "lock")
                self._lock.acquire()
        except OSError as error:
            raise Unusable(error.strerror or str(error)) from None

    def release(self, keep: bool) -> None:
        """Give it back if it was acquired; with `keep` the copy stays although nobody uses it."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        with self._folder.tidied():
            mark = self.content / KEPT
            if keep:
                mark.touch()
            else:
                mark.unlink(missing_ok=True)
            shutil.rmtree(self._home, ignore_errors=True)
            lock.close()


def _user() -> str:
    # A container may not know the user's name.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
