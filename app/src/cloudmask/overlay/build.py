"""Make an overlay: an ext3 image with the files in it, without root and without mounting.

`mkfs.ext3 -d` makes the image with the folders that the container runtime looks for, `debugfs`
writes the files into it from where they lie. The image grows under a temporary name, is read back
against the checksums of its sources, checked by `e2fsck`, made read-only and renamed.
"""

import contextlib
import getpass
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cloudmask
from cloudmask.errors import Fault, InputError
from cloudmask.overlay import e2fsprogs, manifest
from cloudmask.overlay.check import read_back
from cloudmask.overlay.layout import RESERVED_INODES, UPPER, WORK, image_bytes
from cloudmask.overlay.manifest import Content, ImageFacts, Manifest, Origin, Source
from cloudmask.system import names, reading
from cloudmask.system.disk import require_space
from cloudmask.system.files import move, sha256, sync_folder, write_text
from cloudmask.system.lock import KernelLock, NoLocks
from cloudmask.system.output import require_file_name

Publish = Callable[[Path, Path], object]  # renames the first to the second


@dataclass(frozen=True)
class OverlayPlan:
    """What is to be built: host file by path in the container, the image, its size in bytes."""

    sources: dict[str, Path]
    image: Path
    size: int
    inodes: int

    @property
    def folders(self) -> list[str]:
        """Folders inside the image, parents first."""
        return _folders(self.sources)

    def make_filesystem(self, folders: Path | str, image: Path | str) -> list[str]:
        """The command that makes the empty image with its folders."""
        return e2fsprogs.make_command(folders, image, self.size, self.inodes)


def plan(sources: dict[str, Path], image: Path) -> OverlayPlan:
    """Check the inputs and compute the size; raises InputError. Nothing is written."""
    require_file_name(image)
    sizes = []
    for path, source in sources.items():
        names.relative_path(path.lstrip("/"), str(source))
        if '"' in path:  # It would end the name in the commands of debugfs.
            raise InputError(f"{source}: expected a name without quotation marks")
        try:
            with reading.opened(source) as handle:
                sizes.append(os.fstat(handle.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{source}: {error.strerror}; expected a readable file") from None
    inodes = RESERVED_INODES + len(sizes) + len(_folders(sources)) + 16
    return OverlayPlan(sources, image, image_bytes(sizes, inodes), inodes)


def up_to_date(plan: OverlayPlan) -> bool:
    """Whether the image is there and its inputs are those it was made from.

    A source that only looks changed (copied, touched) is compared by its checksum.
    """
    try:
        known = manifest.read(plan.image)
        status = plan.image.stat()
    except (InputError, OSError):
        return False
    if (known.image.mtime_ns, known.image.size) != (status.st_mtime_ns, status.st_size):
        return False
    if {content.path for content in known.files} != set(plan.sources):
        return False
    for path, source in plan.sources.items():
        if _fingerprint(source) == known.sources.get(path):
            continue
        content = known.content(path)
        if source.stat().st_size != content.size or sha256(source) != content.sha256:
            return False
    return True


def build(plan: OverlayPlan, workers: int) -> Manifest:
    """Build the image of the plan; returns its manifest.

    Raises InputError if there is too little space, something else has the image's name or another
    process builds it; Fault if one of the programs fails.
    """
    with _lock(plan.image):
        publish = _publication(plan.image)
        require_space(plan.image.parent, plan.size, plan.image)
        scratch = plan.image.with_name(
            f".{plan.image.name}.{socket.gethostname()}.{os.getpid()}.building"
        )
        scratch.mkdir()
        try:
            return _build(plan, scratch, workers, publish)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _build(plan: OverlayPlan, scratch: Path, workers: int, publish: Publish) -> Manifest:
    image = scratch / "image"
    _make_empty(plan, scratch / "tree", image)
    before = {path: _fingerprint(source) for path, source in plan.sources.items()}
    files, messages = _write(plan, image, scratch, workers)
    for path, source in plan.sources.items():
        if _fingerprint(source) != before[path]:
            raise InputError(f"{source}: changed while it was read; build again when it is done")
    sentinel = scratch / "sentinel"
    sentinel.write_text(manifest.sentinel(files))
    messages += e2fsprogs.write_files(image, scratch, {manifest.SENTINEL: sentinel})
    with ThreadPoolExecutor(1) as pool:
        summing = pool.submit(sha256, image)
        try:
            read_back(image, files, workers)
        except InputError as error:
            raise Fault(f"{plan.image}: written wrongly: {error}; debugfs: {messages}") from None
        e2fsprogs.check_filesystem(image)
        checksum = summing.result()
    image.chmod(0o444)
    with image.open("rb") as handle:
        os.fsync(handle.fileno())
    status = image.stat()
    facts = ImageFacts(status.st_size, status.st_mtime_ns, checksum)
    made = Manifest(manifest.identity(files), files, before, facts, _origin())
    # The image comes last: what lies beside it is of no use without it.
    made.write(manifest.beside(plan.image))
    write_text(f"{plan.image}.sha256", f"{checksum}  {plan.image.name}\n")
    publish(image, plan.image)
    sync_folder(plan.image.parent)
    return made


def _publication(image: Path) -> Publish:
    """How the image gets its name: an overlay of earlier is replaced, nothing else ever is.

    Raises InputError if the name is that of something else already.
    """
    if not (os.path.lexists(image) or os.path.lexists(manifest.beside(image))):
        return move
    try:
        manifest.read(image)
    except InputError as error:
        raise InputError(f"{image}: not replaced, since it is not an overlay: {error}") from None
    return Path.replace if os.path.lexists(image) else move


def _make_empty(plan: OverlayPlan, tree: Path, image: Path) -> None:
    """Make the image with its folders, which are laid out in the host's folder `tree` first."""
    for name in plan.folders:
        folder = tree / name.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        # A container can write only where both ids are the user's, whatever the umask is and
        # whichever group the folder around gives to what is made in it.
        folder.chmod(0o755)
        os.chown(folder, os.getuid(), os.getgid())
    with image.open("wb") as handle:
        handle.truncate(plan.size)
    e2fsprogs.run(plan.make_filesystem(tree, image))


def _write(
    plan: OverlayPlan, image: Path, scratch: Path, workers: int
) -> tuple[tuple[Content, ...], str]:
    """Write the sources into the image; returns their checksums and the messages of debugfs."""
    # Both at once: the second reader of a source finds its bytes in the page cache.
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(e2fsprogs.write_files, image, scratch, plan.sources)
        files = tuple(manifest.measure(s, path, workers) for path, s in plan.sources.items())
        return files, writing.result()


def _folders(sources: dict[str, Path]) -> list[str]:
    found = {UPPER, WORK}
    for path in sources:
        found |= {UPPER + str(parent) for parent in Path(path).parents if str(parent) != "/"}
    return sorted(found)


def _fingerprint(source: Path) -> Source:
    status = source.stat()
    return Source(str(source.resolve()), status.st_size, status.st_mtime_ns)


def _origin() -> Origin:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Origin(cloudmask.__version__, socket.gethostname(), now)


@contextlib.contextmanager
def _lock(image: Path) -> Iterator[None]:
    """Keep a second builder out; the lock dies with its holder.

    Some file systems know no locks. There two builders do the work twice, each under its own name,
    and the later one's image stays.
    """
    path = image.with_name(f".{image.name}.lock")
    with KernelLock(path) as lock:
        try:
            if not lock.try_acquire():
                holder = lock.note.strip() or "another process"
                raise InputError(f"{image}: {holder} is building it; wait for it")
        except NoLocks:
            pass
        else:
            if not lock.in_place:
                raise InputError(f"{image}: another process has just built it; try again")
            # Whoever left such a folder behind was killed, since its lock is free.
            for left in image.parent.glob(f".{image.name}.*.building"):
                shutil.rmtree(left, ignore_errors=True)
        since = time.strftime("%H:%M:%S")
        host = socket.gethostname()
        lock.write_note(f"process {os.getpid()} of {getpass.getuser()} on {host}, since {since},")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
