"""Who starts rows: this machine, Slurm, LSF, or hosts reached by ssh; all leave the same files."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import EXIT_INTERRUPTED


@dataclass(frozen=True)
class Work:
    """What every row gets: patch store and scenes as the executing machine sees them."""

    data: str | None
    scenes: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Of `cloudmask-grid run`."""
        scenes = ["--scenes", *self.scenes] if self.scenes else []
        return ["--data", str(self.data), *scenes]


@dataclass(frozen=True)
class Shape:
    """What a row gets from a batch system: GPUs of each node, and nodes."""

    gpus: int = 1
    nodes: int = 1


def shown(command: Sequence[str | Path]) -> str:
    """A command line as a user would type it."""
    return shlex.join(map(str, command))


def word(code: int) -> str:
    """An exit code of cloudmask-grid run in words."""
    if code == 0:
        return "finished"
    return "cut off, can be continued" if code == EXIT_INTERRUPTED else f"failed (exit code {code})"
