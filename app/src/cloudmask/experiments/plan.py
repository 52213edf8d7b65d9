"""The plan: rows with their numbers and run directories, frozen when they are first submitted.

`runs/NAME/plan.json` holds it. A row keeps number, parameters and directory forever; what the file
asks for later gets new numbers at the end; what it no longer asks for stays, marked as dropped.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from cloudmask.config.settings import Config
from cloudmask.config.yaml_model import Positive, Section, make_model
from cloudmask.errors import InputError
from cloudmask.experiments.experiment import Experiment, configuration
from cloudmask.experiments.grid import LARGEST, identity
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files, lock, names, reading

NAME = "plan.json"
SCHEMA = 1
RUNS = Path("runs")
LARGEST_PLAN = 256 << 20  # bytes: one of 100,000 rows has 30 million
LONGEST_NAME = 200  # characters of a run directory; file systems end at 255
LOCK_SECONDS = 60.0  # that others may take to freeze


@dataclass(frozen=True)
class Row:
    """One run: its number from 1, the name of its directory, and what it is to be run with."""

    index: int
    directory: str
    parameters: dict


class RowEntry(Section):
    """A row of the file, see Row."""

    index: Positive
    directory: str
    parameters: dict[str, Any]


class PlanFile(Section):
    """The keys of plan.json."""

    version: int = Field(alias="schema", description="of these keys")
    name: str = Field(description="of the experiment")
    base: dict[str, Any] = Field(description="the configuration's sections that rows change")
    labels: tuple[str, ...] = Field(strict=False, description="parameters that are no settings")
    rows: tuple[RowEntry, ...] = Field(strict=False, description="in the order of their numbers")


@dataclass(frozen=True)
class Plan:
    """All rows of an experiment whose runs lie in `folder`.

    base and labels: as in Experiment. dropped: numbers that the file no longer asks for.
    """

    name: str
    folder: Path
    base: dict
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    dropped: frozenset[int] = frozenset()

    def row(self, index: int) -> Row:
        """The row of that number; raises InputError that names which there are."""
        if not 1 <= index <= len(self.rows):
            raise InputError(
                f"--index {index}: no such row in {self.name}; expected 1 to {len(self.rows)}"
            )
        return self.rows[index - 1]

    def run(self, row: Row) -> RunDirectory:
        """Its run directory."""
        return RunDirectory(self.folder / row.directory)

    def config(self, row: Row) -> Config:
        """Its complete configuration."""
        source = f"{self.folder / NAME}: row {row.index}"
        return configuration(self.name, self.base, row.parameters, self.labels, source)

    @property
    def varied(self) -> list[str]:
        """Parameters with more than one value, and those that only some rows have."""
        return _varied([row.parameters for row in self.rows])


def load(folder: Path) -> Plan | None:
    """The frozen plan in an experiment's folder, None if there is none yet.

    Raises InputError if it is damaged.
    """
    path = folder / NAME
    try:
        tree = reading.read_json(path, LARGEST_PLAN)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); expected a frozen plan") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: damaged; expected a frozen plan")
    if tree.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema {tree.get('schema')!r}; this version reads {SCHEMA}")
    try:
        found = make_model(tree, PlanFile, str(path))
    except InputError as error:
        # Nobody writes this file by hand, so that a list of all that is wrong helps nobody.
        raise InputError(" ".join(str(error).split())[:500]) from None
    rows = tuple(Row(row.index, row.directory, row.parameters) for row in found.rows)
    for position, row in enumerate(rows, 1):
        names.file_name(row.directory, f"{path}: row {row.index}: directory")
        if row.index != position:
            raise InputError(f"{path}: row {row.index}: expected the index {position}")
    if len({row.directory for row in rows}) < len(rows):
        raise InputError(f"{path}: two rows have the same directory")
    names.file_name(found.name, f"{path}: name")
    return Plan(found.name, folder, found.base, found.labels, rows)


def preview(experiment: Experiment, runs: Path = RUNS) -> Plan:
    """The plan as it would be frozen now; writes nothing."""
    folder = runs / experiment.name
    earlier = load(folder) or Plan(
        experiment.name, folder, experiment.base, experiment.labels, rows=()
    )
    if earlier.base != experiment.base:
        raise InputError(
            f"{experiment.source}: the base configuration is another than when {folder / NAME} was "
            "frozen; expected the same, or a new name for the experiment"
        )
    known = {identity(row.parameters): row for row in earlier.rows}
    wanted = {identity(parameters) for parameters in experiment.rows}
    new = [parameters for parameters in experiment.rows if identity(parameters) not in known]
    varied = _varied([*(row.parameters for row in earlier.rows), *new])
    rows = list(earlier.rows)
    taken = {row.directory for row in rows}
    for parameters in new:
        index = len(rows) + 1
        directory = _directory(experiment, index, parameters, varied)
        if directory in taken:
            directory = f"{directory}_row_{index}"
        taken.add(directory)
        rows.append(Row(index, directory, parameters))
    dropped = frozenset(row.index for row in rows if identity(row.parameters) not in wanted)
    labels = tuple(dict.fromkeys([*earlier.labels, *experiment.labels]))
    return replace(earlier, rows=tuple(rows), dropped=dropped, labels=labels)


def freeze(experiment: Experiment, runs: Path = RUNS) -> Plan:
    """The plan, written down if it has grown; array tasks that start together wait for another."""
    plan = preview(experiment, runs)
    if _is_written(plan):
        return plan
    plan.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with lock.exclusive(plan.folder / ".plan.lock", str(plan.folder / NAME)):
                plan = preview(experiment, runs)
                if not _is_written(plan):
                    _write(plan)
                return plan
        except InputError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def short_name(key: str) -> str:
    """A parameter without its section, which itself is the name of what is switched on."""
    section, _, last = key.rpartition(".")
    return section if last == "enabled" else last


def ranges(indices: Sequence[int]) -> str:
    """Numbers as `--array` and `bsub` take them: 1-3,7."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], index]
        else:
            parts.append([index])
    return ",".join("-".join(map(str, part)) for part in parts)


def parse_ranges(text: str) -> list[int]:
    """The numbers of 1-3,7; raises InputError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,7})(?:-(\d{1,7}))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise InputError(f"--index {text[:80]}: expected numbers and ranges such as 1-3,7")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
        if len(found) > LARGEST:
            raise InputError(f"--index {text[:80]}: more than {LARGEST} rows")
    return found


def _is_written(plan: Plan) -> bool:
    written = load(plan.folder)
    return written is not None and len(written.rows) == len(plan.rows)


def _write(plan: Plan) -> None:
    tree = {
        "schema": SCHEMA,
        "name": plan.name,
        "base": plan.base,
        "labels": list(plan.labels),
        "rows": [asdict(row) for row in plan.rows],
    }
    files.write_text(plan.folder / NAME, json.dumps(tree, indent=1) + "\n")


def _varied(rows: Sequence[dict]) -> list[str]:
    first: dict = {}
    counts: dict[str, int] = {}
    varied = set()
    for row in rows:
        for key, value in row.items():
            counts[key] = counts.get(key, 0) + 1
            if first.setdefault(key, value) != value:
                varied.add(key)
    return [key for key in first if key in varied or counts[key] < len(rows)]


def _directory(experiment: Experiment, index: int, row: dict, varied: Sequence[str]) -> str:
    chosen = varied if experiment.numbered else list(row)
    last = [short_name(key) for key in row]
    parts = [f"{index:04d}"] if experiment.numbered else []
    for key in (key for key in chosen if key in row):
        short = short_name(key)
        title = experiment.titles.get(key) or (short if last.count(short) < 2 else key)
        parts.append(f"{title}_{row[key]}")
    name = re.sub(r"[^A-Za-z0-9._+=-]", "-", "_".join(parts))
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 6]}_{index:05d}"
