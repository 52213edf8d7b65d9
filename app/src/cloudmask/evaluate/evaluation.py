"""Evaluate a classifier on whole scenes: metrics, masks, pictures and times."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.errors import InputError, NotAScene, SceneError
from cloudmask.evaluate.masks import write_mask
from cloudmask.evaluate.metrics import Agreement
from cloudmask.evaluate.pictures import write_picture
from cloudmask.evaluate.prediction import Prediction
from cloudmask.evaluate.scaling import scaled
from cloudmask.record.described_data import UsedScene, describe
from cloudmask.record.result import ClassifierScores, Inference
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes.calibration import AS_STORED
from cloudmask.scenes.raw import ReadOptions
from cloudmask.scenes.scene import Scene, locate, read_scene
from cloudmask.scenes.slstr import REFLECTANCES
from cloudmask.system.files import write_csv
from cloudmask.system.progress import track

# (H, W, 9) normalized image to (H, W, 1), probability of cloud or 0 and 1.
Classifier = Callable[[np.ndarray], np.ndarray]

BASELINE_THRESHOLD = 0.5


@dataclass(frozen=True)
class EvaluationOptions:
    """How to judge: threshold of the probability, label source, policy for fill pixels.

    reading: how scenes are read. calibration: that of the network's patches, to which S1 to S6 are
    adapted; see `scenes.calibration`. temperature: of the network's probabilities, to which the
    threshold applies when they are scaled by it. trained_on: the scenes of the network's patches,
    where they are at hand.
    """

    threshold: float = 0.5
    labels: str = "bayes"
    nan: str = "ignore"
    skip_bad: bool = False
    reading: ReadOptions = field(default_factory=ReadOptions)
    calibration: str = AS_STORED
    temperature: float = 1.0
    trained_on: Sequence[UsedScene] | None = None


@dataclass(frozen=True)
class EvaluationOutput:
    """What to write into `folder`; without one, nothing.

    labels, model: the label source that the network learned, and its identity, for the masks.
    """

    folder: RunDirectory | None = None
    masks: bool = True
    pictures: bool = True
    labels: str = ""
    model: str = ""


def evaluate(
    predict: Classifier,
    scenes: Sequence[Path],
    options: EvaluationOptions,
    output: EvaluationOutput = EvaluationOutput(),
    baselines: Mapping[str, Classifier] | None = None,
) -> Inference:
    """Classify each scene and return the section "inference" of a result.

    Scenes without labels are classified as well, but not judged. Scores are means over the scenes
    that have labels, as the benchmark's; "pooled" holds those over all their valid pixels together,
    "pooled_all_pixels" those over every pixel, as published.
    `seconds_per_scene` is the network alone, without tracing; `seconds_per_scene_all` contains
    reading and writing as well. Raises SceneError for a bad scene unless `skip_bad`.
    """
    judge = _Judge(predict, options, baselines or {})
    began = time.perf_counter()
    for path in track(scenes, len(scenes), "evaluate"):
        try:
            scene = read_for(path, options, output.masks and output.folder is not None)
        except NotAScene as error:
            judge.notes.append(f"passed over: {error}")
            continue
        except SceneError as error:
            if not options.skip_bad:
                raise
            judge.left_out.append(str(error))
            continue
        probability = judge.judge(scene)
        prediction = Prediction(
            scene,
            probability,
            options.threshold,
            labels=output.labels,
            model=output.model,
            calibration=options.calibration,
        )
        _write(output, prediction, judge.rows[-1])
    judge.require_labels()
    elapsed = time.perf_counter() - began - judge.warm_up
    if output.folder:
        write_csv(output.folder.scenes_table, judge.columns, judge.rows)
    return judge.inference(elapsed)


def read_for(path: Path, options: EvaluationOptions, located: bool) -> Scene:
    """Read a scene for its evaluation; `located`: with latitude and longitude, for its mask."""
    scene = read_scene(path, options.labels, options.nan, options.reading, options.calibration)
    if not scene.measured.any():
        raise SceneError(f"{path}: no pixel holds a measurement in all channels")
    return locate(scene, path) if located else scene


@dataclass
class _Tables:
    """One classifier's agreement with the mask and, where known, with the cloud truth."""

    mask: Agreement = field(default_factory=Agreement)
    cloud_truth: Agreement = field(default_factory=Agreement)

    def add(
        self, result: np.ndarray, scene: Scene, mask: np.ndarray, threshold: float
    ) -> dict[str, Any]:
        """Count one scene; returns its scores and counts against the mask."""
        self.mask.add(result, mask, scene.valid, threshold)
        if scene.cloud_truth is not None:
            self.cloud_truth.add(result, scene.cloud_truth, scene.valid, threshold)
        counts, everywhere = self.mask.valid[-1], self.mask.everywhere[-1]
        all_pixels = {"accuracy_all_pixels": everywhere.scores().accuracy}
        return counts.scores().model_dump() | all_pixels | counts.confusion().model_dump()

    def scores(self) -> dict[str, Any]:
        """All scores; those against the cloud truth are named true_field in the file."""
        found = self.mask.scores().model_dump()
        if self.cloud_truth.valid:
            found["true_field"] = self.cloud_truth.scores()
        return found


class NothingToJudge(InputError):
    """Scenes were classified, but none has labels."""


class _Judge:
    """Classifies scene after scene and keeps what was found.

    rows: one for each scene. warm_up: seconds of tracing. left_out: scenes that could not be used,
    and why. notes: what was noticed.
    """

    def __init__(
        self,
        predict: Classifier,
        options: EvaluationOptions,
        baselines: Mapping[str, Classifier],
    ):
        self._predict = predict
        self._options = options
        self._baselines = baselines
        self._network = _Tables()
        self._others = {name: _Tables() for name in baselines}
        self._shapes: set[tuple[int, ...]] = set()
        self._unlabeled: list[str] = []
        self._seconds = 0.0
        self._origins: Counter[str] = Counter()
        self.notes: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.warm_up = 0.0

    def judge(self, scene: Scene) -> np.ndarray:
        """Classify a scene; returns its cloud probability."""
        self._note(scene)
        self._origins[scene.origin.source] += 1
        if scene.image.shape not in self._shapes:
            # The first scene of a size pays for tracing; it is classified twice.
            self._shapes.add(scene.image.shape)
            self.warm_up += self._timed(scene.image)[1]
        probability, seconds = self._timed(scene.image)
        self._seconds += seconds
        measured = {"invalid_pixels": scene.invalid_pixels, "seconds": seconds}
        figures = self._figures(scene, probability)
        self.rows.append({"name": scene.name, **figures, **measured})
        return probability

    def _figures(self, scene: Scene, probability: np.ndarray) -> dict[str, Any]:
        """Scores and counts of one scene; none without labels."""
        threshold, mask = self._options.threshold, scene.mask
        if mask is None:
            self._unlabeled.append(scene.unlabeled)
            self.notes.append(f"{scene.name}: predicted, not judged: {scene.unlabeled}")
            return {}
        for name, tables in self._others.items():
            tables.add(self._baselines[name](scene.image), scene, mask, BASELINE_THRESHOLD)
        return self._network.add(probability, scene, mask, threshold)

    @property
    def columns(self) -> list[str]:
        """Of the table of scenes: those of a scene with labels."""
        return list(self.rows[max(range(len(self.rows)), key=lambda k: len(self.rows[k]))])

    def require_labels(self) -> None:
        """Raise InputError unless a scene could be judged."""
        if any("accuracy" in row for row in self.rows):
            return
        if self._unlabeled:
            raise NothingToJudge(
                f"no scene has labels to judge by; the first: {self._unlabeled[0]} "
                "(cloudmask-predict writes masks without them)"
            )
        lines = self.left_out + self.notes
        raise InputError(f"no scene can be used; the first: {lines[0]}")

    def inference(self, elapsed: float) -> Inference:
        """The section "inference"; `elapsed`: seconds with reading and writing, without tracing."""
        judged = [row for row in self.rows if "accuracy" in row]
        count, options = len(self.rows), self._options
        pooled = self._network.mask.pooled()
        baselines = {name: ClassifierScores(**t.scores()) for name, t in self._others.items()}
        return Inference(
            scenes=len(judged),
            unlabeled_scenes=count - len(judged),
            data=describe(
                [UsedScene(row["name"]) for row in self.rows], self._origins, options.trained_on
            ),
            **self._network.scores(),
            accuracy_per_scene={row["name"]: row["accuracy"] for row in judged},
            confusion=pooled.confusion(),
            calibration=pooled.calibration(),
            threshold=options.threshold,
            truth=options.labels,
            nan=options.nan,
            calibration_target=options.calibration,
            invalid_pixels=sum(row["invalid_pixels"] for row in self.rows),
            seconds_per_scene=self._seconds / count,
            scenes_per_second=count / self._seconds,
            seconds_per_scene_all=elapsed / count,
            tracing_seconds=max(self.warm_up - len(self._shapes) * self._seconds / count, 0.0),
            left_out=tuple(self.left_out),
            notes=tuple(self.notes),
            baselines=baselines,
        )

    def _note(self, scene: Scene) -> None:
        self.notes += [f"{scene.name}: {note}" for note in scene.notes]
        if self._baselines and not scene.channels[:REFLECTANCES].all():
            self.notes.append(
                f"{scene.name}: the reference classifiers judge without those channels"
            )

    def _timed(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        began = time.perf_counter()
        probability = scaled(self._predict(image), self._options.temperature)
        return probability, time.perf_counter() - began


def _write(output: EvaluationOutput, prediction: Prediction, row: Mapping[str, Any]) -> None:
    if not output.folder:
        return
    name = prediction.scene.name
    if output.masks:
        output.folder.masks.mkdir(exist_ok=True)
        write_mask(output.folder.masks / f"{name}.nc", prediction)
    if output.pictures:
        output.folder.pictures.mkdir(exist_ok=True)
        write_picture(output.folder.pictures / f"{name}.png", prediction, row.get("accuracy"))
