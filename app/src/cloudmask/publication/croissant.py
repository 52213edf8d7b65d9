"""A Croissant description of a data set's scenes, validated by the mlcroissant library."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from cloudmask import files
from cloudmask.errors import InputError

# What a published scene file holds, at its root.
FIELDS = {
    "refs": "reflectances S1 to S6, 0 to 1, (1200, 1500, 6)",
    "bts": "brightness temperatures S7 to S9 in kelvin, (1200, 1500, 3)",
    "bayes": "flag bits of the Bayesian cloud mask, cloud where above 0, (1200, 1500, 1)",
    "summary": "summary cloud flag, (1200, 1500, 1)",
}
HOME = "https://s3.echo.stfc.ac.uk/sciml-datasets/es/cloud_slstr_ds1/"


def describe(scenes: Sequence[Path], folder: Path, name: str, licence: str, out: Path) -> None:
    """Write the description of these scene files below `folder`, with their checksums.

    Raises InputError if the library is not installed, or refuses the description.
    """
    try:
        import mlcroissant as mlc
    except ImportError:
        raise InputError(
            "mlcroissant is not installed; expected pip install 'cloudmask[fair]'"
        ) from None
    places = [path.relative_to(folder) for path in scenes]
    objects = [
        mlc.FileObject(
            id=str(place),
            name=place.name,
            content_url=str(place),
            content_size=f"{(folder / place).stat().st_size} B",
            encoding_formats=["application/x-hdf5"],
            sha256=files.sha256(folder / place),
        )
        for place in places
    ]
    described = "; ".join(f"{key}: {what}" for key, what in FIELDS.items())
    rows = [
        {"scenes/file": str(place), "scenes/part": place.parts[0] if place.parts[1:] else ""}
        for place in places
    ]
    fields = [
        mlc.Field(id=f"scenes/{key}", name=key, description=what, data_types=[mlc.DataType.TEXT])
        for key, what in (("file", "path of the scene"), ("part", "training or inference"))
    ]
    metadata = mlc.Metadata(
        name=name,
        description=(
            f"Scenes of Sentinel-3 SLSTR with cloud masks, {len(scenes)} HDF5 files. Each holds "
            f"{described}."
        ),
        url=HOME,
        license=[licence],
        version="1.0.0",
        date_published=datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
        cite_as="Cloud masking data set cloud_slstr_ds1, STFC Scientific Machine Learning",
        distribution=objects,
        record_sets=[
            mlc.RecordSet(
                id="scenes",
                name="scenes",
                description="every scene and the part of the benchmark it belongs to",
                fields=fields,
                data=rows,
            )
        ],
    )
    issues = metadata.ctx.issues
    if issues.errors:
        raise InputError(f"{out}: mlcroissant refuses it: {issues.report()}")
    text = json.dumps(metadata.to_json(), indent=2, default=str, ensure_ascii=False)
    files.write_text(out, text + "\n")
