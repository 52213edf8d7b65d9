"""Predicted masks as CF netCDF, which GIS tools and xarray read as they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
from h5py import h5f, h5p

from cloudmask.evaluate.mask_content import MaskVariable, attributes, variables
from cloudmask.evaluate.prediction import Prediction
from cloudmask.system.files import replacing

if TYPE_CHECKING:
    import h5netcdf

INCREMENT = 1 << 20  # bytes by which a file in memory grows


def write_mask(
    path: Path, prediction: Prediction, layers: Sequence[str] = (), created: str = ""
) -> None:
    """Write cloud mask and probability of one scene atomically to `path`.

    layers: what is added, of `mask_content.LAYERS`. created: time of writing, ISO 8601; without it
    equal predictions give equal bytes. Raises InputError for an unknown layer.
    """
    import h5netcdf

    content = variables(prediction, layers)
    with _file_in_memory() as memory:
        with h5netcdf.File(memory, "w") as file:
            file.attrs.update(attributes(prediction, created))
            file.dimensions = _dimensions(content)
            for name, variable in content.items():
                _write(file, name, variable)
        memory.flush()
        image = memory.id.get_file_image()
    with replacing(path) as temporary:
        temporary.write_bytes(image)


def _file_in_memory() -> h5py.File:
    """An empty HDF5 file in memory: on a full disk HDF5 crashes, while writing bytes fails cleanly.

    Its root group has no time of creation, which h5py alone cannot leave out, and remembers the
    order in which things were made, as netCDF-4 wants it.
    """
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    order = h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED
    creation.set_link_creation_order(order)
    creation.set_attr_creation_order(order)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_core(INCREMENT, False)
    return h5py.File(h5f.create(b"mask.nc", h5f.ACC_TRUNC, creation, access))


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
