"""What an overlay holds and what its bytes must be: a JSON file beside the image.

Each file is listed with its SHA-256 and with the SHA-256 of each of its chunks of 64 MiB: a single
SHA-256 cannot be computed by several threads, those of the chunks can.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.system import names, reading
from cloudmask.system.files import write_text

SCHEMA = 1
CHUNK = 64 << 20  # bytes: 360 of them for the whole data set, each a large read
PIECE = 256 << 10  # bytes that a thread handles at a time: they stay in the cache of its core
FOLDER = "/data"  # of the container, where everything in an overlay lies
PATCHES = f"{FOLDER}/patches.h5"
SCENES = f"{FOLDER}/inference"
SENTINEL = f"{FOLDER}/overlay.json"  # inside: a small file that shows the overlay is mounted


LARGEST_FILE = 16 << 40  # bytes: what ext3 holds at most
LARGEST_MANIFEST = 64 << 20  # bytes: that of the whole data set has half a megabyte

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Content:
    """A file in the overlay: its path in the container, size in bytes, checksums in hexadecimal.

    chunk: bytes of each chunk but the last; chunks: their SHA-256.
    """

    path: str
    size: int
    sha256: str
    chunk: int
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A file of the host as it was when the overlay was made; mtime_ns: its last change."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class ImageFacts:
    """The image: size in bytes, time of its last change, SHA-256."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Origin:
    """Which version of cloudmask made the overlay, where and when."""

    cloudmask: str
    host: str
    time: str


@dataclass(frozen=True)
class Manifest:
    """The content of an overlay, where it came from, and the image it is in.

    id: SHA-256 over paths and checksums; the sentinel in the image repeats it.
    sources: the host's file by path in the container.
    """

    id: str
    files: tuple[Content, ...]
    sources: dict[str, Source]
    image: ImageFacts
    made: Origin

    def content(self, path: str) -> Content:
        """The file at a path of the container; raises InputError if there is none."""
        for found in self.files:
            if found.path == path:
                return found
        names = ", ".join(content.path for content in self.files[:5])
        raise InputError(f"the overlay holds no {path}; it holds {names}")

    def write(self, path: Path) -> None:
        """Write it atomically, as JSON."""
        sources = {name: astuple(source) for name, source in self.sources.items()}
        data = {"schema": SCHEMA, **asdict(self), "sources": sources}
        write_text(path, json.dumps(data, indent=1) + "\n")


def beside(image: Path) -> Path:
    """Where the manifest of an image lies."""
    return image.with_name(image.name + ".json")


def read(image: Path) -> Manifest:
    """The manifest beside an image; raises InputError if it is missing or damaged."""
    path = beside(image)
    try:
        return _parse(reading.read_json(path, LARGEST_MANIFEST))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; the manifest belongs beside the image, copy both"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a manifest of an overlay ({error})") from None


def identity(files: Sequence[Content]) -> str:
    """The manifest's id for these files."""
    lines = (f"{content.sha256} {content.path}\n" for content in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sentinel(files: Sequence[Content]) -> str:
    """Text of the small file inside the image."""
    checksums = {content.path: content.sha256 for content in files}
    text = json.dumps({"schema": SCHEMA, "id": identity(files), "files": checksums}, indent=1)
    return text + "\n"


def _parse(data: object) -> Manifest:
    """The manifest of parsed JSON; raises ValueError that names the key."""
    if isinstance(data, dict) and data.get("schema") != SCHEMA:
        raise ValueError(f"schema: expected {SCHEMA}, found {data.get('schema')!r}")
    kinds = {"schema": int, "id": str, "files": list, "sources": dict, "image": dict, "made": dict}
    top = _object(data, kinds, "manifest")
    files = tuple(_content(entry, f"files.{n}") for n, entry in enumerate(top["files"]))
    _check_paths([content.path for content in files])
    if top["id"] != identity(files):
        raise ValueError("id: is not that of the files")
    sources = {name: _source(entry, f"sources.{name}") for name, entry in top["sources"].items()}
    image = ImageFacts(**_object(top["image"], ImageFacts.__annotations__, "image"))
    made = Origin(**_object(top["made"], Origin.__annotations__, "made"))
    _check_sha256(image.sha256, "image.sha256")
    return Manifest(top["id"], files, sources, image, made)


def _content(data: object, where: str) -> Content:
    kinds = {"path": str, "size": int, "sha256": str, "chunk": int, "chunks": list}
    entry = _object(data, kinds, where)
    found = Content(**{**entry, "chunks": tuple(entry["chunks"])})
    if not 0 <= found.size <= LARGEST_FILE:
        raise ValueError(f"{where}.size: expected at most {LARGEST_FILE} bytes, found {found.size}")
    if found.chunk <= 0 or len(found.chunks) != -(-found.size // found.chunk):
        raise ValueError(f"{where}: {len(found.chunks)} chunks do not make up {found.size} bytes")
    for checksum in (found.sha256, *found.chunks):
        _check_sha256(checksum, where)
    return found


def _check_paths(paths: Sequence[str]) -> None:
    """Whether each path leads to a file of its own below the folder of the container."""
    known = set(paths)
    if len(known) < len(paths):
        raise ValueError("files: two have the same path")
    for n, path in enumerate(paths):
        try:
            below = names.relative_path(path.removeprefix(f"{FOLDER}/"), f"files.{n}.path")
        except InputError as error:
            raise ValueError(str(error)) from None
        if not path.startswith(f"{FOLDER}/"):
            raise ValueError(f"files.{n}.path: expected a path below {FOLDER}, found {path!r}")
        if any(f"{FOLDER}/{parent}" in known for parent in below.parents):
            raise ValueError(f"files.{n}.path: {path!r} is below another file")


def _source(data: object, where: str) -> Source:
    if not isinstance(data, list) or [type(part) for part in data] != [str, int, int]:
        raise ValueError(f"{where}: expected path, size and time, found {data!r}")
    return Source(*data)


def _object(data: object, kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    """A JSON object that has exactly these keys with values of these types."""
    if not isinstance(data, dict) or data.keys() != kinds.keys():
        raise ValueError(f"{where}: expected the keys {', '.join(kinds)}")
    for key, kind in kinds.items():
        if type(data[key]) is not kind:
            raise ValueError(f"{where}.{key}: expected {kind.__name__}, found {data[key]!r}")
    return data


def _check_sha256(text: object, where: str) -> None:
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise ValueError(f"{where}: expected a SHA-256, found {text!r}")


def measure(source: Path, path: str, workers: int) -> Content:
    """Checksums of the host's file `source`, which is or becomes `path` in the overlay.

    One thread computes the SHA-256 of the whole, the others those of the chunks; together they read
    the file once from the disk and once from the page cache.
    """
    with reading.opened(source) as handle:
        descriptor = handle.fileno()
        size = os.fstat(descriptor).st_size

        def read_at(buffer: memoryview, offset: int) -> int:
            return os.preadv(descriptor, [buffer], offset)

        with ThreadPoolExecutor(max(2, workers)) as pool:
            whole = pool.submit(digest, read_at, 0, size)
            chunks = [
                pool.submit(digest, read_at, offset, min(CHUNK, size - offset))
                for offset in range(0, size, CHUNK)
            ]
            return Content(path, size, whole.result(), CHUNK, tuple(c.result() for c in chunks))


def measure_chunks(path: Path, expected: Content, workers: int) -> tuple[str, ...]:
    """The SHA-256 of each chunk of the file `path`, which should be `expected`."""
    with reading.opened(path) as handle, ThreadPoolExecutor(max(1, workers)) as pool:

        def read_at(buffer: memoryview, offset: int) -> int:
            return os.preadv(handle.fileno(), [buffer], offset)

        def of_chunk(offset: int) -> str:
            return digest(read_at, offset, min(expected.chunk, expected.size - offset))

        return tuple(pool.map(of_chunk, range(0, expected.size, expected.chunk)))


def is_copy(path: Path, expected: Content, workers: int) -> bool:
    """Whether the file `path` has the size and the checksums of `expected`; no link counts."""
    try:
        return (
            path.lstat().st_size == expected.size
            and measure_chunks(path, expected, workers) == expected.chunks
        )
    except OSError:
        return False


def digest(read_at: Callable[[memoryview, int], int], offset: int, length: int) -> str:
    """SHA-256 of `length` bytes from `offset`, read by `read_at(buffer, offset) -> bytes read`."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(PIECE, length)))
    end = offset + length
    while offset < end:
        count = read_at(buffer[: min(PIECE, end - offset)], offset)
        if not count:
            raise InputError("the file became shorter while it was read")
        digest.update(buffer[:count])
        offset += count
    return digest.hexdigest()
