"""Training on one GPU: patches/s by precision and batch size, and an epoch of 15,520 patches.

Plain and with XLA, with and without the input pipeline, and as a fraction of the GPU's own matrix
rate. Without a GPU there is nothing to measure; --batch-sizes tries some on the processor.

Where TensorFlow is not installed, Keras' JAX backend measures the same network and says so. It also
measures an epoch from pinned host memory, and one of a whole store held on the GPU.
"""

import importlib.util
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from measure import Figure, median, parser, write
from training import FLOPS_PER_PATCH

from cloudmask.hardware.devices import POLICIES
from cloudmask.patches.batches import BatchLoader
from cloudmask.patches.store import PatchStore

BATCH_SIZES = (32, 64, 128, 256, 512)
PATCHES = 2048  # per measurement on a GPU
TRIED = 3  # batches per measurement on a processor
EPOCH, SECONDS = 15_520, 4.0  # the published epoch, and the goal
MATRIX = {True: 8192, False: 2048}  # rows and columns, on a GPU and on a processor
BACKENDS = ("tensorflow", "jax")  # the first that is installed

Feed: TypeAlias = Callable[[int], Iterable]  # the batches of an epoch, by its number


def main() -> None:
    """Measure and write."""
    command_line = parser(__doc__)
    command_line.add_argument("--batch-sizes", type=int, nargs="+", help="instead of 32 to 512")
    command_line.add_argument(
        "--precisions", nargs="+", choices=POLICIES, help="instead of the one that suits the GPU"
    )
    command_line.add_argument("--backend", choices=BACKENDS, help="instead of what is installed")
    options = command_line.parse_args()
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if not installed:
        command_line.error("neither TensorFlow nor JAX is installed")
    name = options.backend or installed[0]
    if name not in installed:
        command_line.error(f"{name} is not installed")
    backend = importlib.import_module(f"through_{name}")
    gpu = backend.open_gpu()
    print(f"through {backend.NAME}, on {gpu or 'the processor'}")
    if not gpu and not options.batch_sizes:
        print("skipped: no GPU is visible")
        write(options.out, [])
        return
    bench = Bench(backend, PatchStore(options.data / "patches.h5"), options.rounds)
    sizes = options.batch_sizes or BATCH_SIZES
    found = [
        row
        for precision in options.precisions or [backend.usual_precision()]
        for row in bench.sweep(precision, sizes)
    ]
    if not found:
        raise SystemExit("no batch size fits; --batch-sizes takes smaller ones")
    write(options.out, [bench.epoch(max(found, key=lambda row: row["fed"]), found)])


class Bench:
    """The measurements, through one backend, with the patches of one store."""

    def __init__(self, backend: ModuleType, store: PatchStore, rounds: int):
        self._backend = backend
        self._store = store
        self._rounds = rounds
        self._gpu = backend.open_gpu()

    def sweep(self, precision: str, sizes: Iterable[int]) -> list[dict]:
        """Patches/s by batch size: "step" with one batch again and again, "fed" from the store."""
        peak = self._backend.matrix_rate(precision, MATRIX[bool(self._gpu)])
        print(f"matrix product in {precision}: {peak / 1e12:.3g} TFLOP/s", flush=True)
        found = []
        for xla in self._backend.XLA:
            for size in sizes:
                rates = self._rates(size, xla, precision)
                if rates is None:
                    print(f"batch {size}: does not fit into the GPU's memory", flush=True)
                    continue
                share = rates["step"] * FLOPS_PER_PATCH / peak
                print(
                    f"batch {size}{', XLA' if xla else ''}, {precision}: {rates['fed']:.4g} "
                    f"patches/s, without the input {rates['step']:.4g}: {share:.0%} of the matrix "
                    "rate",
                    flush=True,
                )
                row = {"batch": size, "xla": xla, "precision": precision, "matrix_rate": peak}
                found.append(row | {"share": share} | rates)
        return found

    def _rates(self, size: int, xla: bool, precision: str) -> dict[str, float] | None:
        """None if the batch does not fit into memory."""
        try:
            step, batches = self._prepared(size, xla, precision, PATCHES)
            placed = step.to_device(*next(batches.epoch(0)))
            feeds: dict[str, Feed] = {
                "step": lambda _: [placed] * batches.steps,
                "fed": lambda number: batches.epoch(number, deliver=step.to_device),
            }
            rates = {}
            for name, feed in feeds.items():
                seconds, _ = self._timed(step, feed)
                rates[name] = batches.samples / median(seconds)
            return rates
        except Exception as error:
            if self._backend.out_of_memory(error):
                return None
            raise

    def epoch(self, best: dict, found: list[dict]) -> Figure:
        """The published epoch in the fastest way of all `found`."""
        size, precision = best["batch"], best["precision"]
        step, batches = self._prepared(size, best["xla"], precision, EPOCH)
        copies = self._backend.host_copies(next(batches.epoch(0))[0])
        feeds = {"fed": lambda number: batches.epoch(number, deliver=step.to_device)}
        feeds |= self._backend.other_feeds(step, self._store, batches.samples, size)
        epochs = {}
        for name, feed in feeds.items():
            seconds, losses = self._timed(step, feed)
            share = EPOCH / batches.samples
            epochs[name] = {"seconds": median(seconds) * share, "losses": losses}
            print(f"epoch, {name}: {epochs[name]['seconds']:.3g} s", flush=True)
        ours = epochs["fed"]["seconds"]
        details = {"backend": self._backend.NAME, "gpu": self._gpu, "rates": found}
        return Figure(
            f"epoch of {EPOCH} patches through {self._backend.NAME}, batch {size}"
            f"{', XLA' if best['xla'] else ''}",
            ours,
            SECONDS,
            "s",
            ours / SECONDS,
            1.0,
            f"arithmetic: {best['share']:.0%} of the matrix rate in {precision}",
            at_most=True,
            details=details | {"epochs": epochs, "host_copies": copies},
        )

    def _prepared(self, size: int, xla: bool, precision: str, patches: int) -> tuple:
        """A step that is compiled, and whole batches for it, of about so many patches on a GPU."""
        count = -(-patches // size) if self._gpu else TRIED
        rows = np.resize(np.arange(len(self._store.patches)), count * size)
        batches = BatchLoader(self._store, rows, size, seed=1)
        step = self._backend.make_step(precision, xla, count)
        step.warm_up(batches.shape, self._store.patches.dtype)
        return step, batches

    def _timed(self, step: Any, feed: Feed) -> tuple[list[float], list[float]]:
        """Seconds and mean loss of each round."""
        seconds, losses = [], []
        for number in range(self._rounds):
            began = time.perf_counter()
            # The device works through the steps; only the last one is waited for.
            figures = [step.train(batch) for batch in feed(number)]
            np.asarray(figures[-1])
            seconds.append(time.perf_counter() - began)
            loss, _, valid = np.sum(figures, axis=0, dtype=float)[:3]
            losses.append(loss / valid)
        return seconds, losses


if __name__ == "__main__":
    main()
