"""The patch store: one HDF5 file with contiguous data sets, read through a memory map.

Data sets: `patches` (N, 256, 256, 9) float16 or float32, normalized; `labels` (N, 256, 256) uint8,
bit 0 cloud, bit 1 not valid; `scenes`, a table of the rows that each scene has;
`statistics` (4, 9) float64, per channel minimum, maximum, mean and standard deviation over valid
pixels; `checksums` (N, 32) uint8, the SHA-256 of each row's patch and labels. Rows that no scene of
the table claims (a scene found bad after its rows were assigned) are not read.

The store's own checksum covers the checksums of the rows, so that it stands for every byte that is
read. Stores of version 1 have none of rows: theirs stands for the scenes that they were made of.
"""

import hashlib
import json
import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5t

from cloudmask.errors import Fault, InputError
from cloudmask.patches.geometry import PATCH
from cloudmask.record.described_data import UsedScene
from cloudmask.scenes import foreign_hdf5
from cloudmask.scenes.calibration import UNKNOWN
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.scenes.origin import UNKNOWN as UNKNOWN_ORIGIN
from cloudmask.scenes.raw import ReadOptions
from cloudmask.system import names, reading
from cloudmask.system.text import one_line

FORMAT = "cloudmask-patches"
VERSION = 2
WITHOUT_CHECKSUMS = 1  # the version whose rows have no checksums
CHANNELS = 9
CLOUD = 1  # bit of a label: the mask says cloud
INVALID = 2  # bit of a label: no measurement, left out of loss and metrics
SHA256_BYTES = 32
# Attributes of the file, and what they are called in the options that made it.
DESCRIBED = {
    "truth": "labels",
    "nan": "nan",
    "missing_channels": "missing_channels",
    "cosmetic": "cosmetic",
    "calibration": "calibration",
}
ORIGINS = "origins"  # attribute: JSON, how many scenes are of which origin (see `scenes.origin`)
MOST_ORIGINS = 100  # of which a store keeps the names
STATISTICS = ("minimum", "maximum", "mean", "standard deviation")

# Rounding to float16 moves a normalized value by at most half a unit in the last place: a relative
# 2**-11, or 2**-25 below the smallest normal number. That is 0.02 K at 320 K and 0.0001 of
# reflectance.
FLOAT16_RELATIVE_ERROR = 2.0**-11

SCENE_TABLE = np.dtype(
    [
        ("name", h5py.string_dtype()),
        ("sha256", h5py.string_dtype()),
        ("first", np.int64),
        ("count", np.int64),
        ("height", np.int32),
        ("width", np.int32),
        ("cloud_pixels", np.int64),
        ("invalid_pixels", np.int64),
        ("channels", np.uint16),
    ]
)


def require_replaceable(path: Path) -> None:
    """Raise InputError if a new store must not replace what is at `path`.

    Only another store may be replaced, whole or damaged, and none that is write-protected: so are
    copies taken out of an overlay.
    """
    if not os.path.lexists(path):
        return
    try:
        with foreign_hdf5.opened(path, InputError) as file:
            found = file.attribute("format")
    except InputError:
        with foreign_hdf5.handle(path, InputError) as content:
            signature = content.read(len(reading.HDF5_SIGNATURE))
            # One that cannot be opened may be a store that was damaged.
            found = FORMAT if signature == reading.HDF5_SIGNATURE else None
    if found != FORMAT:
        raise InputError(f"{path}: is not a patch store; expected one, or a new name")
    if not path.stat().st_mode & stat.S_IWUSR:
        raise InputError(f"{path}: is write-protected; expected a new name, or remove it first")


def row_checksum(patch: np.ndarray, label: np.ndarray) -> bytes:
    """SHA-256 of a row: its patch (256, 256, 9) and its labels (256, 256), both contiguous."""
    digest = hashlib.sha256(patch.data)
    digest.update(label.data)
    return digest.digest()


def content_checksum(options: dict[str, str], scenes: np.ndarray, rows: np.ndarray) -> str:
    """The store's checksum, hexadecimal: of its options, its scenes and the bytes of its rows.

    scenes: of SCENE_TABLE; rows: (N, 32) uint8, the checksums of all rows. Where a scene's rows
    begin does not matter.
    """
    table = [[_text(row[name]) for name in _COVERED] for row in scenes]
    digest = hashlib.sha256(json.dumps([options, table]).encode())
    for row in scenes:
        digest.update(rows[row["first"] : row["first"] + row["count"]].tobytes())
    return digest.hexdigest()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _layout(table: np.dtype) -> list[tuple[str, str, str]]:
    """Names and kinds of a table's columns, one without a name for plain numbers."""
    columns = [(name, table[name]) for name in table.names] if table.names else [("", table)]
    return [(name, kind.kind, str(h5py.check_string_dtype(kind))) for name, kind in columns]


_COVERED = [name for name in SCENE_TABLE.names or () if name != "first"]


@dataclass(frozen=True)
class Split:
    """Row numbers of the store for training and validation, and the scenes they come from."""

    training: np.ndarray
    validation: np.ndarray
    training_scenes: int
    validation_scenes: int


class PatchStore:
    """A patch store opened for reading; raises InputError, naming the file, if it cannot be used.

    patches: (N, 256, 256, 9) memory map; labels: (N, 256, 256) uint8 memory map.
    scenes: structured array, one row per scene, see SCENE_TABLE; names: of the scenes.
    label_source: "bayes" or "summary". reading: how its scenes were read. prepared: the options of
    cloudmask-prepare that made it, by name, as far as it records them. calibration: of S1 to S6,
    see `scenes.calibration`. origins: how many scenes are of which origin, see `scenes.origin`.
    checksum: hexadecimal, stands for the content; checksums: (N, 32) uint8, those of the rows, None
    in stores of version 1.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path}: no such file; expected a patch store of cloudmask-prepare")
        with foreign_hdf5.handle(self.path, InputError) as file:
            self._open = os.fdopen(os.dup(file.fileno()), "rb")
        self._opened = os.fstat(self._open.fileno())
        try:
            with foreign_hdf5.opened(self.path, InputError, self._open) as content:
                self._read(content)
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(f"{path}: damaged or not a patch store: {error}") from None

    def check(self) -> None:
        """Raise Fault if the file has been changed, has shrunk or vanished since it was opened.

        Touching the memory map of a shorter file ends the process by SIGBUS, without a message.
        """
        try:
            now = os.fstat(self._open.fileno())
        except OSError as error:
            raise Fault(f"{self.path}: vanished while in use ({error.strerror})") from None
        if now.st_size < self._opened.st_size:
            raise Fault(f"{self.path}: was truncated while in use; prepare it again")
        if (now.st_mtime_ns, now.st_size) != (self._opened.st_mtime_ns, self._opened.st_size):
            raise Fault(
                f"{self.path}: changed while in use; check it with cloudmask-prepare --verify"
            )

    def release_pages(self) -> None:
        """Let go of the pages that were touched, so that they can be dropped from the page cache.

        They are mapped again, and read from the file if need be, when they are used next.
        """
        for array in (self.patches, self.labels):
            if isinstance(array.base, mmap.mmap):
                array.base.madvise(mmap.MADV_DONTNEED)

    def check_row(self, row: int, patch: np.ndarray, label: np.ndarray) -> None:
        """Raise InputError unless these are the bytes that were written as row `row`."""
        if self.checksums is not None and row_checksum(patch, label) != bytes(self.checksums[row]):
            raise self.damaged(row, "does not match its checksum")

    def damaged(self, row: int, how: str) -> InputError:
        """The error for a row of which `how` tells what is wrong."""
        first, count = self.scenes["first"], self.scenes["count"]
        (scene,) = np.flatnonzero((first <= row) & (row < first + count))[:1]
        return InputError(
            f"{self.path}: damaged: patch {row}, of scene {self.names[scene]}, {how}; "
            "make it again with cloudmask-prepare"
        )

    def _read(self, file: ForeignHdf5) -> None:
        found = file.attribute("format"), file.attribute("version")
        if found[0] != FORMAT or found[1] not in (WITHOUT_CHECKSUMS, VERSION):
            raise InputError(
                f"{self.path}: format {found[0]} version {found[1]}; "
                f"expected {FORMAT} version {VERSION}, made by cloudmask-prepare"
            )
        self.patches = self._map(file, "patches", (PATCH, PATCH, CHANNELS), ("f2", "f4"))
        self.labels = self._map(file, "labels", (PATCH, PATCH), ("u1",))
        self.scenes = self._table(file, "scenes", SCENE_TABLE, 1)
        what = f"{self.path}: the name of a scene"
        self.names = [names.file_name(name.decode(), what) for name in self.scenes["name"]]
        self.statistics = self._table(file, "statistics", np.dtype(np.float64), 2)
        self.checksum = str(file.attribute("checksum"))
        self.label_source = str(file.attribute("truth") or "")
        self.reading = ReadOptions(
            labels=self.label_source,
            missing_channels=str(file.attribute("missing_channels") or "error"),
            cosmetic=str(file.attribute("cosmetic") or "use"),
        )
        self.calibration = str(file.attribute("calibration") or UNKNOWN)
        options = {field: str(file.attribute(name) or "") for name, field in DESCRIBED.items()}
        self.prepared = {"dtype": self.patches.dtype.name} | {k: v for k, v in options.items() if v}
        self.origins = self._origins(file)
        ends = self.scenes["first"] + self.scenes["count"]
        rows = len(self.patches)
        if len(self.labels) != rows or (self.scenes["first"] < 0).any() or (ends > rows).any():
            raise InputError(f"{self.path}: damaged: the scene table does not fit {rows} patches")
        if not self.scenes["count"].sum():
            raise InputError(f"{self.path}: holds no patches")
        self.checksums = None if found[1] == WITHOUT_CHECKSUMS else self._checksums(file)

    def _origins(self, file: ForeignHdf5) -> dict[str, int]:
        """Those of the scenes; of stores of older versions nothing is known."""
        text = file.attribute(ORIGINS)
        if text is None:
            return {UNKNOWN_ORIGIN: len(self.scenes)}
        found = reading.parse_json(str(text))
        if (
            not isinstance(found, dict)
            or not all(type(count) is int and count > 0 for count in found.values())
            or sum(found.values()) != len(self.scenes)
        ):
            raise InputError(f"{self.path}: damaged: '{ORIGINS}' does not fit its scenes")
        return {one_line(name): count for name, count in found.items()}

    def _checksums(self, file: ForeignHdf5) -> np.ndarray:
        """Those of the rows; raises InputError unless the store's own checksum covers them."""
        data = self._dataset(file, "checksums")
        if data.dtype != np.uint8 or data.shape != (len(self.patches), SHA256_BYTES):
            raise InputError(f"{self.path}: 'checksums' is damaged: {data.dtype} {data.shape}")
        options = {"dtype": str(self.patches.dtype)}
        options |= {name: str(file.attribute(name)) for name in DESCRIBED}
        if (origins := file.attribute(ORIGINS)) is not None:
            options[ORIGINS] = str(origins)
        checksums = file.values(data)
        if content_checksum(options, self.scenes, checksums) != self.checksum:
            raise InputError(f"{self.path}: damaged: its checksum does not match its tables")
        return checksums

    def _dataset(self, file: ForeignHdf5, name: str) -> h5py.Dataset:
        data = file.dataset(name)
        if data is None:
            raise InputError(f"{self.path}: damaged or not a patch store: no data set '{name}'")
        return data

    def _map(self, file: ForeignHdf5, name: str, shape: tuple, types: tuple) -> np.ndarray:
        data = self._dataset(file, name)
        offset = data.id.get_offset()
        # Exactly this type: h5py also calls a number of other bits float32.
        exact = data.id.get_type() == h5t.py_create(data.dtype)
        if (
            data.shape[1:] != shape
            or data.dtype.str[1:] not in types
            or offset is None
            or not exact
        ):
            raise InputError(
                f"{self.path}: '{name}' is {data.dtype} {data.shape}; expected "
                f"contiguous {' or '.join(types)} (N, {', '.join(map(str, shape))})"
            )
        if offset + data.size * data.dtype.itemsize > self._opened.st_size:
            raise InputError(f"{self.path}: truncated: '{name}' ends beyond the file")
        return np.memmap(self._open, data.dtype, "r", offset, data.shape)

    def _table(
        self, file: ForeignHdf5, name: str, expected: np.dtype, dimensions: int
    ) -> np.ndarray:
        data = self._dataset(file, name)
        # A scene has at least one patch, so a longer table is a damaged header.
        if (
            _layout(data.dtype) != _layout(expected)
            or data.ndim != dimensions
            or data.shape[0] > max(len(self.patches), len(STATISTICS))
        ):
            raise InputError(f"{self.path}: '{name}' is damaged: {data.dtype} {data.shape}")
        return file.values(data)

    def used_scenes(self) -> list[UsedScene]:
        """Its scenes, for the record."""
        sums = [text.decode(errors="replace") for text in self.scenes["sha256"]]
        return [UsedScene(name, sha256) for name, sha256 in zip(self.names, sums, strict=True)]

    @property
    def missing_channels(self) -> int:
        """How many scenes lack at least one channel (night, cut-down products)."""
        return int(np.count_nonzero(self.scenes["channels"] != 2**CHANNELS - 1))

    def rows(self, scenes: Sequence[int] | np.ndarray) -> np.ndarray:
        """Row numbers of the patches of the given scenes (positions in the table), ascending."""
        table = self.scenes[np.sort(scenes)]
        return np.concatenate(
            [np.arange(row["first"], row["first"] + row["count"]) for row in table]
        ).astype(np.int64)

    def split(self, fraction: float, seed: int, by: str = "scene") -> Split:
        """Split by scene as the published code does (scikit-learn's train_test_split), or by patch.

        The validation scenes (patches) are the first of a permutation by `seed`; the training ones,
        `fraction` of all rounded down, follow. Raises InputError if one of both would be empty.
        """
        everything = self.rows(np.arange(len(self.scenes)))
        units = self.scenes if by == "scene" else everything
        count = len(units)
        training = int(fraction * count)
        if not 0 < training < count:
            hint = " (or data.split_by: patch)" if by == "scene" else ""
            raise InputError(
                f"{self.path}: {count} {by}(s) cannot be split {fraction:g} to {1 - fraction:.2g}; "
                f"expected at least one for training and one for validation{hint}"
            )
        order = np.random.RandomState(seed).permutation(count)
        parts = order[count - training :], order[: count - training]
        if by == "scene":
            rows = [self.rows(part) for part in parts]
            scenes = [len(part) for part in parts]
        else:
            rows = [np.sort(everything[part]) for part in parts]
            ends = self.scenes["first"] + self.scenes["count"]
            scenes = [len(set(np.searchsorted(ends, part, side="right"))) for part in rows]
        return Split(rows[0], rows[1], scenes[0], scenes[1])
