"""Networks from `.keras` files: their weights are read, and nothing that they hold is executed.

A saved network describes layers by the names of classes, which Keras imports and calls. Only one
architecture is of use here, so the description is not read at all: the weights of the file are
given to the U-Net of this program, if they have its shapes. Keras 2 and 3 both write such files.
"""

import io
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.config.settings import MOST_FILTERS
from cloudmask.errors import InputError
from cloudmask.model import unet, weight_shapes
from cloudmask.scenes import foreign_hdf5
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.system import reading

WEIGHTS = "model.weights.h5"
# Weights hardly get smaller when they are packed; Keras does not pack them.
LARGEST_RATIO = 20
MOST_DATA_SETS = 2000  # the network has 30, its layers some more groups

# Keras 2 writes backslashes instead of groups, and calls the group of the layers differently.
_WEIGHT = re.compile(r"[^/]+/conv2d(?:_(\d{1,6}))?/vars/([01])")


def load(path: Path | str) -> Any:
    """The network of a `.keras` file as `keras.Model`; raises InputError that names the file."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; expected a network saved as .keras")
    weights = _weights(path)
    model = unet((None, None, 9), filters=weights[0].shape[-1])
    model.set_weights(weights)
    return model


def _weights(path: Path) -> list[np.ndarray]:
    """Kernels and biases, float32, in the order of the layers."""
    content = _content(path)
    try:
        with foreign_hdf5.opened(path, InputError, io.BytesIO(content)) as file:
            weights = _read(file)
    except InputError:
        raise
    except Exception as error:  # On damaged files the library raises anything.
        raise InputError(f"{path}: its weights are damaged ({_line(error)})") from None
    bad = sum(weight.size - np.count_nonzero(np.isfinite(weight)) for weight in weights)
    if bad:
        size = sum(weight.size for weight in weights)
        raise InputError(f"{path}: {bad} of {size} weights are not finite; expected numbers")
    return weights


def _content(path: Path) -> bytes:
    """The file of weights in the archive, whose size is bounded by what a network can have."""
    largest = 4 * sum(map(math.prod, weight_shapes(MOST_FILTERS))) + reading.MIB
    try:
        with reading.opened(path) as file, zipfile.ZipFile(file) as archive:
            entry = archive.getinfo(WEIGHTS)
            if entry.file_size > min(largest, LARGEST_RATIO * entry.compress_size):
                raise InputError(
                    f"{path}: '{WEIGHTS}' would be {entry.file_size:,} bytes of "
                    f"{entry.compress_size:,}; expected at most {largest:,}, hardly packed"
                )
            return archive.read(entry)
    except InputError:
        raise
    except Exception as error:  # On damaged archives zipfile raises anything.
        raise InputError(f"{path}: not a network saved as .keras ({_line(error)})") from None


def _read(file: ForeignHdf5) -> list[np.ndarray]:
    found: dict[tuple[int, int], Any] = {}
    for path in file.paths(MOST_DATA_SETS):
        if match := _WEIGHT.fullmatch(path.replace("\\", "/")):
            found[int(match[1] or 0), int(match[2])] = file.dataset(path)
    data = [found[key] for key in sorted(found)]
    shapes = [None if item is None else item.shape for item in data]
    filters = shapes[0][-1] if shapes and shapes[0] else 0
    if not 1 <= filters <= MOST_FILTERS or shapes != weight_shapes(filters):
        raise InputError(f"{file.source}: another network; expected the U-Net of cloudmask-train")
    if any(item.dtype.kind != "f" for item in data):
        raise InputError(f"{file.source}: weights that are no numbers; expected float32")
    return [file.values(item, np.float32) for item in data]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
