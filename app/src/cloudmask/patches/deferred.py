"""A file that HDF5 changes in memory only, until all changes are written at once.

HDF5 crashes where a write fails while it closes a file, as on a full disk. So it gets this object
in place of the file: its changes, which are few beside the patches, stay in memory, and Python
writes them, whose errors are those of any other file.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from cloudmask.system import files

PAGE = 1 << 16  # bytes of the file that are kept together in memory


@contextlib.contextmanager
def hdf5_file(path: Path, mode: str, **options: int) -> Iterator[h5py.File]:
    """Open an HDF5 file for changes ("w" or "r+"), which reach the disk at the end of the block.

    If the block fails, the file stays as it was. Raises OSError that names the file.
    """
    with files.named(path), path.open("r+b" if mode == "r+" else "w+b") as file:
        changed = _Deferred(file.fileno())
        with h5py.File(changed, mode, **options) as opened:
            yield opened
        changed.write_back()


class _Deferred:
    """The file behind a descriptor as h5py's driver for Python objects needs it."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def readinto(self, buffer: memoryview) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        for number, start, end, done in _parts(self._position, count):
            page = self._pages.get(number)
            view[done : done + end - start] = (page or self._load(number))[start:end]
        self._position += count
        return count

    def write(self, data: memoryview) -> int:
        view = memoryview(data).cast("B")
        for number, start, end, done in _parts(self._position, len(view)):
            page = self._pages.setdefault(number, self._load(number))
            page[start:end] = view[done : done + end - start]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def flush(self) -> None:
        """Nothing: what HDF5 flushes stays in memory."""

    def write_back(self) -> None:
        """Write all changes to the file, those at its end first.

        There alone a disk may be full, and what HDF5 finds first still leads to the old content.
        """
        os.ftruncate(self._descriptor, self._size)
        for number, page in sorted(self._pages.items(), reverse=True):
            first = number * PAGE
            left = memoryview(page)[: max(0, self._size - first)]
            while left:
                written = os.pwrite(self._descriptor, left, first)
                first, left = first + written, left[written:]

    def _load(self, number: int) -> bytearray:
        return bytearray(os.pread(self._descriptor, PAGE, number * PAGE).ljust(PAGE, b"\0"))


def _parts(position: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """The pages of `count` bytes from `position`: number, start and end in it, bytes before it."""
    done = 0
    while done < count:
        number, start = divmod(position + done, PAGE)
        end = min(PAGE, start + count - done)
        yield number, start, end, done
        done += end - start
