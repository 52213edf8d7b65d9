"""Take a file out of an overlay image onto a fast disk: one pass, several threads, no root.

A mounted overlay goes through FUSE: every container pays for its first read again, and one thread
serves all. The file lies nearly contiguous in the image, so that reading its blocks in place is as
fast as the disk. What comes out is a plain file, to be bound at the path it has in the overlay.
"""

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import Fault, InputError
from cloudmask.overlay.ext3 import Ext3, Extent, Inode
from cloudmask.overlay.layout import UPPER
from cloudmask.overlay.manifest import PIECE, Content
from cloudmask.system.disk import require_space
from cloudmask.system.files import creating
from cloudmask.system.progress import track


@dataclass(frozen=True)
class Extraction:
    """What was done: bytes of the file, seconds it took with syncing it to the disk."""

    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Megabytes (10**6) per second."""
        return self.bytes / 1e6 / max(self.seconds, 1e-9)


def extract(image: Path, expected: Content, out: Path, workers: int) -> Extraction:
    """Copy the file `expected.path` of the overlay `image` to `out`, checked while it is copied.

    Chunks of `expected.chunk` bytes are copied and hashed by `workers` threads. `out` appears under
    its name only when it is complete, right and on the disk. Raises InputError if `out` exists, or
    if the image is missing, truncated or not what its manifest says; NoRoom if there is too little
    space; Fault if it runs out on the way.
    """
    started = time.perf_counter()
    check_name(out)
    with Ext3(image) as source:
        inode = source.file(UPPER + expected.path)
        if inode.size != expected.size:
            raise InputError(
                f"{image}: {expected.path} has {inode.size} bytes, its manifest says "
                f"{expected.size}; image and manifest do not belong together"
            )
        # What is there already is told before the room that it takes is missed.
        if not os.path.lexists(out):
            require_space(out.parent, expected.size, out)
        with _full_disk(out), creating(out) as temporary:
            _copy(source, inode, expected, temporary, max(1, workers))
            temporary.chmod(0o444)
    return Extraction(expected.size, time.perf_counter() - started)


def check_name(out: Path) -> None:
    """Raise InputError if no file can have that name."""
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"{out}: expected the name of a file in an existing folder")


def _copy(source: Ext3, inode: Inode, expected: Content, out: Path, workers: int) -> None:
    os.posix_fadvise(source.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    count = len(expected.chunks)
    try:
        os.ftruncate(descriptor, expected.size)
        copier = _Copier(source, inode, expected, descriptor)
        with ThreadPoolExecutor(workers) as pool:
            try:
                for _ in track(pool.map(copier.copy, range(count)), count, "stage", unit="chunk"):
                    pass
            except BaseException:
                # Also after a signal the other threads must not go on.
                copier.failed.set()
                raise
    finally:
        os.close(descriptor)


class _Copier:
    """Copies chunks of one file to the open file `out`; threads share it.

    Once `failed` is set, further chunks are passed over.
    """

    def __init__(self, source: Ext3, inode: Inode, expected: Content, out: int):
        self.failed = threading.Event()
        self._source = source
        self._inode = inode
        self._expected = expected
        self._out = out

    def copy(self, index: int) -> None:
        """Copy one chunk; raises InputError if it differs from its checksum."""
        if self.failed.is_set():
            return
        expected = self._expected
        offset = index * expected.chunk
        try:
            found = self._copy_chunk(offset, expected.chunk)
            # This starts writing the chunk to the disk at once, so that the sync at the end is
            # short: pages that are not yet on the disk stay in memory.
            os.posix_fadvise(self._out, offset, expected.chunk, os.POSIX_FADV_DONTNEED)
            if found != expected.chunks[index]:
                raise InputError(
                    f"{self._source.path}: damaged: {expected.path} differs from its checksum in "
                    f"bytes {offset} to {min(offset + expected.chunk, expected.size)}; "
                    "copy or build the image again"
                )
        except BaseException:
            self.failed.set()
            raise

    def _copy_chunk(self, offset: int, length: int) -> str:
        """Copy a chunk and return its SHA-256. Holes of the file stay holes."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(min(PIECE, length)))
        for batch in _batches(self._source.extents(self._inode, offset, length), len(buffer)):
            filled = 0
            for extent in batch:
                part = buffer[filled : filled + extent.length]
                if extent.position is None:
                    part[:] = bytes(extent.length)
                else:
                    _read_into(self._source, part, extent.position)
                filled += extent.length
            digest.update(buffer[:filled])
            if any(extent.position is not None for extent in batch):
                _write_all(self._out, buffer[:filled], batch[0].offset)
        return digest.hexdigest()


def _batches(extents: Iterator[Extent], room: int) -> Iterator[list[Extent]]:
    """The extents, cut and gathered so that each batch fills the buffer of `room` bytes."""
    batch: list[Extent] = []
    left = room
    for extent in extents:
        offset, length, position = extent.offset, extent.length, extent.position
        while length:
            take = min(left, length)
            batch.append(Extent(offset, take, position))
            offset, length, left = offset + take, length - take, left - take
            position = None if position is None else position + take
            if not left:
                yield batch
                batch, left = [], room
    if batch:
        yield batch


def _read_into(source: Ext3, part: memoryview, position: int) -> None:
    while part:
        count = os.preadv(source.descriptor, [part], position)
        if not count:
            raise InputError(f"{source.path}: truncated while it was read")
        part, position = part[count:], position + count


def _write_all(out: int, part: memoryview, offset: int) -> None:
    while part:
        count = os.pwrite(out, part, offset)
        part, offset = part[count:], offset + count


@contextlib.contextmanager
def _full_disk(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Fault(
            f"{out}: {error.strerror} while it was written (another job fills the disk, or a "
            "quota); nothing is left of it"
        ) from None
