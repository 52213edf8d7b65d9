"""Where the bytes of a file lie inside an ext3 image, without mounting it and without root.

Only what our images hold is understood: ext2/ext3 with block-mapped files. The layout is that of
the kernel's documentation (filesystems/ext4, "Data Structures"), fields are little-endian.
"""

import os
import stat
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cloudmask.errors import InputError
from cloudmask.system import names, reading

SUPERBLOCK = 1024  # bytes from the start
MAGIC = 0xEF53
ROOT_INODE = 2
SMALL_FILE = 64 << 20  # bytes that `Ext3.content` reads at most: a hole of terabytes costs no disk
DIRECT = 12  # block pointers in an inode; then one each of single, double and triple indirection
FILETYPE = 0x2  # incompatible feature: directory entries carry the file type
RECOVER = 0x4  # incompatible feature: the journal holds changes, it was not unmounted
EXTENTS_FLAG = 0x80000  # of an inode; an ext4 file


@dataclass(frozen=True)
class Inode:
    """A file or directory: type and permissions, size in bytes, its 15 block pointers."""

    mode: int
    size: int
    pointers: tuple[int, ...]


@dataclass(frozen=True)
class Extent:
    """`length` bytes of a file from `offset` lie in the image at `position`; None for a hole."""

    offset: int
    length: int
    position: int | None


class Ext3:
    """An image opened for reading; a context manager. Threads may share one.

    Raises InputError, naming the image, if it is missing, truncated, damaged, of another kind, or
    was not unmounted cleanly.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        try:
            self.descriptor = reading.descriptor_of(self.path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; expected an overlay of make overlay") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        try:
            self._read_superblock()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Ext3":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the image; further reads fail."""
        os.close(self.descriptor)

    def read(self, position: int, length: int) -> bytes:
        """`length` bytes from `position`; raises InputError if the image ends before."""
        data = os.pread(self.descriptor, length, position)
        if len(data) != length:
            raise InputError(f"{self.path}: truncated: ends within bytes {position}+{length}")
        return data

    def find(self, path: str) -> Inode:
        """The inode at an absolute path inside the image; neither `..` nor links are followed."""
        inode = self._inode(ROOT_INODE)
        for name in names.relative_path(path.strip("/"), str(self.path)).parts:
            number = self._entries(inode).get(os.fsencode(name)) if _is_folder(inode) else None
            if number is None:
                raise InputError(f"{self.path}: holds no {path}")
            inode = self._inode(number)
        return inode

    def file(self, path: str) -> Inode:
        """As `find`; raises InputError unless it is a regular file."""
        inode = self.find(path)
        if not stat.S_ISREG(inode.mode):
            raise InputError(f"{self.path}: {path} is not a regular file")
        return inode

    def extents(self, inode: Inode, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """The pieces of a file in order, from `offset` (a multiple of the block size) on.

        Neighboring blocks are joined; the last piece ends with the file or after `length` bytes.
        """
        end = inode.size if length is None else min(inode.size, offset + length)
        first, last = offset // self.block, -(-end // self.block)
        # `count` blocks of the file from `start` on are those of the image from `begin` on, or a
        # hole if `begin` is 0.
        start, begin, count = first, 0, 0
        for pointer, blocks in self._blocks(inode, first, last):
            if not count or pointer != (begin and begin + count):
                if count:
                    yield self._extent(start, begin, count, end)
                start, begin, count = start + count, pointer, 0
            count += blocks
        if count:
            yield self._extent(start, begin, count, end)

    def content(self, path: str) -> bytes:
        """A small file's content; raises InputError if it is none."""
        inode = self.file(path)
        if inode.size > SMALL_FILE:
            raise InputError(f"{self.path}: {path} has {inode.size} bytes; expected a small file")
        return b"".join(
            bytes(e.length) if e.position is None else self.read(e.position, e.length)
            for e in self.extents(inode)
        )

    def _extent(self, start: int, begin: int, count: int, end: int) -> Extent:
        offset = start * self.block
        if begin > self.blocks - count:
            raise InputError(f"{self.path}: damaged: block {begin} is outside the image")
        position = begin * self.block if begin else None
        return Extent(offset, min(count * self.block, end - offset), position)

    def _read_superblock(self) -> None:
        size = os.fstat(self.descriptor).st_size
        raw = os.pread(self.descriptor, 1024, SUPERBLOCK)
        if len(raw) < 1024 or struct.unpack_from("<H", raw, 56)[0] != MAGIC:
            raise InputError(f"{self.path}: not an ext3 image; expected one made by make overlay")
        self.inodes, self.blocks = struct.unpack_from("<II", raw, 0)
        first, log = struct.unpack_from("<II", raw, 20)
        (self.per_group,) = struct.unpack_from("<I", raw, 40)
        (self.inode_size,) = struct.unpack_from("<H", raw, 88)
        (incompatible,) = struct.unpack_from("<I", raw, 96)
        if incompatible & RECOVER:
            raise InputError(
                f"{self.path}: was mounted for writing and not unmounted (a killed container?); "
                f"repair it with 'e2fsck -p {self.path}', or build it anew with make overlay"
            )
        if incompatible & ~FILETYPE or log > 6 or not self.per_group or self.inode_size < 128:
            raise InputError(
                f"{self.path}: features {incompatible:#x}; expected plain ext3 made by make overlay"
            )
        self.block = 1024 << log
        self.groups = (first + 1) * self.block
        if self.blocks * self.block > size:
            raise InputError(
                f"{self.path}: truncated: {size} bytes, its superblock says "
                f"{self.blocks * self.block}; copy or build it again"
            )

    def _inode(self, number: int) -> Inode:
        if not 0 < number <= self.inodes:
            raise InputError(f"{self.path}: damaged: there is no inode {number}")
        group, index = divmod(number - 1, self.per_group)
        (table,) = struct.unpack_from("<I", self.read(self.groups + group * 32, 32), 8)
        raw = self.read(table * self.block + index * self.inode_size, 128)
        mode, _, low = struct.unpack_from("<HHI", raw, 0)
        (flags,) = struct.unpack_from("<I", raw, 32)
        if flags & EXTENTS_FLAG:
            raise InputError(f"{self.path}: holds ext4 files; expected ext3 made by make overlay")
        # Only a regular file's size has a high half; a directory keeps its ACL there.
        high = struct.unpack_from("<I", raw, 108)[0] if stat.S_ISREG(mode) else 0
        return Inode(mode, low | high << 32, struct.unpack_from("<15I", raw, 40))

    def _entries(self, folder: Inode) -> dict[bytes, int]:
        """Inode numbers by name. An indexed directory reads as a linear one."""
        found: dict[bytes, int] = {}
        for extent in self.extents(folder):
            if extent.position is None:
                continue
            for offset in range(0, extent.length, self.block):
                found |= self._entries_in(self.read(extent.position + offset, self.block))
        return found

    def _entries_in(self, block: bytes) -> dict[bytes, int]:
        found, at = {}, 0
        while at + 8 <= len(block):
            number, length, name_length = struct.unpack_from("<IHB", block, at)
            if length < 8:
                raise InputError(f"{self.path}: damaged: a directory has no end")
            if number:
                found[block[at + 8 : at + 8 + name_length]] = number
            at += length
        return found

    def _blocks(self, inode: Inode, first: int, last: int) -> Iterator[tuple[int, int]]:
        """(block number or 0, how many in a row) for the file's blocks from `first` up to `last`.

        A hole that spans several blocks may come as several pairs.
        """
        if first < DIRECT:
            yield from ((p, 1) for p in inode.pointers[first : min(last, DIRECT)])
        begin, span = DIRECT, self.block // 4
        for pointer in inode.pointers[DIRECT:]:
            low, high = max(first, begin) - begin, min(last, begin + span) - begin
            if low < high:
                yield from self._below(pointer, span, low, high)
            begin += span
            span *= self.block // 4

    def _below(self, pointer: int, span: int, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Of the `span` blocks that an indirect block stands for, those from `low` to `high`."""
        if not pointer:
            yield 0, high - low
            return
        if pointer >= self.blocks:
            raise InputError(f"{self.path}: damaged: block {pointer} is outside the image")
        raw = self.read(pointer * self.block, self.block)
        entries = array("I", raw)
        if struct.pack("=I", 1) != struct.pack("<I", 1):
            entries.byteswap()
        each = span // len(entries)
        if each > 1:
            for index in range(low // each, -(-high // each)):
                begin = index * each
                yield from self._below(
                    entries[index], each, max(low - begin, 0), min(high - begin, each)
                )
            return
        entries = entries[low:high]
        start = entries[0]
        # Nearly every block of a fresh image: 1024 neighbors, compared in one go.
        near = start and start + len(entries) <= self.blocks
        if near and entries == array("I", range(start, start + len(entries))):
            yield start, len(entries)
        else:
            yield from ((entry, 1) for entry in entries)


def _is_folder(inode: Inode) -> bool:
    return stat.S_ISDIR(inode.mode)
