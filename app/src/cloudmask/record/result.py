"""`result.json` as a type: what a finished run or an evaluation found, checked once when read.

It is written last and atomically, so that it exists if and only if the run finished. The classes
are its schema, number 1; `make docs` writes it out in docs/formats.md.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloudmask.errors import InputError
from cloudmask.record.described_data import DataDescription
from cloudmask.record.section import Number, Section, explain
from cloudmask.system import files, reading

SCHEMA: Literal[1] = 1
BENCHMARK_LABELS = "bayes"  # label source of the benchmark
LARGEST_FILE = 64 * reading.MIB  # a scene takes some 60 bytes of it


class Scores(Section):
    """Agreement of a classifier with a mask; fractions between 0 and 1, None where not defined."""

    accuracy: Number = Field(description="fraction of valid pixels labeled as the mask labels them")
    iou: Number = Field(None, description="intersection over union of the class cloud")
    precision: Number = Field(None, description="fraction of predicted cloud that is cloud")
    recall: Number = Field(None, description="fraction of cloud that is predicted: the hit rate")
    f1: Number = Field(None, description="harmonic mean of precision and recall")
    skill: Number = Field(
        None,
        description="Hanssen-Kuipers discriminant (true skill statistic, TSS): hit rate minus "
        "false alarm rate",
    )
    brier: Number = Field(None, description="mean squared difference of probability and mask")
    calibration_error: Number = Field(
        None,
        description="mean distance of probability and frequency of cloud over probability bins",
    )


class MeanScores(Scores):
    """Scores as means over scenes, each over those scenes for which it is defined.

    The accuracy is defined in every scene that is judged, and so are `brier` and
    `calibration_error`.
    """

    iou_scenes: int | None = Field(None, description="scenes that define iou: with cloud in either")
    precision_scenes: int | None = Field(
        None, description="scenes that define precision: with predicted cloud"
    )
    recall_scenes: int | None = Field(None, description="scenes that define recall: with cloud")
    f1_scenes: int | None = Field(None, description="scenes that define f1: with cloud in either")
    skill_scenes: int | None = Field(
        None, description="scenes that define skill: with both cloud and clear sky"
    )
    accuracy_all_pixels: Number = Field(
        None,
        description="accuracy over all pixels, those without a measurement or a label as clear "
        "sky: the published fashion; mean over scenes",
    )
    pooled: Scores | None = Field(
        None, description="scores over the valid pixels of all scenes together"
    )
    pooled_all_pixels: Scores | None = Field(
        None,
        description="scores over all pixels of all scenes together, those without a measurement "
        "or a label as clear sky",
    )


class ClassifierScores(MeanScores):
    """A classifier's scores against the mask and, for synthetic scenes, the simulated clouds."""

    true_field: MeanScores | None = Field(
        None, description="against the cloud truth, where simulated"
    )


class Confusion(Section):
    """Contingency table over the valid pixels of all scenes."""

    hits: int = Field(description="cloud in both")
    false_alarms: int = Field(description="cloud predicted only")
    misses: int = Field(description="cloud in the mask only")
    rejections: int = Field(description="clear in both: correct negatives")


class CalibrationBin(Section):
    """One bin of the predicted probability."""

    probability: float = Field(description="mean predicted probability")
    cloud: float = Field(description="fraction of the pixels that are cloud")
    pixels: int = Field(description="pixels in the bin")


class Inference(ClassifierScores):
    """Whole scenes classified: scores are means over scenes, `pooled` those over their pixels."""

    tiling: str | None = Field(None, description="whole or published (63 tiles)")
    computed_in: str | None = Field(None, description="precision of the computation")
    scenes: int = Field(description="scenes evaluated")
    unlabeled_scenes: int = Field(0, description="scenes without labels: classified, not judged")
    data: DataDescription | None = Field(None, description="which scenes were evaluated")
    accuracy_per_scene: dict[str, Number] = Field({}, description="accuracy by the scene's name")
    confusion: Confusion | None = Field(None, description="contingency table, all scenes together")
    calibration: tuple[CalibrationBin, ...] = Field((), description="by bins of probability")
    threshold: Number = Field(None, description="a pixel is cloud above this probability")
    truth: str | None = Field(None, description="label source judged by: bayes or summary")
    trained_labels: str | None = Field(
        None, description="label source that the network learned; null where it is not known"
    )
    nan: str | None = Field(None, description="policy for pixels without measurement")
    calibration_target: str | None = Field(
        None, description="calibration (baseline collection) that S1 to S6 were adapted to"
    )
    invalid_pixels: int = Field(0, description="pixels that hold no measurement, or no label")
    seconds_per_scene: Number = Field(None, description="in the network alone, seconds")
    scenes_per_second: Number = Field(None, description="the same as a rate")
    seconds_per_scene_all: Number = Field(None, description="with reading and writing, seconds")
    tracing_seconds: Number = Field(None, description="tracing the network, seconds")
    left_out: tuple[str, ...] = Field((), description="scenes that could not be used, and why")
    notes: tuple[str, ...] = Field((), description="what was noticed about the scenes")
    baselines: dict[str, ClassifierScores] = Field({}, description="reference classifiers")

    @property
    def of_benchmark(self) -> bool:
        """Whether it judges all of the benchmark's scenes, by its labels, none seen before."""
        return (
            self.data is not None
            and self.data.of_benchmark
            and self.data.seen_in_training == 0
            and (self.scenes, self.unlabeled_scenes) == (self.data.scenes, 0)
            and self.truth == BENCHMARK_LABELS
        )


class Calibration(Section):
    """How far the kept network's probabilities can be trusted, found on the validation patches."""

    temperature: float = Field(
        description="logits divided by it give the probabilities that agree best with the labels; "
        "1 where none could be fitted"
    )
    calibration_error_before: Number = Field(
        None,
        description="mean distance of probability and frequency of cloud over 20 probability bins, "
        "of the network as trained",
    )
    calibration_error_after: Number = Field(
        None, description="the same of the probabilities scaled by the temperature"
    )
    threshold_favor_clear: float = Field(
        description="lowest threshold of the scaled probability, 0.5 or more, at which at most 2 % "
        "of the clear pixels are called cloud; 0.5 where there is none"
    )
    threshold_favor_cloud: float = Field(
        description="highest threshold of the scaled probability, 0.5 or less, at which at least "
        "98 % of the cloud is found; 0.5 where there is none"
    )
    pixels: int = Field(description="valid pixels of the validation patches")


class Training(Section):
    """A training: figures of the weights that were kept, times over the epochs that ran."""

    data: DataDescription | None = Field(None, description="the scenes of the patch store")
    epochs_run: int = Field(description="epochs that ran")
    best_epoch: int = Field(description="the epoch, from 1, whose weights were kept")
    stopped_early: bool = Field(False, description="whether patience ended it")
    accuracy: Number = Field(None, description="of the training patches, in the kept epoch")
    loss: Number = Field(None, description="of the training patches, in the kept epoch")
    val_accuracy: Number = Field(None, description="of the validation patches")
    val_loss: Number = Field(None, description="of the validation patches")
    seconds: Number = Field(None, description="in epochs, all attempts together, seconds")
    seconds_per_epoch: Number = Field(None, description="mean over the epochs that ran, seconds")
    first_epoch_seconds: Number = Field(None, description="the first epoch, seconds")
    tracing_seconds: Number = Field(None, description="tracing the training step, seconds")
    patches_per_second: Number = Field(None, description="while training")
    data_wait_fraction: Number = Field(None, description="fraction of the time waiting for data")
    staging_seconds: Number = Field(None, description="copying data to the node, seconds")
    attempts: int = Field(1, description="processes that worked at it, interrupted ones included")
    calibration: Calibration | None = Field(
        None, description="of the probabilities; null in runs of versions that did not look"
    )


class OtherJobs(Section):
    """Others on the node of the run, at its begin and its end; the first node, if several."""

    jobs: tuple[str, ...] | None = Field(
        None, description="numbers of Slurm's other running jobs; null where nobody could ask"
    )
    busy_processes: int = Field(0, description="processes of other users that used a processor")
    gpu_processes: int | None = Field(
        None, description="other processes on the GPUs of the run; null where nobody could look"
    )


class System(Section):
    """The machine; further keys name the versions of software packages."""

    host: str | None = Field(None, description="name of the node")
    cpu: str | None = Field(None, description="model of the processor")
    gpu: str | None = Field(None, description="model of the GPU, null on a CPU")
    gpus: int = Field(0, description="GPUs, over all nodes")
    nodes: int = Field(1, description="nodes")
    replicas: int | None = Field(None, description="devices that train together")
    precision: str | None = Field(None, description="precision of the computation")
    tensorflow: str | None = Field(None, description="version of TensorFlow")
    other_jobs: OtherJobs | None = Field(
        None, description="others on the node; null in runs of versions that did not look"
    )
    image_sha256: str | None = Field(None, description="SHA-256 of the container image")
    base_digest: str | None = Field(None, description="digest of the image's base")
    cuda: str | None = Field(None, description="CUDA that TensorFlow was built for")
    cudnn: str | None = Field(None, description="cuDNN that TensorFlow was built for")
    gpu_driver: str | None = Field(None, description="version of the GPU's driver")
    packages_sha256: str | None = Field(
        None, description="SHA-256 of the list of installed packages, which provenance.json holds"
    )
    overlay_sha256: str | None = Field(None, description="SHA-256 of the job's overlay")
    job: str | None = Field(None, description="number of the Slurm or LSF job")


class Energy(Section):
    """What telemetry measured; null where nothing was measured."""

    joules: Number = Field(None, description="of GPUs and CPUs together, as far as measured")
    node_joules: Number = Field(
        None, description="of the whole node, other jobs included, where it tells"
    )


class Result(BaseModel):
    """Everything a run found. Sections that a run does not have are left out of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = Field(SCHEMA, alias="schema", description="number of this schema")
    status: str = Field(description="success")
    experiment: dict[str, Any] = Field(
        {}, description="all settings (docs/configuration.md), config_sha256 and precision"
    )
    training: Training | None = None
    inference: Inference | None = None
    system: System | None = None
    energy: Energy | None = None

    @classmethod
    def read(cls, path: Path | str) -> "Result":
        """Read the file `path`; raises InputError that names it if it is missing or damaged."""
        path = Path(path)
        try:
            text = reading.read_text(path, LARGEST_FILE)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; only a finished run has a result") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(f"{path}: {_explain(error)}") from None
        if "schema_number" not in found.model_fields_set:
            raise InputError(f"{path}: no 'schema'; this version reads {SCHEMA}")
        return found

    def write(self, path: Path | str) -> None:
        """Write the file `path` atomically; raises InputError if there is one: it stays."""
        content = self.model_dump(exclude_unset=True, exclude={"schema_number"})
        content = {"schema": SCHEMA} | {k: v for k, v in content.items() if v is not None}
        text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
        with files.creating(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _explain(error: ValidationError) -> str:
    """The first of what is wrong with a result, in words."""
    item = error.errors()[0]
    if item["loc"] == ("schema",) and item["type"] != "missing":
        return f"schema {item['input']!r}; this version reads {SCHEMA}"
    return explain(error)


def plain(value):
    """`value` as strict JSON can hold it: NumPy's as Python's values, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
