"""What of a file the kernel holds in memory, and making it forget that; no root is needed."""

import contextlib
import ctypes
import mmap
import os
from pathlib import Path

PORTION = 1 << 30  # bytes that are mapped at once, a multiple of every page size
UNMAPPED_USER = 65534  # owner, in a user namespace, of files of users outside it


def resident_bytes(path: Path) -> int | None:
    """Bytes of the file in the page cache; None where the kernel does not tell.

    Since Linux 5.2 it answers `mincore` truthfully only to those who own the file or may write it:
    to others every page seems to be there. Raises OSError if the file cannot be read.
    """
    status = path.stat()
    if not _may_know(path, status):
        return None
    found = 0
    with path.open("rb") as file:
        for offset in range(0, status.st_size, PORTION):
            length = min(PORTION, status.st_size - offset)
            pages = _resident_pages(file.fileno(), offset, length)
            if pages is None:
                return None
            found += pages * mmap.PAGESIZE
    return min(found, status.st_size)


def drop(path: Path) -> None:
    """Write the file's changed pages to its disk and drop it from the page cache.

    Pages that a process has mapped and touched, or that live in memory alone (tmpfs), stay. Raises
    OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        # A page that is still to be written cannot be dropped. A file system that is mounted
        # read-only has none, and may refuse.
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _may_know(path: Path, status: os.stat_result) -> bool:
    user = os.geteuid()
    if user == 0:
        return status.st_uid != UNMAPPED_USER
    return status.st_uid == user or os.access(path, os.W_OK)


def _resident_pages(descriptor: int, offset: int, length: int) -> int | None:
    libc = ctypes.CDLL(None, use_errno=True)
    # A private mapping can be written to, which ctypes needs to tell its address; nobody does.
    with mmap.mmap(descriptor, length, access=mmap.ACCESS_COPY, offset=offset) as mapped:
        states = ctypes.create_string_buffer(-(-length // mmap.PAGESIZE))
        first = ctypes.c_char.from_buffer(mapped)
        address = ctypes.c_void_p(ctypes.addressof(first))
        failed = libc.mincore(address, ctypes.c_size_t(length), states)
        del first  # The mapping cannot be closed while something refers to it.
        return None if failed else states.raw.count(b"\1")
