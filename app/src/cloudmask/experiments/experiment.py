"""The experiment file: what varies, what is fixed, and over what configuration."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import cloudmask
from cloudmask.config.settings import Config, canonical_key, make_config, set_key
from cloudmask.config.yaml_model import Section, make_model, read_yaml
from cloudmask.errors import InputError
from cloudmask.experiments import cloudmesh
from cloudmask.experiments.grid import combinations

SHIPPED = Path(cloudmask.__file__).parent / "configs" / "experiments"
DEFAULT = "paper"
# Where a row runs and which repetition it is; not settings of the configuration.
ROW_KEYS = ("gpu", "site", "repeat")


class ExperimentFile(Section):
    """The keys of an experiment file."""

    name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="the folder under runs/; default: the file's name",
    )
    base: str | None = Field(
        None,
        description="a configuration that rows change, relative to this file; default: the "
        "defaults, which are the paper's",
    )
    repeats: Annotated[int, Field(gt=0, le=100_000)] = Field(
        1, description="each row so many times, as parameter repeat"
    )
    parameters: dict[str, Any] = Field(
        {}, description="section.key of the configuration, gpu, site: a value, a list, or a range"
    )
    when: dict[str, dict[str, Any]] = Field(
        {}, description="parameter: conditions; where they do not hold, the row does not have it"
    )
    include: list[dict[str, Any]] = Field(
        [],
        description="further rows; what an entry leaves out comes from parameters with one value",
    )
    exclude: list[dict[str, Any]] = Field(
        [], description="rows that match all keys of an entry are left out"
    )


@dataclass(frozen=True)
class Experiment:
    """A checked experiment: `rows` are the parameters of each, in the order of the file.

    source: where it comes from, for messages. base: the configuration's sections that rows change.
    labels: parameters of foreign files that are no settings here. titles: by what name a parameter
    stands in the run directory's name, if not by its own. numbered: whether that name begins with
    the row's number.
    """

    name: str
    source: str
    base: dict
    rows: list[dict]
    labels: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    numbered: bool = True


def load_experiment(name_or_path: Path | str) -> Experiment:
    """Read and check an experiment file, or one of those that come with the package by name.

    Files of cloudmesh-ee are understood as they are. Raises InputError that names file and key.
    """
    path = find(name_or_path)
    tree = read_yaml(path)
    if isinstance(tree.get("experiment"), dict):
        foreign = cloudmesh.read(path, tree)
        rows = combinations(foreign.parameters, {}, (), (), {})
        experiment = Experiment(
            foreign.name, str(path), {}, rows, foreign.labels, foreign.titles, numbered=False
        )
    else:
        experiment = _own(path, tree)
    for row in experiment.rows:
        configuration(experiment.name, experiment.base, row, experiment.labels, str(path))
    return experiment


def find(name_or_path: Path | str) -> Path:
    """The experiment's file: the path given, or the shipped one of that name."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name_or_path}.yaml"
    if path.name == str(name_or_path) and shipped.is_file():
        return shipped
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
    raise InputError(f"{path}: no such file; expected an experiment file, or one of: {known}")


def configuration(name: str, base: dict, row: Mapping, labels, source: str) -> Config:
    """The complete configuration of a row."""
    tree = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in row.items():
        if key in ROW_KEYS or key in labels:
            continue
        set_key(tree, key, value, f"{source}: {key}")
    tree["name"] = name
    return make_config(tree, source)


def settings() -> dict[str, Any]:
    """All dotted keys of the configuration with their defaults."""
    flat: dict[str, Any] = {}
    for key, value in Config().model_dump().items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    return flat


def _own(path: Path, tree: dict) -> Experiment:
    file = make_model({"name": path.stem} | tree, ExperimentFile, str(path))
    base: dict[str, Any] = {}
    if file.base is not None:
        base = read_yaml(path.parent / file.base)
        make_config(base, str(path.parent / file.base))
    parameters = _by_setting(file.parameters)
    if "repeat" not in parameters and file.repeats > 1:
        parameters["repeat"] = f"1..{file.repeats}"
    _check_keys(path, file)
    when = {key: _by_setting(entry) for key, entry in _by_setting(file.when).items()}
    include, exclude = (list(map(_by_setting, part)) for part in (file.include, file.exclude))
    resolved = make_config(base, str(path)).model_dump()
    current = {key: _at(resolved, key) for key in settings()}
    try:
        rows = combinations(parameters, when, include, exclude, current)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not rows:
        raise InputError(f"{path}: no row is left; expected fewer exclusions")
    return Experiment(file.name, str(path), base, rows)


def _by_setting(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with its parameters under the names that settings have in files and results."""
    return {canonical_key(key): value for key, value in entry.items()}


def _check_keys(path: Path, file: ExperimentFile) -> None:
    """Raise InputError if a parameter that the file names is none."""
    known = settings()
    named: dict[str, list[str]] = {
        "parameters": list(file.parameters),
        "when": [*file.when, *(key for entry in file.when.values() for key in entry)],
        "include": [key for entry in file.include for key in entry],
        "exclude": [key for entry in file.exclude for key in entry],
    }
    for where, keys in named.items():
        for key in keys:
            _check_key(f"{path}: {where}", key, known)


def _check_key(where: str, key: str, known: Mapping) -> None:
    key = canonical_key(key)
    if key in ROW_KEYS or (key in known and key != "name"):
        return
    same = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    near = same or difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"{where}: {key}: no such parameter; {hint}known: {', '.join([*ROW_KEYS, *known])}"
    )


def _at(tree: dict, key: str):
    for part in key.split("."):
        tree = tree[part]
    return tree
