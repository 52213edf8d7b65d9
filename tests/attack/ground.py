"""What attacks start from: small inputs of every command, and what undisturbed runs make."""

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "ATTACK_GROUND"
CASES = "ATTACK_CASES"  # where cases have their folders
S3 = "ATTACK_S3"  # address of an S3 server on loopback, if there is one
BUCKET, PREFIX = "slstr", "ds1/"
SIZE = "512x256"


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: how long it took, its calls that the shim counts, what it left."""

    seconds: float
    calls: int
    contents: dict[str, str]


class Ground:
    """The folder of the inputs; every attack reads it and none writes it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.scenes = folder / "scenes"
        self.inference = self.scenes / "inference"
        self.store = folder / "patches.h5"
        self.overlay = folder / "patches.ext3"
        self.experiment = folder / "e.yaml"
        self.runs = folder / "runs"
        self.dead_node = folder / "dead-node"

    @property
    def run(self) -> Path:
        """A finished run."""
        return sorted(self.runs.glob("e/0*"))[0]

    @functools.cached_property
    def references(self) -> dict[str, Reference]:
        """By the name of the workload."""
        tree = json.loads((self.folder / "references.json").read_text())
        return {name: Reference(**values) for name, values in tree.items()}


@functools.cache
def ground() -> Ground:
    """The one that was built for this attack."""
    return Ground(Path(os.environ[VARIABLE]))
