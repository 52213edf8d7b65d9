"""Scenes to patch store: in parallel over scenes, resumable, complete or not there at all.

The store is laid out first, under a temporary name, with room for every scene; processes then write
their patches to their place. A journal beside it lists the scenes that are done, so that the same
command continues after a kill. The last step adds the tables and renames the file.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from cloudmask.errors import Fault, InputError, SceneError
from cloudmask.patches import store
from cloudmask.patches.extraction import convert, statistics
from cloudmask.patches.geometry import PATCH, crop_grid
from cloudmask.scenes.formats import format_of
from cloudmask.scenes.scene import check_scene, normalize_scene
from cloudmask.system.disk import NoRoom, require_space
from cloudmask.system.files import whole_lines
from cloudmask.system.lock import exclusive
from cloudmask.system.pool import open_pool
from cloudmask.system.progress import track

PIXELS = PATCH * PATCH
BLOCK = 1 << 20  # bytes of a scene announced at once


@dataclass(frozen=True)
class Options:
    """What decides the content of a store: type of the patches, truth, policy for fill pixels."""

    dtype: str = "float16"
    truth: str = "bayes"
    nan: str = "ignore"


@dataclass(frozen=True)
class Task:
    """One scene and the rows of the store that its patches take."""

    path: Path
    height: int
    width: int
    first: int
    count: int


@dataclass
class Summary:
    """What `prepare` did. `bad` holds a line for each scene left out, `notes` what to log."""

    scenes: int
    patches: int
    resumed: int
    cloud_share: float
    invalid_share: float
    bad: list[str]
    notes: list[str]
    bytes: int


def prepare(
    scenes: Sequence[Path], out: Path, options: Options, workers: int, skip_bad: bool = False
) -> Summary:
    """Write the patches of `scenes` into the store `out`.

    Raises SceneError for the first scene that cannot be used, unless `skip_bad`; InputError if
    `out` is a folder or there is too little space; Fault if a worker process dies.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"{out}: expected the name of a file in an existing folder")
    if any(out.resolve() == path.resolve() for path in scenes):
        raise InputError(f"{out}: is one of the scenes; expected another name for the patch store")
    if workers < 1:
        raise InputError(f"--workers {workers}: expected at least 1")
    tasks, bad = _plan(scenes, options.truth, skip_bad)
    rows = sum(task.count for task in tasks)
    size = rows * PIXELS * (store.CHANNELS * np.dtype(options.dtype).itemsize + 1)
    with _partial(out, tasks, options, size) as (partial, journal, done):
        offsets = _offsets(partial)
        left = [task for task in tasks if str(task.path) not in done]
        resumed = len(done)
        for task, record in _work(left, partial, offsets, options, workers, len(tasks), skip_bad):
            if isinstance(record, SceneError):
                bad.append(str(record))
                continue
            done[str(task.path)] = record
            _sync(partial)  # what the journal lists is on the disk, and the disk never idles
            journal.write(json.dumps({"scene": str(task.path), **record}) + "\n")
            journal.flush()
        kept = [task for task in tasks if str(task.path) in done]
        if not kept:
            raise InputError(f"no scene can be used; the first: {bad[0]}")
        records = [done[str(task.path)] for task in kept]
        valid = sum(t.count * PIXELS for t in kept) - sum(r["invalid_pixels"] for r in records)
        if not valid:
            raise InputError(f"{out}: no pixel of any scene holds a measurement in all channels")
        _finish(partial, kept, records, options)
        partial.replace(out)
    patches = sum(task.count for task in kept)
    return Summary(
        scenes=len(kept),
        patches=patches,
        resumed=resumed,
        cloud_share=sum(r["cloud_pixels"] for r in records) / valid,
        invalid_share=sum(r["invalid_pixels"] for r in records) / (patches * PIXELS),
        bad=bad,
        notes=[f"{t.path.stem}: {note}" for t in kept for note in done[str(t.path)]["notes"]],
        bytes=out.stat().st_size,
    )


def _plan(scenes: Sequence[Path], truth: str, skip_bad: bool) -> tuple[list[Task], list[str]]:
    """Check all headers before anything is written and give each scene its rows."""
    tasks, bad, first = [], [], 0
    for path in scenes:
        try:
            height, width = check_scene(path, truth)
            try:
                rows, columns = crop_grid(height, width)
            except ValueError as error:
                raise SceneError(f"{path}: {error}") from None
        except SceneError as error:
            if not skip_bad:
                raise
            bad.append(str(error))
            continue
        tasks.append(Task(path, height, width, first, rows * columns))
        first += rows * columns
    if not tasks:
        raise InputError(f"no scene can be used; the first: {bad[0]}" if bad else "no scenes given")
    return tasks, bad


@contextlib.contextmanager
def _partial(out: Path, tasks: list[Task], options: Options, size: int) -> Iterator[tuple]:
    """The unfinished store of `out` and its journal, continued if both fit the plan."""
    partial = out.with_name(f".{out.name}.partial")
    path = out.with_name(f".{out.name}.journal")
    plan = json.dumps({"options": asdict(options), "scenes": [_fingerprint(t) for t in tasks]})
    with (
        exclusive(out.with_name(f".{out.name}.lock"), str(out)),
        path.open("a+", encoding="utf-8") as journal,
    ):
        done = _read_journal(path, plan) if _offsets(partial) else {}
        if not done:
            partial.unlink(missing_ok=True)
            try:
                require_space(out.parent, size, out)
            except NoRoom:
                path.unlink()
                raise
            _lay_out(partial, sum(task.count for task in tasks), options.dtype)
            journal.truncate(0)
            journal.write(plan + "\n")
            journal.flush()
        try:
            yield partial, journal, done
        except BaseException:
            if not done:
                partial.unlink()
                path.unlink()
            raise
        path.unlink()


def _fingerprint(task: Task) -> list:
    status = task.path.stat()
    return [str(task.path), status.st_size, status.st_mtime_ns, task.first, task.count]


def _read_journal(path: Path, plan: str) -> dict[str, dict]:
    """Records by scene, if the journal is one of this plan."""
    lines = whole_lines(path)
    if not lines or lines[0] != plan:
        return {}
    records = [json.loads(line) for line in lines[1:]]
    return {record.pop("scene"): record for record in records}


def _lay_out(path: Path, rows: int, dtype: str) -> None:
    """Create the file with both big data sets contiguous, allocated and page-aligned."""
    with h5py.File(path, "w", alignment_threshold=4096, alignment_interval=4096) as file:
        for name, shape, kind in (
            ("patches", (rows, PATCH, PATCH, store.CHANNELS), dtype),
            ("labels", (rows, PATCH, PATCH), "uint8"),
        ):
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_layout(h5py.h5d.CONTIGUOUS)
            creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            h5py.h5d.create(
                file.id,
                name.encode(),
                h5py.h5t.py_create(np.dtype(kind)),
                h5py.h5s.create_simple(shape),
                creation,
            )


def _offsets(path: Path) -> dict[str, int]:
    """Where both big data sets begin in the file; {} if it is missing or damaged."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return {name: file[name].id.get_offset() for name in ("patches", "labels")}
    except (OSError, KeyError):
        return {}


def _work(
    tasks: list[Task],
    partial: Path,
    offsets: dict[str, int],
    options: Options,
    workers: int,
    total: int,
    skip_bad: bool,
) -> Iterator[tuple[Task, dict | SceneError]]:
    """Run the tasks in processes; yields each with its record, as they finish."""
    count = max(1, min(workers, len(tasks)))
    pool = open_pool(count)
    try:
        # Each worker lets the disk begin with the scene that will be its next.
        following = [task.path for task in tasks[count:]] + [None] * count
        jobs = {
            pool.submit(_write_scene, task, after, partial, offsets, options): task
            for task, after in zip(tasks, following, strict=False)
        }
        for job in track(as_completed(jobs), total, "prepare", total - len(tasks)):
            try:
                yield jobs[job], job.result()
            except SceneError as error:
                if not skip_bad:
                    raise
                yield jobs[job], error
    except BrokenProcessPool:
        raise Fault(
            "a worker process died (out of memory?); the same command continues, "
            "perhaps with fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _write_scene(
    task: Task, following: Path | None, partial: Path, offsets: dict[str, int], options: Options
) -> dict:
    """Cut one scene, write its rows and return its record for the journal."""
    for path in (task.path, following):
        if path:
            _announce(path)
    reader = format_of(task.path).reader
    content, checksum = reader.load(task.path)
    raw = reader.read(task.path, options.truth, content)
    if raw.mask.shape != (task.height, task.width):
        raise SceneError(f"{task.path}: changed while it was read")
    part = convert(raw, options.dtype, fill=options.nan == "fill")
    if options.nan == "error" or not part.seen.all():
        normalize_scene(task.path, raw, options.nan)  # raises where the whole scene cannot be used
    with partial.open("r+b") as file:
        for name, block in (("patches", part.patches), ("labels", part.labels)):
            file.seek(offsets[name] + task.first * block[0].nbytes)
            file.write(block.data)
    return {
        "sha256": checksum,
        "cloud_pixels": int(np.count_nonzero(part.labels == store.CLOUD)),
        "invalid_pixels": int(np.count_nonzero(part.labels >= store.INVALID)),
        "channels": int(np.packbits(raw.channels, bitorder="little").view("<u2")[0]),
        "notes": list(raw.notes),
        "sums": part.sums,
    }


def _announce(path: Path) -> None:
    """Let the system read a file ahead of time, all of it."""
    with contextlib.suppress(OSError), path.open("rb") as file:  # a folder; whoever reads it tells
        for first in range(0, os.fstat(file.fileno()).st_size, BLOCK):  # it limits each request
            os.posix_fadvise(file.fileno(), first, BLOCK, os.POSIX_FADV_WILLNEED)


def _finish(partial: Path, tasks: list[Task], records: list[dict], options: Options) -> None:
    """Add the tables and attributes, and bring everything to the disk."""
    table = np.array(
        [
            (
                task.path.stem,
                record["sha256"],
                task.first,
                task.count,
                task.height,
                task.width,
                record["cloud_pixels"],
                record["invalid_pixels"],
                record["channels"],
            )
            for task, record in zip(tasks, records, strict=True)
        ],
        dtype=store.SCENE_TABLE,
    )
    identity = [
        asdict(options),
        *([t.path.stem, r["sha256"]] for t, r in zip(tasks, records, strict=True)),
    ]
    with h5py.File(partial, "r+") as file:
        # Present already if an earlier attempt was cut off between here and the renaming.
        for name, data in (
            ("scenes", table),
            ("statistics", statistics(record["sums"] for record in records)),
        ):
            if name in file:
                del file[name]
            file[name] = data
        file.attrs["format"] = store.FORMAT
        file.attrs["version"] = store.VERSION
        file.attrs["truth"] = options.truth
        file.attrs["nan"] = options.nan
        file.attrs["checksum"] = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    _sync(partial)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
