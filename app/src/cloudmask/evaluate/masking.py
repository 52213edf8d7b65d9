"""Cloud masks of scenes that people have, with or without labels: what `cloudmask-predict` does."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudmask.errors import InputError, NotAScene, SceneError
from cloudmask.evaluate.inference import Predictor
from cloudmask.evaluate.map_formats import Grid, dataset, write_cog, write_zarr
from cloudmask.evaluate.masks import write_mask
from cloudmask.evaluate.pictures import write_picture
from cloudmask.evaluate.prediction import Prediction
from cloudmask.evaluate.saved_network import NetworkFacts, weights_identity
from cloudmask.evaluate.scaling import scaled
from cloudmask.evaluate.sources import FileNetwork, NetworkSource, RunNetwork, newest_run
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices
from cloudmask.record import provenance
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.formats import scene_name
from cloudmask.scenes.raw import ReadOptions
from cloudmask.scenes.scene import locate, read_scene
from cloudmask.system import output, reading
from cloudmask.system.files import read_csv, write_csv
from cloudmask.system.progress import track

if TYPE_CHECKING:
    import xarray

SUFFIXES = {"netcdf": ".nc", "cog": ".tif", "zarr": ".zarr"}
KIND = "set of cloud masks"
FAVORED = ("clear", "cloud")
RUNS = Path("runs")
COLUMNS = ("name", "start", "measured_fraction", "cloud_fraction")
LARGEST_TABLE = 64 * reading.MIB  # a scene takes some 140 bytes


@dataclass(frozen=True)
class MaskOptions:
    """How masks are made.

    threshold: probability above which a pixel is cloud; by default the network's own for the use
    `favor`, "clear" (hardly a clear pixel is lost) or "cloud" (hardly a cloud is missed), else 0.5.
    dilate: pixels by which clouds grow. calibration: of S1 to S6, "auto" for that of the network's
    patches. nan: "fill" gives pixels without a measurement a probability, too. tiling, precision,
    memory_limit (bytes): of the inference.
    """

    threshold: float | None = None
    favor: str | None = None
    dilate: int = 0
    calibration: str = "auto"
    nan: str = "ignore"
    reading: ReadOptions = field(default_factory=lambda: ReadOptions(labels=None))
    tiling: str | None = None
    precision: str = "auto"
    memory_limit: float = 0.0


@dataclass(frozen=True)
class MaskRequest:
    """What `write_masks` makes: masks of `scenes` in the folder `out`, by the network `source`.

    format: of SUFFIXES. layers: carried along, see `mask_content.LAYERS`. grid: of a COG.
    pictures: draw each scene as well. command: the command line, for the record.
    """

    source: NetworkSource
    scenes: Sequence[Path]
    out: Path
    options: MaskOptions = field(default_factory=MaskOptions)
    format: str = "netcdf"
    layers: Sequence[str] = ()
    grid: Grid | None = None
    pictures: bool = False
    skip_bad: bool = False
    command: Sequence[str] = ()


@dataclass(frozen=True)
class MaskSummary:
    """What `write_masks` did; `left_out` and `notes` are lines for the user."""

    folder: RunDirectory
    written: int
    earlier: int
    left_out: list[str]
    notes: list[str]


class CloudMasker:
    """A network, ready to mask scenes of any size."""

    def __init__(self, source: NetworkSource, options: MaskOptions):
        source.check()
        self._facts = source.facts()
        self._options = options
        self._threshold = _threshold(options, self._facts, source)
        if not 0 <= options.memory_limit < math.inf:
            raise InputError(f"--memory-limit: expected gigabytes, found {options.memory_limit}")
        if options.dilate < 0:
            raise InputError(f"--dilate {options.dilate}: expected 0 or more pixels")
        open_devices()
        network = source.load()
        self.identity = weights_identity(network.get_weights())
        self._predict = Predictor(
            network,
            POLICIES[choose_precision(options.precision)],
            options.tiling or source.config().evaluation.tiling,
            int(options.memory_limit),
        )

    def __call__(self, path: Path | str) -> Prediction:
        """The prediction for the scene at `path`; raises SceneError if it cannot be used."""
        path, options = Path(path), self._options
        calibration = options.calibration
        if calibration == "auto":
            calibration = self._facts.calibration
        scene = read_scene(path, None, options.nan, options.reading, calibration)
        if not scene.measured.any():
            raise SceneError(f"{path}: no pixel holds a measurement in all channels")
        return Prediction(
            scene=locate(scene, path),
            probability=scaled(self._predict(scene.image), self._facts.temperature),
            threshold=self._threshold,
            dilate=options.dilate,
            labels=self._facts.labels,
            model=self.identity,
        )

    def described(self) -> dict[str, Any]:
        """What decides the content of the masks, for the record."""
        options = replace(self._options, threshold=self._threshold)
        return {
            "network": self.identity,
            "threshold": options.threshold,
            "dilate": options.dilate,
            "nan": options.nan,
            "calibration": options.calibration,
            "missing_channels": options.reading.missing_channels,
        }


def predict(
    scene: Path | str,
    run: Path | str | None = None,
    model: Path | str | None = None,
    options: MaskOptions | None = None,
    layers: Sequence[str] = (),
) -> "xarray.Dataset":
    """The cloud mask of a scene as `xarray.Dataset`, with coordinates where the scene tells them.

    scene: HDF5 file of the published layout, or Level-1 product (folder, manifest, zip archive).
    run: finished run; model: saved network; without both, the newest finished run under ./runs.
    Variables: `cloud_mask` (1 cloud, 0 clear) and `cloud_probability`, (H, W), NaN where nothing
    was measured; and those of `layers`. Raises InputError if something cannot be used.
    """
    if run and model:
        raise InputError("run and model: expected only one of them")
    source: NetworkSource = FileNetwork(Path(model)) if model else RunNetwork(_run(run))
    return dataset(CloudMasker(source, options or MaskOptions())(scene), layers)


def _run(run: Path | str | None) -> RunDirectory:
    return RunDirectory(run) if run else newest_run(RUNS)


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
        facts = {"masks": masker.described() | {"format": request.format}}
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
            write_cog(path, prediction, request.grid or Grid())
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


def _threshold(options: MaskOptions, facts: NetworkFacts, source: NetworkSource) -> float:
    if options.threshold is not None and options.favor:
        raise InputError("--threshold and --favor: expected only one of them")
    if options.favor:
        known = {"clear": facts.threshold_favor_clear, "cloud": facts.threshold_favor_cloud}
        found = known[options.favor]
        if found is None:
            raise InputError(
                f"--favor {options.favor}: {source} tells no such threshold; networks of this "
                "version do, for others expected --threshold"
            )
        return found
    threshold = source.config().evaluation.threshold
    threshold = threshold if options.threshold is None else options.threshold
    if not 0 < threshold < 1:
        raise InputError(f"--threshold {threshold:g}: expected a probability between 0 and 1")
    return threshold
