"""Experiments of tiny runs, and what cloudmask-grid reports about them."""

import re
from pathlib import Path

SMALL = "  model.filters: 2\n  training.batch_size: 8\n"


def experiment(folder: Path, text: str, epochs: int = 1) -> Path:
    """Write `e.yaml` with these lines of its parameters, and what may follow them."""
    path = folder / "e.yaml"
    path.write_text(f"name: e\nparameters:\n{SMALL}  training.epochs: {epochs}\n{text}")
    return path


def rows_by_state(done) -> dict[str, set[int]]:
    """Row numbers by state, from the table of `status`."""
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines()[1:-1]:
        index, state = re.match(r"(\d+) +(\w+)", line).groups()
        found.setdefault(state, set()).add(int(index))
    return found
