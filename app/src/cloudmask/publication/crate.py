"""An RO-Crate of a run, or of an experiment with its finished runs, written by the rocrate library.

`ro-crate-metadata.json` is added to the folder, which so becomes the crate. It follows the profile
Process Run Crate: each training and each evaluation is an action with its inputs and outputs.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.publication.crate_actions import Entities, add_run
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files, output, reading
from cloudmask.system.distribution import install_command

NAME = "ro-crate-metadata.json"
TITLE = "Cloud masking of Sentinel-3 SLSTR scenes: "
LARGEST_FILE = 64 * reading.MIB  # a run takes some 10 KB of it
SPECIFICATION = "1.1"  # of RO-Crate, on which the profile is built
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PROFILE_FACTS = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
LICENSE = "https://spdx.org/licenses/Apache-2.0"
LICENSE_FACTS = {
    "@type": "CreativeWork",
    "name": "Apache-2.0",
    "description": "Apache License, version 2.0",
}


def describe(folder: Path) -> Path:
    """Write the metadata of a finished run, or of an experiment, and return its path.

    Raises InputError if the folder is neither or the library is not installed.
    """
    try:
        import rocrate.rocrate  # noqa: F401
    except ImportError:
        raise InputError(f"rocrate is not installed; expected {install_command('fair')}") from None
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

    crate = ROCrate(version=SPECIFICATION)
    crate.name = f"{TITLE}{folder.resolve().name}"
    crate.description = (
        "Training and evaluation of a U-Net, by the MLCommons Science cloud-masking benchmark."
    )
    entities = Entities(crate, folder)
    crate.root_dataset["license"] = entities.add(LICENSE, LICENSE_FACTS)
    crate.root_dataset["conformsTo"] = entities.add(PROFILE, PROFILE_FACTS)
    if planned:
        entities.add_file(folder / plan.NAME, "rows of the experiment, frozen", "application/json")
    for run in finished:
        add_run(entities, run)
    return crate
