"""Evaluate a classifier on whole scenes: metrics, masks, pictures and times."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cloudmask.errors import InputError, SceneError
from cloudmask.evaluate.masks import write_mask
from cloudmask.evaluate.metrics import ConfusionCounts, mean_scores
from cloudmask.evaluate.pictures import write_picture
from cloudmask.scenes.scene import Scene, read_scene
from cloudmask.system.files import write_csv
from cloudmask.system.progress import track

# (H, W, 9) normalised image to (H, W, 1), probability of cloud or 0 and 1.
Classifier = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class EvaluationOptions:
    """How to judge: threshold of the probability, which truth, what to do with fill pixels."""

    threshold: float = 0.5
    truth: str = "bayes"
    nan: str = "ignore"
    skip_bad: bool = False


@dataclass(frozen=True)
class EvaluationOutput:
    """What to write into `folder`; without one, nothing."""

    folder: Path | None = None
    masks: bool = True
    pictures: bool = True


@dataclass
class _Score:
    """One classifier's figures so far, against the mask and, where it is known, the true field."""

    mask: list[ConfusionCounts] = field(default_factory=list)
    true_field: list[ConfusionCounts] = field(default_factory=list)

    def add(self, result: np.ndarray, scene: Scene, threshold: float) -> ConfusionCounts:
        counts = ConfusionCounts.of(result, scene.mask, scene.valid, threshold)
        self.mask.append(counts)
        if scene.cloud_truth is not None:
            self.true_field.append(
                ConfusionCounts.of(result, scene.cloud_truth, scene.valid, threshold)
            )
        return counts

    def summary(self) -> dict:
        against_mask = mean_scores([counts.scores() for counts in self.mask])
        if not self.true_field:
            return against_mask
        truth = mean_scores([counts.scores() for counts in self.true_field])
        return against_mask | {"true_field": truth}


def evaluate(
    predict: Classifier,
    scenes: Sequence[Path],
    options: EvaluationOptions,
    output: EvaluationOutput = EvaluationOutput(),
    baselines: Mapping[str, Classifier] | None = None,
) -> dict:
    """Classify each scene and return the section "inference" of a result.

    Scores are means over scenes, as the benchmark's; "pooled" holds those over all pixels together.
    `seconds_per_scene` is the network alone, without tracing; `seconds_per_scene_all` contains
    reading and writing as well. Raises SceneError for a bad scene unless `skip_bad`.
    """
    network, others = _Score(), {name: _Score() for name in baselines or {}}
    rows: list[dict] = []
    left_out, notes, shapes = [], [], set()
    warm_up = predicting = 0.0
    began = time.perf_counter()
    for path in track(scenes, len(scenes), "evaluate"):
        try:
            scene = read_scene(path, options.truth, options.nan)
            if not scene.valid.any():
                raise SceneError(f"{path}: no pixel holds a measurement in all channels")
        except SceneError as error:
            if not options.skip_bad:
                raise
            left_out.append(str(error))
            continue
        notes += [f"{scene.name}: {note}" for note in scene.notes]
        if baselines and not scene.channels[:6].all():
            notes.append(f"{scene.name}: the reference classifiers judge without those channels")
        if scene.image.shape not in shapes:
            # The first scene of a size pays for tracing; it is classified twice.
            shapes.add(scene.image.shape)
            warm_up += _timed(predict, scene.image)[1]
        probability, seconds = _timed(predict, scene.image)
        predicting += seconds
        counts = network.add(probability, scene, options.threshold)
        for name, score in others.items():
            score.add(baselines[name](scene.image), scene, 0.5)
        row = {"name": scene.name, **counts.scores(), **counts.confusion()}
        rows.append(row | {"invalid_pixels": scene.invalid_pixels, "seconds": seconds})
        _write(output, scene, probability, options.threshold, row["accuracy"])
    if not rows:
        raise InputError(f"no scene can be used; the first: {left_out[0]}")
    elapsed = time.perf_counter() - began - warm_up
    if output.folder:
        write_csv(output.folder / "scenes.csv", list(rows[0]), rows)
    pooled = sum(network.mask, ConfusionCounts())
    return {
        "scenes": len(rows),
        **network.summary(),
        "accuracy_per_scene": {row["name"]: row["accuracy"] for row in rows},
        "pooled": pooled.scores(),
        "confusion": pooled.confusion(),
        "calibration": pooled.calibration(),
        "threshold": options.threshold,
        "truth": options.truth,
        "nan": options.nan,
        "invalid_pixels": sum(row["invalid_pixels"] for row in rows),
        "seconds_per_scene": predicting / len(rows),
        "scenes_per_second": len(rows) / predicting,
        "seconds_per_scene_all": elapsed / len(rows),
        "tracing_seconds": max(warm_up - len(shapes) * predicting / len(rows), 0.0),
        "left_out": left_out,
        "notes": notes,
        "baselines": {name: score.summary() for name, score in others.items()},
    }


def _timed(predict: Classifier, image: np.ndarray) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    return predict(image), time.perf_counter() - began


def _write(
    output: EvaluationOutput,
    scene: Scene,
    probability: np.ndarray,
    threshold: float,
    accuracy: float | None,
) -> None:
    if not output.folder:
        return
    if output.masks:
        path = output.folder / "masks" / f"{scene.name}.nc"
        path.parent.mkdir(exist_ok=True)
        write_mask(path, scene.name, probability, scene.valid, threshold)
    if output.pictures:
        path = output.folder / "pictures" / f"{scene.name}.png"
        path.parent.mkdir(exist_ok=True)
        write_picture(path, scene, probability, threshold, accuracy)


def table(inference: Mapping) -> str:
    """The scores of the network and the baselines as a plain table, in percent.

    Against the mask, which the benchmark takes for truth (its target is 90 %), and against the true
    field where it is known.
    """
    columns = ("accuracy", "iou", "precision", "recall", "f1", "skill")
    lines = [f"{'agreement with':30}" + "".join(f"{name:>11}" for name in columns)]
    entries = {"U-Net": inference, **inference["baselines"]}
    for name, scores in entries.items():
        lines.append(_line(f"{name}, mask", [scores[column] for column in columns]))
        if "true_field" in scores:
            true_field = [scores["true_field"][column] for column in columns]
            lines.append(_line(f"{name}, true field", true_field))
    return "\n".join(lines)


def _line(name: str, values: Sequence[float | None]) -> str:
    return f"{name:30}" + "".join("          -" if v is None else f"{v:>11.2%}" for v in values)
