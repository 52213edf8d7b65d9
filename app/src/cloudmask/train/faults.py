"""What a training cannot begin with, and what TensorFlow's errors mean, in one line each."""

import contextlib
from collections.abc import Iterator

from cloudmask.errors import Fault, InputError, Interrupted
from cloudmask.hardware.devices import Devices
from cloudmask.patches.store import INVALID, PatchStore, Split
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system.text import plural


def check_batch_size(batch: int, devices: Devices) -> None:
    """Raise InputError unless the global batch divides among the devices."""
    if batch % devices.replicas:
        raise InputError(
            f"training.batch_size: {batch} does not divide among {devices.replicas} devices; "
            f"expected a multiple of {devices.replicas}"
        )


def check_pixels(store: PatchStore, split: Split) -> None:
    """Raise InputError unless both parts of the split hold a pixel that counts.

    A loss over no pixel would be 0, the best there is. The search ends at the first valid pixel.
    """
    store.check()
    for part, rows in (("training", split.training), ("validation", split.validation)):
        if not any((store.labels[row] & INVALID == 0).any() for row in rows):
            patches = plural(len(rows), f"{part} patch", f"{part} patches")
            raise InputError(
                f"{store.path}: no pixel of the {patches} holds a measurement and a label; "
                "expected at least one (another data.split_seed picks other scenes)"
            )


@contextlib.contextmanager
def explained(run: RunDirectory, batch: int, devices: Devices) -> Iterator[None]:
    """For the block: Fault if the memory is too small for the batch, Interrupted if a worker died.

    Other errors are faults of the program and pass through.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError:
        smaller = max(batch // 2 // devices.replicas, 1) * devices.replicas
        raise Fault(
            f"{run}: out of memory with training.batch_size {batch}; try {smaller}. The last "
            "checkpoint is intact"
        ) from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if devices.workers == 1:
            raise
        reason = str(error).strip().split("\n")[0]
        raise Interrupted(
            f"{run}: another worker died ({reason}); the same command continues from the last "
            "checkpoint"
        ) from None
