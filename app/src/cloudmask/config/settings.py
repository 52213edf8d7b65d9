"""One validated, frozen configuration for a run; every error names the key and what is allowed.

A configuration is a YAML file of the sections below; whatever it leaves out has its default, which
is the paper's setting. `--set section.key=value` goes through the same check.
"""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cloudmask.errors import InputError

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Loader(yaml.SafeLoader):
    """Safe loading that reads `1e-3` as a number, which YAML 1.1 takes for text, and `10:50:10` as
    text, which it takes for a number to the base 60.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


# As in YAML 1.2, but without octal and hexadecimal numbers, which nobody means here.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9]\d*)$"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Which patches train and which validate."""

    split: Fraction = Field(0.8, description="share of the scenes (not patches) that train")
    split_by: Literal["scene", "patch"] = Field(
        "scene", description="patch: as the paper's text has it; neighbours then leak knowledge"
    )
    split_seed: int = Field(42, ge=0, description="seed of the split; 42 as published")


class Model(Section):
    """The network; the default is the published one."""

    filters: Positive = Field(32, le=512, description="filters of the first level, doubled below")


class Training(Section):
    """The optimisation; the defaults are the paper's."""

    epochs: Positive = Field(200, description="at most this many epochs")
    batch_size: Positive = Field(32, description="patches per step, over all workers together")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="of Adam; with a schedule, its top")
    beta_2: Fraction = Field(
        0.999, description="of Adam; lower: its measure of the gradients' size forgets sooner"
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: falls to zero over all epochs, after the warm-up"
    )
    warmup_epochs: float = Field(
        0.0, ge=0, description="the learning rate rises from zero; with the cosine schedule"
    )
    augment: bool = Field(False, description="flips and quarter turns at random")
    averaging: float = Field(
        0.0, ge=0, lt=1, description="decay of the mean of weights that is kept, 0: the last ones"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 where the device has it, float16 on Volta and Turing"
    )
    deterministic: bool = Field(False, description="equal seeds give equal bits, slower on a GPU")
    xla: bool = Field(False, description="compile the step with XLA")
    threads: int = Field(0, ge=0, description="CPU threads of one operation, 0: TensorFlow decides")

    @model_validator(mode="after")
    def _fits_together(self):
        if self.warmup_epochs and self.schedule == "constant":
            raise ValueError(
                "warmup_epochs belongs to schedule: cosine; expected that, or warmup_epochs: 0"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs: {self.warmup_epochs:g} leaves nothing of epochs: {self.epochs}; "
                "expected fewer"
            )
        return self


class EarlyStoppingSettings(Section):
    """When to stop before the last epoch."""

    enabled: bool = True
    monitor: Literal["val_loss", "val_accuracy", "loss", "accuracy"] = "val_loss"
    patience: Positive = Field(25, description="epochs without improvement before stopping")
    min_delta: float = Field(0.0, ge=0, description="a smaller change is no improvement")
    weights: Literal["best", "last"] = Field(
        "best", description="which weights the run keeps; the published code keeps the last"
    )


class Checkpoint(Section):
    """When the state of a run is saved, besides after every epoch and when asked to stop."""

    minutes: float = Field(0.0, ge=0, description="also every so many minutes, 0: not")


class Evaluation(Section):
    """Inference over whole scenes."""

    tiling: Literal["whole", "published"] = "whole"
    threshold: Fraction = Field(0.5, description="a pixel is cloud above this probability")


class Submission(Section):
    """Who ran it, for the MLPerf log."""

    organization: str = "none"
    division: Literal["open"] = "open"
    status: Literal["onprem", "cloud", "preview", "research"] = "onprem"
    platform: str = Field("", description="name of the system; empty: the GPU's or CPU's name")
    name: str = ""
    user: str = ""
    email: str = ""


class Config(Section):
    """Everything that decides what a run computes."""

    name: str = Field("paper", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(1234, ge=0, lt=2**31, description="of weights and shuffling; rules: 1234")
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    checkpoint: Checkpoint = Checkpoint()
    evaluation: Evaluation = Evaluation()
    submission: Submission = Submission()

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
    place = str(path) if path else "configuration"
    tree = read_yaml(Path(path)) if path else {}
    for override in overrides:
        _apply(tree, override)
    return make_config(tree, place)


def make_config(tree: dict, place: str) -> Config:
    """The configuration of nested sections; `place` names in messages where they come from.

    Raises InputError that lists every wrong key or value at once.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        if len(lines) == 1:
            raise InputError(f"{place}: {lines[0]}") from None
        listing = "".join(f"\n  {line}" for line in lines)
        raise InputError(f"{place}: {len(lines)} settings cannot be used:{listing}") from None


def unidentified(submission: Mapping) -> list[str]:
    """Keys of the section `submission` without which nothing can be submitted, and are not set."""
    needed = ("organization", "name", "user", "email")
    return [f"submission.{key}" for key in needed if submission.get(key) in (None, "", "none")]


def read_yaml(path: Path) -> dict:
    """The sections of a YAML file, {} if it is empty; raises InputError if it cannot be read."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a YAML configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML: {reason}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"{path}: holds a {type(tree).__name__}; expected sections such as data:")
    return tree


def _apply(tree: dict, override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected section.key=value")
    try:
        value = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"--set {override[:80]}: the value is not valid YAML") from None
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise InputError(f"--set {override}: '{section}' is a value, not a section")
    tree[last] = value


def _explain(item: dict) -> str:
    """One line for one pydantic error."""
    where = [str(part) for part in item["loc"]]
    key = ".".join(where)
    if item["type"] == "extra_forbidden":
        fields = _section(where[:-1]).model_fields
        near = difflib.get_close_matches(where[-1], fields, n=1)
        known = ", ".join(
            name if _is_section(field) else f"{name} ({field.default!r})"
            for name, field in fields.items()
        )
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{key}: no such key; {hint}known here: {known}"
    if item["type"] == "value_error":  # of settings that contradict each other
        return f"{key}: {item['ctx']['error']}"
    return f"{key}: {item['msg']}, found {item['input']!r}"


def _is_section(field) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def _section(where: Sequence[str]) -> type[Section]:
    section = Config
    for name in where:
        section = section.model_fields[name].annotation
    return section
