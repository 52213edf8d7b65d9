"""Write a patch store: room for all patches first, then each scene's rows, the tables last."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cloudmask.errors import Fault, InputError
from cloudmask.patches import store
from cloudmask.patches.deferred import hdf5_file
from cloudmask.patches.extraction import Converted, statistics
from cloudmask.patches.geometry import PATCH
from cloudmask.scenes import foreign_hdf5
from cloudmask.scenes.formats import scene_name
from cloudmask.scenes.origin import UNKNOWN
from cloudmask.scenes.raw import DAMAGE, ReadOptions
from cloudmask.system import files

PIXELS = PATCH * PATCH

# At most: a scene's row of the table with its names, and what HDF5 takes for itself.
SCENE_BYTES, HEADER_BYTES = 512, 1 << 18


@dataclass(frozen=True)
class PrepareOptions:
    """What decides the content of a store.

    dtype: type of the patches. labels: label source. nan: policy for fill. missing_channels,
    cosmetic: see `scenes.raw.ReadOptions`. calibration: of S1 to S6, see `scenes.calibration`.
    """

    dtype: str = "float16"
    labels: str = "bayes"
    nan: str = "ignore"
    missing_channels: str = "error"
    cosmetic: str = "use"
    calibration: str = "auto"

    @property
    def reading(self) -> ReadOptions:
        """How the scenes are read."""
        return ReadOptions(self.labels, self.missing_channels, self.cosmetic)

    def identity(self) -> dict[str, str]:
        """What enters the store's checksum."""
        described = {name: getattr(self, field) for name, field in store.DESCRIBED.items()}
        return {"dtype": self.dtype} | described


@dataclass(frozen=True)
class SceneTask:
    """One scene and the rows of the store that its patches take."""

    path: Path
    height: int
    width: int
    first: int
    count: int


def store_bytes(rows: int, scenes: int, dtype: str) -> int:
    """Bytes of `rows` patches of so many scenes with their labels, checksums and tables."""
    row = PIXELS * (store.CHANNELS * np.dtype(dtype).itemsize + 1) + store.SHA256_BYTES
    return rows * row + scenes * SCENE_BYTES + HEADER_BYTES


@dataclass(frozen=True)
class StoreWriter:
    """An unfinished store that is laid out; can be sent to other processes.

    offsets: where both big data sets begin in the file, bytes.
    """

    path: Path
    offsets: dict[str, int]

    @classmethod
    def open(cls, path: Path) -> "StoreWriter | None":
        """Open the store that an earlier attempt laid out; None if it is missing or damaged."""
        try:
            with foreign_hdf5.opened(path, InputError) as file:
                found = [file.dataset(name) for name in ("patches", "labels")]
                patches, labels = (None if data is None else data.id.get_offset() for data in found)
        except (InputError, *DAMAGE):
            return None
        if patches is None or labels is None:
            return None
        return cls(path, {"patches": patches, "labels": labels})

    @classmethod
    def lay_out(cls, path: Path, rows: int, dtype: str) -> "StoreWriter":
        """Create the file with both big data sets contiguous, allocated and page-aligned.

        Raises Fault if the disk does not give back what was written.
        """
        with hdf5_file(path, "w", alignment_threshold=4096, alignment_interval=4096) as file:
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
        made = cls.open(path)
        if made is None:
            raise Fault(f"{path}: cannot be read just after it was written; check the disk")
        return made

    def write(self, first: int, part: Converted) -> list[str]:
        """Write one scene's patches and labels to the rows from `first` on.

        Returns the checksums of the rows, hexadecimal.
        """
        with files.named(self.path), self.path.open("r+b") as file:
            for name, block in (("patches", part.patches), ("labels", part.labels)):
                file.seek(self.offsets[name] + first * block[0].nbytes)
                file.write(block.data)
        rows = zip(part.patches, part.labels, strict=True)
        return [store.row_checksum(patch, label).hex() for patch, label in rows]

    def sync(self) -> None:
        """Bring what was written to the disk."""
        with files.named(self.path), self.path.open("rb") as file:
            os.fsync(file.fileno())

    def finish(
        self, tasks: Sequence[SceneTask], records: Sequence[dict[str, Any]], options: PrepareOptions
    ) -> None:
        """Add the tables and attributes of these scenes, and bring everything to the disk."""
        pairs = list(zip(tasks, records, strict=True))
        table = np.array([_row(task, record) for task, record in pairs], dtype=store.SCENE_TABLE)
        with hdf5_file(self.path, "r+") as file:
            rows = np.zeros((len(file["patches"]), store.SHA256_BYTES), np.uint8)
            for task, record in pairs:
                written = np.frombuffer(bytes.fromhex("".join(record["rows"])), np.uint8)
                rows[task.first : task.first + task.count] = written.reshape(task.count, -1)
            # They are there already if an earlier attempt was interrupted before the renaming.
            for name, data in (
                ("scenes", table),
                ("statistics", statistics(record["sums"] for record in records)),
                ("checksums", rows),
            ):
                if name in file:
                    del file[name]
                file[name] = data
            file.attrs["format"] = store.FORMAT
            file.attrs["version"] = store.VERSION
            for name, field in store.DESCRIBED.items():
                file.attrs[name] = getattr(options, field)
            file.attrs[store.ORIGINS] = json.dumps(_origins(records))
            identity = options.identity() | {store.ORIGINS: file.attrs[store.ORIGINS]}
            file.attrs["checksum"] = store.content_checksum(identity, table, rows)
        self.sync()


def _origins(records: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many scenes are of which origin; the rarest together, since an attribute is short."""
    counts = Counter(record.get("origin", UNKNOWN) for record in records)
    kept = Counter(dict(counts.most_common(store.MOST_ORIGINS)))
    if rest := len(records) - kept.total():
        kept["other"] += rest
    return dict(sorted(kept.items()))


def _row(task: SceneTask, record: dict[str, Any]) -> tuple:
    """A scene's row of the table, in the order of `store.SCENE_TABLE`."""
    return (
        scene_name(task.path),
        record["sha256"],
        task.first,
        task.count,
        task.height,
        task.width,
        record["cloud_pixels"],
        record["invalid_pixels"],
        record["channels"],
    )
