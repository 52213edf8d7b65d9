"""Scenes to patch store: in parallel over scenes, resumable, complete or not there at all.

The store is laid out first, under a temporary name, with room for every scene; processes then write
their patches to their rows. A journal beside it lists the scenes that are done, so that the same
command continues after a kill. The last step adds the tables and renames the file.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.errors import InputError, NotAScene, SceneError
from cloudmask.patches import store
from cloudmask.patches.extraction import convert
from cloudmask.patches.geometry import crop_grid
from cloudmask.patches.journal import Journal
from cloudmask.patches.store_writer import (
    PIXELS,
    PrepareOptions,
    SceneTask,
    StoreWriter,
    store_bytes,
)
from cloudmask.scenes.calibration import common_calibration
from cloudmask.scenes.formats import format_of, scene_name
from cloudmask.scenes.origin import Origin
from cloudmask.scenes.scene import accept, normalize_scene
from cloudmask.system import reading
from cloudmask.system.disk import require_space
from cloudmask.system.output import file_claimed
from cloudmask.system.pool import open_pool
from cloudmask.system.progress import track

BLOCK = 1 << 20  # bytes of a scene that the system is asked to read ahead at once


@dataclass(frozen=True)
class PrepareSummary:
    """What `prepare` did. `bad` holds a line for each scene left out, `notes` what to log."""

    scenes: int
    patches: int
    resumed: int
    cloud_fraction: float
    invalid_fraction: float
    bad: list[str]
    notes: list[str]
    bytes: int


@dataclass(frozen=True)
class _Plan:
    """The scenes that can be used, with their rows, and a line for each that cannot.

    origins: of the tasks. granules: the scene of each piece of the swath. others: lines for files
    that are passed over.
    """

    tasks: list[SceneTask] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    origins: list[tuple[Path, Origin]] = field(default_factory=list)
    granules: dict[tuple[str, str, str], Path] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(task.count for task in self.tasks)

    def same_granule(self, path: Path, origin: Origin) -> Path | None:
        """The scene before it that is the same piece of the swath, whatever its name is."""
        granule = _granule(origin)
        known = self.granules.setdefault(granule, path) if granule else path
        return None if known is path else known


def prepare(
    scenes: Sequence[Path],
    out: Path,
    options: PrepareOptions,
    workers: int,
    skip_bad: bool = False,
) -> PrepareSummary:
    """Write the patches of `scenes` into the store `out`.

    Raises SceneError for the first scene that cannot be used, unless `skip_bad`; InputError if
    `out` is a folder or there is too little space; Fault if a worker process dies.
    """
    _check_arguments(out, workers)
    plan = _plan(scenes, options, skip_bad)
    if any(out.resolve() == task.path.resolve() for task in plan.tasks):
        raise InputError(f"{out}: is one of the scenes; expected another name for the patch store")
    options = replace(options, calibration=common_calibration(plan.origins, options.calibration))
    with _unfinished(out, plan, options) as (writer, journal):
        resumed = len(journal.records)
        left = [task for task in plan.tasks if str(task.path) not in journal.records]
        jobs = _Jobs(writer, options, workers, len(plan.tasks))
        for task, record in jobs.run(left):
            if isinstance(record, SceneError):
                if not skip_bad:
                    raise record
                plan.bad.append(str(record))
                continue
            writer.sync()  # What the journal lists is on the disk, and the disk never idles.
            journal.add(str(task.path), record)
        kept = [task for task in plan.tasks if str(task.path) in journal.records]
        if not kept:
            raise InputError(f"no scene can be used; the first: {plan.bad[0]}")
        kept, copies = _without_copies(kept, journal.records)
        records = [journal.records[str(task.path)] for task in kept]
        if not _valid_pixels(kept, records):
            raise InputError(f"{out}: no pixel of any scene holds a measurement in all channels")
        writer.finish(kept, records, options)
        store.require_replaceable(out)
        writer.path.replace(out)
    summary = _summarize(out, kept, records, resumed, plan.bad)
    return replace(summary, notes=plan.others + copies + summary.notes)


def _granule(origin: Origin) -> tuple[str, str, str] | None:
    """Platform, start and stop to the second, None if they are not known."""
    seconds = len("2021-08-27T07:43:36")
    start, stop = origin.start[:seconds], origin.stop[:seconds]
    return (origin.platform, start, stop) if origin.platform and start and stop else None


def _check_arguments(out: Path, workers: int) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"{out}: expected the name of a file in an existing folder")
    if workers < 1:
        raise InputError(f"--workers {workers}: expected at least 1")


def _plan(scenes: Sequence[Path], options: PrepareOptions, skip_bad: bool) -> _Plan:
    """Check all headers before anything is written and give each scene its rows."""
    plan = _Plan()
    for path in scenes:
        reader = format_of(path).reader
        try:
            height, width = reader.check(path, options.reading)
            origin = reader.origin(path)
            try:
                rows, columns = crop_grid(height, width)
            except ValueError as error:
                raise SceneError(f"{path}: {error}") from None
        except NotAScene as error:
            plan.others.append(f"passed over: {error}")
            continue
        except SceneError as error:
            if not skip_bad:
                raise
            plan.bad.append(str(error))
            continue
        if known := plan.same_granule(path, origin):
            plan.others.append(f"passed over: {path}: the same granule as {known}")
            continue
        plan.origins.append((path, origin))
        plan.tasks.append(SceneTask(path, height, width, plan.rows, rows * columns))
    if not plan.tasks:
        lines = plan.bad + plan.others
        raise InputError(
            f"no scene can be used; the first: {lines[0]}" if lines else "no scenes given"
        )
    return plan


@contextlib.contextmanager
def _unfinished(
    out: Path, plan: _Plan, options: PrepareOptions
) -> Iterator[tuple[StoreWriter, Journal]]:
    """The unfinished store of `out` and its journal, continued if both fit the plan.

    If the block fails before any scene is done, nothing of them stays.
    """
    partial = out.with_name(f".{out.name}.partial")
    fingerprints = [_fingerprint(task) for task in plan.tasks]
    with file_claimed(out):
        store.require_replaceable(out)
        journal = Journal(
            out.with_name(f".{out.name}.journal"),
            {
                "version": store.VERSION,
                "options": options.identity(),
                "scenes": fingerprints,
            },
        )
        try:
            writer = StoreWriter.open(partial)
            if writer is None or not journal.resume():
                partial.unlink(missing_ok=True)
                needed = store_bytes(plan.rows, len(plan.tasks), options.dtype)
                require_space(out.parent, needed, out)
                writer = StoreWriter.lay_out(partial, plan.rows, options.dtype)
                journal.begin()
            yield writer, journal
        except BaseException:
            if not journal.records:
                partial.unlink(missing_ok=True)
                journal.remove()
            raise
        finally:
            journal.close()
        journal.remove()


def _fingerprint(task: SceneTask) -> list[Any]:
    """What identifies a scene as the one of an earlier attempt."""
    status = task.path.stat()
    return [str(task.path), status.st_size, status.st_mtime_ns, task.first, task.count]


@dataclass(frozen=True)
class _Jobs:
    """The conversion of scenes by `workers` processes; `total` scenes belong to the store."""

    writer: StoreWriter
    options: PrepareOptions
    workers: int
    total: int

    def run(
        self, tasks: Sequence[SceneTask]
    ) -> Iterator[tuple[SceneTask, dict[str, Any] | SceneError]]:
        """Convert the scenes; yields each with its record, or what is wrong with it, when done."""
        count = max(1, min(self.workers, len(tasks)))
        with open_pool(count) as pool:
            # Each worker lets the disk begin with the scene that will be its next.
            following = [task.path for task in tasks[count:]] + [None] * count
            jobs = {
                pool.submit(_write_scene, task, after, self.writer, self.options): task
                for task, after in zip(tasks, following, strict=False)
            }
            done = self.total - len(tasks)
            for job in track(as_completed(jobs), self.total, "prepare", done):
                try:
                    yield jobs[job], job.result()
                except SceneError as error:
                    yield jobs[job], error


def _write_scene(
    task: SceneTask, following: Path | None, writer: StoreWriter, options: PrepareOptions
) -> dict[str, Any]:
    """Cut one scene, write its rows and return its record for the journal."""
    for path in (task.path, following):
        if path:
            _read_ahead(path)
    reader = format_of(task.path).reader
    content, checksum = reader.load(task.path)
    raw = reader.read(task.path, options.reading, content)
    raw = accept(raw, options.reading, options.calibration)
    if raw.mask is None:
        raise SceneError(raw.unlabeled)
    if raw.shape != (task.height, task.width):
        raise SceneError(f"{task.path}: changed while it was read")
    part = convert(raw, options.dtype, fill=options.nan == "fill")
    if options.nan == "error" or not part.found.plausible:
        # This raises where the whole scene cannot be used.
        normalize_scene(task.path, raw, options.nan)
    return {
        "rows": writer.write(task.first, part),
        "sha256": checksum,
        "cloud_pixels": int(np.count_nonzero(part.labels == store.CLOUD)),
        "invalid_pixels": int(np.count_nonzero(part.labels >= store.INVALID)),
        "channels": int(np.packbits(raw.channels, bitorder="little").view("<u2")[0]),
        "notes": [*raw.notes, *part.found.notes()],
        "origin": raw.origin.source,
        "sums": part.sums,
    }


def _read_ahead(path: Path) -> None:
    """Let the system read all of a file ahead of time."""
    # A product is a folder, which cannot be opened; whoever reads the scene reports other errors.
    with contextlib.suppress(OSError, InputError), reading.opened(path) as file:
        # The system limits the length of each request.
        for first in range(0, os.fstat(file.fileno()).st_size, BLOCK):
            os.posix_fadvise(file.fileno(), first, BLOCK, os.POSIX_FADV_WILLNEED)


def _without_copies(
    tasks: list[SceneTask], records: dict[str, dict[str, Any]]
) -> tuple[list[SceneTask], list[str]]:
    """The scenes without those that equal another byte for byte, and a line for each of these.

    Training and validation could otherwise get the same scene under two names.
    """
    first: dict[str, SceneTask] = {}
    lines = []
    for task in tasks:
        known = first.setdefault(records[str(task.path)]["sha256"], task)
        if known is not task:
            lines.append(f"{task.path}: has the bytes of {known.path}; left out")
    return list(first.values()), lines


def _valid_pixels(tasks: Sequence[SceneTask], records: Sequence[dict[str, Any]]) -> int:
    pixels = sum(task.count * PIXELS for task in tasks)
    return pixels - sum(record["invalid_pixels"] for record in records)


def _summarize(
    out: Path,
    tasks: Sequence[SceneTask],
    records: Sequence[dict[str, Any]],
    resumed: int,
    bad: list[str],
) -> PrepareSummary:
    patches = sum(task.count for task in tasks)
    cloud = sum(record["cloud_pixels"] for record in records)
    invalid = sum(record["invalid_pixels"] for record in records)
    return PrepareSummary(
        scenes=len(tasks),
        patches=patches,
        resumed=resumed,
        cloud_fraction=cloud / _valid_pixels(tasks, records),
        invalid_fraction=invalid / (patches * PIXELS),
        bad=bad,
        notes=[
            f"{scene_name(task.path)}: {note}"
            for task, record in zip(tasks, records, strict=True)
            for note in record["notes"]
        ],
        bytes=out.stat().st_size,
    )
