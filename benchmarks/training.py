"""Training on the CPU: waiting for data, the first epoch, bfloat16 against float32."""

from pathlib import Path

import numpy as np
from measure import Figure, arguments, interleaved, median, train, write

from cloudmask.config.settings import Config
from cloudmask.hardware.devices import choose_precision, open_devices
from cloudmask.patches.batches import BatchLoader
from cloudmask.patches.store import PatchStore
from cloudmask.record.run_directory import RunDirectory
from cloudmask.train.step import TrainStep

BATCH = 8
FLOPS_PER_PATCH = 64.5e9  # of a training step, forward and backward


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__)
    figures = [*epochs(options.data, options.rounds)]
    half = choose_precision("auto")
    if half != "float32":
        figures.append(step(options.data, options.rounds, half))
    write(options.out, figures)


def epochs(data: Path, rounds: int) -> list[Figure]:
    """Fraction of an epoch spent waiting for data, and the first epoch against the others."""
    runs = []
    for _ in range(rounds):
        settings = ("training.batch_size=8", "training.epochs=4", "model.filters=16")
        train(data / "small.h5", data / "runs/epochs", *settings)
        history = RunDirectory(data / "runs/epochs").read_history()
        seconds = [epoch.train_seconds for epoch in history]
        waits = [epoch.data_wait_fraction for epoch in history]
        runs.append((median(waits), seconds[0], median(seconds[1:])))
    wait, first, later = (median([run[k] for run in runs]) for k in range(3))
    return [
        Figure(
            "waiting for data, fraction of an epoch",
            wait,
            1.0,
            "of the time",
            wait,
            0.01,
            "the batches are made while a step runs",
            at_most=True,
        ),
        Figure(
            "first epoch against later ones",
            first,
            later,
            "s",
            first / later,
            1.1,
            "steps are traced and run once before",
            at_most=True,
        ),
    ]


def step(data: Path, rounds: int, half: str) -> Figure:
    """Seconds of a step of the published network in both precisions."""
    devices = open_devices()
    store = PatchStore(data / "small.h5")
    batch = next(BatchLoader(store, np.arange(BATCH), BATCH).epoch(0))
    ways = {}
    for precision in ("float32", half):
        steps = TrainStep(devices, Config(), precision, 1)
        placed = steps.to_device(*batch)
        ways[precision] = lambda steps=steps, placed=placed: steps.train(placed).numpy()
        ways[precision]()
    seconds = interleaved(ways, rounds)
    full, fast = (median(values) / BATCH for values in seconds.values())
    return Figure(
        f"training step, {half} against float32",
        1 / fast,
        1 / full,
        "patches/s",
        full / fast,
        2.0,
        f"arithmetic: {FLOPS_PER_PATCH / fast / 1e9:.0f} GFLOP/s in {half}, "
        f"{FLOPS_PER_PATCH / full / 1e9:.0f} in float32",
        details={"seconds": seconds},
    )


if __name__ == "__main__":
    main()
