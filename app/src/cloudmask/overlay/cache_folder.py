"""One copy of an overlay's files on each node, used by all tasks there, gone with the last one.

In a directory of the node's own disk:

    cloudmask-USER/                everything of one user; mode 0700
      .lock                        taken for a moment by whoever comes or goes
      leases/HOST-PID-N/           one for each task; its file `lock` is locked while the task lives
        content                    which overlay it uses
        tmp/                       for the task's temporary files
      ID/                          an overlay's files, by the checksum of their content
        .copying                   locked by whoever copies; the others wait for it
        .verified                  whose checksums were right when, and who compared them
        .kept                      the last task expects another: a later one of an array
        data/patches.h5 …

All locks are the kernel's: it takes them from a process that dies, however it dies. Who comes or
goes removes the leases of the dead, and copies that no living task uses and that are not kept for
one to come.

A directory such as /tmp can be written to by everybody. What that means for the folder is told in
`system.private_folder`; nothing in it is removed but what has a name that this module gives.
"""

import contextlib
import logging
import os
import platform
import pwd
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from cloudmask.errors import InputError
from cloudmask.system import disk
from cloudmask.system.lock import KernelLock, is_locked
from cloudmask.system.private_folder import NotPrivate, PrivateFolder

LEASES = "leases"
LOCK = ".lock"
KEPT = ".kept"
SPARE = re.compile(r"-[0-9a-f]{16}")  # ends the name that nobody can foresee
PATIENCE = 60.0  # seconds that a lock may take which others hold for a moment only
ATTEMPTS = 100  # to open a folder that others remove or move meanwhile
CONTENT_ID = re.compile(r"[0-9a-f]{64}")  # a SHA-256, the name of a copy
# A later task of an array comes to a node within minutes of the one before, or not at all.
KEPT_SECONDS = 3600

logger = logging.getLogger(__name__)


class Unusable(Exception):
    """No copy can be made in a directory; the message says why."""


class CacheFolder:
    """The folder of this user in a directory of the node's own disk; a context manager.

    It is `cloudmask-USER`, or, where somebody else has put something under that name, one with a
    name that nobody could foresee, `cloudmask-USER-RANDOM`, which the user's other tasks find since
    it is theirs. All work in it goes through its handle.
    """

    def __init__(self, directory: Path, name: str = ""):
        """Open it, made if need be; `name` says which of the user's folders, if not any.

        Raises Unusable if the directory is missing, cannot be written or is not the node's own.
        """
        self._directory = directory
        self._name = name
        if not directory.is_dir():
            raise Unusable("no such directory")
        # The locks of a network's file system may be each node's own: one node would remove what
        # another uses.
        if (kind := disk.file_system(directory)) in disk.NETWORK:
            raise Unusable(f"on {kind}, which is no node's own")
        self._folder, self._lock = self._open()

    def __enter__(self) -> "CacheFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the handle; the folder stays."""
        self._lock.close()
        self._folder.close()

    @property
    def path(self) -> Path:
        """Its path, for messages and for other programs."""
        return self._folder.path

    @property
    def below(self) -> Path:
        """The folder by its handle, for all work in it."""
        return self._folder.below

    @contextlib.contextmanager
    def tidied(self) -> Iterator[None]:
        """Hold the folder for the block; then remove what no living task uses."""
        self._acquire()
        try:
            yield
        finally:
            self._tidy()
            self._lock.release()

    def drop_kept(self) -> None:
        """Forget that copies are kept for a task to come."""
        for mark in self.below.glob(f"*/{KEPT}"):
            mark.unlink()

    def _open(self) -> tuple[PrivateFolder, KernelLock]:
        usual = self._name or _usual_name()
        try:
            return self._open_by_name(usual)
        except NotPrivate as error:
            reason = str(error)
        if self._name:
            raise Unusable(reason)
        for name in _spare_names(self._directory):
            with contextlib.suppress(NotPrivate, Unusable):
                return self._open_by_name(name)
        spare = f"{usual}-{secrets.token_hex(8)}"
        try:
            opened = self._open_by_name(spare)
        except NotPrivate as error:
            raise Unusable(f"a new folder there {error}") from None
        logger.warning("%s %s; using %s instead", self._directory / usual, reason, spare)
        return opened

    def _open_by_name(self, name: str) -> tuple[PrivateFolder, KernelLock]:
        """The folder of this name and its lock file. Raises NotPrivate; Unusable."""
        for _ in range(ATTEMPTS):
            with contextlib.ExitStack() as opened:
                try:
                    folder = opened.enter_context(PrivateFolder.make(self._directory, name))
                    # Another folder of the user's may have been moved here.
                    if not all(_is_ours(path.name) for path in folder.below.iterdir()):
                        raise NotPrivate("holds something else")
                    lock = opened.enter_context(KernelLock(folder.below / LOCK))
                except InputError:
                    raise NotPrivate("holds something else") from None
                except FileNotFoundError:
                    continue
                except OSError as error:
                    with contextlib.suppress(OSError):
                        (self._directory / name).rmdir()
                    raise Unusable(error.strerror or str(error)) from None
                if folder.in_place and lock.in_place:
                    opened.pop_all()
                    return folder, lock
                # The last task has removed the folder since it was opened.
        raise Unusable(f"{name} keeps disappearing")

    def _acquire(self) -> None:
        """Take the lock of the folder, which is made again if the last task has removed it."""
        while True:
            if not self._lock.acquire(PATIENCE):
                raise Unusable(
                    f"{self.path}: another of your tasks holds its lock and does not respond"
                )
            if self._lock.in_place:
                return
            opened = self._open()
            self.close()
            self._folder, self._lock = opened

    def _tidy(self) -> None:
        used = set()
        for folder in (self.below / LEASES).glob("*"):
            if is_locked(folder / "lock"):
                used.add((folder / "content").read_text(encoding="utf-8"))
            else:
                shutil.rmtree(folder, ignore_errors=True)
        for mark in self.below.glob(f"*/{KEPT}"):
            if time.time() - mark.stat().st_mtime < KEPT_SECONDS:
                used.add(mark.parent.name)
        for path in self.below.iterdir():
            if CONTENT_ID.fullmatch(path.name) and path.name not in used:
                shutil.rmtree(path, ignore_errors=True)
        if not used:
            self._remove()

    def _remove(self) -> None:
        """Remove the folder, unless something else has been put into it."""
        with contextlib.suppress(OSError):
            (self.below / LEASES).rmdir()
        if [path.name for path in self.below.iterdir()] == [LOCK] and self._folder.in_place:
            with contextlib.suppress(OSError):
                (self.below / LOCK).unlink()
                self.path.rmdir()


class Lease:
    """A task's claim to the files with the id `content_id`, and to a folder of its own, `tmp`.

    content, tmp: by the handle of the folder; `named` makes paths for other programs of them.
    """

    def __init__(self, folder: CacheFolder, content_id: str):
        self._folder = folder
        self._name = f"{platform.node()}-{os.getpid()}-{time.time_ns()}"
        self._content_id = content_id
        self._lock: KernelLock | None = None

    @property
    def content(self) -> Path:
        """The folder of the files."""
        return self._folder.below / self._content_id

    @property
    def tmp(self) -> Path:
        """The task's folder for temporary files."""
        return self._home / "tmp"

    @property
    def _home(self) -> Path:
        return self._folder.below / LEASES / self._name

    def named(self, path: Path) -> Path:
        """The path that leads to the same file for other programs."""
        return self._folder.path / path.relative_to(self._folder.below)

    def acquire(self) -> None:
        """Make the folders; that of the files is empty if nobody has copied them yet.

        Raises Unusable if the directory cannot be written.
        """
        try:
            with self._folder.tidied():
                self._home.mkdir(parents=True)
                self.tmp.mkdir(mode=0o700)
                (self._home / "content").write_text(self._content_id, encoding="utf-8")
                self.content.mkdir(exist_ok=True)
                self._lock = KernelLock(self._home / "lock")
                self._lock.acquire(PATIENCE)
        except OSError as error:
            raise Unusable(error.strerror or str(error)) from None

    def release(self, keep: bool) -> None:
        """Give it back if it was acquired; with `keep` the copy stays although nobody uses it."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            with lock, self._folder.tidied():
                mark = self.content / KEPT
                # The site may have removed everything at the end of the job.
                if keep and self.content.is_dir():
                    mark.touch()
                else:
                    mark.unlink(missing_ok=True)
                shutil.rmtree(self._home, ignore_errors=True)
                lock.close()
        except (OSError, Unusable) as error:
            logger.warning("%s: not cleaned up: %s", self._folder.path, error)


def clean(directory: Path, kept: bool) -> None:
    """Remove what this user's dead tasks have left in a directory of the node's own disk.

    With `kept` also copies kept for a task to come. What is not this user's alone stays as it is.
    """
    for name in [_usual_name(), *_spare_names(directory)]:
        if not os.path.lexists(directory / name):
            continue
        with (
            contextlib.suppress(OSError, Unusable),
            CacheFolder(directory, name) as folder,
            folder.tidied(),
        ):
            if kept:
                folder.drop_kept()


def _usual_name() -> str:
    return f"cloudmask-{_user()}"


def _spare_names(directory: Path) -> list[str]:
    """Names in use in the directory such as a folder gets if the usual name is taken by others."""
    usual = _usual_name()
    names = sorted(path.name for path in directory.glob(f"{usual}-*"))
    return [name for name in names if SPARE.fullmatch(name.removeprefix(usual))]


def _is_ours(name: str) -> bool:
    return name in {LOCK, LEASES} or bool(CONTENT_ID.fullmatch(name))


def _user() -> str:
    # A container may not know the user's name.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
