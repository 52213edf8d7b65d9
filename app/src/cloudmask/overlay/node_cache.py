"""One copy of an overlay's files on each node, shared by the tasks there, gone with the last one.

In a directory of the node's own disk:

    cloudmask-USER/                everything of one user
      .lock                        taken for a moment by whoever comes or goes
      holders/HOST-PID-N/          one for each task; its file `lock` is locked while the task lives
        tmp/                       for the task's temporary files
      ID/                          an overlay's files, by the checksum of their content
        .copying                   locked by whoever copies; the others wait for it
        .kept                      the last user expects another: a later task of an array
        data/patches.h5 …

All locks are the kernel's (flock): it takes them from a process that dies, however it dies. Who
comes or goes removes the directories of holders that are dead, and copies that no living one uses
and that are not kept for one to come.
"""

import contextlib
import os
import platform
import pwd
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cloudmask.errors import Fault, InputError
from cloudmask.overlay import extract, manifest
from cloudmask.system import disk, files
from cloudmask.system.lock import KernelLock, is_locked

COPIED, WAITED, FOUND = "copied", "waited for another task's copy", "found another task's copy"
SHARED = "read from the shared file system"

KEPT = ".kept"
# A later task of an array comes to a node within minutes of the one before, or not at all.
KEPT_SECONDS = 3600

# Left free beside the copy: temporary files of the tasks, and what rounding a file system does.
RESERVE = 64 << 20


@dataclass(frozen=True)
class Staged:
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
        return self.end - self.begin

    def as_json(self) -> dict:
        """Plain values, for a file."""
        return asdict(self) | {"seconds": self.seconds}


class Share:
    """A task's share in a node's copy of the overlay `image`; `close` gives it back."""

    def __init__(self, image: Path, places: Sequence[Path], workers: int):
        self._image = image
        self._places = places
        self._workers = workers
        self._manifest = manifest.read(image)
        self._holder: KernelLock | None = None
        self._folder: Path | None = None

    def open(self) -> Staged:
        """Have the files on the node's disk, copied by whoever came first.

        Where no place can take them, the result says why and has no data. Raises InputError if the
        overlay is damaged; nothing is left of it then.
        """
        begin = time.time()
        refused = []
        for place in self._places:
            reason = self._try(place)
            if not reason:
                method, count = self._fill()
                if method:
                    return self._staged(method, begin, count)
                reason = f"{place}: {count}"
                self.close()
            refused.append(reason)
        return self._staged(
            SHARED, begin, 0, "; ".join(refused) or "no node-local directory is set"
        )

    def close(self, keep: bool = False) -> None:
        """Give the share back; the last task on the node takes the copy along unless `keep`."""
        if self._holder is None:
            return
        holder, self._holder = self._holder, None
        with _tidying(self._folder):
            mark = self._content / KEPT
            if keep:
                mark.touch()
            else:
                mark.unlink(missing_ok=True)
            shutil.rmtree(holder.path.parent, ignore_errors=True)
            holder.close()

    def _try(self, place: Path) -> str:
        """Become a holder there; returns why that cannot be."""
        if not place.is_dir():
            return f"{place}: no such directory"
        # Its locks may be each node's own: one node would remove what another uses.
        if (kind := disk.file_system(place)) in disk.NETWORK:
            return f"{place}: on {kind}, which is no node's own"
        self._folder = place / f"cloudmask-{_user()}"
        home = self._folder / "holders" / f"{platform.node()}-{os.getpid()}-{time.time_ns()}"
        try:
            with _tidying(self._folder):
                (home / "tmp").mkdir(parents=True)
                (home / "content").write_text(self._manifest.id, encoding="utf-8")
                self._content.mkdir(exist_ok=True)
                self._holder = KernelLock(home / "lock")
                self._holder.acquire()
        except OSError as error:
            return f"{place}: {error.strerror}"
        return ""

    def _fill(self) -> tuple[str, int | str]:
        """Have the copy complete: how, and the bytes copied; or "" and why it cannot be."""
        wanted = [
            (content, self._content / content.path.lstrip("/")) for content in self._manifest.files
        ]
        with KernelLock(self._content / ".copying") as lock:
            waited = not lock.try_acquire()
            if waited:
                lock.acquire()
            missing = [(content, out) for content, out in wanted if not out.exists()]
            if not missing:
                return (WAITED if waited else FOUND), 0
            need = sum(content.size for content, _ in missing) + RESERVE
            free = _room(self._content, [out.parent for _, out in missing])
            if need > free:
                return "", f"{need / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
            try:
                for content, out in missing:
                    out.parent.mkdir(parents=True, exist_ok=True)
                    extract.extract(self._image, content, out, self._workers)
            except InputError as error:
                if isinstance(error, disk.NoRoom):  # others fill the disk meanwhile
                    return "", str(error)
                self.close()
                raise
            except (Fault, OSError) as error:  # also a disk that fails
                return "", str(error)
        return COPIED, sum(content.size for content, _ in missing)

    def _staged(self, method: str, begin: float, count: int, reason: str = "") -> Staged:
        data = tmp = ""
        if self._holder is not None:
            data = str(self._content / manifest.FOLDER.lstrip("/"))
            tmp = str(self._holder.path.parent / "tmp")
        image = str(self._image)
        return Staged(method, data, tmp, begin, time.time(), count, platform.node(), image, reason)

    @property
    def _content(self) -> Path:
        return self._folder / self._manifest.id


def sweep(places: Sequence[Path], kept: bool = False) -> None:
    """Remove what this user's dead tasks have left in these node-local directories.

    With `kept` also copies that are kept for a task to come.
    """
    for place in places:
        folder = place / f"cloudmask-{_user()}"
        if folder.is_dir():
            with contextlib.suppress(OSError), _tidying(folder):
                for mark in folder.glob(f"*/{KEPT}") if kept else ():
                    mark.unlink()


@contextlib.contextmanager
def _tidying(folder: Path) -> Iterator[None]:
    """Hold the folder for the block, made if need be; then remove what no living holder uses."""
    with _lock_of(folder):
        try:
            yield
        finally:
            _tidy(folder)


def _tidy(folder: Path) -> None:
    used = set()
    for home in (folder / "holders").glob("*"):
        if is_locked(home / "lock"):
            used.add((home / "content").read_text(encoding="utf-8"))
        else:
            shutil.rmtree(home, ignore_errors=True)
    for mark in folder.glob(f"*/{KEPT}"):
        if time.time() - mark.stat().st_mtime < KEPT_SECONDS:
            used.add(mark.parent.name)
    for path in folder.iterdir():
        if path.is_dir() and path.name not in {"holders", *used}:
            shutil.rmtree(path, ignore_errors=True)
    if not used:
        shutil.rmtree(folder, ignore_errors=True)


def _lock_of(folder: Path) -> KernelLock:
    """The folder's lock, taken; closing it gives it back."""
    while True:
        # What one user stages is of no concern to others on the node.
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            lock = KernelLock(folder / ".lock")
        except FileNotFoundError:
            continue
        lock.acquire()
        # The last task may have removed the folder between our opening and locking the file.
        if lock.in_place:
            return lock
        lock.close()


def _room(content: Path, folders: Sequence[Path]) -> int:
    """Free bytes, once what a killed copier has left is gone."""
    files.remove_temporary(*{folder for folder in folders if folder.is_dir()})
    return disk.free_space(content)


def _user() -> str:
    # By number where a container does not know the name.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
