"""Batches from the patch store: gathered from its memory map, shuffled globally, prefetched."""

import contextlib
import mmap
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np

from cloudmask.patches.store import INVALID, PatchStore

# Batches made while the consumer works on one; more memory in turn would not stay in the cache.
PREFETCH = 1

# Threads that copy a batch together: one alone copies more slowly than the memory can; more than
# a few would only take cores from others.
GATHERERS = min(4, len(os.sched_getaffinity(0)))

# Of each batch, the part whose bytes are compared with their checksums, rows not yet compared
# first: a checksum takes five times as long as the copy. After as many epochs all have been.
COMPARED = 16

Batch = tuple[np.ndarray, np.ndarray]


def _as_they_are(patches: np.ndarray, labels: np.ndarray) -> Batch:
    return patches, labels


class Buffers:
    """Arrays of one shape, each used again as soon as nobody else holds it or a view of it.

    New memory for every batch would be zeroed by the kernel first, which costs a third of the
    speed. The arrays begin at a page, since TensorFlow takes an aligned array without copying it
    (and holds it as long as it needs it).
    """

    UNUSED = 2  # references: the list's, and the one that counts

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._owners: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._owners)

    def take(self) -> np.ndarray:
        """An array that nobody uses; its content is undefined."""
        for index in range(len(self._owners)):
            # Indexed, since a loop variable would be a reference, too.
            if sys.getrefcount(self._owners[index]) == self.UNUSED:
                break
        else:
            index = len(self._owners)
            memory = mmap.mmap(-1, self._bytes)
            with contextlib.suppress(OSError):  # a kernel without huge pages
                memory.madvise(mmap.MADV_HUGEPAGE)
            self._owners.append(np.frombuffer(memory, self._dtype))
        # All views refer to the owner, views of views as well.
        return self._owners[index].reshape(self._shape)


class BatchLoader:
    """Batches of some rows of a store, one worker's shard of each.

    Every worker draws the same order, so that the global batches do not depend on their number, and
    reads only its part of each. With a `seed` every epoch has another order, a permutation of all
    rows by seed and epoch; without one the order is that of `rows`. The last batch is filled up
    with rows that are marked as not valid: all batches have one shape and nothing is dropped.

    shape: of one batch of patches; samples: rows; steps: batches per epoch.
    wait_seconds: how long the consumer has waited for data so far.
    """

    def __init__(
        self,
        store: PatchStore,
        rows: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        worker: int = 0,
        workers: int = 1,
    ):
        if batch_size % workers:
            raise ValueError(f"batch of {batch_size} does not divide among {workers} workers")
        self._store = store
        self._patches = np.asarray(store.patches)
        self._labels = np.asarray(store.labels)
        if rows.min() < 0 or rows.max() >= len(self._patches):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self._patches)} patches")
        self._rows = rows
        self._compared = np.zeros(len(self._patches), bool)
        self._batch_size = batch_size
        self._seed = seed
        shard = batch_size // workers
        self._shard = slice(worker * shard, (worker + 1) * shard)
        self.shape = (shard, *store.patches.shape[1:])
        self._buffers = [
            Buffers((shard, *a.shape[1:]), a.dtype) for a in (store.patches, store.labels)
        ]
        self.samples = len(rows)
        self.steps = -(-len(rows) // batch_size)
        self.wait_seconds = 0.0

    def epoch(
        self, number: int, first_step: int = 0, deliver: Callable[..., Any] = _as_they_are
    ) -> Iterator[Any]:
        """Batches of one epoch from `first_step` on.

        Yields patches (shard, 256, 256, 9) in the store's type and labels (shard, 256, 256) uint8,
        or what `deliver` makes of them ahead of time, such as tensors on their device.
        """
        ready: queue.SimpleQueue = queue.SimpleQueue()
        room = threading.Semaphore(PREFETCH)
        stop = threading.Event()

        def fill() -> None:
            try:
                with ThreadPoolExecutor(GATHERERS, "gather") as pool:
                    for step in range(first_step, self.steps):
                        room.acquire()
                        if stop.is_set():
                            return
                        ready.put(deliver(*self._gather(order, step, pool)))
            except BaseException as error:  # the consumer raises it
                ready.put(error)

        order = self._order(number)
        thread = threading.Thread(target=fill, name="gather", daemon=True)
        thread.start()
        try:
            for _ in range(first_step, self.steps):
                began = time.perf_counter()
                batch = ready.get()
                self.wait_seconds += time.perf_counter() - began
                if isinstance(batch, BaseException):
                    raise batch
                room.release()
                yield batch
        finally:
            stop.set()
            room.release()
            thread.join()

    def _order(self, epoch: int) -> np.ndarray:
        if self._seed is None:
            return self._rows
        return np.random.default_rng([self._seed, epoch]).permutation(self._rows)

    def _gather(self, order: np.ndarray, step: int, pool: Executor) -> Batch:
        begin = step * self._batch_size
        rows = order[begin : begin + self._batch_size]
        filling = self._batch_size - len(rows)
        if filling:
            rows = np.concatenate([rows, np.repeat(rows[-1:], filling)])
        mine = rows[self._shard]
        self._store.check()
        patches, labels = (buffers.take() for buffers in self._buffers)

        new = np.flatnonzero(~self._compared[mine])[: -(-len(mine) // COMPARED)]
        self._compared[mine[new]] = True

        def take(part: slice) -> None:
            # "clip" reads straight into the buffer; the rows have been checked.
            np.take(self._patches, mine[part], axis=0, out=patches[part], mode="clip")
            np.take(self._labels, mine[part], axis=0, out=labels[part], mode="clip")
            for index in new[(part.start <= new) & (new < part.stop)]:
                self._store.check_row(mine[index], patches[index], labels[index])

        ends = np.linspace(0, len(mine), GATHERERS + 1).astype(int)
        list(pool.map(take, map(slice, ends, ends[1:])))
        real = self._batch_size - filling - self._shard.start
        if real < len(mine):
            labels[max(real, 0) :] = INVALID
        return patches, labels
