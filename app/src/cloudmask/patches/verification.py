"""Whether a patch store's content is what was written, and can be learned from."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cloudmask.patches.store import CLOUD, INVALID, PatchStore
from cloudmask.system.progress import track

SAMPLE = 16  # rows: 20 MB, in well under a second from any file system

# An exponent of ones stands for infinity or no number, in float16 and float32.
_EXPONENT = {2: np.uint16(0x7C00), 4: np.uint32(0x7F800000)}


def verify(path: Path, workers: int | None = None) -> PatchStore:
    """Read a whole store: every row has the bytes that were written, and only finite numbers.

    Rows of stores of version 1 have no checksums; only their numbers are looked at then. `workers`
    threads read, as many as there are cores by default. Returns the store; raises InputError that
    names the first damaged row and its scene.
    """
    store = PatchStore(path)
    rows = store.rows(np.arange(len(store.scenes)))
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        try:
            done = pool.map(lambda row: verify_row(store, row), rows)
            for _ in track(done, len(rows), "verify", unit="patch"):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    return store


def verify_sample(store: PatchStore) -> None:
    """The same for some rows of a store, spread evenly, before hours are spent on it."""
    rows = store.rows(np.arange(len(store.scenes)))
    for index in np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int):
        verify_row(store, rows[index])


def verify_row(store: PatchStore, row: int) -> None:
    """Raise InputError unless a row has the bytes that were written, all finite numbers."""
    store.check()
    # Copied once: what is compared and what is looked at must be the same.
    patch, label = store.patches[row].copy(), store.labels[row].copy()
    store.check_row(row, patch, label)
    exponent = _EXPONENT[patch.itemsize]
    if ((patch.view(exponent.dtype) & exponent) == exponent).any():
        raise store.damaged(row, "holds NaN or infinite values")
    if label.max() > CLOUD | INVALID:
        raise store.damaged(row, f"holds the label {label.max()}, expected at most 3")
