"""Predicted masks as CF netCDF, which GIS tools and xarray read as they are."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmask.evaluate.mask_content import MaskVariable, attributes, variables
from cloudmask.evaluate.prediction import Prediction
from cloudmask.system.files import replacing

if TYPE_CHECKING:
    import h5netcdf


def write_mask(
    path: Path, prediction: Prediction, layers: Sequence[str] = (), created: str = ""
) -> None:
    """Write cloud mask and probability of one scene atomically to `path`.

    layers: what is added, of `mask_content.LAYERS`. created: time of writing, ISO 8601; without it
    equal predictions give equal bytes. Raises InputError for an unknown layer.
    """
    import h5netcdf

    content = variables(prediction, layers)
    # Built in memory: on a full disk HDF5 crashes, while writing bytes fails cleanly.
    file_bytes = io.BytesIO()
    with h5netcdf.File(file_bytes, "w") as file:
        file.attrs.update(attributes(prediction, created))
        file.dimensions = _dimensions(content)
        for name, variable in content.items():
            _write(file, name, variable)
    with replacing(path) as temporary:
        temporary.write_bytes(file_bytes.getbuffer())


def _dimensions(content: Mapping[str, MaskVariable]) -> dict[str, int]:
    return {
        name: size
        for variable in content.values()
        for name, size in zip(variable.dimensions, variable.values.shape, strict=True)
    }


def _write(file: "h5netcdf.File", name: str, variable: MaskVariable) -> None:
    values = variable.values
    packed: dict[str, Any] = {}
    if len(variable.dimensions) == 2:
        # An image is read as a whole, so it is one chunk.
        packed = {
            "compression": "gzip",
            "compression_opts": 1,
            "shuffle": True,
            "chunks": values.shape,
        }
    written = file.create_variable(
        name, variable.dimensions, values.dtype, fillvalue=variable.fill, **packed
    )
    written[...] = values
    written.attrs.update(variable.attributes)
