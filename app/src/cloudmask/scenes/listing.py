"""The list of a data set's scenes beside them: what `cloudmask-data` found on the server."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from cloudmask.errors import InputError
from cloudmask.scenes.download import Item
from cloudmask.system import reading
from cloudmask.system.files import read_csv, write_csv

NAME = "scenes.csv"
COLUMNS = ("path", "bytes", "etag")
LARGEST_FILE = 256 * reading.MIB  # a scene takes some 170 bytes of it


def write(folder: Path, items: Iterable[Item]) -> None:
    """Write all scenes of the server, fetched or not, into the folder of the data set."""
    rows = ({"path": item.path, "bytes": item.size, "etag": item.etag} for item in items)
    write_csv(folder / NAME, COLUMNS, sorted(rows, key=lambda row: str(row["path"])))


def inference_scenes(path: Path) -> set[str]:
    """Names of the inference scenes in a list, without suffix; InputError if it is none."""
    try:
        rows = list(read_csv(io.StringIO(reading.read_text(path, LARGEST_FILE), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise InputError(f"{path}: no list of scenes; expected {NAME} of cloudmask-data")
    paths = [PurePosixPath(row["path"] or "") for row in rows]
    return {path.stem for path in paths if path.parts[:1] == ("inference",)}
