"""HDF5 files of others: only what lies in the file itself is read, and only in bounds.

A data set may lie in another file (external links and storage, virtual data sets), may need code
that the library loads (filters), and a few kilobytes may stand for terabytes (chunks). All that is
refused by name. Every HDF5 file that this program did not just write is opened here.
"""

import contextlib
import io
import itertools
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5pl, h5t, h5z

from cloudmask.errors import InputError
from cloudmask.system import reading

# Filters that are part of the libraries themselves; HDF5 searches for all others and loads them.
FILTERS = {
    h5z.FILTER_DEFLATE: "gzip",
    h5z.FILTER_SHUFFLE: "shuffle",
    h5z.FILTER_FLETCHER32: "fletcher32",
    h5z.FILTER_LZF: "lzf",
}
# Registered filters that scenes are found with, and the Python package that has the plug-in.
PLUG_INS = {
    4: ("szip", "the HDF5 library with libaec"),
    5: ("nbit", "the HDF5 library"),
    6: ("scale-offset", "the HDF5 library"),
    307: ("bzip2", "hdf5plugin"),
    32001: ("Blosc", "hdf5plugin"),
    32004: ("LZ4", "hdf5plugin"),
    32008: ("bitshuffle", "hdf5plugin"),
    32013: ("ZFP", "hdf5plugin"),
    32015: ("Zstandard", "hdf5plugin"),
    32017: ("SZ", "hdf5plugin"),
    32023: ("FCIDECOMP", "hdf5plugin"),
    32026: ("Blosc2", "hdf5plugin"),
}
LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}

# Deflate makes of a byte at most 1,032; what no file can hold is refused. Up to as many bytes as
# the largest array of a product takes in float64, 2400 x 3000 x 6, nothing is asked.
LARGEST_RATIO = 1032
FREE = 384 << 20
ITEM = 8  # bytes of a float64, in which values are scaled
LARGEST_ATTRIBUTE = 1 << 16  # bytes
LISTED = 10  # names of data sets in a message

# No plugin is wanted, wherever it lies: a filter could also stand at a group or an index.
while h5pl.size():
    h5pl.remove(0)


class ForeignHdf5:
    """An open file whose content is not trusted; what is refused raises `error`, naming the file.

    source: its path, for messages.
    """

    def __init__(self, file: h5py.File, source: Path, error: type[InputError]):
        self._file = file
        self.source = source
        self._error = error

    def __contains__(self, name: str) -> bool:
        """Whether something of that name is in the root group; links are not followed."""
        try:
            return bool(self._file.id.links.exists(name.encode()))
        except Exception as failed:  # On damaged files the library raises anything.
            line = " ".join(str(failed).split())[:200]
            raise self._error(f"{self.source}: '{name}' is damaged ({line})") from None

    @property
    def names(self) -> str:
        """The first names in the root group, for messages."""
        # What is not UTF-8 comes as bytes.
        found: list[str | bytes] = list(itertools.islice(self._file, LISTED + 1))
        shown = [_shown(name) for name in found[:LISTED]]
        more = ["..."] if len(found) > LISTED else []
        return ", ".join([name[:80] for name in shown] + more) or "nothing"

    def paths(self, most: int) -> list[str]:
        """The names of all groups and data sets with those of the groups that they are in.

        Raises `error` if one is not in this file, or if there are more than `most`.
        """
        found: list[tuple[str, int]] = []

        def visit(name: bytes, link: Any) -> bool | None:
            found.append((name.decode(errors="replace"), link.type))
            return True if len(found) > most else None  # True ends it.

        self._file.id.links.visit(visit, info=True)
        if len(found) > most:
            raise self._error(f"{self.source}: more than {most} data sets; expected fewer")
        for name, kind in found:
            self._require_hard_link(name, kind)
        return [name for name, _ in found]

    def dataset(self, name: str) -> h5py.Dataset | None:
        """The data set of that name, with those of the groups that it is in; None if there is none.

        Raises `error` if it lies elsewhere or would take more memory than its bytes can stand for;
        whatever h5py raises if the file is damaged.
        """
        found: Any = self._file.id
        for part in name.split("/"):
            encoded = part.encode()
            if not isinstance(found, h5g.GroupID | h5f.FileID) or not found.links.exists(encoded):
                return None
            self._require_hard_link(name, found.links.get_info(encoded).type)
            found = h5o.open(found, encoded)
        if not isinstance(found, h5d.DatasetID):
            return None
        self._require_stored_here(name, found)
        self._require_in_bounds(name, found)
        return h5py.Dataset(found)

    def values(self, data: h5py.Dataset, dtype: type | None = None) -> np.ndarray:
        """All values of a data set of this file, as `dtype`; raises as `dataset` does."""
        self._require_chunks_end(str(data.name)[1:], data.id)
        return (data if dtype is None else data.astype(dtype))[...]

    def attribute(self, name: str, of: h5py.Dataset | None = None) -> Any:
        """An attribute of a data set or of the file, None if it is missing.

        Raises `error` unless it is numbers or text of at most `LARGEST_ATTRIBUTE` bytes.
        """
        holder = self._file if of is None else of
        if name not in holder.attrs:
            return None
        found = h5a.open(holder.id, name.encode())
        kind = found.get_type()
        size = found.get_space().get_simple_extent_npoints() * kind.get_size()
        if kind.get_class() not in {h5t.INTEGER, h5t.FLOAT, h5t.STRING} or size > LARGEST_ATTRIBUTE:
            self._refuse(name, "is an attribute of an unknown type or an absurd size")
        return holder.attrs[name]

    def _require_hard_link(self, name: str, kind: int) -> None:
        if kind != h5l.TYPE_HARD:
            self._refuse(name, f"is {LINKS.get(kind, 'a user-defined link')}")

    def _require_stored_here(self, name: str, found: h5d.DatasetID) -> None:
        creation = found.get_create_plist()
        if creation.get_layout() == h5d.VIRTUAL:
            self._refuse(name, "is a virtual data set")
        if creation.get_external_count():
            self._refuse(name, "has external storage")
        filters = [creation.get_filter(index)[0] for index in range(creation.get_nfilters())]
        for number in filters:
            if number not in FILTERS:
                self._refuse_filter(name, number)
        if len(set(filters)) < len(filters):
            self._refuse(name, "is compressed twice", "one pass")

    def _require_in_bounds(self, name: str, found: h5d.DatasetID) -> None:
        creation, item = found.get_create_plist(), max(found.get_type().get_size(), ITEM)
        size, chunk = math.prod(found.shape or ()) * item, 0
        if creation.get_layout() == h5d.CHUNKED:
            chunk = math.prod(creation.get_chunk()) * item
        stored = found.get_storage_size()
        if max(size, chunk) > max(FREE, LARGEST_RATIO * stored):
            self._refuse_size(name, max(size, chunk), stored)

    def _require_chunks_end(self, name: str, found: h5d.DatasetID) -> None:
        """The library inflates a chunk to its end, however long that is."""
        creation, stored = found.get_create_plist(), found.get_storage_size()
        if creation.get_layout() != h5d.CHUNKED or stored * LARGEST_RATIO <= FREE:
            return
        chunk = math.prod(creation.get_chunk()) * found.get_type().get_size()
        for offset, packed in _stored_chunks(found):
            suspicious = packed * LARGEST_RATIO > FREE
            if packed > stored or (suspicious and _overflows(found, offset, chunk)):
                self._refuse_size(name, packed * LARGEST_RATIO, packed)

    def _refuse_filter(self, name: str, number: int) -> None:
        """No plug-in is loaded, since whoever wrote the file would choose it."""
        called, package = PLUG_INS.get(number, ("an unregistered filter", "its plug-in"))
        known = ", ".join(FILTERS.values())
        self._refuse(
            name,
            f"is compressed with {called} (HDF5 filter {number})",
            f"{known}; h5repack -f GZIP=1, with the plug-in of {package}, makes such a file",
        )

    def _refuse_size(self, name: str, size: int, stored: int) -> None:
        found = f"would take {size / (1 << 20):,.0f} MiB, but has {stored:,} bytes in the file"
        self._refuse(name, found, "a size that fits its content")

    def _refuse(self, name: str, found: str, expected: str = "its values in this file") -> None:
        raise self._error(f"{self.source}: '{_shown(name)[:80]}' {found}; expected {expected}")


def _shown(name: str | bytes) -> str:
    return name if isinstance(name, str) and name.isprintable() else ascii(name)


@contextlib.contextmanager
def handle(path: Path, error: type[InputError]) -> Iterator[io.BufferedReader]:
    """The regular file at `path` opened for reading; raises `error` if there is none."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(reading.opened(path))
        except InputError as refused:
            raise error(str(refused)) from None
        except OSError as failed:
            raise error(f"{path}: cannot be opened ({failed.strerror}); expected a file") from None
        yield file


@contextlib.contextmanager
def opened(
    path: Path, error: type[InputError], source: np.ndarray | io.BufferedIOBase | None = None
) -> Iterator[ForeignHdf5]:
    """Open the file for reading, or what `source` holds of it: a handle, or bytes (n,) uint8.

    HDF5 gets a handle, not the name: it then takes no lock, which parallel file systems often
    refuse, and what was checked is what is read. Raises `error`.
    """
    with contextlib.ExitStack() as stack:
        if source is None:
            source = stack.enter_context(handle(path, error))
        content = _Memory(source) if isinstance(source, np.ndarray) else source
        try:
            file = stack.enter_context(h5py.File(content, "r"))
        except Exception as failed:  # On damaged files the library raises anything.
            reason = " ".join(str(failed).split()).split("(")[-1].rstrip(")")[:200]
            kind = "netCDF" if path.suffix == ".nc" else "HDF5"
            raise error(
                f"{path}: not a readable {kind} file ({reason}); expected a complete one"
            ) from None
        yield ForeignHdf5(file, path, error)


class _Memory(io.RawIOBase):
    """A file whose bytes lie in memory, read without a copy of them all."""

    def __init__(self, content: np.ndarray):
        self._content = content.data
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._content)}
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _stored_chunks(found: h5d.DatasetID) -> list[tuple[tuple[int, ...], int]]:
    """Where each chunk begins, and its bytes in the file."""
    chunks: list[tuple[tuple[int, ...], int]] = []
    found.chunk_iter(lambda info: chunks.append((info.chunk_offset, info.size)))
    return chunks


def _overflows(found: h5d.DatasetID, offset: tuple[int, ...], chunk: int) -> bool:
    """Whether the chunk there inflates to more than it may; also checksums take a few bytes."""
    _, packed = found.read_direct_chunk(offset)
    limit = 2 * chunk
    try:
        return len(zlib.decompressobj().decompress(packed, limit + 1)) > limit
    except zlib.error:  # It is not deflated, or damaged, which the library will find.
        return False
