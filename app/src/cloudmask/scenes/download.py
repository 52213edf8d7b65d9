"""The public data set from its S3 store: listed, fetched in parallel, resumed, verified.

A scene is written to `.NAME.TAG.part` and gets its name when it is complete and its checksum is
right, so that whatever is there under its name needs no second look. TAG is made of the object's
ETag and tells whether a part belongs to the object that the server offers now.

What the server says is not believed: keys become paths only if they stay below the output folder,
and no more than the listed size of an object is written.
"""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from cloudmask.errors import Fault, InputError, Interrupted
from cloudmask.scenes.dataset import PARTS
from cloudmask.system import names, reading
from cloudmask.system.disk import require_space
from cloudmask.system.distribution import install_command
from cloudmask.system.output import folder_held
from cloudmask.system.progress import track
from cloudmask.system.text import plural

# The part of the data set that a folder of the store holds, in today's layout and older ones.
PART_OF_FOLDER = {folder: part for part, folders in PARTS.items() for folder in folders}

MIB = 1 << 20
READ = MIB  # bytes fetched between two looks at whether to stop
# Sizes in which common clients cut an upload into parts (aws, boto3, s3cmd, rclone, s5cmd, minio).
PART_SIZES = tuple(n * MIB for n in (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512))
LONGEST_PAUSE = 30.0  # seconds
TIMEOUT = 30  # seconds to connect, and without a byte

MOST_OBJECTS = 1_000_000  # of a listing: the data set has 1,070
LARGEST_SCENE = 1 << 40  # bytes: those of the data set have 173 MB

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Unavailable(Exception):
    """The connection failed or the server answered with an error of its own; worth a retry."""


@dataclass(frozen=True)
class Item:
    """An object of the store: its key, its path below the output folder, bytes, ETag."""

    key: str
    path: PurePosixPath
    size: int
    etag: str


@dataclass
class DownloadSummary:
    """What a download did: scenes and bytes fetched, seconds, scenes there before.

    by_size: scenes whose checksum could not be computed from the ETag, verified by size alone.
    """

    fetched: int = 0
    bytes: int = 0
    seconds: float = 0.0
    present: int = 0
    resumed: int = 0
    by_size: list[str] = field(default_factory=list)


class Store:
    """An S3 bucket read without credentials. Threads may share one.

    `retries`: how often to try again after a failure, with pauses that double from 1 to 30 s.
    """

    def __init__(self, endpoint: str, bucket: str, prefix: str, retries: int, connections: int):
        try:
            import boto3
            from botocore import UNSIGNED
            from botocore.config import Config
        except ImportError:
            raise InputError(
                f"boto3 is not installed; expected {install_command('data')}, or make data"
            ) from None
        self.endpoint, self.bucket, self.prefix = endpoint, bucket, prefix
        self.retries = retries
        self.stop = threading.Event()
        config = Config(
            signature_version=UNSIGNED,
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            retries={"total_max_attempts": 1},  # Our own retries report what they do.
            max_pool_connections=connections,
            s3={"addressing_style": "path"},
            response_checksum_validation="when_required",
        )
        try:
            # The region is not used by other stores than Amazon's, but boto3 requires one.
            self.client = boto3.session.Session().client(
                "s3", endpoint_url=endpoint, region_name="us-east-1", config=config
            )
        except ValueError as error:
            raise InputError(f"--endpoint {endpoint}: {error}") from None

    def scenes(self) -> list[Item]:
        """All scenes (`S3A*.hdf`, also in sub-folders) in the folders of the data set.

        Raises InputError if there are none, Unavailable if the server is away.
        """
        found: dict[PurePosixPath, Item] = {}
        others = set()
        for entry in self.persist(lambda: self.ask(self._list), lambda: 0):
            folder, _, name = str(entry.get("Key")).removeprefix(self.prefix).partition("/")
            if not PurePosixPath(name).match("S3A*.hdf"):
                continue
            if folder not in PART_OF_FOLDER:
                others.add(folder)
                continue
            try:
                item = _item(entry, PurePosixPath(PART_OF_FOLDER[folder]), name)
            except InputError as error:
                logger.warning("skipped: %s", error)
                continue
            if (other := found.setdefault(item.path, item)) != item:
                raise InputError(f"{self.endpoint}: {item.key} and {other.key} are the same scene")
        if not found:
            raise InputError(
                f"{self.endpoint}: no scenes S3A*.hdf below {self.bucket}/{self.prefix}"
                f"{{{','.join(PART_OF_FOLDER)}}}; "
                f"found {', '.join(sorted(others)) or 'nothing'} there"
            )
        return [found[path] for path in sorted(found)]

    def _list(self) -> list[dict]:
        pages = self.client.get_paginator("list_objects_v2")
        listing = pages.paginate(Bucket=self.bucket, Prefix=self.prefix)
        entries: list[dict] = []
        for page in listing:
            entries += page.get("Contents", ())
            if len(entries) > MOST_OBJECTS:
                raise InputError(f"{self.endpoint}: lists more than {MOST_OBJECTS} objects")
        return entries

    def ask(self, call: Callable[[], T]) -> T:
        """Run a call of the client; its exceptions become Unavailable, InputError or Fault."""
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            return call()
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code", "unknown")
            if status >= 500 or status in (0, 408, 429):
                raise Unavailable(f"it answers {status} {code}") from None
            if status == 412:
                raise Fault("changed on the server meanwhile") from None
            raise InputError(
                f"{self.endpoint}: refuses {self.bucket}/{self.prefix} ({status} {code})"
            ) from None
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Unavailable(" ".join(str(error).split())[:200]) from None

    def persist(self, work: Callable[[], T], progress: Callable[[], int]) -> T:
        """Repeat `work` while it is Unavailable; bytes that arrived count as a success."""
        failures, before = 0, progress()
        while True:
            try:
                return work()
            except Unavailable:
                arrived = progress()
                failures = 1 if arrived > before else failures + 1
                before = arrived
                if failures > self.retries:
                    raise
                # The event ends the pause as soon as the whole download is given up.
                if self.stop.wait(min(2.0 ** (failures - 1), LONGEST_PAUSE)):
                    raise

    def append(self, item: Item, part: Path) -> None:
        """Fetch what `part` lacks of an object and append it."""
        offset = part.stat().st_size if part.exists() else 0
        if offset >= item.size:
            return
        answer = self.ask(
            lambda: self.client.get_object(
                Bucket=self.bucket, Key=item.key, Range=f"bytes={offset}-", IfMatch=item.etag
            )
        )
        whole = answer["ResponseMetadata"]["HTTPStatusCode"] == 200  # the range was ignored
        left = item.size - (0 if whole else offset)
        with contextlib.closing(answer["Body"]) as body, part.open("wb" if whole else "ab") as file:
            while data := self.ask(lambda: body.read(READ)):
                if len(data) > left:
                    file.truncate(0)
                    raise Fault(f"the server sent more than the {item.size} bytes that it lists")
                file.write(data)
                left -= len(data)
                if self.stop.is_set():
                    raise Unavailable("stopped")
        if part.stat().st_size < item.size:
            raise Unavailable("the connection ended early")

    def part_size(self, item: Item) -> int | None:
        """Bytes of the first part of a multipart upload, if the server names them."""

        def head() -> dict[str, Any]:
            return self.client.head_object(Bucket=self.bucket, Key=item.key, PartNumber=1)

        with contextlib.suppress(Unavailable, InputError, Fault):
            answer = self.ask(head)
            if answer.get("PartsCount") == int(item.etag.partition("-")[2]):
                return answer["ContentLength"]
        return None


def _item(entry: dict[str, Any], part: PurePosixPath, name: str) -> Item:
    """The object of a listing's entry; raises InputError if it cannot be a scene."""
    key, size, etag = entry["Key"], entry.get("Size"), entry.get("ETag")
    path = part / names.relative_path(name, f"key {key!r}")
    if not isinstance(size, int) or not 0 <= size <= LARGEST_SCENE or not isinstance(etag, str):
        raise InputError(f"key {key!r}: size {size!r}, ETag {etag!r}")
    return Item(key, path, size, etag.strip('"'))


def select(items: Sequence[Item], limit: int | None) -> list[Item]:
    """The first `limit` scenes by name, a fifth of them for inference; all without a limit."""
    if limit is None:
        return list(items)
    inference = [item for item in items if item.path.parts[0] == "inference"]
    training = [item for item in items if item.path.parts[0] == "training"]
    tests = min(len(inference), max(limit // 5, limit - len(training)) or min(1, limit - 1))
    return training[: limit - tests] + inference[:tests]


def missing(items: Sequence[Item], out: Path) -> tuple[list[Item], int]:
    """Scenes that are not in `out` with their size, and the bytes that are left to fetch."""
    left = [item for item in items if not _has(out / item.path, item.size)]
    parts = (_part(out, item) for item in left)
    there = sum(part.stat().st_size for part in parts if part.exists())
    return left, sum(item.size for item in left) - there


def fetch(store: Store, items: Sequence[Item], out: Path, workers: int) -> DownloadSummary:
    """Bring the scenes into `out`, `workers` at a time.

    Raises InputError if there is too little space or another process downloads there; Interrupted
    if the server went away, Fault for the first scene whose checksum is wrong twice.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with folder_held(out):
        left, size = missing(items, out)
        require_space(out, size, out)
        summary = DownloadSummary(present=len(items) - len(left), bytes=size)
        summary.resumed = sum(_part(out, item).exists() for item in left)
        pool = ThreadPoolExecutor(workers)
        try:
            jobs = {pool.submit(_fetch, store, item, out): item for item in left}
            for job in track(as_completed(jobs), len(items), "data", summary.present):
                item = jobs[job]
                try:
                    if not job.result():
                        summary.by_size.append(str(item.path))
                except Unavailable as error:
                    done = summary.present + summary.fetched
                    raise Interrupted(
                        f"{store.endpoint} went away or does not answer ({error}); {done} of "
                        f"{plural(len(items), 'scene')} complete, the same command continues"
                    ) from None
                except (Fault, OSError) as error:
                    raise Fault(f"{item.path}: {error}; the same command continues") from None
                summary.fetched += 1
        finally:
            store.stop.set()
            pool.shutdown(cancel_futures=True)
    summary.seconds = time.monotonic() - started
    return summary


def _fetch(store: Store, item: Item, out: Path) -> bool:
    """Fetch one scene; returns whether its checksum is known and right, not its size alone."""
    final, part = out / item.path, _part(out, item)
    final.parent.mkdir(parents=True, exist_ok=True)
    for stale in final.parent.glob(f".{final.name}.*.part"):
        if stale != part:
            stale.unlink()
    for _ in range(2):  # once more if what arrived, or an old part, is wrong
        store.persist(lambda: store.append(item, part), lambda: _size(part))
        verdict = verify(part, item, store.part_size) if _has(part, item.size) else False
        if verdict is not False:
            part.replace(final)
            return bool(verdict)
        part.unlink()
    raise Fault(f"arrived twice with a wrong checksum; the server's is {item.etag}")


def verify(path: Path, item: Item, part_size: Callable[[Item], int | None]) -> bool | None:
    """Whether a file has the checksum that is its ETag; None if the ETag does not show it.

    The ETag of a simple upload is the MD5. That of one in N parts is the MD5 of their MD5s, "-N";
    the size of a part is asked for, else guessed among the usual ones.
    """
    digest, _, count = item.etag.lower().partition("-")
    if len(digest) != 32 or set(digest) - set("0123456789abcdef") or not (count or "1").isdecimal():
        return None
    if not count:
        return _md5(path, item.size)[0].hex() == digest
    known = part_size(item)
    guesses = [n for n in PART_SIZES if -(-item.size // n) == int(count)]
    for size in [known] if known else guesses:
        joined = b"".join(_md5(path, size))
        if hashlib.md5(joined, usedforsecurity=False).hexdigest() == digest:
            return True
    return False if known else None


def _md5(path: Path, size: int) -> list[bytes]:
    """MD5 of each `size` bytes of a file; one, of nothing, for an empty file."""
    found: list[bytes] = []
    with reading.opened(path) as file:
        while True:
            digest, left = hashlib.md5(usedforsecurity=False), size
            while left and (data := file.read(min(READ, left))):
                digest.update(data)
                left -= len(data)
            if left == size and found:
                return found
            found.append(digest.digest())
            if left:
                return found


def _part(out: Path, item: Item) -> Path:
    final = out / item.path
    tag = hashlib.sha256(item.etag.encode()).hexdigest()[:16]
    return final.with_name(f".{final.name}.{tag}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
