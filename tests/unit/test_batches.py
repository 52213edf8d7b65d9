"""Batches: every row once, another order each epoch, the same for any number of workers."""

import os
import shutil
from itertools import pairwise

import h5py
import numpy as np
import pytest

from cloudmask.errors import Fault, InputError
from cloudmask.patches.batches import COMPARED, PREFETCH, BatchLoader, Buffers
from cloudmask.patches.store import INVALID, PatchStore
from cloudmask.train.step import _tensor


@pytest.fixture(scope="module")
def store(store_path):
    return PatchStore(store_path)


def rows_of(store, batches, epoch):
    """Row numbers that an epoch delivers, found by content; None where a row only fills up."""
    known = {store.patches[row].tobytes(): row for row in range(len(store.patches))}
    return [
        None if (label == INVALID).all() else known[patch.tobytes()]
        for patches, labels in batches.epoch(epoch)
        for patch, label in zip(patches, labels, strict=True)
    ]


def test_every_row_once_and_reshuffled(store):
    batches = BatchLoader(store, np.arange(24), 5, seed=1)
    assert (batches.steps, batches.samples) == (5, 24)
    one, two, again = (rows_of(store, batches, epoch) for epoch in (1, 2, 1))
    assert sorted(filter(None, one)) == sorted(filter(None, two)) == list(range(1, 24))
    assert one[-1] is None, "the last batch is filled up, not dropped"
    assert one == again != two
    # A true shuffle: neighbours in the store do not stay together.
    assert sum(b - a == 1 for a, b in pairwise(one[:-1])) < 6
    other_seed = rows_of(store, BatchLoader(store, np.arange(24), 5, seed=2), 1)
    assert other_seed != one


def test_without_seed_in_order(store):
    rows = np.array([3, 1, 7])
    assert rows_of(store, BatchLoader(store, rows, 2), 1) == [3, 1, 7, None]


def test_labels_belong_to_patches(store):
    for patches, labels in BatchLoader(store, np.arange(24), 8, seed=3).epoch(1):
        for patch, label in zip(patches, labels, strict=True):
            row = next(r for r in range(24) if store.patches[r].tobytes() == patch.tobytes())
            np.testing.assert_array_equal(label, store.labels[row])


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_same_global_batches(store, workers):
    whole = rows_of(store, BatchLoader(store, np.arange(22), 4, seed=1), 1)
    shares = [
        rows_of(store, BatchLoader(store, np.arange(22), 4, 1, worker, workers), 1)
        for worker in range(workers)
    ]
    size = 4 // workers
    joined = [
        row
        for step in range(6)
        for share in shares
        for row in share[step * size : (step + 1) * size]
    ]
    assert joined == whole
    assert whole[-2:] == [None, None]


def test_an_epoch_can_begin_in_the_middle(store):
    batches = BatchLoader(store, np.arange(24), 4, seed=1)
    whole = [patches.tobytes() for patches, _ in batches.epoch(1)]
    assert [patches.tobytes() for patches, _ in batches.epoch(1, first_step=4)] == whole[4:]


def test_an_abandoned_epoch_ends_its_thread(store):
    import threading

    before = threading.active_count()
    epoch = BatchLoader(store, np.arange(24), 2, seed=1).epoch(1)
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_an_error_while_reading_reaches_the_consumer(store):
    def refuse(patches, labels):
        raise RuntimeError("device is gone")

    with pytest.raises(RuntimeError, match="gone"):
        list(BatchLoader(store, np.arange(4), 2).epoch(1, deliver=refuse))


def test_rows_beyond_the_store_are_refused(store):
    with pytest.raises(IndexError, match="999 of 24"):
        BatchLoader(store, np.array([0, 999]), 2)


def test_memory_is_used_again_only_when_nobody_holds_it():
    buffers = Buffers((4, 8), np.float16)
    one, two = buffers.take(), buffers.take()
    assert one.ctypes.data % 64 == two.ctypes.data % 64 == 0
    part = one[1:3]
    place = two.ctypes.data
    del one, two
    assert buffers.take().ctypes.data == place, "a view of the other is still alive"
    del part
    assert len(buffers) == 2


@pytest.mark.slow
def test_tensors_of_earlier_batches_keep_their_values(store):
    """The tensors share the buffers' memory; they must not be written to while it holds them."""
    batches = BatchLoader(store, np.arange(24), 4, seed=1)
    expected = [(p.copy(), label.copy()) for p, label in batches.epoch(1)]

    def tensors(patches, labels):
        # Halves, as two devices of one worker get them.
        return [_tensor(a[i : i + 2]) for a in (patches, labels) for i in (0, 2)]

    kept = list(batches.epoch(1, deliver=tensors))
    for (patches, labels), parts in zip(expected, kept, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts[:2]), patches)
        np.testing.assert_array_equal(np.concatenate(parts[2:]), labels)


def test_memory_does_not_grow_with_the_epochs(store):
    batches = BatchLoader(store, np.arange(24), 2, seed=1)
    for epoch in range(5):
        for _ in batches.epoch(epoch):
            pass
    assert max(map(len, batches._buffers)) <= PREFETCH + 4


def test_a_store_truncated_in_use_is_told(store_path, tmp_path):
    """Instead of a death by SIGBUS."""
    path = tmp_path / "p.h5"
    shutil.copy(store_path, path)
    batches = BatchLoader(PatchStore(path), np.arange(24), 4)
    assert len(list(batches.epoch(1))) == 6
    os.truncate(path, 1_000_000)
    with pytest.raises(Fault, match="truncated while in use"):
        list(batches.epoch(2))


def test_a_store_changed_in_use_is_told(store_path, tmp_path):
    path = tmp_path / "p.h5"
    shutil.copy(store_path, path)
    batches = BatchLoader(PatchStore(path), np.arange(24), 4)
    list(batches.epoch(1))
    os.utime(path)
    with pytest.raises(Fault, match=r"p\.h5: changed while in use"):
        list(batches.epoch(2))


def test_damage_is_noticed_within_sixteen_epochs(store_path, tmp_path):
    """Each epoch compares some rows with their checksums, those not yet compared first."""
    path = tmp_path / "p.h5"
    shutil.copy(store_path, path)
    status = path.stat()
    with h5py.File(path, "r+") as file:
        file["labels"][17, 3, 4] ^= 1
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    batches = BatchLoader(PatchStore(path), np.arange(24), 12, seed=1)
    with pytest.raises(InputError, match=r"patch 17, of scene .* does not match its checksum"):
        for epoch in range(COMPARED):
            list(batches.epoch(epoch))
    whole = BatchLoader(PatchStore(store_path), np.arange(24), 12, seed=1)
    for epoch in range(COMPARED):
        list(whole.epoch(epoch))
    assert whole._compared.all()


def test_a_batch_must_divide_among_workers(store):
    with pytest.raises(ValueError, match="5 does not divide among 2"):
        BatchLoader(store, np.arange(24), 5, workers=2)
