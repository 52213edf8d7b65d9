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
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cloudmask
from cloudmask.errors import Fault, InputError
from cloudmask.overlay import manifest
from cloudmask.overlay.ext3 import Ext3, Inode
from cloudmask.overlay.manifest import Manifest
from cloudmask.system.disk import require_space
from cloudmask.system.files import sha256, write_text
from cloudmask.system.lock import KernelLock, NoLocks

UPPER = "/upper"  # Apptainer and Singularity show what lies below as the container's root
BLOCK = 4096  # bytes
PER_GROUP = 8 * BLOCK  # blocks that one bitmap block describes
POINTERS = BLOCK // 4  # block pointers in an indirect block
DIRECT = 12  # block pointers in an inode
JOURNAL = 1024  # blocks, the smallest; without a journal the runtimes do not take it for ext3
INODE = 256  # bytes
RESERVE = "0.1"  # percent of the blocks; where it is 0, fuse2fs keeps a tenth from writers
RESERVED_INODES = 11
# Named one by one: a site's mke2fs.conf may add others, and the runtimes refuse unknown ones.
FEATURES = "none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file"


@dataclass(frozen=True)
class Plan:
    """What is to be built: host file by path in the container, the image, its size in bytes."""

    sources: dict[str, Path]
    image: Path
    size: int
    inodes: int

    @property
    def folders(self) -> list[str]:
        """Folders inside the image, parents first."""
        found = {UPPER, "/work"}
        for path in self.sources:
            found |= {UPPER + str(up) for up in Path(path).parents if str(up) != "/"}
        return sorted(found)

    def make_filesystem(self, tree: Path | str, image: Path | str) -> list[str]:
        """The command that makes the empty image with its folders."""
        command = [tool("mkfs.ext3"), "-q", "-F", "-b", str(BLOCK), "-m", RESERVE]
        command += ["-I", str(INODE), "-N", str(self.inodes), "-O", FEATURES]
        command += ["-J", f"size={JOURNAL * BLOCK >> 20}"]
        command += ["-E", f"root_owner={os.getuid()}:{os.getgid()}", "-L", "cloudmask"]
        return [*command, "-d", str(tree), str(image), str(self.size // BLOCK)]


def plan(sources: dict[str, Path], image: Path) -> Plan:
    """Check the inputs and compute the size; raises InputError. Nothing is written."""
    if image.is_dir() or not image.parent.is_dir():
        raise InputError(f"{image}: expected the name of a file in an existing folder")
    sizes = []
    for source in sources.values():
        try:
            with source.open("rb") as handle:
                sizes.append(os.fstat(handle.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{source}: {error.strerror}; expected a readable file") from None
    draft = Plan(sources, image, 0, 0)
    inodes = RESERVED_INODES + len(sizes) + len(draft.folders) + 16
    return Plan(sources, image, image_bytes(sizes, inodes), inodes)


def image_bytes(sizes: list[int], inodes: int) -> int:
    """Size of an image that holds files of these sizes, with half a percent and 2 MiB to spare."""
    blocks = sum(map(file_blocks, sizes)) + JOURNAL + 2 * inodes
    total = blocks
    for _ in range(4):  # converges at once: what a group takes for itself is under a percent
        groups = -(-total // PER_GROUP)
        tables = -(-inodes * INODE // (groups * BLOCK)) + 1
        descriptors = -(-groups * 32 // BLOCK)
        total = blocks + groups * (2 + tables + 1 + descriptors)
    return (total + total // 200 + 512) * BLOCK


def file_blocks(size: int) -> int:
    """Blocks that a file of `size` bytes takes in ext3, with its indirect blocks."""
    data = -(-size // BLOCK)
    total, left, level = data, max(0, data - DIRECT), 1
    while left:
        covered = min(left, POINTERS**level)
        total += sum(-(-covered // POINTERS**k) for k in range(1, level + 1))
        left, level = left - covered, level + 1
    return total


def up_to_date(plan: Plan) -> bool:
    """Whether the image is there and its inputs are those it was made from.

    A source that only looks changed (copied, touched) is compared by its checksum.
    """
    try:
        known = manifest.read(plan.image)
        status = plan.image.stat()
    except (InputError, OSError):
        return False
    if known.image.get("mtime_ns") != status.st_mtime_ns or known.image["size"] != status.st_size:
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


def build(plan: Plan, workers: int) -> Manifest:
    """Build the image of the plan; returns its manifest.

    Raises InputError if there is too little space or another process builds it; Fault if one of the
    programs fails.
    """
    with _lock(plan.image):
        require_space(plan.image.parent, plan.size, plan.image)
        folder = plan.image.with_name(
            f".{plan.image.name}.{socket.gethostname()}.{os.getpid()}.building"
        )
        folder.mkdir()
        try:
            return _build(plan, folder, workers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _build(plan: Plan, folder: Path, workers: int) -> Manifest:
    image = folder / "image"
    for name in plan.folders:
        made = folder / "tree" / name.lstrip("/")
        made.mkdir(parents=True, exist_ok=True)
        # Whatever the umask and the group of the folder are: to write, both ids must be the user's.
        made.chmod(0o755)
        os.chown(made, os.getuid(), os.getgid())
    with image.open("wb") as handle:
        handle.truncate(plan.size)
    _run(plan.make_filesystem(folder / "tree", image))
    before = {path: _fingerprint(source) for path, source in plan.sources.items()}
    # Written and measured at once: the second reader finds the bytes in the page cache.
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(_write, image, folder, plan.sources)
        files = tuple(manifest.measure(s, p, workers) for p, s in plan.sources.items())
        said = writing.result()
    for path, source in plan.sources.items():
        if _fingerprint(source) != before[path]:
            raise InputError(f"{source}: changed while it was read; build again when it is done")
    made = Manifest(manifest.identity(files), files, before)
    sentinel = folder / "sentinel"
    sentinel.write_text(made.sentinel())
    said += _write(image, folder, {manifest.SENTINEL: sentinel})
    with ThreadPoolExecutor(1) as pool:
        summing = pool.submit(sha256, image)
        try:
            read_back(image, made, workers)
        except InputError as error:
            raise Fault(f"{plan.image}: written wrongly: {error}; debugfs: {said}") from None
        _run([tool("e2fsck"), "-f", "-n", str(image)])
        checksum = summing.result()
    image.chmod(0o444)
    with image.open("rb") as handle:
        os.fsync(handle.fileno())
    status = image.stat()
    found = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": checksum}
    made = Manifest(made.id, files, before, found, _provenance())
    # The image comes last: what lies beside it is of no use without it.
    made.write(manifest.beside(plan.image))
    write_text(f"{plan.image}.sha256", f"{checksum}  {plan.image.name}\n")
    image.replace(plan.image)
    return made


def read_back(image: Path, expected: Manifest, workers: int) -> None:
    """Compare every file in the image with its checksums; raises InputError."""
    with Ext3(image) as source, ThreadPoolExecutor(max(1, workers)) as pool:
        if source.content(UPPER + manifest.SENTINEL) != expected.sentinel().encode():
            raise InputError(f"{manifest.SENTINEL} is not that of the manifest")
        for content in expected.files:
            inode = source.file(UPPER + content.path)
            if inode.size != content.size:
                raise InputError(f"{content.path} has {inode.size} bytes, not {content.size}")
            jobs = [
                pool.submit(_digest, source, inode, index * content.chunk, content.chunk)
                for index in range(len(content.chunks))
            ]
            for index, job in enumerate(jobs):
                if job.result() != content.chunks[index]:
                    raise InputError(f"{content.path} differs in its chunk {index}")


def _digest(source: Ext3, inode: Inode, offset: int, length: int) -> str:
    """SHA-256 of a piece of a file in the image."""
    runs = list(source.runs(inode, offset, length))

    def read_at(buffer: memoryview, place: int) -> int:
        run = next(r for r in runs if r.offset <= place < r.offset + r.length)
        part = buffer[: run.offset + run.length - place]
        if run.place is None:
            part[:] = bytes(len(part))
            return len(part)
        return os.preadv(source.descriptor, [part], run.place + place - run.offset)

    return manifest.digest(read_at, offset, min(length, inode.size - offset))


def _write(image: Path, folder: Path, sources: dict[str, Path]) -> str:
    """Write files into the image, readable by all, owned as its folders; returns what was said.

    debugfs reads its commands from a file and knows no exit codes; `read_back` tells.
    """
    lines = []
    for number, (path, source) in enumerate(sources.items()):
        # A name without spaces, whatever the source is called.
        link = folder / f"source-{number}"
        link.unlink(missing_ok=True)
        link.symlink_to(source.resolve())
        inside, name = UPPER + str(Path(path).parent), Path(path).name
        lines += [f'cd "{inside}"', f'write {link.name} "{name}"', f'sif "{name}" mode 0100444']
        lines += [f'sif "{name}" uid {os.getuid()}', f'sif "{name}" gid {os.getgid()}']
    commands = folder / "commands"
    commands.write_text("\n".join(lines) + "\n")
    return _run([tool("debugfs"), "-w", "-f", commands.name, str(image.resolve())], folder)


def tool(name: str) -> str:
    """Path of a program of e2fsprogs, which ordinary users often do not have on their PATH."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=places)
    if not found:
        raise InputError(f"{name}: not found; install e2fsprogs (1.43 or newer)")
    return found


def _run(command: list[str], folder: Path | None = None) -> str:
    """Run a program of e2fsprogs; returns what it wrote to stderr. Raises Fault if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr + done.stdout).split())[-300:]
        raise Fault(f"{Path(command[0]).name} failed with code {done.returncode}: {said}")
    return " ".join(done.stderr.split())


def _fingerprint(source: Path) -> list:
    status = source.stat()
    return [str(source.resolve()), status.st_size, status.st_mtime_ns]


def _provenance() -> dict[str, str]:
    return {
        "cloudmask": cloudmask.__version__,
        "host": socket.gethostname(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


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
            # Whoever left such a folder behind was killed: its lock is free.
            for left in image.parent.glob(f".{image.name}.*.building"):
                shutil.rmtree(left, ignore_errors=True)
        since = time.strftime("%H:%M:%S")
        host = socket.gethostname()
        lock.write_note(f"process {os.getpid()} of {getpass.getuser()} on {host}, since {since},")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
