"""What a crate tells about a run: the training and each evaluation, with inputs and outputs."""

import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.publication import program
from cloudmask.record import recorded_provenance
from cloudmask.record.recorded_provenance import PatchData, Provenance
from cloudmask.record.result import Inference, Result
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes import dataset

JSON, TEXT, CSV, YAML = "application/json", "text/plain", "text/csv", "application/yaml"
NEEDED = ("command", "git", "started", "user", "versions")  # of the provenance
SCENES_SHOWN = 100  # names of scenes in a description; the benchmark has as many

logger = logging.getLogger(__name__)


class Entities:
    """The entities of a crate, each added once; files by their paths below the crate's folder."""

    def __init__(self, crate, root: Path):
        self._crate = crate
        self._root = root

    def add(self, identifier: str, properties: Mapping[str, Any]):
        """The entity of that identifier, which is made if it is not there."""
        from rocrate.model.contextentity import ContextEntity

        found = self._crate.get(identifier)
        return found or self._crate.add(ContextEntity(self._crate, identifier, dict(properties)))

    def add_file(self, path: Path, description: str, media_type: str):
        """The entity of a file."""
        properties = {
            "name": path.name,
            "description": description,
            "encodingFormat": media_type,
            "contentSize": str(path.stat().st_size),
        }
        name = str(path.relative_to(self._root))
        found = self._crate.get(name)
        return found or self._crate.add_file(path, dest_path=name, properties=properties)

    def mention(self, entity) -> None:
        """Name an action at the crate's root."""
        self._crate.root_dataset.append_to("mentions", entity)

    def name_author(self, person, organization) -> None:
        """Name a person as author of the crate, the first organization as its publisher."""
        root = self._crate.root_dataset
        known = root.get("author") or []
        authors = known if isinstance(known, list) else [known]
        if person not in authors:
            root["author"] = one_or_more([*authors, person])
        if organization and not root.get("publisher"):
            root["publisher"] = organization


def one_or_more(entities: list) -> Any:
    """A property's value: RO-Crate recommends a list only for several."""
    return entities[0] if len(entities) == 1 else entities


@dataclass(frozen=True)
class ActionFacts:
    """Who did what when, as a run or an evaluation recorded it, and the figures found."""

    name: str
    description: str  # the command line
    begun: str  # ISO 8601
    ended: str  # ISO 8601
    software: Provenance
    submission: Mapping[str, str | None]  # the section of the configuration
    figures: Mapping[str, float | None]


def add_run(entities: Entities, run: RunDirectory) -> None:
    """Add the training of a finished run, and its finished evaluations.

    Raises InputError that names the file where they are damaged.
    """
    result = run.read_result()
    facts = recorded_provenance.read(run.provenance, *NEEDED)
    submission = _submission(run, result)
    config = entities.add_file(run.config, "complete configuration", YAML)
    outputs = _existing(entities, _files(run))
    action = _action(run, "training", facts, submission, _figures(result))
    inputs = [config, _patches(entities, facts, result)]
    if result.inference:
        inputs.append(_scenes(entities, action.name, result.inference))
    _add_action(entities, action, inputs, outputs)
    for folder in run.evaluations():
        if folder.finished:
            _add_evaluation(entities, run, folder, submission)


def _add_evaluation(
    entities: Entities,
    run: RunDirectory,
    folder: RunDirectory,
    submission: Mapping[str, str | None],
) -> None:
    """Add an evaluation of the run, with its masks."""
    result = folder.read_result()
    facts = recorded_provenance.read(folder.provenance, *NEEDED)
    outputs = _existing(
        entities,
        {
            folder.result: ("accuracy over whole scenes", JSON),
            folder.scenes_table: ("scores of every scene", CSV),
            folder.provenance: ("software, machine and job", JSON),
            folder.summary: ("times by phase", TEXT),
            **{
                path: (f"cloud mask of the scene {path.stem}", "application/x-netcdf")
                for path in sorted(folder.masks.glob("*.nc"))
            },
            **dict.fromkeys(
                sorted(folder.pictures.glob("*.png")),
                ("picture of a scene, its labels and its mask", "image/png"),
            ),
        },
    )
    action = _action(folder, f"evaluation of {run.path.name}", facts, submission, _figures(result))
    inputs = _existing(entities, {run.model: ("the trained network", "application/zip")})
    if result.inference:
        inputs.append(_scenes(entities, action.name, result.inference))
    _add_action(entities, action, inputs, outputs)


def _files(run: RunDirectory) -> dict[Path, tuple[str, str]]:
    """The files that a training leaves: what each is, and its media type."""
    return {
        run.history: ("figures of every epoch", CSV),
        run.log: ("events of the run, MLPerf logging", TEXT),
        run.summary: ("times by phase", TEXT),
        run.telemetry: ("power, use and memory while it ran", CSV),
        run.provenance: ("software, machine, job and data", JSON),
        run.row: ("which row of which experiment it is", JSON),
        run.source: ("the program, where no commit identifies it", "application/gzip"),
        run.model: ("the trained network", "application/zip"),
        run.result: ("accuracy, times, energy", JSON),
    }


def _existing(entities: Entities, described: Mapping[Path, tuple[str, str]]) -> list:
    return [
        entities.add_file(path, *description)
        for path, description in described.items()
        if path.exists()
    ]


def _action(
    folder: RunDirectory,
    kind: str,
    facts: Provenance,
    submission: Mapping[str, str | None],
    figures: Mapping[str, float | None],
) -> ActionFacts:
    """The facts of what was done in `folder`; raises InputError where they are damaged."""
    if facts.begun is None:
        raise InputError(f"{folder.provenance}: no 'earlier.0.started'; the file is damaged")
    # The result is what a run writes last.
    ended = datetime.datetime.fromtimestamp(folder.result.stat().st_mtime, datetime.timezone.utc)
    return ActionFacts(
        name=f"{kind}: {folder.path.resolve().name}",
        description=" ".join(facts.command) or kind,
        begun=facts.begun,
        ended=ended.isoformat(timespec="seconds"),
        software=facts,
        submission=submission,
        figures=figures,
    )


def _submission(run: RunDirectory, result: Result) -> Mapping[str, str | None]:
    """The section `submission` of the run's configuration; raises InputError if it is none."""
    found = result.experiment.get("submission") or {}
    if not isinstance(found, dict):
        raise InputError(f"{run.result}: 'experiment.submission': expected an object")
    for key, value in found.items():
        if not isinstance(value, str | None):
            raise InputError(f"{run.result}: 'experiment.submission.{key}': expected text")
    return found


def _figures(found: Result) -> dict[str, float | None]:
    figures = {}
    if found.training:
        figures["accuracy of validation"] = found.training.val_accuracy
    if found.inference:
        figures["accuracy on whole scenes"] = found.inference.accuracy
    return figures


def _patches(entities: Entities, facts: Provenance, result: Result):
    """The patches that it was trained on, which lie outside of the crate."""
    described = result.training.data if result.training else None
    source = f" of {described.text()}" if described else " of the training scenes"
    data = facts.data or PatchData()
    checksum = data.checksum or "unknown"
    properties = {
        "@type": "CreativeWork",
        "name": Path(data.path or "patches").name,
        "description": f"patches{source} and their labels, HDF5",
        "identifier": f"sha256:{checksum}",
    }
    return entities.add(f"#patches-{checksum}", properties)


def _scenes(entities: Entities, action: str, inference: Inference):
    """The whole scenes that were judged, which lie outside of the crate."""
    names = sorted(inference.accuracy_per_scene)
    more = ", …" if len(names) > SCENES_SHOWN else ""
    origin = f" ({inference.data.text()})" if inference.data else ""
    properties = {
        "@type": "CreativeWork",
        "name": f"{inference.scenes} inference scenes",
        "description": f"whole scenes{origin}: {', '.join(names[:SCENES_SHOWN])}{more}",
        "encodingFormat": "application/x-hdf5",
    }
    return entities.add(f"#scenes-{_fragment(action)}", properties)


def _add_action(entities: Entities, action: ActionFacts, inputs: list, outputs: list) -> None:
    organization = _organization(entities, action.submission)
    person = _person(entities, action, organization)
    entity = entities.add(
        f"#{_fragment(action.name)}",
        {
            "@type": "CreateAction",
            "name": action.name,
            "description": action.description,
            "startTime": action.begun,
            "endTime": action.ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    entity["instrument"] = _software(entities, action.software, action.submission)
    entity["agent"] = person
    entity["object"] = one_or_more(inputs)
    entity["result"] = one_or_more([*outputs, *_values(entities, action)])
    entities.mention(entity)
    entities.name_author(person, organization)


def _values(entities: Entities, action: ActionFacts) -> list:
    return [
        entities.add(
            f"#{_fragment(f'{action.name} {name}')}",
            {"@type": "PropertyValue", "name": name, "value": value},
        )
        for name, value in action.figures.items()
    ]


def _organization(entities: Entities, who: Mapping[str, Any]):
    """The organization that the configuration names; None if it names none."""
    name = who.get("organization") or "none"
    if name == "none":
        logger.warning(
            "submission.organization is not set: the crate has no publisher, which is recommended"
        )
        return None
    properties = {"@type": "Organization", "name": name}
    if who.get("organization_url"):
        properties["url"] = who["organization_url"]
    return entities.add(f"#{_fragment(name)}", properties)


def _person(entities: Entities, action: ActionFacts, organization):
    """Who ran it: the person to ask, else the account."""
    who, user = action.submission, str(action.software.user)
    properties: dict[str, Any] = {"@type": "Person", "name": who.get("user") or user}
    if who.get("email"):
        properties["email"] = who["email"]
    if organization:
        properties["affiliation"] = organization
    return entities.add(f"#{_fragment(user)}", properties)


def _software(entities: Entities, software: Provenance, who: Mapping[str, Any]):
    """The program, by its repository, or by the benchmark it implements where none is known."""
    version, git = software.versions.get("cloudmask") or "unknown", software.git
    where = program.location(git.model_dump(), who)
    address = program.web_address(where["repository"]) or program.BENCHMARK
    properties = {
        "@type": "SoftwareApplication",
        "name": "cloudmask",
        "description": f"an implementation of the benchmark of {dataset.NAME}",
        "softwareVersion": version,
        "url": address,
    }
    if git.commit:
        properties["identifier"] = git.commit
    return entities.add(f"{address}#{version}-{git.commit or 'unknown'}", properties)


def _fragment(text: str) -> str:
    """The text as the part of an address after `#`."""
    return "".join(character if character.isalnum() else "-" for character in text).strip("-")
