"""The settings that decide what a run finds, as today's program reads them.

A run of an older version does not name the settings that were added since. It ran with what are
their defaults today, and so repeats a run of this version that names them.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cloudmask.config.settings import Config, canonical_key
from cloudmask.config.yaml_model import Section

LARGEST = 1e15  # of the numbers of a run: joules and bytes stay below it
LONGEST = 200  # characters of a text that is shown
# Settings that name a run, or that a repeat may vary without becoming another experiment.
NOT_DECISIVE = ("name", "seed", "config_sha256", "precision", "submission", "checkpoint")
SECTIONS: dict[str, Section] = {
    name: entry.default
    for name, entry in Config.model_fields.items()
    if isinstance(entry.default, Section) and name not in NOT_DECISIVE
}


def flat(tree: Mapping, prefix: str = "") -> dict:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def decisive(experiment: Mapping) -> dict:
    """The settings that all repeats have in common, by their dotted names.

    What an older version did not know has its default; what a newer one may know and this one does
    not stays as it is. A result without settings gets none.
    """
    tree = dict(experiment)
    if any(isinstance(tree.get(name), Mapping) for name in SECTIONS):
        for name, default in SECTIONS.items():
            written = tree.get(name, {})
            if isinstance(written, Mapping):
                tree[name] = _completed(name, default, written)
    leaves = {k: _shown(v) for k, v in flat(tree).items() if k.split(".")[0] not in NOT_DECISIVE}
    # The precision that "auto" chose is a fact of the system, the tiling one of each evaluation.
    for key in ("training.precision", "evaluation.tiling"):
        leaves.pop(key, None)
    if leaves.pop("early_stopping.enabled", None) is False:
        leaves = {k: v for k, v in leaves.items() if not k.startswith("early_stopping.")}
    return leaves


def _completed(name: str, default: Section, written: Mapping) -> dict:
    """A section as today's model reads it; where it cannot, what is missing has its default."""
    named = {canonical_key(f"{name}.{key}").split(".")[-1]: v for key, v in written.items()}
    model = type(default)
    known = {key: value for key, value in named.items() if key in model.model_fields}
    try:
        read = model.model_validate(known).model_dump(mode="json")
    except ValidationError:
        read = default.model_dump(mode="json") | known
    return read | {key: value for key, value in named.items() if key not in known}


def _shown(value: Any) -> Any:
    """A setting, which a newer program may have of any type, as a number or a text."""
    plain = value is None or isinstance(value, (bool, str))
    if plain or (isinstance(value, (int, float)) and abs(value) <= LARGEST):
        return value
    return str(value)[:LONGEST]
