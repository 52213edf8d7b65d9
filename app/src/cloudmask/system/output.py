"""What a command writes: one process at a time, and never into what others made.

A marker in the folder, written first, says whose output it is, so that what a killed process has
left there is taken up by the next one. Files that the marker does not list are not touched.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.system import files, names, reading
from cloudmask.system.lock import exclusive

LOCK = ".lock"  # the same for all commands, those that train in a folder included
MARKER = ".made-by"
LARGEST_MARKER = 16 * reading.MIB

# The files of an output of an older version, which left no marker; None if it is none.
Older = Callable[[Path], Iterable[str] | None]


class OutputFolder:
    """A folder that this process alone writes into."""

    def __init__(self, path: Path, kind: str, own: Iterable[str]):
        self.path = path
        self._kind = kind
        self._own = set(own)

    def announce(self, planned: Iterable[str]) -> None:
        """Say which files (relative paths) are written or replaced next.

        Raises InputError if one of them is there and of somebody else.
        """
        new = set(planned) - self._own
        for name in sorted(new):
            if (self.path / name).exists() or (self.path / name).is_symlink():
                raise InputError(
                    f"{self.path / name}: not of an earlier {self._kind}; expected nothing there"
                )
        self._own |= new
        self._write()

    def keep_only(self, current: Iterable[str]) -> None:
        """Remove the files of an earlier output that are not among these."""
        kept = set(current)
        for name in self._own - kept:
            (self.path / name).unlink(missing_ok=True)
        self._own &= kept
        self._write()

    def _write(self) -> None:
        lines = [self._kind, *sorted(self._own)]
        files.write_text(self.path / MARKER, "\n".join(lines) + "\n")


@contextlib.contextmanager
def claimed(path: Path, kind: str, older: Older = lambda path: None) -> Iterator[OutputFolder]:
    """Hold the folder `path` for one output of that kind, such as "report"; make it if need be.

    Raises InputError if it holds something else, or if another process holds it. A folder into
    which nothing was written is removed again.
    """
    _own_files(path, kind, older)
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(path / LOCK, str(path)):
            # Another process may have written into it before the lock was ours.
            own = _own_files(path, kind, older)
            files.remove_temporary(path, *(p for p in path.iterdir() if p.is_dir()), locked=True)
            folder = OutputFolder(path, kind, own)
            folder.announce(())
            try:
                yield folder
            finally:
                if {entry.name for entry in path.iterdir()} <= {MARKER, LOCK}:
                    (path / MARKER).unlink(missing_ok=True)
    finally:
        if made:
            with contextlib.suppress(OSError):  # It is not empty.
                path.rmdir()


@contextlib.contextmanager
def folder_held(path: Path) -> Iterator[None]:
    """Hold a folder to which files are added, whatever else is in it; make it if need be."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; expected a folder")
    path.mkdir(parents=True, exist_ok=True)
    with exclusive(path / LOCK, str(path)):
        yield


def require_file_name(path: Path) -> None:
    """Raise InputError if no file can have that name."""
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{path}: expected the name of a file in an existing folder")


@contextlib.contextmanager
def file_claimed(path: Path) -> Iterator[None]:
    """Hold the name `path` for one process that makes that file; raises InputError, InUse."""
    require_file_name(path)
    with exclusive(path.with_name(f".{path.name}{LOCK}"), str(path)):
        yield


def _own_files(path: Path, kind: str, older: Older) -> Iterable[str]:
    """The files in `path` that an earlier output of that kind has left; raises InputError."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; expected a folder for the {kind}")
    try:
        first, *listed = reading.read_text(path / MARKER, LARGEST_MARKER).splitlines() or [""]
    except (FileNotFoundError, NotADirectoryError):
        found = path.glob("*") if path.exists() else ()
        if not any(not entry.name.startswith(".") for entry in found):
            return ()
        if (known := older(path)) is not None:
            return known
        first = ""
    except (OSError, ValueError) as error:
        raise InputError(f"{path / MARKER}: cannot be read: {error}") from None
    if first != kind:
        held = f"a {first}" if first else "files"
        raise InputError(f"{path}: holds {held} but no {kind}; expected a new or empty folder")
    return [str(names.relative_path(name, str(path / MARKER))) for name in listed]
