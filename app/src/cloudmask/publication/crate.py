"""An RO-Crate of a run, or of an experiment with its finished runs, written by the rocrate library.

`ro-crate-metadata.json` is added to the folder, which so becomes the crate.
"""

import json
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.record import result
from cloudmask.record.run_directory import RunDirectory

NAME = "ro-crate-metadata.json"
LICENCE = "https://spdx.org/licenses/Apache-2.0"
# File of a run: what it is, and its media type.
FILES = {
    "config.yaml": ("complete configuration", "application/yaml"),
    "history.csv": ("figures of every epoch", "text/csv"),
    "mlperf.log": ("events of the run, MLPerf logging", "text/plain"),
    "summary.txt": ("times by phase", "text/plain"),
    "telemetry.csv": ("power, use and memory while it ran", "text/csv"),
    "provenance.json": ("software, machine, job and data", "application/json"),
    "row.json": ("which row of which experiment it is", "application/json"),
    "source.tar.gz": ("the program, where no commit tells it", "application/gzip"),
    "model.keras": ("the trained network", "application/zip"),
    "result.json": ("accuracy, times, energy", "application/json"),
}


def describe(folder: Path) -> Path:
    """Write the metadata of a finished run, or of an experiment, and return its path.

    Raises InputError if the folder is neither or the library is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise InputError(
            "rocrate is not installed; expected pip install 'cloudmask[fair]'"
        ) from None
    planned = plan.load(folder)
    runs = [planned.run(row).path for row in planned.rows] if planned else [folder]
    finished = [run for run in runs if result.finished(run)]
    if not finished:
        expected = "an experiment with a finished run" if planned else "a finished run"
        raise InputError(f"{folder}: expected {expected}")
    crate = ROCrate()
    crate.name = f"Cloud masking of Sentinel-3 SLSTR scenes: {folder.resolve().name}"
    crate.description = (
        "Training and evaluation of a U-Net, by the MLCommons Science cloud-masking benchmark."
    )
    crate.license = LICENCE
    if planned:
        _file(crate, folder, plan.NAME, "rows of the experiment, frozen", "application/json")
    for run in finished:
        _run(crate, folder, run)
    # Not crate.write, which copies: the files lie where they are described.
    crate.metadata.write(folder)
    return folder / NAME


def _run(crate, root: Path, run: Path) -> None:
    found = result.read_result(run)
    try:
        facts = json.loads((RunDirectory(run).provenance).read_text(encoding="utf-8"))
        who = found["experiment"]["submission"]
        code, commit = facts["versions"]["cloudmask"], facts["git"]["commit"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{RunDirectory(run).provenance}: damaged ({error!r})") from None
    from rocrate.model.contextentity import ContextEntity
    from rocrate.model.person import Person

    outputs = [
        _file(crate, root, f"{_within(root, run)}{name}", *told)
        for name, told in FILES.items()
        if (run / name).exists()
    ]
    software = crate.add(
        ContextEntity(
            crate,
            f"#cloudmask-{code}-{commit or 'unknown'}",
            {"@type": "SoftwareApplication", "name": "cloudmask", "softwareVersion": code}
            | ({"identifier": commit} if commit else {}),
        )
    )
    person = crate.add(
        Person(crate, f"#{facts['user']}", {"name": who.get("name") or facts["user"]})
    )
    action = {
        "@type": "CreateAction",
        "name": f"run {run.resolve().name}",
        "startTime": (facts["earlier"] or [facts])[0]["started"],
        "description": " ".join(facts["command"]),
    }
    entity = crate.add(ContextEntity(crate, f"#run-{run.resolve().name}", action))
    entity["instrument"], entity["agent"], entity["result"] = software, person, outputs
    figures = {"accuracy of validation": found["training"]["val_accuracy"]}
    if found.get("inference"):
        figures["accuracy on whole scenes"] = found["inference"]["accuracy"]
    entity["variableMeasured"] = [
        crate.add(
            ContextEntity(
                crate,
                f"#{run.resolve().name}-{name.replace(' ', '-')}",
                {"@type": "PropertyValue", "name": name, "value": value},
            )
        )
        for name, value in figures.items()
    ]
    crate.root_dataset.append_to("mentions", entity)


def _file(crate, root: Path, name: str, what: str, kind: str):
    path = root / name
    properties = {
        "name": Path(name).name,
        "description": what,
        "encodingFormat": kind,
        "contentSize": str(path.stat().st_size),
    }
    return crate.add_file(path, dest_path=name, properties=properties)


def _within(root: Path, run: Path) -> str:
    """What stands before a run's files in the crate."""
    return "" if run == root else f"{run.name}/"
