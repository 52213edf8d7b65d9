"""Variables of netCDF-4 files, read as HDF5 and by the CF rules."""

import h5py
import numpy as np

from cloudmask.errors import SceneError
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.scenes.raw import reason
from cloudmask.scenes.slstr import MAX_SIDE

FLAG_VARIABLES = ("confidence_in", "bayes_in")  # bits, which have no sign
LONGEST_TEXT = 200


def variable(
    file: ForeignHdf5, name: str, shape: tuple[int, ...] | None = None, ndim: int = 2
) -> h5py.Dataset:
    """A variable (not read yet) of numbers, of `shape` or, without one, of sides within bounds."""
    try:
        found = file.dataset(name)
        if found is None:
            raise SceneError(f"{file.source}: no variable '{name}'; found {file.names}")
        kind = found.dtype.kind
    except SceneError:
        raise
    except Exception as error:  # On damaged files the library raises anything.
        raise SceneError(f"{file.source}: '{name}' is damaged ({reason(error)})") from None
    if kind not in "fiu":
        raise SceneError(f"{file.source}: '{name}' has type {found.dtype}; expected numbers")
    if shape is not None and found.shape != shape:
        raise SceneError(f"{file.source}: '{name}' has shape {found.shape}; expected {shape}")
    if found.ndim != ndim or not all(1 <= side <= MAX_SIDE for side in found.shape):
        raise SceneError(
            f"{file.source}: '{name}' has shape {found.shape}; "
            f"expected {ndim} sides of 1 to {MAX_SIDE}"
        )
    return found


def values(
    file: ForeignHdf5,
    name: str,
    shape: tuple[int, ...] | None = None,
    ndim: int = 2,
    kind: type = np.float32,
) -> np.ndarray:
    """The values of a variable as float by the CF rules: scaled, shifted, NaN where fill."""
    found = variable(file, name, shape, ndim)
    try:
        stored = file.values(found)
        kind_of_fill = stored.dtype
        if _is_unsigned(file, found, name):
            stored = stored.view(stored.dtype.str.replace("i", "u"))
        scale, shift = (
            default
            if (number := file.attribute(attribute, found)) is None
            else float(np.ravel(number)[0])
            for attribute, default in (("scale_factor", 1.0), ("add_offset", 0.0))
        )
        result = stored * scale + shift
        for attribute in ("_FillValue", "missing_value"):
            if (fill := file.attribute(attribute, found)) is not None:
                # A fill value has the type of what is stored, its sign included.
                if stored.dtype != kind_of_fill:
                    fill = np.ravel(fill).astype(kind_of_fill).view(stored.dtype)
                result[stored == np.ravel(fill)[0]] = np.nan
        with np.errstate(over="ignore"):
            return result.astype(kind)
    except SceneError:
        raise
    except Exception as error:  # as in `variable`
        raise SceneError(
            f"{file.source}: '{name}' cannot be read ({reason(error)}); the file is damaged"
        ) from None


def text(file: ForeignHdf5, name: str) -> str:
    """An attribute of the file that is one line of text, "" if it is none."""
    found = file.attribute(name)
    found = found.decode(errors="replace") if isinstance(found, bytes) else found
    line = found.strip() if isinstance(found, str) else ""
    return line if line.isprintable() and len(line) < LONGEST_TEXT else ""


def _is_unsigned(file: ForeignHdf5, found: h5py.Dataset, name: str) -> bool:
    """Whether unsigned numbers are stored as signed ones, as netCDF-3 has to."""
    if found.dtype.kind != "i":
        return False
    return name in FLAG_VARIABLES or str(file.attribute("_Unsigned", found)).strip("b'") == "true"
