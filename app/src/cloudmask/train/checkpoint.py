"""Checkpoints: everything a run needs to go on, in one file that is complete or not there."""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cloudmask.errors import Fault
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

KEPT = 2  # the last one and, should it be damaged, the one before


class Checkpoints:
    """The checkpoints of one run, `NNNNNN-SSSSSS.npz` by epochs done and steps into the next.

    Each holds the arrays of `variables`, the best weights so far and a JSON state. The zip format's
    checksums tell a damaged one.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save(
        self, state: dict, variables: Sequence[np.ndarray], best: Sequence[np.ndarray] | None
    ) -> Path:
        """Write a checkpoint; `state` holds "epoch" and "step" and is JSON."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{state['epoch']:06d}-{state['step']:06d}.npz"
        arrays = {f"variable_{i}": value for i, value in enumerate(variables)}
        arrays |= {f"best_{i}": value for i, value in enumerate(best or ())}
        with replacing(path) as temporary:
            np.savez(temporary, state=np.array(json.dumps(state)), **arrays)
        for old in self._all()[:-KEPT]:
            old.unlink()
        return path

    def load(self) -> tuple[dict, list[np.ndarray], list[np.ndarray] | None, list[str]] | None:
        """The newest intact one: state, variables, best weights, and lines about damaged ones.

        None if there is no checkpoint at all. Raises Fault if none is intact.
        """
        damaged = []
        for path in reversed(self._all()):
            try:
                state, variables, best = _read(path)
            except DAMAGE as error:
                damaged.append(f"{path}: damaged ({error}), the one before is used")
                continue
            return state, variables, best, damaged
        if damaged:
            raise Fault(
                f"{self.folder}: all {len(damaged)} checkpoints are damaged; remove the folder to "
                "begin again"
            )
        return None

    def precision(self) -> str | None:
        """What the run of the newest intact one computes in; None if there is none."""
        for path in reversed(self._all()):
            with contextlib.suppress(DAMAGE):
                return _read(path)[0].get("precision")
        return None

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*-[0-9]*.npz"))


def _read(path: Path) -> tuple[dict, list[np.ndarray], list[np.ndarray] | None]:
    with np.load(path, allow_pickle=False) as file:
        state = json.loads(str(file["state"]))
        groups = {}
        for group in ("variable", "best"):
            count = sum(name.startswith(f"{group}_") for name in file.files)
            groups[group] = [file[f"{group}_{i}"] for i in range(count)]
    return state, groups["variable"], groups["best"] or None
