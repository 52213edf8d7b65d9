"""A task's way to the overlay's files on its node's own disk: copied once, found by the others."""

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloudmask.errors import Fault, InputError
from cloudmask.overlay import cache_folder, extract, manifest
from cloudmask.overlay.cache_folder import CacheFolder, Lease, Unusable
from cloudmask.system import disk, files, reading
from cloudmask.system.lock import KernelLock

COPIED, WAITED, FOUND = "copied", "waited for another task's copy", "found another task's copy"
FROM_OVERLAY = "read from the shared file system"

# Left free beside the copy: temporary files of the tasks, and what a file system takes for itself.
RESERVE = 64 << 20

# While others copy: seconds between two lines that tell so, and after which a copy that does not
# grow is given up. A process that was stopped holds its lock for ever.
TOLD_SECONDS, STALLED_SECONDS = 30.0, 300.0

VERIFIED = ".verified"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeCopy:
    """What a task has got: `data` is the copy's folder, "" if there is none; `tmp` its own folder.

    begin, end: seconds since 1970, from asking for the files to having them. bytes: copied by this
    task. reason: why there is no copy. folder: device and number of the copy's folder.
    """

    method: str
    data: str
    tmp: str
    begin: float
    end: float
    bytes: int
    node: str
    overlay: str
    reason: str = ""
    folder: tuple[int, int] | None = None

    @property
    def seconds(self) -> float:
        """How long the task waited for its files."""
        return self.end - self.begin

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self) | {"seconds": self.seconds}


class NodeCache:
    """The copy of the overlay `image` in one of these directories, leased for one task."""

    def __init__(self, image: Path, directories: Sequence[Path], workers: int):
        self._image = image
        self._directories = directories
        self._workers = workers
        self._manifest = manifest.read(image)
        self._folder: CacheFolder | None = None
        self._lease: Lease | None = None
        self._began = 0.0

    def open(self) -> NodeCopy:
        """Have the files on the node's disk, copied by whoever came first.

        Where no directory can take them, the result says why and has no data. Raises InputError if
        the overlay is damaged; nothing is left of it then.
        """
        begin, self._began = time.time(), time.monotonic()
        refusals = []
        for directory in self._directories:
            # Whatever the dead have left takes room, under whichever name.
            cache_folder.clean(directory, kept=False)
            try:
                self._folder = CacheFolder(directory)
                # Known before it is acquired: whenever a signal comes, `close` gives it back.
                self._lease = Lease(self._folder, self._manifest.id)
                self._lease.acquire()
                method, copied = self._fill(self._lease.content)
            except (Unusable, OSError) as error:
                # Others fill the disk meanwhile, or it fails: the next directory may do.
                refusals.append(f"{directory}: {self._named(error)}")
                self.close()
            except InputError:
                self.close()
                raise
            else:
                return self._result(method, begin, copied)
        reason = "; ".join(refusals) or "no node-local directory is set"
        return self._result(FROM_OVERLAY, begin, 0, reason)

    def close(self, keep: bool = False) -> None:
        """Give the lease back; the last task on the node takes the copy along unless `keep`."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.release(keep)
        if self._folder is not None:
            folder, self._folder = self._folder, None
            folder.close()

    def _result(self, method: str, begin: float, copied: int, reason: str = "") -> NodeCopy:
        data, tmp, folder = "", "", None
        if self._lease is not None:
            copy = self._lease.content / manifest.FOLDER.lstrip("/")
            status = copy.stat()
            folder = status.st_dev, status.st_ino
            data, tmp = str(self._lease.named(copy)), str(self._lease.named(self._lease.tmp))
        image, node = str(self._image), platform.node()
        # The clock may be set meanwhile.
        end = begin + time.monotonic() - self._began
        return NodeCopy(method, data, tmp, begin, end, copied, node, image, reason, folder)

    def _fill(self, content: Path) -> tuple[str, int]:
        """Have the copy complete and verified; returns how, and the bytes copied. Unusable."""
        with KernelLock(content / ".copying") as lock:
            waited = not lock.try_acquire()
            if waited:
                _wait(lock, content)
            lock.write_note(_who())
            mark = VerificationMark(content)
            missing = [file for file in self._manifest.files if not mark.covers(file)]
            # What nobody has compared yet may be damaged, or of an unfinished attempt.
            missing = [file for file in missing if not self._is_right(file, content, mark)]
            if not missing:
                return (WAITED if waited else FOUND), 0
            outs = [_out(content, file) for file in missing]
            needed = sum(file.size for file in missing)
            # What a killed copier has left takes room.
            parents = {out.parent for out in outs if out.parent.is_dir()}
            files.remove_temporary(*parents, locked=True)
            free = disk.free_space(content)
            if needed + RESERVE > free:
                total = (needed + RESERVE) / 1e9
                raise Unusable(f"{total:.2f} GB are needed, {free / 1e9:.2f} GB are free")
            self._copy(missing, content, mark)
        return COPIED, needed

    def _is_right(self, file: manifest.Content, content: Path, mark: "VerificationMark") -> bool:
        """Whether a copy is there and has its checksums; noted, so that it is compared once."""
        out = _out(content, file)
        if not os.path.lexists(out):
            return False
        if not manifest.is_copy(out, file, self._workers):
            logger.warning("%s: damaged on this node's disk; copying it again", out.name)
            return False
        mark.add(file)
        return True

    def _copy(
        self, missing: Sequence[manifest.Content], content: Path, mark: "VerificationMark"
    ) -> None:
        try:
            for file in missing:
                out = _out(content, file)
                out.parent.mkdir(parents=True, exist_ok=True)
                out.unlink(missing_ok=True)  # a damaged copy, by the checksums of the manifest
                extract.extract(self._image, file, out, self._workers)
                mark.add(file)
        except (disk.NoRoom, Fault) as error:
            raise Unusable(str(error)) from None
        except InputError as error:
            raise InputError(self._named(error)) from None

    def _named(self, error: Exception) -> str:
        """The message of an error, with the folder's path in place of its handle."""
        folder = self._folder
        return str(error).replace(str(folder.below), str(folder.path)) if folder else str(error)


class VerificationMark:
    """Which files of a copy have been compared with their checksums, as they are on the disk now.

    A file in the copy's folder, which is the user's alone. Any change of a file shows in its size,
    its number on the disk or its time stamps.
    """

    def __init__(self, content: Path):
        self._content = content
        self._path = content / VERIFIED
        self._known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, InputError):
            known = reading.read_json(self._path, manifest.LARGEST_MANIFEST)
            self._known = known if isinstance(known, dict) else {}

    def covers(self, file: manifest.Content) -> bool:
        """Whether this file has been found right and has not changed since."""
        entry = self._known.get(file.path)
        with contextlib.suppress(OSError):
            return isinstance(entry, dict) and entry.get("state") == self._state(file)
        return False

    def add(self, file: manifest.Content) -> None:
        """Note that a file is right."""
        who = {"host": platform.node(), "process": os.getpid(), "time": time.time()}
        self._known[file.path] = {"state": self._state(file), "verified by": who}
        files.write_text(self._path, json.dumps(self._known))

    def _state(self, file: manifest.Content) -> list[int | str]:
        found = _out(self._content, file).lstat()
        return [file.sha256, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _out(content: Path, file: manifest.Content) -> Path:
    """Where a file of the overlay lies in the copy."""
    return content / file.path.lstrip("/")


def _wait(lock: KernelLock, content: Path) -> None:
    """Wait for the lock of whoever copies. Raises Unusable if the copy does not grow any more."""
    size, moved = -1, time.monotonic()
    while not lock.acquire(TOLD_SECONDS):
        now = _size(content)
        if now != size:
            size, moved = now, time.monotonic()
        elif time.monotonic() - moved > STALLED_SECONDS:
            raise Unusable(f"{lock.note} is copying but makes no progress")
        logger.warning("waiting for %s, which has copied %.2f GB", lock.note, now / 1e9)


def _size(content: Path) -> int:
    """Bytes on the disk of the files in a folder that somebody works in."""
    blocks = 0
    for folder, _, names in os.walk(content):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                blocks += Path(folder, name).lstat().st_blocks
    return blocks * 512


def _who() -> str:
    """This process, as the others' messages name it."""
    return f"process {os.getpid()} on {platform.node()}"


def clean(directories: Sequence[Path], kept: bool = False) -> None:
    """Remove what this user's dead tasks have left in these node-local directories.

    With `kept` also copies that are kept for a task to come.
    """
    for directory in directories:
        cache_folder.clean(directory, kept)
