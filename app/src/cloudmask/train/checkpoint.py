"""Checkpoints: everything a run needs to go on, in one file that is complete or not there."""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.errors import Fault
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system.files import replacing

# What reading a damaged zip file of arrays raises.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)

KEPT = 2  # The newest one and, should it be damaged, the one before.


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
    """The checkpoints of a run, `NNNNNN-SSSSSS.npz` by epochs done and steps into the next.

    A damaged one is recognized by the checksums of the zip format.
    """

    def __init__(self, run: RunDirectory):
        self._run = run

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, remove those before the last two, and return its path."""
        state, folder = checkpoint.state, self._run.checkpoints
        folder.mkdir(exist_ok=True)
        path = folder / f"{state['epoch']:06d}-{state['step']:06d}.npz"
        arrays = {"state": np.array(json.dumps(state))}
        arrays |= {f"variable_{i}": value for i, value in enumerate(checkpoint.variables)}
        arrays |= {f"best_{i}": value for i, value in enumerate(checkpoint.best or ())}
        with replacing(path) as temporary:
            # NumPy declares a flag beside the arrays' names; none of ours has its name.
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
        for old in self._run.checkpoint_files()[:-KEPT]:
            old.unlink()
        return path

    def load(self) -> LoadedCheckpoint | None:
        """Read the newest intact one; None if there is no checkpoint at all.

        Raises Fault if none is intact.
        """
        damaged: list[str] = []
        for path in reversed(self._run.checkpoint_files()):
            try:
                return LoadedCheckpoint(_read(path), damaged)
            except DAMAGE as error:
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
            with contextlib.suppress(*DAMAGE):
                return _read(path).state.get("precision")
        return None


def _read(path: Path) -> Checkpoint:
    with np.load(path, allow_pickle=False) as file:
        state = json.loads(str(file["state"]))
        groups = {}
        for group in ("variable", "best"):
            count = sum(name.startswith(f"{group}_") for name in file.files)
            groups[group] = [file[f"{group}_{i}"] for i in range(count)]
    return Checkpoint(state, groups["variable"], groups["best"] or None)
