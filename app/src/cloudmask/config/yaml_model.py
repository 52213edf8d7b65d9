"""YAML files as frozen, checked objects; every error names the file and key and what is allowed.

Configurations, site files, experiment files and the table of base images are all read by
`load_model`: a pydantic model says what a file may hold, and all that is wrong in it is listed at
once, unknown keys with the nearest known name.
"""

import difflib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cloudmask.config import yaml_text
from cloudmask.errors import InputError
from cloudmask.system import reading

MOST_ERRORS = 20  # that are listed
LONGEST_SHOWN = 80  # characters of what somebody else has written

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A part of a YAML file: frozen, without conversions (a number is no text), no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


def load_model(path: Path, model: type[AnySection]) -> AnySection:
    """The checked content of a YAML file; raises InputError that lists all that is wrong in it."""
    return make_model(read_yaml(path), model, str(path))


def make_model(tree: Mapping[str, Any], model: type[AnySection], source: str) -> AnySection:
    """The checked object of nested sections; `source` names in messages where they come from.

    Raises InputError that lists every wrong key or value at once.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        found = error.errors()
        lines = [_explain(item, model) for item in found[:MOST_ERRORS]]
        if len(found) == 1:
            raise InputError(f"{source}: {lines[0]}") from None
        if len(found) > MOST_ERRORS:
            lines.append("...")
        listing = "".join(f"\n  {line}" for line in lines)
        raise InputError(f"{source}: {len(found)} settings cannot be used:{listing}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The sections of a YAML file, {} if it is empty; raises InputError if it cannot be read."""
    try:
        text = reading.read_text(path, yaml_text.LARGEST_FILE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a YAML configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    try:
        tree = yaml_text.parse(text)
    except ValueError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"{path}: holds a {type(tree).__name__}; expected sections such as data:")
    return tree


def _explain(item: ErrorDetails, model: type[Section]) -> str:
    """One line for one error of pydantic."""
    where = item["loc"]
    key = _shown(".".join(map(str, where)))
    if item["type"] == "extra_forbidden":
        return f"{key}: no such key; {_known(_section_at(model, where[:-1]), str(where[-1]))}"
    if item["type"] == "value_error":  # One of ours, mostly of settings that contradict each other.
        reason = str(item["ctx"]["error"])
    elif item["type"] == "missing":
        reason = "is missing"
    else:
        reason = f"{item['msg']}, found {_shown(repr(item['input']))}"
    return f"{key}: {reason}" if key else reason


def _shown(text: str) -> str:
    """In one line, and not all of it if it is long."""
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _known(section: type[Section], wrong: str) -> str:
    """The known keys of a section with their defaults, the one nearest to `wrong` first."""
    fields = {field.alias or name: field for name, field in section.model_fields.items()}
    near = difflib.get_close_matches(wrong, fields, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}known here: {', '.join(_entry(name, field) for name, field in fields.items())}"


def _entry(name: str, field: FieldInfo) -> str:
    if _sections_in(field.annotation):
        return name
    return f"{name} (required)" if field.is_required() else f"{name} ({field.get_default()!r})"


def _section_at(section: type[Section], where: Sequence[int | str]) -> type[Section]:
    """The section at a place in the file; list indices and keys of free mappings lead no deeper."""
    for name in where:
        fields = {field.alias or key: field for key, field in section.model_fields.items()}
        if isinstance(name, str) and name in fields:
            inner = _sections_in(fields[name].annotation)
            section = inner[0] if inner else section
    return section


def _sections_in(annotation: Any) -> list[type[Section]]:
    """Sections that a field's type is made of: Section, list[Section], dict[str, Section], …"""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, Section) else []
    if get_origin(annotation) in (Union, types.UnionType, Annotated, list, tuple, dict):
        return [found for part in get_args(annotation) for found in _sections_in(part)]
    return []
