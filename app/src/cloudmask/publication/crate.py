"""An RO-Crate of a run, or of an experiment with its finished runs, written by the rocrate library.

`ro-crate-metadata.json` is added to the folder, which so becomes the crate.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.record import provenance
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files, output, reading

NAME = "ro-crate-metadata.json"
TITLE = "Cloud masking of Sentinel-3 SLSTR scenes: "
LARGEST_FILE = 64 * reading.MIB  # a run takes some 10 KB of it
LICENSE = "https://spdx.org/licenses/Apache-2.0"


@dataclass(frozen=True)
class RunFacts:
    """What the crate records about a run, beside its files."""

    name: str
    code: str  # version of the program
    commit: str | None
    user: str
    person: str  # the user's name as the run's configuration has it
    started: str
    command: str
    figures: Mapping[str, float | None]


def describe(folder: Path) -> Path:
    """Write the metadata of a finished run, or of an experiment, and return its path.

    Raises InputError if the folder is neither or the library is not installed.
    """
    try:
        import rocrate.rocrate  # noqa: F401
    except ImportError:
        raise InputError(
            "rocrate is not installed; expected pip install 'cloudmask[fair]'"
        ) from None
    planned = plan.load(folder)
    runs = [planned.run(row) for row in planned.rows] if planned else [RunDirectory(folder)]
    finished = [run for run in runs if run.finished]
    if not finished:
        expected = "an experiment with a finished run" if planned else "a finished run"
        raise InputError(f"{folder}: expected {expected}")
    with output.file_claimed(folder / NAME):
        _refuse_foreign(folder / NAME)
        crate = _crate(folder, planned, finished)
        # Not crate.write, which copies: the files lie where they are described.
        text = json.dumps(crate.metadata.generate(), indent=4, sort_keys=True)
        files.write_text(folder / NAME, text + "\n")
    return folder / NAME


def _refuse_foreign(path: Path) -> None:
    """Raise InputError if the crate that is there was not made by this program."""
    if not os.path.lexists(path):
        return
    try:
        found = reading.read_json(path, LARGEST_FILE)
        graph = found["@graph"] if isinstance(found, dict) else ()
        ours = any(str(entity.get("name")).startswith(TITLE) for entity in graph)
    except (InputError, OSError, ValueError, TypeError, KeyError, AttributeError):
        ours = False
    if not ours:
        raise InputError(f"{path}: not made by cloudmask-fair; expected nothing there")


def _crate(folder: Path, planned, finished: Sequence[RunDirectory]):
    """The crate of the finished runs in a folder; `planned`: its plan, if an experiment."""
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name = f"{TITLE}{folder.resolve().name}"
    crate.description = (
        "Training and evaluation of a U-Net, by the MLCommons Science cloud-masking benchmark."
    )
    crate.license = LICENSE
    if planned:
        rows = folder / plan.NAME
        _add_file(crate, folder, rows, "rows of the experiment, frozen", "application/json")
    for run in finished:
        _add_run(crate, folder, run)
    return crate


def _files(run: RunDirectory) -> dict[Path, tuple[str, str]]:
    """The files of a run: what each is, and its media type."""
    return {
        run.config: ("complete configuration", "application/yaml"),
        run.history: ("figures of every epoch", "text/csv"),
        run.log: ("events of the run, MLPerf logging", "text/plain"),
        run.summary: ("times by phase", "text/plain"),
        run.telemetry: ("power, use and memory while it ran", "text/csv"),
        run.provenance: ("software, machine, job and data", "application/json"),
        run.row: ("which row of which experiment it is", "application/json"),
        run.source: ("the program, where no commit identifies it", "application/gzip"),
        run.model: ("the trained network", "application/zip"),
        run.result: ("accuracy, times, energy", "application/json"),
    }


def _facts(run: RunDirectory) -> RunFacts:
    """Read the facts; raises InputError that names the file where they are damaged."""
    found = run.read_result()
    facts = provenance.read(run.provenance)
    try:
        return RunFacts(
            name=run.path.resolve().name,
            code=facts["versions"]["cloudmask"],
            commit=facts["git"]["commit"],
            user=facts["user"],
            person=found.experiment["submission"].get("name") or facts["user"],
            started=(facts["earlier"] or [facts])[0]["started"],
            command=" ".join(facts["command"]),
            figures=_figures(found),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{run.provenance}: damaged ({error!r})") from None


def _figures(found: Result) -> dict[str, float | None]:
    figures = {}
    if found.training:
        figures["accuracy of validation"] = found.training.val_accuracy
    if found.inference:
        figures["accuracy on whole scenes"] = found.inference.accuracy
    return figures


def _add_run(crate, root: Path, run: RunDirectory) -> None:
    from rocrate.model.person import Person

    facts = _facts(run)
    outputs = [
        _add_file(crate, root, path, *description)
        for path, description in _files(run).items()
        if path.exists()
    ]
    software = {"@type": "SoftwareApplication", "name": "cloudmask", "softwareVersion": facts.code}
    if facts.commit:
        software["identifier"] = facts.commit
    action = {
        "@type": "CreateAction",
        "name": f"run {facts.name}",
        "startTime": facts.started,
        "description": facts.command,
    }
    entity = _add_entity(crate, f"#run-{facts.name}", action)
    entity["instrument"] = _add_entity(
        crate, f"#cloudmask-{facts.code}-{facts.commit or 'unknown'}", software
    )
    entity["agent"] = crate.add(Person(crate, f"#{facts.user}", {"name": facts.person}))
    entity["result"] = outputs
    entity["variableMeasured"] = [
        _add_entity(
            crate,
            f"#{facts.name}-{name.replace(' ', '-')}",
            {"@type": "PropertyValue", "name": name, "value": value},
        )
        for name, value in facts.figures.items()
    ]
    crate.root_dataset.append_to("mentions", entity)


def _add_entity(crate, identifier: str, properties: Mapping[str, Any]):
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, dict(properties)))


def _add_file(crate, root: Path, path: Path, description: str, media_type: str):
    name = str(path.relative_to(root))
    properties = {
        "name": path.name,
        "description": description,
        "encodingFormat": media_type,
        "contentSize": str(path.stat().st_size),
    }
    return crate.add_file(path, dest_path=name, properties=properties)
