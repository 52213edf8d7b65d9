"""What batch_sizes.py measures, through TensorFlow: the step that cloudmask-train runs."""

import time

import numpy as np

from cloudmask.config.settings import make_config
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices
from cloudmask.patches.store import PatchStore
from cloudmask.train.step import TrainStep

NAME = "TensorFlow"
XLA = (False, True)  # ways to compile a step
PRODUCTS = 20


def open_gpu() -> str:
    """Name of the GPU, empty without one."""
    return open_devices().gpu


def usual_precision() -> str:
    """The precision that suits the device."""
    return choose_precision("auto")


def out_of_memory(error: Exception) -> bool:
    """Whether that is what the error means."""
    import tensorflow as tf

    return isinstance(error, tf.errors.ResourceExhaustedError)


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


def make_step(precision: str, xla: bool, steps_per_epoch: int) -> TrainStep:
    """The published network and its step."""
    config = make_config({"training": {"xla": xla}}, "benchmark")
    return TrainStep(open_devices(), config, precision, steps_per_epoch)


def host_copies(patches: np.ndarray) -> dict[str, float]:
    """Nothing: TensorFlow lets nobody choose the kind of host memory that it copies from."""
    return {}


def other_feeds(step: TrainStep, store: PatchStore, count: int, size: int) -> dict:
    """None: TrainStep takes its batches from the host."""
    return {}
