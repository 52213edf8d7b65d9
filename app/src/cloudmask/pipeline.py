"""Batches from the patch store: gathered from its memory map, shuffled globally, prefetched."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import numpy as np

from cloudmask.store import INVALID, PatchStore

PREFETCH = 2  # batches made ahead; more only costs memory, the gather is faster than any step


class Batches:
    """Batches of some rows of a store, one worker's share of each.

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
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        share = batch_size // workers
        self._share = slice(worker * share, (worker + 1) * share)
        self.shape = (share, *store.patches.shape[1:])
        self.samples = len(rows)
        self.steps = -(-len(rows) // batch_size)
        self.wait_seconds = 0.0

    def epoch(self, number: int, first_step: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of one epoch from `first_step` on.

        Yields patches (share, 256, 256, 9) in the store's type and labels (share, 256, 256) uint8.
        """
        ready: queue.Queue = queue.Queue(PREFETCH)
        stop = threading.Event()

        def hand_over(item) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=0.1)
                    return

        def fill() -> None:
            try:
                for step in range(first_step, self.steps):
                    hand_over(self._gather(order, step))
                    if stop.is_set():
                        return
            except BaseException as error:  # the consumer raises it
                hand_over(error)

        order = self._order(number)
        thread = threading.Thread(target=fill, name="gather", daemon=True)
        thread.start()
        try:
            for _ in range(first_step, self.steps):
                asked = time.perf_counter()
                batch = ready.get()
                self.wait_seconds += time.perf_counter() - asked
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stop.set()
            thread.join()

    def _order(self, epoch: int) -> np.ndarray:
        if self._seed is None:
            return self._rows
        return np.random.default_rng([self._seed, epoch]).permutation(self._rows)

    def _gather(self, order: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        begin = step * self._batch_size
        rows = order[begin : begin + self._batch_size]
        filling = self._batch_size - len(rows)
        if filling:
            rows = np.concatenate([rows, np.repeat(rows[-1:], filling)])
        mine = rows[self._share]
        self._store.check()
        patches, labels = self._patches[mine], self._labels[mine]
        real = self._batch_size - filling - self._share.start
        if real < len(mine):
            labels[max(real, 0) :] = INVALID
        return patches, labels
