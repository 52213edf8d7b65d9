"""Experiment files of cloudmesh-ee, as they are.

Under `experiment:` each text with commas, or with a range in brackets such as `[1-3]` or
`run[01-03]`, is a list; every combination is a row, in the order of the file. `{section.key}`
stands for another value of the file, `{os.NAME}` for a variable of the environment.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cloudmask.config import yaml_text
from cloudmask.errors import InputError
from cloudmask.experiments.grid import LARGEST

# Names that the published cloud-masking files use, and what they are here.
MEANINGS = {
    "epoch": "training.epochs",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "seed": "seed",
    "train_split": "data.split",
    "early_stoppage": "early_stopping.enabled",
    "early_stopping": "early_stopping.enabled",
    "early_stoppage_patience": "early_stopping.patience",
    "patience": "early_stopping.patience",
    "card_name": "gpu",
    "gpu": "gpu",
    "repeat": "repeat",
}
_NESTING = 10  # references within references
_REFERENCE = re.compile(r"\{([A-Za-z_][\w-]*(?:\.[\w-]+)+)\}")
_BRACKETS = re.compile(r"([^\[\]]*)\[(\d{1,18})-(\d{1,18})\]([^\[\]]*)")


@dataclass(frozen=True)
class CloudmeshFile:
    """What such a file holds: parameters as lists, under the names of this project's settings.

    labels: those that are no settings here; titles: the file's own names, for run directories.
    """

    name: str
    parameters: dict[str, list]
    labels: tuple[str, ...]
    titles: dict[str, str]


def read(path: Path, tree: dict) -> CloudmeshFile:
    """Understand the file's content; raises InputError that names file and key."""
    parameters: dict[str, list] = {}
    titles: dict[str, str] = {}
    for title, given in tree["experiment"].items():
        key = MEANINGS.get(str(title), str(title))
        if key in parameters:
            # card_name and gpu may both be there: the first is the parameter.
            key = str(title)
        titles[key] = str(title)
        parameters[key] = _values(path, str(title), given, tree, numeric=key in MEANINGS.values())
    if not parameters:
        raise InputError(f"{path}: experiment: is empty; expected parameters")
    labels = tuple(key for key in parameters if key not in MEANINGS.values())
    name = tree.get("application", {})
    name = name.get("name") if isinstance(name, dict) else None
    name = re.sub(r"[^A-Za-z0-9._-]", "-", str(name or path.stem)).lstrip("._-")[:100]
    return CloudmeshFile(name or "experiment", parameters, labels, titles)


def _values(path: Path, title: str, given, tree: dict, numeric: bool) -> list:
    if isinstance(given, list):
        return [value for item in given for value in _values(path, title, item, tree, numeric)]
    if isinstance(given, dict):
        raise InputError(f"{path}: experiment.{title}: holds sections; expected values")
    if not isinstance(given, str):
        return [given]
    text = _resolve(path, f"experiment.{title}", given, tree)
    parts = [part for piece in text.split(",") for part in _range(path, title, piece.strip())]
    # A label stays the text that names a directory: "01" is not 1.
    return [_scalar(part) if numeric else part for part in parts]


def _range(path: Path, title: str, piece: str) -> list[str]:
    match = _BRACKETS.fullmatch(piece)
    if not match:
        return [piece]
    before, first, last, after = match.groups()
    if int(first) > int(last):
        raise InputError(f"{path}: experiment.{title}: [{first}-{last}] holds nothing")
    if int(last) - int(first) >= LARGEST:
        raise InputError(
            f"{path}: experiment.{title}: [{first}-{last}] holds more than {LARGEST} values"
        )
    numbers = range(int(first), int(last) + 1)
    return [f"{before}{number:0{len(first)}d}{after}" for number in numbers]


def _scalar(text: str):
    if re.fullmatch(r"0\d{1,18}", text):
        return int(text)
    try:
        return yaml_text.parse(text)
    except ValueError:
        return text


def _resolve(path: Path, key: str, text: str, tree: dict) -> str:
    for _ in range(_NESTING):
        match = _REFERENCE.search(text)
        if not match:
            return text
        section, *rest = match[1].split(".")
        if section == "os":
            found = os.environ.get(".".join(rest))
        else:
            found = tree.get(section)
            for part in rest:
                found = found.get(part) if isinstance(found, dict) else None
        if found is None or isinstance(found, (dict, list)):
            raise InputError(f"{path}: {key}: {match[0]} is not defined")
        text = text[: match.start()] + str(found) + text[match.end() :]
    raise InputError(f"{path}: {key}: references to references without end")
