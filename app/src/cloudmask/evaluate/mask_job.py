"""The job of `cloudmask-predict`: masks of many scenes in a folder, one complete mask at a time."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.errors import InputError, NotAScene, SceneError
from cloudmask.evaluate.map_formats import DEFAULT_GRID, Grid, write_cog, write_zarr
from cloudmask.evaluate.masking import CloudMasker, MaskOptions
from cloudmask.evaluate.masks import write_mask
from cloudmask.evaluate.pictures import write_picture
from cloudmask.evaluate.prediction import Prediction
from cloudmask.evaluate.sources import NetworkSource
from cloudmask.record import provenance
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.formats import scene_name
from cloudmask.system import output, reading
from cloudmask.system.files import read_csv, write_csv
from cloudmask.system.progress import track

SUFFIXES = {"netcdf": ".nc", "cog": ".tif", "zarr": ".zarr"}
KIND = "set of cloud masks"
COLUMNS = ("name", "start", "measured_fraction", "cloud_fraction")
LARGEST_TABLE = 64 * reading.MIB  # a scene takes some 140 bytes


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
    """What `write_masks` did; `left_out` and `notes` are lines for the user."""

    folder: RunDirectory
    written: int
    earlier: int
    left_out: list[str]
    notes: list[str]


def write_masks(request: MaskRequest) -> MaskSummary:
    """Mask scene after scene; each mask is there completely or not at all.

    Masks that an interrupted call has left are kept. Raises InputError if the folder holds
    something else, or masks of another network or of other options; SceneError for a bad scene
    unless `skip_bad`.
    """
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
    earlier, now = provenance.read(folder.provenance).get("masks"), facts["masks"]
    if earlier == now:
        return
    known = earlier if isinstance(earlier, dict) else {}
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
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def write(self, scenes: Sequence[Path]) -> MaskSummary:
        self.folder.masks.mkdir(exist_ok=True)
        if self.request.pictures:
            self.folder.pictures.mkdir(exist_ok=True)
        self.rows = self._earlier_rows()
        earlier = {row["name"] for row in self.rows}
        left = [path for path in scenes if scene_name(path) not in earlier]
        for prediction in self._predictions(left):
            self._write(prediction)
            self.rows.append(_row(prediction))
            # Row after row: a mask without one is made again by the next call.
            write_csv(self.folder.scenes_table, COLUMNS, self.rows)
            self.notes += [f"{prediction.scene.name}: {note}" for note in prediction.scene.notes]
        if not self.rows:
            raise InputError(f"no scene can be used; the first: {(self.left_out + self.notes)[0]}")
        written = len(self.rows) - len(earlier)
        return MaskSummary(self.folder, written, len(earlier), self.left_out, self.notes)

    def _earlier_rows(self) -> list[dict[str, Any]]:
        """Those that an earlier call wrote, whose masks are there."""
        if not self.folder.scenes_table.exists():
            return []
        table = self.folder.scenes_table
        try:
            text = reading.read_text(table, LARGEST_TABLE)
            rows = [dict(row) for row in read_csv(text.splitlines())]
        except (ValueError, csv.Error) as error:
            raise InputError(f"{table}: damaged ({error})") from None
        if any(set(row) != set(COLUMNS) or not row["name"] for row in rows):
            raise InputError(f"{table}: damaged; expected {', '.join(COLUMNS)}")
        return [row for row in rows if self._mask(Path(str(row["name"]))).exists()]

    def _predictions(self, scenes: Sequence[Path]) -> Iterator[Prediction]:
        for path in track(scenes, len(scenes), "predict"):
            try:
                yield self.masker(path)
            except NotAScene as error:
                self.notes.append(f"passed over: {error}")
            except SceneError as error:
                if not self.request.skip_bad:
                    raise
                self.left_out.append(str(error))

    def _mask(self, path: Path) -> Path:
        return self.folder.masks / f"{scene_name(path)}{SUFFIXES[self.request.format]}"

    def _write(self, prediction: Prediction) -> None:
        request, name = self.request, prediction.scene.name
        path = self.folder.masks / f"{name}{SUFFIXES[request.format]}"
        if request.pictures:
            write_picture(self.folder.pictures / f"{name}.png", prediction, None)
        if request.format == "cog":
            write_cog(path, prediction, request.grid)
        elif request.format == "zarr":
            write_zarr(path, prediction, request.layers)
        else:
            write_mask(path, prediction, request.layers)


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
