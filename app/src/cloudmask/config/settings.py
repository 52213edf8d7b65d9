"""One validated, frozen configuration for a run; every error names the key and what is allowed.

A configuration is a YAML file of the sections below; whatever it leaves out has its default, which
is the paper's setting. `--set section.key=value` goes through the same check.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, Field, field_validator, model_validator

from cloudmask.config import yaml_text
from cloudmask.config.yaml_model import (
    Fraction,
    Positive,
    Section,
    make_model,
    read_yaml,
)
from cloudmask.errors import InputError

DISTINCT = "distinct"  # as a seed: another one for each run
LARGEST_SEED = 2**31 - 1
MOST_FILTERS = 512  # of the first level: half a billion weights

# Another name of a setting, and the name that it has in files and results.
SYNONYMS = {"training.ema_decay": "training.averaging"}


class Data(Section):
    """Which patches train and which validate."""

    split: Fraction = Field(
        0.8, description="fraction of the scenes (not patches) that train; the rest validates"
    )
    split_by: Literal["scene", "patch"] = Field(
        "scene",
        description="what is split; patch: as in the paper's text, where neighbors leak knowledge",
    )
    split_seed: int = Field(42, ge=0, lt=2**32, description="seed of the split; 42 as published")


class Model(Section):
    """The network; the default is the published one."""

    filters: Positive = Field(
        32, le=MOST_FILTERS, description="filters of the first level; each deeper one doubles"
    )


class Training(Section):
    """The optimization; the defaults are the paper's."""

    epochs: Positive = Field(200, le=1_000_000, description="at most this many epochs")
    batch_size: Positive = Field(
        32, le=1_000_000, description="patches per step, over all workers together"
    )
    learning_rate: float = Field(
        1e-3, gt=0, le=10, description="of Adam; with a schedule, the highest"
    )
    beta_2: Fraction = Field(
        0.999, description="of Adam; a lower value forgets the size of earlier gradients sooner"
    )
    schedule: Literal["constant", "cosine", "polynomial", "exponential", "step", "plateau"] = Field(
        "constant",
        description="of the learning rate; cosine, polynomial and exponential fall to "
        "end_learning_rate over all epochs, step falls after decay_epochs, plateau where the "
        "figure of early_stopping.monitor stops improving",
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        description="epochs in which the learning rate rises from 0; with every schedule but "
        "constant and plateau",
    )
    end_learning_rate: float = Field(
        0.0,
        ge=0,
        le=10,
        description="the lowest, that cosine, polynomial and exponential end with, and below which "
        "plateau does not go",
    )
    decay_power: float = Field(
        1.0, gt=0, le=100, description="exponent of schedule: polynomial; 1: the rate falls evenly"
    )
    decay_epochs: tuple[Positive, ...] = Field(
        (),
        strict=False,
        max_length=1000,
        description="epochs after which schedule: step multiplies the learning rate",
    )
    decay_factor: Fraction = Field(
        0.1, description="what step and plateau multiply the learning rate by"
    )
    decay_patience: Positive = Field(
        10,
        le=1_000_000,
        description="epochs without improvement before schedule: plateau multiplies",
    )
    augment: bool = Field(False, description="flip and turn the patches at random")
    averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("averaging", "ema_decay"),
        description="decay of the exponential moving average of the weights, which the run then "
        "keeps; 0: none; also called ema_decay",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="auto: bfloat16 where the device has it, float16 on Volta and Turing",
    )
    deterministic: bool = Field(False, description="equal seeds give equal bits; slower on a GPU")
    xla: bool = Field(False, description="compile the step with XLA")
    threads: int = Field(
        0, ge=0, le=4096, description="CPU threads of one operation; 0: TensorFlow decides"
    )

    @model_validator(mode="before")
    @classmethod
    def _has_one_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and {"averaging", "ema_decay"} <= values.keys():
            raise ValueError("averaging and ema_decay are one setting; expected one of them")
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Training":
        if self.warmup_epochs and self.schedule in ("constant", "plateau"):
            raise ValueError(
                f"warmup_epochs does not go with schedule: {self.schedule}; expected schedule: "
                "cosine, polynomial, exponential or step, or warmup_epochs: 0"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs: {self.warmup_epochs:g} leaves nothing of epochs: {self.epochs}; "
                "expected fewer"
            )
        self._check_end()
        self._check_steps()
        return self

    def _check_end(self) -> None:
        """Raise ValueError unless the last learning rate suits the first and the schedule."""
        if self.end_learning_rate and self.schedule in ("constant", "step"):
            raise ValueError(
                f"end_learning_rate does not go with schedule: {self.schedule}; expected schedule: "
                "cosine, polynomial, exponential or plateau, or end_learning_rate: 0"
            )
        if self.schedule == "exponential" and not self.end_learning_rate:
            raise ValueError(
                "schedule: exponential never falls to 0; expected an end_learning_rate above 0"
            )
        if self.end_learning_rate > self.learning_rate:
            raise ValueError(
                f"end_learning_rate: {self.end_learning_rate:g} is more than learning_rate: "
                f"{self.learning_rate:g}; expected at most that"
            )

    def _check_steps(self) -> None:
        """Raise ValueError unless the epochs of the steps suit the schedule."""
        if (self.schedule == "step") != bool(self.decay_epochs):
            raise ValueError(
                "decay_epochs belongs to schedule: step; expected both, such as [100, 150], or "
                "none of them"
            )
        if list(self.decay_epochs) != sorted(set(self.decay_epochs)):
            raise ValueError("decay_epochs: expected growing numbers, such as [100, 150]")
        if self.decay_epochs and self.decay_epochs[0] < self.warmup_epochs:
            raise ValueError(
                f"decay_epochs begin before warmup_epochs: {self.warmup_epochs:g} are over; "
                "expected later ones"
            )


class Loss(Section):
    """What training makes small: binary cross-entropy, averaged over valid pixels."""

    positive_weight: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="factor of the loss of pixels labeled cloud, in training and in validation; "
        "above 1 less cloud is missed, and probabilities come out higher than the frequency of "
        "cloud",
    )


class EarlyStoppingSettings(Section):
    """When to stop before the last epoch."""

    enabled: bool = Field(True, description="whether training may stop early")
    monitor: Literal["val_loss", "val_accuracy", "loss", "accuracy"] = Field(
        "val_loss", description="the figure that has to improve"
    )
    patience: Positive = Field(
        25, le=1_000_000, description="epochs without improvement before stopping"
    )
    min_delta: float = Field(0.0, ge=0, description="a smaller change is no improvement")
    weights: Literal["best", "last"] = Field(
        "best", description="which weights the run keeps; the published code keeps the last"
    )


class Checkpoint(Section):
    """When the state of a run is saved, besides after every epoch and when a stop is requested."""

    minutes: float = Field(0.0, ge=0, description="save also every so many minutes; 0: do not")


class Evaluation(Section):
    """Inference over whole scenes."""

    tiling: Literal["whole", "published"] = Field(
        "whole",
        description="published: in overlapping tiles of 256 x 256 pixels, as the paper does",
    )
    threshold: Fraction = Field(0.5, description="a pixel is cloud above this probability")
    nan: Literal["ignore", "fill"] = Field(
        "ignore",
        description="pixels without a measurement: left out of the metrics, or counted as the "
        "published code does",
    )


class Submission(Section):
    """Who ran it, for the MLPerf log."""

    organization: str = Field("none", description="who submits, such as a university")
    organization_url: str = Field("", description="web address of the organization")
    division: Literal["open"] = Field("open", description="of MLPerf; the benchmark has one")
    status: Literal["onprem", "cloud", "preview", "research"] = Field(
        "onprem", description="availability of the system, as MLPerf names it"
    )
    platform: str = Field("", description="name of the system; empty: the GPU's or CPU's name")
    name: str = Field("", description="name of the submission")
    user: str = Field("", description="the person to ask")
    email: str = Field("", description="address of that person")
    repository: str = Field(
        "", description="address of the program's repository; empty: where its checkout is from"
    )
    branch: str = Field("", description="branch in it; empty: the checkout's")
    tag: str = Field("", description="tag of the commit; empty: the checkout's")


class Config(Section):
    """Everything that decides what a run computes."""

    name: str = Field(
        "paper",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="name of the configuration",
    )
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | Literal["distinct"] = Field(
        1234,
        description="of weights and shuffling; the paper's rules want 1234, MLPerf's `distinct`: "
        "drawn when a run begins, logged, and kept when it continues",
    )
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    loss: Loss = Loss()
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    checkpoint: Checkpoint = Checkpoint()
    evaluation: Evaluation = Evaluation()
    submission: Submission = Submission()

    @field_validator("seed", mode="before")
    @classmethod
    def _is_seed(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value != DISTINCT and not (whole and 0 <= value <= LARGEST_SEED):
            raise ValueError(f"expected 0 to {LARGEST_SEED}, or {DISTINCT}; found {value!r:.80}")
        return value

    @property
    def seed_number(self) -> int:
        """The seed of a run that has begun; raises ValueError while it is still to be drawn."""
        if isinstance(self.seed, int):
            return self.seed
        raise ValueError(f"seed: {self.seed} is drawn when the run begins")

    def to_yaml(self) -> str:
        """The complete configuration, defaults included."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)

    def sha256(self) -> str:
        """Checksum of the complete configuration, the same for equal settings."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()


def load_config(path: Path | str | None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (None: all defaults) and apply `section.key=value` overrides.

    Raises InputError that lists every wrong key or value at once.
    """
    tree = read_yaml(Path(path)) if path else {}
    for override in overrides:
        key, value = _parse(override)
        set_key(tree, key, value, f"--set {override}")
    return make_config(tree, str(path) if path else "configuration")


def make_config(tree: Mapping[str, Any], source: str) -> Config:
    """The configuration of nested sections; `source` names in messages where they come from.

    Raises InputError that lists every wrong key or value at once.
    """
    return make_model(tree, Config, source)


def set_key(tree: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set `section.key` in nested sections, also where it stands there under its other name.

    Raises InputError, which begins with `source`, if the key leads through a value.
    """
    key = canonical_key(key)
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise InputError(f"{source}: '{section}' is a value, not a section")
    for synonym, name in SYNONYMS.items():
        if name == key:
            tree.pop(synonym.split(".")[-1], None)
    tree[last] = value


def canonical_key(key: str) -> str:
    """The name that a dotted key has in files and results."""
    return SYNONYMS.get(key, key)


def unidentified(submission: Mapping[str, Any]) -> list[str]:
    """Keys of the section `submission` without which nothing can be submitted, and are not set."""
    needed = ("organization", "name", "user", "email")
    return [f"submission.{key}" for key in needed if submission.get(key) in (None, "", "none")]


def _parse(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected section.key=value")
    try:
        return key, yaml_text.parse(text)
    except ValueError:
        raise InputError(f"--set {override[:80]}: the value is not valid YAML") from None
