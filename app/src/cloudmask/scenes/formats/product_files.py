"""The files of a Level-1 product: a folder, its manifest, a folder in a folder, or a zip archive.

A product is looked at by the plain names of its files. Names in an archive are only compared, never
made into paths; its members are read into memory, in bounds.
"""

import contextlib
import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes import foreign_hdf5
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.scenes.formats import MANIFEST, product_folder
from cloudmask.system import reading
from cloudmask.system.files import sha256

LARGEST_MEMBER = 1 << 30  # bytes; the largest file of a real product has 30 MB
LARGEST_MANIFEST = 8 * reading.MIB  # a real one has 0.2
ENCRYPTED = 1  # bit of a zip entry's flags
MOST_MEMBERS = 1000  # a whole product has 111 files

_HREF = re.compile(rb'href="(?:\./)?([\w.-]{1,200})"')


class ProductFiles(Protocol):
    """The files of one product; all errors are SceneError and name the file."""

    path: Path

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name."""

    def opened(self, name: str) -> contextlib.AbstractContextManager[ForeignHdf5]:
        """Open a netCDF-4 file, which is HDF5.

        It is read without the dimension tables: over damaged ones the netCDF libraries hang.
        """

    def manifest(self) -> bytes:
        """The manifest, empty if there is none."""

    def checksum(self) -> str:
        """The SHA-256 of the list of the files' checksums, hexadecimal."""


def product_files(path: Path) -> ProductFiles:
    """The files of the product `path`, which its manifest may stand for."""
    return _Archive(path) if path.suffix.lower() == ".zip" else _Folder(product_folder(path))


def listed(files: ProductFiles) -> frozenset[str]:
    """Names of the files that the manifest lists."""
    return frozenset(name.decode() for name in _HREF.findall(files.manifest()))


def _list_checksum(checksums: dict[str, str]) -> str:
    lines = (f"{checksums[name]} {name}\n" for name in sorted(checksums))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class _Folder:
    """A folder whose files are the product's."""

    def __init__(self, path: Path):
        self.path = path

    def __contains__(self, name: str) -> bool:
        return (self.path / name).exists()

    def opened(self, name: str) -> contextlib.AbstractContextManager[ForeignHdf5]:
        return foreign_hdf5.opened(self.path / name, SceneError)

    def manifest(self) -> bytes:
        if MANIFEST not in self:
            return b""
        with foreign_hdf5.handle(self.path / MANIFEST, SceneError) as file:
            return file.read(LARGEST_MANIFEST)

    def checksum(self) -> str:
        found = [file for file in self.path.iterdir() if file.is_file()]
        return _list_checksum({file.name: sha256(file) for file in found})


class _Archive:
    """A zip archive that holds one product, as the data centers deliver it."""

    def __init__(self, path: Path):
        self.path = path
        with self._archive() as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MOST_MEMBERS:
            raise SceneError(f"{path}: {len(entries)} files; expected the some 100 of a product")
        # Archives of macOS hold a companion for each file.
        entries = [e for e in entries if not PurePosixPath(e.filename).name.startswith("._")]
        data = [PurePosixPath(e.filename) for e in entries if e.filename.endswith(".nc")]
        tops = {str(name.parent) for name in data}
        if len(tops) != 1:
            raise SceneError(f"{path}: {len(tops)} folders with netCDF files; expected one product")
        self._members = {
            PurePosixPath(entry.filename).name: entry.filename
            for entry in entries
            if str(PurePosixPath(entry.filename).parent) in tops
        }
        self._inflated: dict[str, bytes] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[ForeignHdf5]:
        content = np.frombuffer(self._content(name, LARGEST_MEMBER), np.uint8)
        with foreign_hdf5.opened(self.path / name, SceneError, content) as file:
            yield file

    def manifest(self) -> bytes:
        return self._content(MANIFEST, LARGEST_MANIFEST) if MANIFEST in self else b""

    def checksum(self) -> str:
        return _list_checksum(
            {
                name: hashlib.sha256(self._inflate(name, LARGEST_MEMBER)).hexdigest()
                for name in self._members
            }
        )

    def _content(self, name: str, limit: int) -> bytes:
        """The bytes of a file, kept: headers are looked at before values are read."""
        if name not in self._inflated:
            self._inflated[name] = self._inflate(name, limit)
        return self._inflated[name]

    def _inflate(self, name: str, limit: int) -> bytes:
        if name not in self:
            raise SceneError(f"{self.path / name}: no such file in the archive")
        with self._archive() as archive:
            entry = archive.getinfo(self._members[name])
            if entry.flag_bits & ENCRYPTED:
                raise SceneError(f"{self.path / name}: is encrypted; expected an open archive")
            largest = min(limit, foreign_hdf5.LARGEST_RATIO * max(entry.compress_size, 1))
            if entry.file_size > largest:
                raise SceneError(
                    f"{self.path / name}: would be {entry.file_size:,} bytes; expected at most "
                    f"{largest:,}"
                )
            return archive.read(entry)

    @contextlib.contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        with foreign_hdf5.handle(self.path, SceneError) as file:
            try:
                with zipfile.ZipFile(file) as archive:
                    yield archive
            except SceneError:
                raise
            except Exception as error:  # On damaged archives zipfile raises anything.
                line = " ".join(str(error).split())[:200] or type(error).__name__
                raise SceneError(
                    f"{self.path}: not a readable zip archive ({line}); expected a complete one"
                ) from None
