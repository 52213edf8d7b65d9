"""Files that are either complete or not there: write under a temporary name, then rename."""

import contextlib
import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`.

    On any error the temporary file is removed and `path` stays as it was. The temporary name keeps
    the suffix of `path`, since writers such as Keras choose the format by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename or not error.errno:
            raise
        # A failed write does not know its file's name, and HDF5 reports it in many lines.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary(*folders: Path) -> None:
    """Remove what `replacing` left in these folders when its process was killed."""
    for folder in folders:
        for path in folder.glob(".*.tmp*"):
            path.unlink(missing_ok=True)


def move_aside(path: Path) -> Path:
    """Rename `path` to the first free of `path.1`, `path.2`, …, and return that."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return path.rename(aside)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV with a header; what a row lacks is empty, what is no column is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path | str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows as CSV with a header, atomically."""
    write_text(path, csv_text(columns, rows))


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def whole_lines(path: Path | str) -> list[str]:
    """Cut an unfinished last line off the file at `path` and return the others, [] without a file.

    A kill or a full disk leaves half a line, and whatever is appended would join it.
    """
    path = Path(path)
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as handle:
            handle.truncate(len(whole))
    return whole.decode("utf-8", errors="replace").splitlines()
