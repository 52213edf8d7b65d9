"""Runs whose report the tests make."""

import json

SMALL = (
    "model.filters=4",
    "training.batch_size=4",
    "training.learning_rate=0.004",
    "training.precision=float32",
)
RUNS = {
    "stop-1": ("seed=1", "training.epochs=9", "early_stopping.patience=1"),
    "stop-2": ("seed=2", "training.epochs=9", "early_stopping.patience=1"),
    "full-1": ("seed=1", "training.epochs=6", "early_stopping.enabled=false"),
    "full-2": ("seed=2", "training.epochs=6", "early_stopping.enabled=false"),
}


def edit(path, change):
    """Apply `change` to the JSON in `path`."""
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
