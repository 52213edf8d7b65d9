"""Batches from the store in later epochs, against plain memory copies and the published loader."""

import mmap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import published
from measure import Figure, arguments, forget, interleaved, median, write

from cloudmask.config.settings import make_config
from cloudmask.hardware.devices import Devices, open_devices, without_greeting
from cloudmask.patches.batches import GATHERERS, BatchLoader
from cloudmask.patches.store import PatchStore
from cloudmask.scenes.finding import find_scenes
from cloudmask.train.step import TrainStep

BATCH = 32
BUFFERS = 2  # that batches take turns in: one with the step, one in the making
DEVICES = 2
GPU_RATE = 4000  # patches/s that a fast GPU's step would take
EPOCH = 15_520  # patches that train in the published data set


def main() -> None:
    """Measure and write."""
    options = arguments(__doc__)
    with without_greeting():
        import tensorflow as tf
    store = PatchStore(options.data / "patches.h5")
    rows = np.arange(len(store.patches))
    rows = rows[: len(rows) // BATCH * BATCH]
    batches = BatchLoader(store, rows, BATCH, seed=1)
    flat = [np.asarray(a).reshape(len(a), -1) for a in (store.patches, store.labels)]
    targets = [
        [
            np.frombuffer(mmap.mmap(-1, BATCH * a[0].nbytes), a.dtype).reshape(BATCH, -1)
            for a in flat
        ]
        for _ in range(BUFFERS)
    ]

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES
    )
    mirrored = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(DEVICES)])
    config = make_config({"model": {"filters": 2}}, "benchmark")
    deliver = TrainStep(open_devices(), config, "float32", 1).to_device
    two_devices = TrainStep(Devices(mirrored, 0, 1, DEVICES, ""), config, "float32", 1).to_device

    def copy(threads, count=BUFFERS):
        def part(step, begin, end):
            first = step * BATCH
            for source, target in zip(flat, targets[step % count], strict=True):
                np.copyto(target[begin:end], source[first + begin : first + end])

        ends = np.linspace(0, BATCH, threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            for step in range(len(rows) // BATCH):
                list(pool.map(part, [step] * threads, ends, ends[1:]))

    def epoch(number, how):
        for _ in batches.epoch(number, deliver=how):
            pass

    ways = {
        "epoch": lambda: epoch(1, deliver),
        "epoch on two devices": lambda: epoch(2, two_devices),
        "memory copy": lambda: copy(GATHERERS),
        "memory copy by one thread": lambda: copy(1),
        "memory copy by one thread into one buffer": lambda: copy(1, 1),
    }
    for way in ways.values():  # touches every page once
        way()
    seconds = interleaved(ways, 4 * options.rounds)
    rates = {name: len(rows) / median(values) for name, values in seconds.items()}

    scenes = find_scenes([options.data / "scenes"])[:8]
    loader_seconds = []
    for _ in range(3 * options.rounds):  # from one round to the next it differs by a factor of two
        forget(*scenes)
        began = time.perf_counter()
        count = sum(len(patches) for patches, _ in published.loader(scenes, BATCH))
        loader_seconds.append((time.perf_counter() - began) / count)
    loader = 1 / median(loader_seconds)

    bound = "memory: each byte of a batch is read and written once"
    gigabytes = sum(a[0].nbytes for a in flat) / 1e9
    details = {"rates": rates, "copy_gigabytes_per_second": rates["memory copy"] * gigabytes}
    write(
        options.out,
        [
            Figure(
                "later epochs against memory copy",
                rates["epoch"],
                rates["memory copy"],
                "patches/s",
                rates["epoch"] / rates["memory copy"],
                0.8,
                bound,
                details=details,
            ),
            Figure(
                "later epochs on two devices against memory copy",
                rates["epoch on two devices"],
                rates["memory copy"],
                "patches/s",
                rates["epoch on two devices"] / rates["memory copy"],
                0.8,
                bound,
            ),
            Figure(
                "later epochs against the published loader's first pass",
                rates["epoch"],
                loader,
                "patches/s",
                rates["epoch"] / loader,
                50.0,
                "there: Python and one patch at a time",
            ),
            consumer(store, rows, deliver, options.rounds),
        ],
    )


def consumer(store: PatchStore, rows: np.ndarray, deliver, rounds: int) -> Figure:
    """A step that takes 4,000 patches/s, as a GPU would: how long is a published epoch?"""
    batches = BatchLoader(store, np.resize(rows, EPOCH), BATCH, seed=1)
    step = BATCH / GPU_RATE
    seconds = []
    for number in range(rounds):
        began = free = time.perf_counter()
        for _ in batches.epoch(number, deliver=deliver):
            # The device is busy until `free`; the host sleeps until it begins with this batch, then
            # brings the next, as on a real one.
            began_step = max(free, time.perf_counter())
            time.sleep(max(began_step - time.perf_counter(), 0))
            free = began_step + step
        time.sleep(max(free - time.perf_counter(), 0))
        seconds.append(time.perf_counter() - began)
    rate = EPOCH / median(seconds)
    return Figure(
        f"delivered to a step of {GPU_RATE} patches/s",
        rate,
        GPU_RATE,
        "patches/s",
        rate / GPU_RATE,
        0.97,
        "memory, if a batch takes longer than the step",
        details={"seconds": seconds, "waited": batches.wait_seconds / sum(seconds)},
    )


if __name__ == "__main__":
    main()
