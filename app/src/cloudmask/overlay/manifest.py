"""What an overlay holds and what its bytes must be: a JSON file beside the image.

Each file is listed with its SHA-256 and with the SHA-256 of each of its chunks of 64 MiB: a single
SHA-256 cannot be computed by several threads, those of the chunks can.
"""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.system.files import write_text

SCHEMA = 1
CHUNK = 64 << 20  # bytes: 360 of them for the whole data set, each a large read
PIECE = 256 << 10  # bytes a thread handles at a time: they stay in the cache of its core
FOLDER = "/data"  # of the container, where everything in an overlay lies
PATCHES = f"{FOLDER}/patches.h5"
SCENES = f"{FOLDER}/inference"
SENTINEL = f"{FOLDER}/overlay.json"  # inside: a small file that shows the overlay is mounted


@dataclass(frozen=True)
class Content:
    """A file in the overlay: its path in the container, size in bytes, checksums in hexadecimal."""

    path: str
    size: int
    sha256: str
    chunk: int
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The content of an overlay, where it came from, and the image it is in.

    id: SHA-256 over paths and checksums; the sentinel in the image repeats it.
    sources: per file, [path on the host, size in bytes, time of last change in ns].
    image: size in bytes, time of last change in ns and sha256 of the image.
    """

    id: str
    files: tuple[Content, ...]
    sources: dict[str, list] = field(default_factory=dict)
    image: dict[str, int | str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def content(self, path: str) -> Content:
        """The file at a path of the container; raises InputError if there is none."""
        for found in self.files:
            if found.path == path:
                return found
        names = ", ".join(content.path for content in self.files[:5])
        raise InputError(f"the overlay holds no {path}; it holds {names}")

    def sentinel(self) -> str:
        """Text of the small file inside the image."""
        files = {content.path: content.sha256 for content in self.files}
        return json.dumps({"schema": SCHEMA, "id": self.id, "files": files}, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write it atomically, as JSON."""
        write_text(path, json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n")


def beside(image: Path) -> Path:
    """Where the manifest of an image lies."""
    return image.with_name(image.name + ".json")


def read(image: Path) -> Manifest:
    """The manifest beside an image; raises InputError if it is missing or damaged."""
    path = beside(image)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("schema") != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}")
        files = [Content(**{**f, "chunks": tuple(f["chunks"])}) for f in data.pop("files")]
        return Manifest(files=tuple(files), **data)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; the manifest belongs beside the image, copy both"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a manifest of an overlay ({error})") from None


def identity(files: tuple[Content, ...]) -> str:
    """The manifest's id for these files."""
    lines = (f"{content.sha256} {content.path}\n" for content in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def measure(source: Path, path: str, workers: int) -> Content:
    """Checksums of the host's file `source`, which is or becomes `path` in the overlay.

    One thread computes the SHA-256 of the whole, the others those of the chunks; together they read
    the file once from the disk and once from the page cache.
    """
    with source.open("rb") as handle:
        descriptor = handle.fileno()
        size = os.fstat(descriptor).st_size

        def read_at(buffer: memoryview, place: int) -> int:
            return os.preadv(descriptor, [buffer], place)

        with ThreadPoolExecutor(max(2, workers)) as pool:
            whole = pool.submit(digest, read_at, 0, size)
            chunks = [
                pool.submit(digest, read_at, place, min(CHUNK, size - place))
                for place in range(0, size, CHUNK)
            ]
            return Content(path, size, whole.result(), CHUNK, tuple(c.result() for c in chunks))


def digest(read_at: Callable[[memoryview, int], int], place: int, length: int) -> str:
    """SHA-256 of `length` bytes from `place`, read by `read_at(buffer, place) -> bytes read`."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(PIECE, length)))
    end = place + length
    while place < end:
        count = read_at(buffer[: min(PIECE, end - place)], place)
        if not count:
            raise InputError("the file became shorter while it was read")
        digest.update(buffer[:count])
        place += count
    return digest.hexdigest()
