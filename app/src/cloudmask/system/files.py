"""Files that are either complete or not there: write under a temporary name, then rename.

A temporary name is `.STEM.HOST.PROCESS.START.RANDOM.tmp.SUFFIX` beside the final one. Nobody can
guess it, so nobody else puts a link there, and it tells later processes whether its writer is dead.
"""

import contextlib
import csv
import ctypes
import errno
import glob
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.system import process, reading
from cloudmask.system.text import csv_cell, from_csv_cell

# Of another node's processes only the age of their files is known.
ABANDONED_SECONDS = 3600

_TEMPORARY = re.compile(
    r"\..*\.(?P<host>[^.]+)\.(?P<process>\d+)\.(?P<start>\d+)\.[0-9a-f]{16}\.tmp(\..*)?", re.DOTALL
)
_RENAME_NOREPLACE, _AT_FDCWD = 1, -100  # of linux/fs.h and fcntl.h


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`.

    On any error the temporary file is removed and `path` stays as it was. The temporary name keeps
    the suffix of `path`, since writers such as Keras choose the format by it. What killed writers
    of the same path have left is removed first.
    """
    with _written(Path(path), lambda temporary, final: temporary.replace(final)) as temporary:
        yield temporary


@contextlib.contextmanager
def creating(path: Path | str) -> Iterator[Path]:
    """Like `replacing`, for a file or a folder that does not exist yet.

    Raises InputError at once if `path` exists, and at the end if another process has made it
    meanwhile; that one's is not touched.
    """
    path = Path(path)
    _refuse_existing(path)
    with _written(path, move) as temporary:
        yield temporary


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """For the block, a new temporary folder beside `path`, on the same file system.

    What killed processes have left under such names of the same path is removed first.
    """
    _remove_left(path)
    folder = temporary_path(path)
    folder.mkdir(0o700)
    try:
        yield folder
    finally:
        _remove(folder)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """For the block, give the name of the file that is written to each OSError without one.

    A failed write does not know its file's name, and HDF5 reports it in many lines.
    """
    try:
        yield
    except OSError as error:
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def move(source: Path, target: Path) -> None:
    """Rename a file or folder on one file system; raises InputError if `target` exists."""
    try:
        _rename_new(source, target)
    except FileExistsError:
        raise _exists(target) from None
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, so that a loss of power does not undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems sync folders by themselves and refuse the call.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EROFS}:
            raise OSError(error.errno, error.strerror, str(folder)) from None
    finally:
        os.close(descriptor)


def temporary_path(path: Path) -> Path:
    """A new temporary name beside `path`, with its suffix."""
    own = os.getpid()
    writer = f"{_host()}.{own}.{process.started(own) or 0}.{secrets.token_hex(8)}"
    return path.with_name(f".{_stem(path)}.{writer}.tmp{path.suffix}")


def remove_temporary(*folders: Path, locked: bool = False) -> None:
    """Remove what dead processes have left in these folders under temporary names.

    locked: the caller holds the lock of these folders, so that nobody else writes into them and
    whatever is there is of the dead.
    """
    for folder in folders:
        for path in folder.glob(".*.tmp*"):
            _remove_abandoned(path, locked)


def move_aside(path: Path) -> Path:
    """Rename `path` to the first free of `path.1`, `path.2`, …, and return that."""
    number = 1
    while True:
        aside = path.with_name(f"{path.name}.{number}")
        try:
            _rename_new(path, aside)
        except FileExistsError:
            number += 1
        else:
            sync_folder(path.parent)
            return aside


def write_text(path: Path | str, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], header: bool = True) -> str:
    """The rows as CSV; what a row lacks is empty, what is no column is left out.

    Text that a spreadsheet would run as a formula stands behind an apostrophe; `read_csv` gives it
    back without.
    """
    lines = _Lines()
    writer = csv.writer(lines)
    if header:
        writer.writerow(map(_csv_cell, columns))
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    return "".join(lines)


def read_csv(text: Iterable[str]) -> Iterator[dict[str, str | None]]:
    """The rows of `csv_text` by column, None where a line is too short; raises csv.Error."""
    for row in csv.DictReader(text):
        # Cells beyond the columns come as a list, under None.
        yield {key: cell and from_csv_cell(cell) for key, cell in row.items() if key is not None}


class _Lines(list[str]):
    """A file of lines for a CSV writer.

    The writer quotes a carriage return only where lines end with one, which ours do not.
    """

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def _csv_cell(value: Any) -> Any:
    return csv_cell(value) if isinstance(value, str) else value


def write_csv(path: Path | str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows as CSV with a header, atomically."""
    write_text(path, csv_text(columns, rows))


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content; InputError if it is something else than a file."""
    digest = hashlib.sha256()
    with reading.opened(Path(path)) as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def whole_lines(path: Path | str) -> list[str]:
    """Cut an unfinished last line off the file at `path` and return the others, [] without a file.

    A kill or a full disk leaves half a line, and whatever is appended would join it.
    """
    path = Path(path)
    if not path.exists():
        return []
    with reading.opened(path) as handle:
        content = handle.read()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return whole.decode("utf-8", errors="replace").splitlines()


@contextlib.contextmanager
def _written(path: Path, publish: Callable[[Path, Path], object]) -> Iterator[Path]:
    _remove_left(path)
    temporary = temporary_path(path)
    try:
        with named(path):
            yield temporary
            _sync(temporary)
            publish(temporary, path)
            sync_folder(path.parent)
    finally:
        _remove(temporary)


def _remove_left(path: Path) -> None:
    """Remove what dead processes have left under temporary names of `path`."""
    for left in path.parent.glob(f".{glob.escape(_stem(path))}.*.tmp*"):
        _remove_abandoned(left)


def _stem(path: Path) -> str:
    """What a temporary name takes of a path's: a file's name holds 255 bytes at most."""
    return path.stem.encode()[:100].decode(errors="ignore")


def _sync(path: Path) -> None:
    """Have a file, or all files of a folder, on the disk."""
    if not path.is_dir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(Path(folder, name))
        sync_folder(Path(folder))


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> InputError:
    return InputError(f"{path}: exists already; expected a new name")


def _rename_new(source: Path, target: Path) -> None:
    """Rename atomically unless `target` exists; raises FileExistsError."""
    renamed = ctypes.CDLL(None, use_errno=True).renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    )
    code = ctypes.get_errno() if renamed else 0
    if code in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}:  # Not every file system knows it.
        _rename_new_by_link(source, target)
    elif code:
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def _rename_new_by_link(source: Path, target: Path) -> None:
    """The same where renameat2 is not known."""
    if source.is_dir():
        # The kernel itself replaces a folder only by an empty one; this makes sure of a new one.
        target.mkdir()
        source.replace(target)
    else:
        os.link(source, target)
        source.unlink()


def _remove_abandoned(path: Path, locked: bool = False) -> None:
    """Remove a file or folder with a temporary name if its writer is dead."""
    match = _TEMPORARY.fullmatch(path.name)
    if match and (locked or _is_abandoned(path, match)):
        _remove(path)


def _is_abandoned(path: Path, match: re.Match[str]) -> bool:
    if match["host"] == _host():
        return not process.alive(int(match["process"]), int(match["start"]))
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _host() -> str:
    return platform.node().split(".")[0] or "localhost"
