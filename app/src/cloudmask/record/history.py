"""`history.csv`: one row of figures for each epoch of a run, written atomically."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.system import reading
from cloudmask.system.files import write_csv

LARGEST_FILE = 64 * reading.MIB  # an epoch takes some 150 bytes of it


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch, counted from 1.

    loss, val_loss: mean binary cross-entropy per valid pixel; accuracy, val_accuracy: fraction of
    valid pixels. seconds: training and validation; train_seconds: training alone.
    patches_per_second: while training. data_wait_fraction: of train_seconds, waiting for data. The
    last three are None where a program of another version left them out.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    train_seconds: float | None = None
    patches_per_second: float | None = None
    data_wait_fraction: float | None = None

    @property
    def patches(self) -> int | None:
        """Training patches of the epoch, None if the rate is not known."""
        if self.train_seconds is None or self.patches_per_second is None:
            return None
        return round(self.patches_per_second * self.train_seconds)


COLUMNS = tuple(field.name for field in fields(Epoch))
REQUIRED = COLUMNS[:6]


def write_history(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write one row per epoch, atomically."""
    write_csv(path, COLUMNS, [asdict(epoch) for epoch in epochs])


def read_history(path: Path) -> list[Epoch]:
    """Read all epochs; raises InputError, naming the file and the line, if one makes no sense."""
    try:
        reader = csv.DictReader(io.StringIO(reading.read_text(path, LARGEST_FILE), newline=""))
        missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}: no column '{missing[0]}'; expected {', '.join(COLUMNS)}")
        return [_epoch(path, reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the figures of every epoch") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _epoch(path: Path, line: int, row: Mapping[str, str | None]) -> Epoch:
    try:
        return Epoch(
            int(row["epoch"] or ""),
            *(float(row[name] or "") for name in REQUIRED[1:]),
            *(float(cell) if (cell := row.get(name)) else None for name in COLUMNS[6:]),
        )
    except (ValueError, TypeError):
        raise InputError(
            f"{path}: line {line} is damaged; expected a number in each of {', '.join(REQUIRED)}"
        ) from None
