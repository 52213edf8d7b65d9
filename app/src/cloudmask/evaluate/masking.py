"""Cloud masks of scenes that people have, with or without labels: what `cloudmask-predict` does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmask.errors import InputError, SceneError
from cloudmask.evaluate.inference import Predictor
from cloudmask.evaluate.map_formats import dataset
from cloudmask.evaluate.prediction import Prediction
from cloudmask.evaluate.saved_network import NetworkFacts, weights_identity
from cloudmask.evaluate.scaling import scaled
from cloudmask.evaluate.sources import FileNetwork, NetworkSource, RunNetwork, newest_run
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.calibration import TARGETS
from cloudmask.scenes.raw import ReadOptions
from cloudmask.scenes.scene import locate, read_scene
from cloudmask.scenes.slstr import MAX_SIDE

if TYPE_CHECKING:
    import xarray


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


class CloudMasker:
    """A network, ready to mask scenes of any size."""

    def __init__(self, source: NetworkSource, options: MaskOptions):
        _check(options)
        source.check()
        self._facts = source.facts()
        self._options = options
        self._threshold = _threshold(options, self._facts, source)
        self._calibration = (
            self._facts.calibration if options.calibration == "auto" else options.calibration
        )
        self._tiling = options.tiling or source.config().evaluation.tiling
        open_devices()
        self._precision = choose_precision(options.precision)
        network = source.load()
        self.identity = weights_identity(network.get_weights())
        self._predict = Predictor(
            network,
            POLICIES[self._precision],
            self._tiling,
            int(options.memory_limit),
        )

    def __call__(self, path: Path | str) -> Prediction:
        """The prediction for the scene at `path`; raises SceneError if it cannot be used."""
        path, options = Path(path), self._options
        scene = read_scene(path, None, options.nan, options.reading, self._calibration)
        if not scene.measured.any():
            raise SceneError(f"{path}: no pixel holds a measurement in all channels")
        return Prediction(
            scene=locate(scene, path),
            probability=scaled(self._predict(scene.image), self._facts.temperature),
            threshold=self._threshold,
            dilate=options.dilate,
            labels=self._facts.labels,
            model=self.identity,
            calibration=self._calibration,
        )

    def described(self) -> dict[str, Any]:
        """What decides the content of the masks, for the record."""
        return {
            "network": self.identity,
            "temperature": self._facts.temperature,
            "threshold": self._threshold,
            "dilate": self._options.dilate,
            "nan": self._options.nan,
            "calibration": self._calibration,
            "missing_channels": self._options.reading.missing_channels,
            "tiling": self._tiling,
            "precision": self._precision,
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
    named = RunDirectory(run) if run else None
    source: NetworkSource = FileNetwork(Path(model)) if model else RunNetwork(named or newest_run())
    return dataset(CloudMasker(source, options or MaskOptions())(scene), layers)


def _check(options: MaskOptions) -> None:
    """Raise InputError for options that cannot be, named as on the command line."""
    choices = {
        "favor": (None, "clear", "cloud"),
        "nan": ("ignore", "fill"),
        "calibration": ("auto", *TARGETS),
        "tiling": (None, "whole", "published"),
    }
    for name, known in choices.items():
        value = getattr(options, name)
        if value not in known:
            expected = ", ".join(str(choice) for choice in known if choice)
            raise InputError(f"--{name} {value!r}: expected one of {expected}")
    if not isinstance(options.dilate, int) or not 0 <= options.dilate <= MAX_SIDE:
        raise InputError(f"--dilate {options.dilate}: expected 0 to {MAX_SIDE} pixels")
    if not 0 <= options.memory_limit < math.inf:
        limit = options.memory_limit / 1e9
        raise InputError(f"--memory-limit {limit:g}: expected gigabytes, 0 for no limit")


def _threshold(options: MaskOptions, facts: NetworkFacts, source: NetworkSource) -> float:
    if options.threshold is not None and options.favor:
        raise InputError("--threshold and --favor: expected only one of them")
    if options.favor:
        known = {"clear": facts.threshold_favor_clear, "cloud": facts.threshold_favor_cloud}
        found = known[options.favor]
        if found is None:
            raise InputError(
                f"--favor {options.favor}: the network '{source}' has no such threshold; give "
                "--threshold instead"
            )
        return found
    threshold = source.config().evaluation.threshold
    threshold = threshold if options.threshold is None else options.threshold
    if not 0 < threshold < 1:
        raise InputError(f"--threshold {threshold:g}: expected a probability between 0 and 1")
    return threshold
