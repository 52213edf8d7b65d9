"""Files of others are read only if they are files, and only if they are not too large.

A named pipe in place of a file would hold the reader up for ever, a device would never end, and a
file of many gigabytes would take all memory.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from cloudmask.errors import InputError

MIB = 1 << 20
BLOCK = MIB  # bytes read at once
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # how every HDF5 file begins

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file opened for reading, whatever else may be at `path`; never waits.

    Raises InputError if it is something else, OSError if it cannot be opened.
    """
    with os.fdopen(descriptor_of(path), "rb") as file:
        yield file


def descriptor_of(path: Path) -> int:
    """The same as a descriptor, which the caller closes."""
    # Without O_NONBLOCK, opening a pipe waits for a writer; for regular files it means nothing.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_file(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def require_file(path: Path) -> None:
    """Raise InputError unless `path` is a regular file or does not exist.

    For libraries that open files by name. OSError if it cannot be looked at.
    """
    with contextlib.suppress(FileNotFoundError):
        _require_file(path, path.stat().st_mode)


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file; raises InputError if it has more than `limit` bytes."""
    blocks, left = [], limit + 1
    with opened(path) as file:
        # Python takes as much memory as it is asked to read, however small the file is.
        while left and (block := file.read(min(left, BLOCK))):
            blocks.append(block)
            left -= len(block)
    content = b"".join(blocks)
    if len(content) > limit:
        raise InputError(f"{path}: more than {limit / MIB:g} MiB; expected a smaller file")
    return content


def read_text(path: Path, limit: int) -> str:
    """The same as text; UnicodeDecodeError, a ValueError, if it is not UTF-8."""
    return read_bytes(path, limit).decode("utf-8")


def read_json(path: Path, limit: int) -> object:
    """The parsed content of a JSON file of at most `limit` bytes; ValueError if it is none."""
    return parse_json(read_text(path, limit))


def parse_json(text: str) -> object:
    """Parsed JSON; raises ValueError, also for text that is nested too deeply for the parser."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _require_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path}: is {_KINDS.get(stat.S_IFMT(mode), 'not a file')}; expected a file"
        )
