"""Verify an overlay: fsck, checksum, manifest, and a batch read through a container."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloudmask.errors import Fault, InputError
from cloudmask.overlay import manifest, processes
from cloudmask.overlay.e2fsprogs import check_filesystem
from cloudmask.overlay.ext3 import Ext3, Inode
from cloudmask.overlay.layout import UPPER
from cloudmask.overlay.manifest import Content, Manifest
from cloudmask.system import process, reading
from cloudmask.system.files import sha256
from cloudmask.system.text import plural

RUNTIMES = ("apptainer", "singularity")
BATCH = 4  # patches that the container reads as training does
# The sentinel on one line, the checksum of the first chunk, then a batch.
PROBE = """\
tr -d '\\n' < {sentinel} && echo && head -c {size} {path} | sha256sum && python3 -c '
from cloudmask.patches.batches import BatchLoader
from cloudmask.patches.store import PatchStore
store = PatchStore("{path}")
rows = store.rows(range(len(store.scenes)))[:{batch}]
print(*next(BatchLoader(store, rows, {batch}).epoch(0))[0].shape)'
"""


def check(image: Path, container: Path | None = None) -> Iterator[str]:
    """Yield a line for each step that passed; raises InputError for the first that did not."""
    known = manifest.read(image)
    if any(process.writing for process in processes.find(image)):
        raise InputError(f"{image}: in use: " + "; ".join(processes.describe(image)))
    with Ext3(image) as source:
        try:
            text = source.content(UPPER + manifest.SENTINEL).decode()
            told = reading.parse_json(text)
        except ValueError:
            told = None
        inside = told.get("id") if isinstance(told, dict) else None
    size = image.stat().st_size
    if inside != known.id or size != known.image.size:
        raise InputError(f"{image}: is not the image of its manifest; copy both, or build again")
    total = sum(content.size for content in known.files)
    yield f"manifest: {plural(len(known.files), 'file')}, {total / 1e9:.2f} GB, id {known.id[:12]}"
    yield _checksum(image, known)
    yield _fsck(image)
    if os.access(image, os.W_OK) and image.stat().st_mode & 0o222:
        yield "note: it is writable; a container may change it. Protect it: chmod 0444"
    if container is None:
        yield "container: not tried, no container image given"
    else:
        yield _read_through(image, known, container)


def _checksum(image: Path, known: Manifest) -> str:
    started = time.perf_counter()
    if sha256(image) != known.image.sha256:
        raise InputError(f"{image}: damaged: its sha256 is not the manifest's; build it again")
    rate = known.image.size / 1e6 / (time.perf_counter() - started)
    return f"checksum: sha256 {known.image.sha256[:12]}…, read at {rate:.0f} MB/s"


def _fsck(image: Path) -> str:
    try:
        check_filesystem(image)
    except Fault as error:
        raise InputError(f"{image}: damaged: {error}") from None
    return "file system: e2fsck finds no fault"


def read_back(image: Path, files: Sequence[Content], workers: int) -> None:
    """Compare every file in the image with its checksums; raises InputError."""
    with Ext3(image) as source, ThreadPoolExecutor(max(1, workers)) as pool:
        if source.content(UPPER + manifest.SENTINEL) != manifest.sentinel(files).encode():
            raise InputError(f"{manifest.SENTINEL} is not that of the manifest")
        for content in files:
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
    extents = list(source.extents(inode, offset, length))

    def read_at(buffer: memoryview, at: int) -> int:
        extent = next(e for e in extents if e.offset <= at < e.offset + e.length)
        part = buffer[: extent.offset + extent.length - at]
        if extent.position is None:
            part[:] = bytes(len(part))
            return len(part)
        return os.preadv(source.descriptor, [part], extent.position + at - extent.offset)

    return manifest.digest(read_at, offset, min(length, inode.size - offset))


def runtime() -> str:
    """The container runtime on the PATH; raises InputError if there is none."""
    for name in RUNTIMES:
        if found := shutil.which(name):
            return found
    raise InputError(f"no container runtime on the PATH; looked for {' and '.join(RUNTIMES)}")


def exec_command(image: Path, container: Path, script: str) -> list[str]:
    """The command that runs a shell script in the container, with the overlay read-only."""
    command = [runtime(), "exec", "--cleanenv", "--no-home", "--overlay", f"{image}:ro"]
    return [*command, str(container), "sh", "-c", script]


def _read_through(image: Path, known: Manifest, container: Path) -> str:
    if not container.exists():
        raise InputError(f"{container}: no such container image")
    first = known.files[0]
    script = PROBE.format(
        sentinel=manifest.SENTINEL, size=first.chunk, path=first.path, batch=BATCH
    )
    started = time.perf_counter()
    command = exec_command(image, container, script)
    done = process.run(
        command, signal.SIGTERM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise InputError(processes.explain(image, done.stderr))
    sentinel, checksum, batch = done.stdout.splitlines()[-3:]
    if json.loads(sentinel)["id"] != known.id:
        raise InputError(f"{container}: shows another {manifest.SENTINEL} than {image} holds")
    if checksum.split()[0] != first.chunks[0] or batch.split()[0] != str(BATCH):
        raise InputError(f"{container}: reads other bytes from {first.path} than {image} holds")
    megabytes = min(first.size, first.chunk) / 1e6
    return (
        f"container: {megabytes:.0f} MB of {first.path} and a batch of {BATCH} patches read "
        f"rightly in {seconds:.1f} s"
    )
