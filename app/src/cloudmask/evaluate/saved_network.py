"""Networks from `.keras` files: their weights are read, and nothing that they hold is executed.

A saved network describes layers by the names of classes, which Keras imports and calls. Only one
architecture is of use here, so the description is not read at all: the weights of the file are
given to the U-Net of this program, if they have its shapes. Keras 2 and 3 both write such files.

A network that this program has trained tells about itself in a further file of the archive, which
Keras does not look at.
"""

import contextlib
import hashlib
import io
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cloudmask.config.settings import MOST_FILTERS
from cloudmask.errors import InputError
from cloudmask.evaluate.scaling import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from cloudmask.model import unet, weight_shapes
from cloudmask.scenes import foreign_hdf5
from cloudmask.scenes.foreign_hdf5 import ForeignHdf5
from cloudmask.system import files, reading
from cloudmask.system.text import one_line

WEIGHTS = "model.weights.h5"
FACTS = "cloudmask.json"
LARGEST_FACTS = 64 << 10  # bytes; they take some 400
LONGEST_TEXT = 200  # characters of a fact
# Weights hardly get smaller when they are packed; Keras does not pack them.
LARGEST_RATIO = 20
MOST_DATA_SETS = 2000  # the network has 30, its layers some more groups

# Keras 2 writes backslashes instead of groups, and calls the group of the layers differently.
_WEIGHT = re.compile(r"[^/]+/conv2d(?:_(\d{1,6}))?/vars/([01])")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds what cannot be printed")
    return text


FactText = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_printable)]
Threshold = Annotated[float | None, Field(gt=0, lt=1, allow_inf_nan=False)]


class NetworkFacts(BaseModel):
    """What a saved network tells about itself: `cloudmask.json` in its archive.

    temperature: of its probabilities (`scaling.scaled`). threshold_favor_clear and
    threshold_favor_cloud: for the scaled probability, None if not known. labels: label source of
    the patches that it was trained on; calibration: their radiometric calibration; patches: the
    checksum of their store. name: of the configuration.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    format_number: Literal[1] = Field(1, alias="format")
    temperature: float = Field(
        1.0, ge=LOWEST_TEMPERATURE, le=HIGHEST_TEMPERATURE, allow_inf_nan=False
    )
    threshold_favor_clear: Threshold = None
    threshold_favor_cloud: Threshold = None
    labels: Literal["", "bayes", "summary"] = ""
    calibration: Literal["003", "005", "as-stored", "unknown"] = "unknown"
    patches: FactText = ""
    name: FactText = ""


def fact_text(text: str) -> str:
    """Any text as a fact can hold it: in one line, and not too long."""
    return one_line(text)[:LONGEST_TEXT]


def save(model: Any, path: Path, facts: NetworkFacts) -> None:
    """Save a `keras.Model` with its facts, atomically to `path`, which ends in `.keras`."""
    with files.replacing(path) as temporary:
        model.save(temporary)
        # Without a date, so that equal facts are equal bytes; readable when it is unpacked.
        entry = zipfile.ZipInfo(FACTS)
        entry.external_attr = 0o644 << 16
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(entry, facts.model_dump_json(by_alias=True, indent=2) + "\n")


def facts(path: Path | str) -> NetworkFacts:
    """What a `.keras` file tells about itself; the defaults if it tells nothing, as older ones do.

    Raises InputError that names the file if it is no network, or what it tells makes no sense.
    """
    path = _existing(path)
    with _archive(path) as archive:
        if FACTS not in archive.namelist():
            return NetworkFacts()
        content = _member(path, archive, FACTS, LARGEST_FACTS)
    try:
        found = NetworkFacts.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path}: '{FACTS}' in it: {_explain(error)}") from None
    if "format_number" not in found.model_fields_set:
        raise InputError(f"{path}: '{FACTS}' in it: no 'format'; expected 1")
    return found


def weights_identity(weights: Sequence[np.ndarray]) -> str:
    """SHA-256 of float32 weights in the order of the layers, as `get_weights` gives them.

    Networks with equal weights have one identity, whenever and by whichever Keras they were saved.
    """
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(f"{weight.shape}\n".encode())
        digest.update(weight.astype("<f4").tobytes())
    return digest.hexdigest()


def load(path: Path | str) -> Any:
    """The network of a `.keras` file as `keras.Model`; raises InputError that names the file."""
    weights = _weights(_existing(path))
    model = unet((None, None, 9), filters=weights[0].shape[-1])
    model.set_weights(weights)
    return model


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; expected a network saved as .keras")
    return path


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
    with _archive(path) as archive:
        return _member(path, archive, WEIGHTS, largest)


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, opened; whatever fails in the block is an InputError that names the file."""
    try:
        with reading.opened(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # On damaged archives zipfile raises anything.
        raise InputError(f"{path}: not a network saved as .keras ({_line(error)})") from None


def _member(path: Path, archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """A file in the archive; raises InputError if it is too large for what it is."""
    entry = archive.getinfo(name)
    if entry.file_size > min(largest, LARGEST_RATIO * entry.compress_size):
        raise InputError(
            f"{path}: '{name}' would be {entry.file_size:,} bytes of {entry.compress_size:,}; "
            f"expected at most {largest:,}, hardly packed"
        )
    return archive.read(entry)


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


def _explain(error: ValidationError) -> str:
    """The first of what is wrong with the facts, in one line."""
    item = error.errors()[0]
    key = ".".join(str(part) for part in item["loc"])
    where = f"'{one_line(key)}': " if key else ""
    return f"{where}{one_line(item['msg'])}; the file is damaged, or of another program"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
