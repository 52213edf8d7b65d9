"""A Croissant description of a data set's scenes, validated by the mlcroissant library."""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py

from cloudmask.errors import InputError
from cloudmask.scenes import dataset
from cloudmask.system import files

# What a published scene file holds, at its root.
CONTENTS = {
    "refs": "reflectances of bands S1 to S6, 0 to 1",
    "bts": "brightness temperatures of bands S7 to S9, kelvin",
    "bayes": "flag bits of the Bayesian cloud mask, the benchmark's truth: cloud where above 0",
    "summary": "summary cloud flag, 0 or 1",
}
# What a patch store holds; see cloudmask.patches.store.
PATCHES = {
    "patches": "256 x 256 pixels of the nine bands, normalised",
    "labels": "1 where the Bayesian mask says cloud, 0 where it says clear",
}
# Band: data set, place in it, central wavelength (nm, Sentinel-3 SLSTR user guide), unit, and how
# the patches are normalised.
BANDS = (
    *(
        (f"S{place + 1}", "refs", place, wavelength, "1", "value - 0.5")
        for place, wavelength in enumerate((554.27, 659.47, 868.0, 1374.8, 1613.4, 2255.7))
    ),
    *(
        (f"S{place + 7}", "bts", place, wavelength, "K", "(value - 270) / 22")
        for place, wavelength in enumerate((3742.0, 10854.0, 12022.5))
    ),
)
KIND = "application/x-hdf5"


def describe(
    scenes: Sequence[Path], folder: Path, name: str, licence: str, out: Path, patches: Path | None
) -> None:
    """Write the description of these scene files below `folder`, and of a patch store if given.

    Record sets: `scenes` and `bands` hold their records; `contents` (and `patches`) tell which
    arrays are in the files, which the library describes but, HDF5 being none of its formats, cannot
    read. Raises InputError if the library is not installed, or refuses the description.
    """
    try:
        import mlcroissant as mlc
    except ImportError:
        raise InputError(
            "mlcroissant is not installed; expected pip install 'cloudmask[fair]'"
        ) from None
    places = [path.relative_to(folder) for path in scenes]
    distribution = [_file(mlc, str(place), folder / place) for place in places]
    distribution.append(
        mlc.FileSet(
            id="scene-files",
            name="scene-files",
            description="all scenes",
            encoding_formats=[KIND],
            includes=[f"{part}/S3A*.hdf" for part in sorted({str(p.parent) for p in places})],
        )
    )
    sets = [
        _inline(
            mlc,
            "scenes",
            "every scene and the part of the benchmark it belongs to",
            {"file": "path of the scene", "part": "training or inference"},
            [(str(place), place.parts[0] if place.parts[1:] else "") for place in places],
        ),
        _inline(
            mlc,
            "bands",
            "the nine bands, in the order of the network's input",
            {
                "band": "name",
                "array": "array of a scene's file",
                "place": "in its last dimension, from 0",
                "wavelength": "of its centre, nm",
                "unit": "of the file's values",
                "normalised": "what the network gets",
            },
            BANDS,
        ),
        _arrays(mlc, "contents", "the arrays of each scene", CONTENTS, scenes, "scene-files"),
    ]
    if patches:
        place = os.path.relpath(patches, folder)
        told = "patches of the training scenes, as cloudmask-prepare cuts them"
        sets.append(_arrays(mlc, "patches", told, PATCHES, [patches], place))
        distribution.append(_file(mlc, place, patches))
    metadata = mlc.Metadata(
        name=name,
        description=f"Scenes of Sentinel-3 SLSTR with cloud masks, {len(scenes)} HDF5 files.",
        url=dataset.HOME,
        license=[licence],
        version="1.0.0",
        date_published=datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
        cite_as=f"Cloud masking data set {dataset.NAME}, STFC Scientific Machine Learning",
        distribution=distribution,
        record_sets=sets,
    )
    issues = metadata.ctx.issues
    if issues.errors:
        raise InputError(f"{out}: mlcroissant refuses it: {issues.report()}")
    text = json.dumps(metadata.to_json(), indent=2, default=str, ensure_ascii=False)
    files.write_text(out, text + "\n")


def _file(mlc, place: str, path: Path):
    return mlc.FileObject(
        id=place,
        name=path.name,
        content_url=place,
        content_size=f"{path.stat().st_size} B",
        encoding_formats=[KIND],
        sha256=files.sha256(path),
    )


def _inline(mlc, name: str, what: str, fields: Mapping, rows: Sequence[Sequence]):
    """A record set that holds its records."""
    types = {int: mlc.DataType.INTEGER, float: mlc.DataType.FLOAT, str: mlc.DataType.TEXT}
    return mlc.RecordSet(
        id=name,
        name=name,
        description=what,
        fields=[
            mlc.Field(
                id=f"{name}/{key}", name=key, description=told, data_types=[types[type(value)]]
            )
            for (key, told), value in zip(fields.items(), rows[0], strict=True)
        ],
        data=[{f"{name}/{k}": v for k, v in zip(fields, row, strict=True)} for row in rows],
    )


def _arrays(mlc, name: str, what: str, known: Mapping, paths: Sequence[Path], source: str):
    """A record set of the known arrays that these HDF5 files have, with shape and type."""
    kinds = {key: set() for key in known}
    for path in paths:
        try:
            with h5py.File(path, "r", locking=False) as file:
                for key in known:
                    if key in file:
                        kinds[key].add((file[key].shape, str(file[key].dtype)))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except OSError as error:
            raise InputError(f"{path}: not a readable HDF5 file ({error})") from None
    fields = []
    for key, found in kinds.items():
        if not found:
            continue
        shapes, types = ({each[n] for each in found} for n in (0, 1))
        # -1: what files differ in.
        if len(set(map(len, shapes))) == 1:
            lengths = map(set, zip(*shapes, strict=True))
            shape = [one.pop() if len(one) == 1 else -1 for one in lengths]
        else:
            shape = [-1]
        dtype = types.pop() if len(types) == 1 else "float"
        field = mlc.Field(
            id=f"{name}/{key}",
            name=key,
            description=known[key],
            data_types=[getattr(mlc.DataType, dtype.upper(), mlc.DataType.FLOAT)],
            is_array=True,
            array_shape=",".join(map(str, shape)),
            source=_source(mlc, source, key),
        )
        fields.append(field)
    return mlc.RecordSet(id=name, name=name, description=what, fields=fields)


def _source(mlc, place: str, key: str):
    holder = "file_set" if place == "scene-files" else "file_object"
    return mlc.Source(**{holder: place}, extract=mlc.Extract(column=key))
