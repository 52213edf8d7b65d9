"""A task's way to the overlay's files on its node's own disk: copied once, found by the others."""

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloudmask.errors import Fault, InputError
from cloudmask.overlay import extract, manifest
from cloudmask.overlay.cache_folder import CacheFolder, Lease, Unusable
from cloudmask.system import disk, files
from cloudmask.system.lock import KernelLock

COPIED, WAITED, FOUND = "copied", "waited for another task's copy", "found another task's copy"
FROM_OVERLAY = "read from the shared file system"

# Left free beside the copy: temporary files of the tasks, and what a file system takes for itself.
RESERVE = 64 << 20


@dataclass(frozen=True)
class NodeCopy:
    """What a task has got: `data` is the copy's folder, "" if there is none; `tmp` its own folder.

    begin, end: seconds since 1970, from asking for the files to having them. bytes: copied by this
    task. reason: why there is no copy.
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
        self._lease: Lease | None = None

    def open(self) -> NodeCopy:
        """Have the files on the node's disk, copied by whoever came first.

        Where no directory can take them, the result says why and has no data. Raises InputError if
        the overlay is damaged; nothing is left of it then.
        """
        begin = time.time()
        refusals = []
        for directory in self._directories:
            # Known before it is acquired: whenever a signal comes, `close` gives it back.
            self._lease = Lease(CacheFolder(directory), self._manifest.id)
            try:
                self._lease.acquire()
                method, copied = self._fill(self._lease.content)
            except Unusable as error:
                refusals.append(f"{directory}: {error}")
                self.close()
            else:
                return self._result(method, begin, copied)
        reason = "; ".join(refusals) or "no node-local directory is set"
        return self._result(FROM_OVERLAY, begin, 0, reason)

    def close(self, keep: bool = False) -> None:
        """Give the lease back; the last task on the node takes the copy along unless `keep`."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.release(keep)

    def _result(self, method: str, begin: float, copied: int, reason: str = "") -> NodeCopy:
        data = tmp = ""
        if self._lease is not None:
            data = str(self._lease.content / manifest.FOLDER.lstrip("/"))
            tmp = str(self._lease.tmp)
        image, node = str(self._image), platform.node()
        return NodeCopy(method, data, tmp, begin, time.time(), copied, node, image, reason)

    def _fill(self, content: Path) -> tuple[str, int]:
        """Have the copy complete; returns how, and the bytes copied. Raises Unusable."""
        wanted = [(file, content / file.path.lstrip("/")) for file in self._manifest.files]
        with KernelLock(content / ".copying") as lock:
            waited = not lock.try_acquire()
            if waited:
                lock.acquire()
            missing = [(file, out) for file, out in wanted if not _is_complete(file, out)]
            if not missing:
                return (WAITED if waited else FOUND), 0
            needed = sum(file.size for file, _ in missing)
            # What a killed copier has left takes room.
            parents = {out.parent for _, out in missing if out.parent.is_dir()}
            files.remove_temporary(*parents, locked=True)
            free = disk.free_space(content)
            if needed + RESERVE > free:
                total = (needed + RESERVE) / 1e9
                raise Unusable(f"{total:.2f} GB are needed, {free / 1e9:.2f} GB are free")
            self._copy(missing)
        return COPIED, needed

    def _copy(self, missing: Sequence[tuple[manifest.Content, Path]]) -> None:
        try:
            for file, out in missing:
                out.parent.mkdir(parents=True, exist_ok=True)
                extract.extract(self._image, file, out, self._workers)
        except (disk.NoRoom, Fault, OSError) as error:
            # Others fill the disk meanwhile, or it fails: the next directory may do.
            raise Unusable(str(error)) from None
        except InputError:
            self.close()
            raise


def _is_complete(file: manifest.Content, out: Path) -> bool:
    """Whether a copy is there and has the size that it should have."""
    return out.is_file() and out.stat().st_size == file.size


def clean(directories: Sequence[Path], kept: bool = False) -> None:
    """Remove what this user's dead tasks have left in these node-local directories.

    With `kept` also copies that are kept for a task to come.
    """
    for directory in directories:
        CacheFolder(directory).clean(kept)
