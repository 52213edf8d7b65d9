"""The job of `cloudmask-predict`: masks of many scenes in a folder, one complete mask at a time."""

import csv
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.errors import InputError, NotAScene, SceneError
from cloudmask.evaluate.map_formats import DEFAULT_GRID, Grid, check_grid, write_cog, write_zarr
from cloudmask.evaluate.masking import CloudMasker, MaskOptions
from cloudmask.evaluate.masks import write_mask
from cloudmask.evaluate.pictures import write_picture
from cloudmask.evaluate.prediction import Prediction
from cloudmask.evaluate.sources import NetworkSource
from cloudmask.record import provenance, recorded_provenance
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.formats import scene_name
from cloudmask.system import output, reading
from cloudmask.system.files import read_csv, write_csv
from cloudmask.system.progress import track

SUFFIXES = {"netcdf": ".nc", "cog": ".tif", "zarr": ".zarr"}
KIND = "set of cloud masks"
COLUMNS = ("name", "start", "measured_fraction", "cloud_fraction", "fingerprint")
LARGEST_TABLE = 64 * reading.MIB  # a scene takes some 170 bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskRequest:
    """What `write_masks` makes: masks of `scenes` in the folder `out`, by the network `source`.

    format: of SUFFIXES. layers: carried along, see `mask_content.LAYERS`. grid: of a GeoTIFF.
    pictures: draw each scene as well. command: the command line, for the record.
    """

    source: NetworkSource
    scenes: Sequence[Path]
    out: Path
    options: MaskOptions = field(default_factory=MaskOptions)
    format: str = "netcdf"
    layers: Sequence[str] = ()
    grid: Grid = DEFAULT_GRID
    pictures: bool = False
    skip_bad: bool = False
    command: Sequence[str] = ()

    def described(self) -> dict[str, Any]:
        """What decides the form of the masks, for the record."""
        grid = self.grid if self.format == "cog" else None
        return {
            "format": self.format,
            "layers": sorted(self.layers),
            "grid": grid and [grid.crs, grid.resolution],
        }


@dataclass(frozen=True)
class MaskSummary:
    """What `write_masks` did; `left_out` has a line for each scene without a mask."""

    folder: RunDirectory
    written: int
    earlier: int
    left_out: list[str]


def write_masks(request: MaskRequest) -> MaskSummary:
    """Mask scene after scene; each mask is there completely or not at all.

    Masks that an interrupted call has left are kept. Raises InputError if the folder holds
    something else, or masks of another network or of other options; SceneError for a bad scene
    unless `skip_bad`.
    """
    if request.format == "cog":
        if request.layers:
            raise InputError("--layer: expected with --format netcdf or zarr; a GeoTIFF has none")
        check_grid(request.grid)
    scenes = find_scenes(request.scenes)
    masker = CloudMasker(request.source, request.options)
    folder = RunDirectory(request.out)
    with output.claimed(folder.path, KIND) as claimed:
        facts = {"masks": masker.described() | request.described()}
        _require_equal(folder, facts)
        claimed.announce([folder.provenance.name, folder.scenes_table.name])
        collected = provenance.collect(request.command, {"model": str(request.source)})
        provenance.write(folder.provenance, collected | facts)
        return _Writer(request, masker, folder).write(scenes)


def _require_equal(folder: RunDirectory, facts: dict[str, Any]) -> None:
    if not folder.provenance.exists() or not folder.scenes_table.exists():
        return  # There is no mask yet.
    known, now = recorded_provenance.read(folder.provenance).masks or {}, facts["masks"]
    if known == now:
        return
    key = next((key for key in now if known.get(key) != now[key]), "masks")
    raise InputError(
        f"{folder}: holds masks with {key} {known.get(key)!r:.80}, not {now[key]!r:.80}; "
        "expected a new folder"
    )


@dataclass
class _Writer:
    """Masks of one request; rows: of the table of scenes."""

    request: MaskRequest
    masker: CloudMasker
    folder: RunDirectory
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def write(self, scenes: Sequence[Path]) -> MaskSummary:
        self.folder.masks.mkdir(exist_ok=True)
        if self.request.pictures:
            self.folder.pictures.mkdir(exist_ok=True)
        self.rows = self._earlier_rows()
        left = [path for path in scenes if not self._is_done(path)]
        written = 0
        for path in track(left, len(left), "predict"):
            written += self._try(path)
        if not self.rows:
            raise InputError(f"no scene can be used; the first: {self.left_out[0]}")
        return MaskSummary(self.folder, written, len(scenes) - len(left), self.left_out)

    def _try(self, path: Path) -> bool:
        """Whether a scene got its mask."""
        try:
            prediction = self.masker(path)
            self._write(prediction)
        except NotAScene as error:
            logger.info("passed over: %s", error)
            self.left_out.append(str(error))
            return False
        except SceneError as error:
            if not self.request.skip_bad:
                raise
            self.left_out.append(str(error))
            return False
        for note in prediction.scene.notes:
            logger.info("%s: %s", prediction.scene.name, note)
        self.rows = [row for row in self.rows if row["name"] != prediction.scene.name]
        self.rows.append(_row(prediction) | {"fingerprint": _fingerprint(path)})
        # Row after row: a mask without one is made again by the next call.
        write_csv(self.folder.scenes_table, COLUMNS, self.rows)
        return True

    def _earlier_rows(self) -> list[dict[str, Any]]:
        """Those that an earlier call wrote."""
        table = self.folder.scenes_table
        if not table.exists():
            return []
        try:
            text = reading.read_text(table, LARGEST_TABLE)
            rows = [dict(row) for row in read_csv(text.splitlines())]
        except (ValueError, csv.Error) as error:
            raise InputError(f"{table}: damaged ({error})") from None
        if any(set(row) != set(COLUMNS) or not row["name"] for row in rows):
            raise InputError(f"{table}: damaged; expected {', '.join(COLUMNS)}")
        return rows

    def _is_done(self, path: Path) -> bool:
        """Whether an earlier call made all that this one wants of a scene.

        Raises InputError if it was another scene of that name.
        """
        name = scene_name(path)
        row = next((row for row in self.rows if row["name"] == name), None)
        if row is None or not self._mask(name).exists():
            return False
        if row["fingerprint"] != _fingerprint(path):
            raise InputError(
                f"{self._mask(name)}: is of another scene named {name}, or of {path} before it "
                "changed; expected a new folder"
            )
        return not self.request.pictures or self._picture(name).exists()

    def _mask(self, name: str) -> Path:
        return self.folder.masks / f"{name}{SUFFIXES[self.request.format]}"

    def _picture(self, name: str) -> Path:
        return self.folder.pictures / f"{name}.png"

    def _write(self, prediction: Prediction) -> None:
        request, name = self.request, prediction.scene.name
        path = self._mask(name)
        if request.pictures:
            write_picture(self._picture(name), prediction, None)
        if request.format == "cog":
            write_cog(path, prediction, request.grid)
        elif request.format == "zarr":
            write_zarr(path, prediction, request.layers)
        else:
            write_mask(path, prediction, request.layers)


def _fingerprint(path: Path) -> str:
    """What tells a scene from another of its name: sizes and times of its files."""
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file.stat() for file in inside]
    facts = [[status.st_size, status.st_mtime_ns] for status in found]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _row(prediction: Prediction) -> dict[str, Any]:
    """A scene's row of the table."""
    measured = prediction.scene.measured
    cloud = prediction.cloud & measured
    return {
        "name": prediction.scene.name,
        "start": prediction.scene.origin.start,
        "measured_fraction": float(np.mean(measured)),
        "cloud_fraction": np.count_nonzero(cloud) / np.count_nonzero(measured),
    }
