"""What TensorFlow's errors mean for the user, in one line."""

import contextlib
from collections.abc import Iterator

from cloudmask.errors import Fault, InputError, Interrupted
from cloudmask.hardware.devices import Devices
from cloudmask.record.run_directory import RunDirectory


def check_batch_size(batch: int, devices: Devices) -> None:
    """Raise InputError unless the global batch divides among the devices."""
    if batch % devices.replicas:
        raise InputError(
            f"training.batch_size: {batch} does not divide among {devices.replicas} devices; "
            f"expected a multiple of {devices.replicas}"
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
