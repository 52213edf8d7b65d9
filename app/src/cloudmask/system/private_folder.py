"""A folder that is this user's alone, in a directory that others can write to, such as /tmp.

Others may have put a link, a file or a folder of theirs under any name that they can guess, and
where the sticky bit is missing they may replace what is there at any moment. So a folder is opened
first and looked at then, by its handle, and all work below goes through the handle: whatever
happens to its name, the work stays in the folder that was looked at. Nobody else can change what is
in it.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from types import TracebackType


class NotPrivate(Exception):
    """A folder that is not this user's alone; the message says why."""


class PrivateFolder:
    """An opened folder `name` in `directory`; a context manager.

    path: where it was found, for messages and for other programs; below: the same folder by its
    handle, to be used for everything in it.
    """

    def __init__(self, directory: Path, name: str):
        """Open it. Raises NotPrivate if it is a link, no folder, or open to others; OSError."""
        self.path = directory / name
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.path, flags)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise NotPrivate("is a link or a file") from None
            if error.errno == errno.EACCES:
                raise NotPrivate("belongs to another user") from None
            raise
        self.below = Path(f"/proc/self/fd/{self._descriptor}")
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    @classmethod
    def make(cls, directory: Path, name: str) -> "PrivateFolder":
        """Open it, made if it is not there yet."""
        made = Path(directory, name)
        try:
            made.mkdir(mode=0o700)
        except FileExistsError:
            return cls(directory, name)
        try:
            return cls(directory, name)
        except NotPrivate:
            # The file system does not keep modes, or somebody was quicker.
            with contextlib.suppress(OSError):
                made.rmdir()
            raise

    def __enter__(self) -> "PrivateFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the handle."""
        os.close(self._descriptor)

    @property
    def in_place(self) -> bool:
        """Whether the folder is still to be found under its name."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._descriptor), self.path.lstat())
        return False

    def _check(self) -> None:
        status = os.fstat(self._descriptor)
        if status.st_uid != os.geteuid():
            raise NotPrivate("belongs to another user")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise NotPrivate("is open to other users")
