"""Checkpoints: everything a run needs to go on, in one file that is complete or not there."""

import contextlib
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.errors import Fault
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import reading
from cloudmask.system.files import replacing

KEPT = 2  # The newest one and, should it be damaged, the one before.
CHECKSUM = "sha256"  # key of the state in the file: over the rest of the state and all arrays


class Damaged(Exception):
    """A checkpoint cannot be used; the message is one line that says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    state: JSON that holds at least "epoch" (epochs done) and "step" (steps into the next).
    variables: all variables of the training step. best: the best weights so far, if any epoch has
    ended.
    """

    state: dict[str, Any]
    variables: Sequence[np.ndarray]
    best: Sequence[np.ndarray] | None


@dataclass(frozen=True)
class LoadedCheckpoint:
    """The newest intact checkpoint, and a line about each newer one that is damaged."""

    checkpoint: Checkpoint
    damaged: Sequence[str]


class Checkpoints:
    """The checkpoints of a run, `NNNNNN-SSSSSS.npz` by epochs done and steps into the next."""

    def __init__(self, run: RunDirectory):
        self._run = run

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, remove those before the last two, and return its path."""
        state, folder = checkpoint.state, self._run.checkpoints
        folder.mkdir(exist_ok=True)
        path = folder / _name(state)
        arrays = {f"variable_{i}": np.asarray(v) for i, v in enumerate(checkpoint.variables)}
        arrays |= {f"best_{i}": np.asarray(v) for i, v in enumerate(checkpoint.best or ())}
        checked = state | {CHECKSUM: _checksum(state, arrays)}
        arrays["state"] = np.array(json.dumps(checked))
        with replacing(path) as temporary:
            # NumPy declares a flag beside the arrays' names; none of ours has its name.
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
        for old in self._run.checkpoint_files()[:-KEPT]:
            old.unlink()
        return path

    def load(self, check: Callable[[Checkpoint], object] | None = None) -> LoadedCheckpoint | None:
        """Read the newest intact one; None if there is no checkpoint at all.

        Whatever `check` raises of one makes that one count as damaged. Raises Fault if none is
        intact.
        """
        damaged: list[str] = []
        for path in reversed(self._run.checkpoint_files()):
            try:
                return LoadedCheckpoint(_intact(path, check), damaged)
            except Damaged as error:
                damaged.append(f"{path}: damaged ({error}), the one before is used")
        if damaged:
            raise Fault(
                f"{self._run.checkpoints}: all {len(damaged)} checkpoints are damaged; remove the "
                "folder to begin again"
            )
        return None

    def precision(self) -> str | None:
        """The precision that the run of the newest intact one computes in; None if none is."""
        for path in reversed(self._run.checkpoint_files()):
            with contextlib.suppress(Damaged):
                precision = _intact(path).state.get("precision")
                return precision if isinstance(precision, str) else None
        return None


def _intact(path: Path, check: Callable[[Checkpoint], object] | None = None) -> Checkpoint:
    """Read and check a checkpoint; raises Damaged."""
    try:
        checkpoint = _read(path)
        if check:
            check(checkpoint)
    except MemoryError:
        raise
    except Exception as error:
        # Bytes that are not ours can make a parser raise anything: NumPy's of an array's header
        # is Python's own and raises SyntaxError, among others.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Damaged(f"{reason:.200}") from None
    return checkpoint


def _read(path: Path) -> Checkpoint:
    with reading.opened(path) as file, zipfile.ZipFile(file) as archive:
        arrays = {
            info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()
        }
    text = str(arrays.pop("state"))
    state = json.loads(text, parse_float=_finite, parse_constant=_finite)
    # The checkpoints of older versions have none, and are guarded by those of the zip format.
    expected = state.pop(CHECKSUM, None)
    if expected is not None and expected != _checksum(state, arrays):
        raise ValueError("its checksum differs")
    if path.name != _name(state):
        raise ValueError("its name and its state differ")
    variables, best = _group(arrays, "variable"), _group(arrays, "best")
    if len(variables) + len(best) != len(arrays):
        raise ValueError("its arrays are not numbered from 0")
    return Checkpoint(state, variables, best or None)


def _name(state: Mapping[str, Any]) -> str:
    return f"{state['epoch']:06d}-{state['step']:06d}.npz"


def _group(arrays: Mapping[str, np.ndarray], group: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{group}_") for name in arrays)
    return [arrays[f"{group}_{i}"] for i in range(count)]


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """The array in a member of the file, whose bytes are checked before anything believes them."""
    if info.compress_type != zipfile.ZIP_STORED:  # It could grow beyond the size of the file.
        raise ValueError(f"{info.filename} is compressed")
    content = io.BytesIO(archive.read(info))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{info.filename} has another version of the format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(content)
    if (
        dtype.hasobject
        or math.prod(shape) * dtype.itemsize != len(content.getbuffer()) - content.tell()
    ):
        raise ValueError(f"{info.filename} does not hold what its header says")
    flat = np.frombuffer(content.getvalue(), dtype, math.prod(shape), content.tell())
    array = flat.reshape(shape, order="F" if by_columns else "C")
    if dtype.kind in "fc" and not np.isfinite(array).all():
        raise ValueError(f"{info.filename} holds NaN or infinite values")
    return array


def _checksum(state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Over the state and the names, types, shapes and bytes of the arrays."""
    digest = hashlib.sha256(f"{json.dumps(state)}\n".encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _finite(text: str) -> float:
    """The number that JSON spells so; raises ValueError for what is no finite one."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"its state holds {text}")
    return number
