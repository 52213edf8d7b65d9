"""A Croissant description of a data set's scenes, validated by the mlcroissant library."""

import datetime
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloudmask.errors import InputError
from cloudmask.patches.store import INVALID, PatchStore
from cloudmask.record.described_data import DataDescription
from cloudmask.scenes import dataset, foreign_hdf5
from cloudmask.scenes.formats.hdf5 import recorded_origin
from cloudmask.scenes.slstr import (
    REFLECTANCE_OFFSET,
    TEMPERATURE_OFFSET,
    TEMPERATURE_SCALE,
    THERMAL,
    VISIBLE,
)
from cloudmask.system import files, output, reading
from cloudmask.system.distribution import install_command

LARGEST_FILE = 256 * reading.MIB  # a scene takes some 400 bytes of it

# What a published scene file holds, at its root.
CONTENTS = {
    "refs": "reflectances of bands S1 to S6, 0 to 1",
    "bts": "brightness temperatures of bands S7 to S9, kelvin",
    "bayes": "flag bits of the Bayesian cloud mask, the benchmark's labels: cloud where above 0",
    "summary": "summary cloud flag, 0 or 1",
}
# What a patch store holds; see cloudmask.patches.store.
PATCHES = {
    "patches": "256 x 256 pixels of the nine bands, normalized; 0 where nothing was measured",
    "labels": (
        "bits: 1 where the Bayesian mask is cloud, 0 where it is clear; "
        f"{INVALID} added where nothing was measured, which counts in no loss and no metric"
    ),
}
# Central wavelengths in nm: Sentinel-3 SLSTR user guide.
VISIBLE_WAVELENGTHS = (554.27, 659.47, 868.0, 1374.8, 1613.4, 2255.7)
THERMAL_WAVELENGTHS = (3742.0, 10854.0, 12022.5)
MEDIA_TYPE = "application/x-hdf5"
CITATION = f"Cloud masking data set {dataset.NAME}, STFC Scientific Machine Learning"
SCENE_FILES = "scene-files"
PATCHES_FILE = "patches-file"


class Band(NamedTuple):
    """A band: its array in a scene's file, and how the patches are normalized."""

    band: str
    array: str
    position: int  # in the array's last dimension
    wavelength: float  # of its center, nm
    unit: str
    normalized: str


BANDS = (
    *(
        Band(name, "refs", position, wavelength, "1", f"value - {REFLECTANCE_OFFSET:g}")
        for position, (name, wavelength) in enumerate(
            zip(VISIBLE, VISIBLE_WAVELENGTHS, strict=True)
        )
    ),
    *(
        Band(
            name,
            "bts",
            position,
            wavelength,
            "K",
            f"(value - {TEMPERATURE_OFFSET:g}) / {TEMPERATURE_SCALE:g}",
        )
        for position, (name, wavelength) in enumerate(
            zip(THERMAL, THERMAL_WAVELENGTHS, strict=True)
        )
    ),
)


@dataclass(frozen=True)
class DataSet:
    """What is described: scene files below `folder`, and a patch store made of them, if given.

    name: "" for that of the public data set if all scenes are of it, else for the folder's.
    """

    folder: Path
    scenes: Sequence[Path]
    name: str
    license: str
    patches: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The scenes, relative to the folder."""
        return [path.relative_to(self.folder) for path in self.scenes]


def describe(data: DataSet, out: Path) -> None:
    """Write the description of the data set to `out`.

    Record sets: `scenes` and `bands` hold their records, `files` lists the scenes that are found,
    by their paths from the description's own folder; `contents` (and `patches`) list the arrays in
    the files, which the library describes but, HDF5 being none of its formats, cannot read. Raises
    InputError if the library is not installed, or refuses the description.
    """
    try:
        import mlcroissant as mlc
    except ImportError:
        raise InputError(
            f"mlcroissant is not installed; expected {install_command('fair')}"
        ) from None
    origins = [recorded_origin(path).source for path in data.scenes]
    described = DataDescription(scenes=len(origins), origins=dict(Counter(origins)))
    public = described.of_data_set
    metadata = mlc.Metadata(
        name=data.name or (dataset.NAME if public else data.folder.resolve().name or "scenes"),
        description="Scenes in the layout of Sentinel-3 SLSTR with cloud masks, "
        f"{len(data.scenes)} HDF5 files. Origin: {described.text()}.",
        url=dataset.HOME if public else None,
        license=[data.license],
        version="1.0.0",
        date_published=datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
        cite_as=CITATION if public else None,
        distribution=_distribution(data, out),
        record_sets=_record_sets(data, origins),
    )
    issues = metadata.ctx.issues
    if issues.errors:
        raise InputError(f"{out}: mlcroissant refuses it: {issues.report()}")
    description = json.dumps(metadata.to_json(), indent=2, default=str, ensure_ascii=False)
    with output.file_claimed(out):
        if os.path.lexists(out) and not _is_description(out):
            raise InputError(f"{out}: is not a Croissant description; expected one, or a new name")
        files.write_text(out, description + "\n")


def _is_description(path: Path) -> bool:
    """Whether it describes a data set, and so may be replaced by another description."""
    try:
        found = reading.read_json(path, LARGEST_FILE)
    except (OSError, ValueError, InputError):
        return False
    return isinstance(found, dict) and "/croissant/" in str(found.get("conformsTo"))


def _distribution(data: DataSet, out: Path) -> list:
    """All files, by their paths from the description's folder, and the scenes as a set."""
    import mlcroissant as mlc

    found = [
        _file(str(name), path, out) for name, path in zip(data.paths, data.scenes, strict=True)
    ]
    # Made of the files, not by a pattern: patterns find only what lies below the description.
    scenes = mlc.FileSet(
        id=SCENE_FILES,
        name=SCENE_FILES,
        description="all scenes",
        encoding_formats=[MEDIA_TYPE],
        contained_in=[file.id for file in found],
        includes=["*.hdf"],
    )
    patches = [_file(PATCHES_FILE, data.patches, out)] if data.patches else []
    return [*found, scenes, *patches]


def _record_sets(data: DataSet, origins: Sequence[str]) -> list:
    import mlcroissant as mlc

    scenes = _inline(
        "scenes",
        "every scene, the part of the benchmark it belongs to, and where it comes from",
        {
            "file": "path of the scene",
            "part": "training or inference",
            "origin": "as the file says, or else its layout and name tell",
        },
        [
            (str(path), path.parts[0] if path.parts[1:] else "", origin)
            for path, origin in zip(data.paths, origins, strict=True)
        ],
    )
    bands = _inline(
        "bands",
        "the nine bands, in the order of the network's input",
        {
            "band": "name",
            "array": "array of a scene's file",
            "place": "index in its last dimension, from 0",
            "wavelength": "of its center, nm",
            "unit": "of the file's values",
            "normalised": "what the network gets",
        },
        BANDS,
    )
    contents = mlc.RecordSet(
        id="contents",
        name="contents",
        description="the arrays of each scene",
        fields=_arrays("contents", CONTENTS, data.scenes, {"file_set": SCENE_FILES}),
    )
    if not data.patches:
        return [scenes, bands, contents, _found_files()]
    source = {"file_object": PATCHES_FILE}
    patches = mlc.RecordSet(
        id="patches",
        name="patches",
        description=f"patches as cloudmask-prepare cuts them, of {_patch_origin(data.patches)}",
        fields=_arrays("patches", PATCHES, [data.patches], source),
    )
    return [scenes, bands, contents, _found_files(), patches]


def _patch_origin(path: Path) -> str:
    """What scenes a patch store was made of, as it records them."""
    store = PatchStore(path)
    return DataDescription(scenes=len(store.scenes), origins=store.origins).text()


def _found_files():
    """A record set of the scenes that are found where the description says, by name."""
    import mlcroissant as mlc

    name = mlc.Extract(file_property=mlc.FileProperty.filename)
    field = mlc.Field(
        id="files/name",
        name="name",
        description="of the file",
        data_types=[mlc.DataType.TEXT],
        source=mlc.Source(file_set=SCENE_FILES, extract=name),
    )
    return mlc.RecordSet(
        id="files", name="files", description="the scenes that are found", fields=[field]
    )


def _file(identifier: str, path: Path, out: Path):
    import mlcroissant as mlc

    return mlc.FileObject(
        id=identifier,
        name=path.name,
        content_url=os.path.relpath(path, out.parent),
        content_size=f"{path.stat().st_size} B",
        encoding_formats=[MEDIA_TYPE],
        sha256=files.sha256(path),
    )


def _inline(name: str, description: str, fields: Mapping[str, str], rows: Sequence[Sequence]):
    """A record set that holds its records."""
    import mlcroissant as mlc

    types = {int: mlc.DataType.INTEGER, float: mlc.DataType.FLOAT, str: mlc.DataType.TEXT}
    return mlc.RecordSet(
        id=name,
        name=name,
        description=description,
        fields=[
            mlc.Field(
                id=f"{name}/{key}", name=key, description=what, data_types=[types[type(value)]]
            )
            for (key, what), value in zip(fields.items(), rows[0], strict=True)
        ],
        data=[{f"{name}/{k}": v for k, v in zip(fields, row, strict=True)} for row in rows],
    )


def _arrays(
    record_set: str, known: Mapping[str, str], paths: Sequence[Path], source: Mapping[str, str]
) -> list:
    """Fields for those of the known arrays that these HDF5 files have, with shape and type."""
    import mlcroissant as mlc

    fields = []
    for key, found in _layouts(known, paths).items():
        types = {dtype for _, dtype in found}
        dtype = types.pop() if len(types) == 1 else "float"
        shape = _common_shape({shape for shape, _ in found})
        field = mlc.Field(
            id=f"{record_set}/{key}",
            name=key,
            description=known[key],
            data_types=[getattr(mlc.DataType, dtype.upper(), mlc.DataType.FLOAT)],
            is_array=True,
            array_shape=",".join(map(str, shape)),
            source=mlc.Source(**source, extract=mlc.Extract(column=key)),
        )
        fields.append(field)
    return fields


def _layouts(
    known: Iterable[str], paths: Sequence[Path]
) -> dict[str, set[tuple[tuple[int, ...], str]]]:
    """Shapes and types of the known arrays in these HDF5 files, without those that none has."""
    layouts: dict[str, set[tuple[tuple[int, ...], str]]] = {key: set() for key in known}
    for path in paths:
        with foreign_hdf5.opened(path, InputError) as file:
            for key, found in layouts.items():
                try:
                    data = file.dataset(key)
                    if data is not None:
                        found.add((data.shape, str(data.dtype)))
                except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
                    raise InputError(f"{path}: '{key}' is damaged ({error})") from None
    return {key: found for key, found in layouts.items() if found}


def _common_shape(shapes: set[tuple[int, ...]]) -> list[int]:
    """The shape of all; -1 where they differ in a length, [-1] where in the dimensions."""
    if len(set(map(len, shapes))) > 1:
        return [-1]
    lengths = map(set, zip(*shapes, strict=True))
    return [found.pop() if len(found) == 1 else -1 for found in lengths]
