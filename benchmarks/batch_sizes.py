"""Training on one GPU with batches of 32 to 512: patches/s, plain and with XLA, with and without
the input pipeline, and the fraction of the GPU's own matrix rate.

Without a GPU there is nothing to measure; --batch-sizes tries some on the processor.
"""

import time

import numpy as np
from measure import Figure, median, parser, write
from training import FLOPS_PER_PATCH

from cloudmask.config.settings import make_config
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices
from cloudmask.patches.batches import BatchLoader
from cloudmask.patches.store import PatchStore
from cloudmask.train.step import TrainStep

BATCH_SIZES = (32, 64, 128, 256, 512)
PATCHES = 2048  # per measurement on a GPU
EPOCH, SECONDS = 15_520, 4.0  # the published epoch, and the goal
MATRIX = {True: 8192, False: 2048}  # rows and columns, on a GPU and on a processor
PRODUCTS = 20


def main() -> None:
    """Measure and write."""
    command_line = parser(__doc__)
    command_line.add_argument("--batch-sizes", type=int, nargs="+", help="instead of 32 to 512")
    options = command_line.parse_args()
    gpu = bool(open_devices().gpu)
    if not gpu and not options.batch_sizes:
        print("skipped: no GPU is visible to TensorFlow")
        write(options.out, [])
        return
    precision = choose_precision("auto")
    peak = matrix_rate(precision, MATRIX[gpu])
    print(f"matrix product in {precision}: {peak / 1e12:.3g} TFLOP/s")
    store = PatchStore(options.data / "patches.h5")
    found = []
    for xla in (False, True):
        for size in options.batch_sizes or BATCH_SIZES:
            count = -(-PATCHES // size) if gpu else 3
            rates = measured(store, size, xla, precision, count, options.rounds)
            if rates is None:
                print(f"batch {size}: does not fit into the GPU's memory")
                continue
            found.append({"batch": size, "xla": xla} | rates)
            print(
                f"batch {size}{', XLA' if xla else ''}: {rates['fed']:.4g} patches/s, without the "
                f"input {rates['step']:.4g}: {rates['step'] * FLOPS_PER_PATCH / peak:.0%} of the "
                "matrix rate",
                flush=True,
            )
    if not found:
        raise SystemExit("no batch size fits; --batch-sizes takes smaller ones")
    best = max(found, key=lambda row: row["fed"])
    fraction = best["step"] * FLOPS_PER_PATCH / peak
    figure = Figure(
        f"epoch of {EPOCH} patches, batch {best['batch']}{', XLA' if best['xla'] else ''}",
        EPOCH / best["fed"],
        SECONDS,
        "s",
        EPOCH / best["fed"] / SECONDS,
        1.0,
        f"arithmetic: {fraction:.0%} of the matrix rate in {precision}",
        at_most=True,
        details={"matrix_flops_per_second": peak, "precision": precision, "batches": found},
    )
    write(options.out, [figure])


def matrix_rate(precision: str, size: int) -> float:
    """FLOP/s of a product of square matrices in this precision, the best of three attempts."""
    import tensorflow as tf

    kind = tf.as_dtype(POLICIES[precision].removeprefix("mixed_"))
    matrix = tf.cast(tf.random.stateless_normal((size, size), (1, 2)) / size**0.5, kind)

    @tf.function
    def products(start):
        for _ in range(PRODUCTS):
            start = tf.matmul(start, matrix)
        return tf.cast(start[0, 0], tf.float32)

    products(matrix).numpy()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        products(matrix).numpy()
        seconds.append(time.perf_counter() - began)
    return PRODUCTS * 2 * size**3 / min(seconds)


def measured(
    store: PatchStore, size: int, xla: bool, precision: str, count: int, rounds: int
) -> dict[str, float] | None:
    """Patches/s of `count` steps: "step" with one batch again and again, "fed" from the store.

    None if the batch does not fit into memory.
    """
    import tensorflow as tf

    rows = np.resize(np.arange(len(store.patches)), count * size)
    batches = BatchLoader(store, rows, size, seed=1)
    try:
        config = make_config({"training": {"xla": xla}}, "benchmark")
        steps = TrainStep(open_devices(), config, precision, count)
        steps.warm_up(batches.shape, store.patches.dtype)
        placed = steps.to_device(*next(batches.epoch(0)))
        seconds: dict[str, list[float]] = {"step": [], "fed": []}
        for number in range(rounds):
            for name, feed in (
                ("step", [placed] * count),
                ("fed", batches.epoch(number, deliver=steps.to_device)),
            ):
                began = time.perf_counter()
                # The device works through the steps; only the last one is waited for.
                [steps.train(batch) for batch in feed][-1].numpy()
                seconds[name].append(time.perf_counter() - began)
    except tf.errors.ResourceExhaustedError:
        return None
    return {name: count * size / median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
