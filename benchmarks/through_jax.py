"""What batch_sizes.py measures, through Keras' JAX backend, where there is no TensorFlow.

Network, loss and optimizer are those of cloudmask.train.step, whose step TensorFlow must run; JAX
always compiles with XLA. One device, no schedule, no augmentation.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

# Before Keras and JAX are imported. JAX takes three quarters of the GPU's memory unless told.
os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")

import jax
import jax.numpy as jnp
import keras
import numpy as np

from cloudmask.config.settings import Training
from cloudmask.hardware.devices import BFLOAT16_CAPABILITY, POLICIES
from cloudmask.model import unet
from cloudmask.patches.store import CLOUD, INVALID, PatchStore
from cloudmask.train.step import EPSILON, GROWTH_STEPS, INITIAL_SCALE

NAME = "Keras' JAX backend, not TensorFlow"
XLA = (True,)  # ways to compile a step
PRODUCTS = 20
WAITING = 4  # batches in pinned memory, used in turn


def open_gpu() -> str:
    """Name of the GPU, empty without one."""
    device = jax.devices()[0]
    return device.device_kind if device.platform == "gpu" else ""


def usual_precision() -> str:
    """The precision that suits the device."""
    if not open_gpu():
        return "float32"
    capability = tuple(map(int, jax.devices()[0].compute_capability.split(".")))
    return "bfloat16" if capability >= BFLOAT16_CAPABILITY else "float16"


def out_of_memory(error: Exception) -> bool:
    """Whether that is what the error means."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def matrix_rate(precision: str, size: int) -> float:
    """FLOP/s of a product of square matrices in this precision, the best of three attempts."""
    kind = POLICIES[precision].removeprefix("mixed_")
    matrix = (jax.random.normal(jax.random.key(1), (size, size)) / size**0.5).astype(kind)

    @jax.jit
    def products(start: jax.Array, matrix: jax.Array) -> jax.Array:
        for _ in range(PRODUCTS):
            start = start @ matrix
        return start

    products(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        products(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return PRODUCTS * 2 * size**3 / min(seconds)


def host_copies(patches: np.ndarray) -> dict[str, float]:
    """Bytes/s from host memory to the device, of one batch, by the kind of the memory."""
    rates = {}
    for kind, source in (("pageable", patches), ("pinned", _pinned(patches))):
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            _on_device(source).block_until_ready()
            seconds.append(time.perf_counter() - began)
        rates[kind] = patches.nbytes / min(seconds)
    return rates


def other_feeds(step: "Step", store: PatchStore, count: int, size: int) -> dict:
    """Epochs of `count` patches that do not come from the store: functions of their number.

    "pinned": batches that wait in pinned memory; "resident": gathered on the device from a whole
    store there, if it fits (the patches are repeated until there are so many).
    """
    rows = np.resize(np.arange(len(store.patches)), count)
    waiting = [
        (_pinned(store.patches[part]), _pinned(store.labels[part]))
        for part in np.resize(rows, (WAITING, size))
    ]

    def pinned(number: int) -> Iterator[list[jax.Array]]:
        for index in range(count // size):
            yield step.to_device(*waiting[index % WAITING])

    try:
        whole = [_take(_on_device(data), rows) for data in (store.patches, store.labels)]
        jax.block_until_ready(whole)
    except jax.errors.JaxRuntimeError as error:
        if out_of_memory(error):
            return {"pinned": pinned}
        raise

    def resident(number: int) -> Iterator[list[jax.Array]]:
        order = np.random.default_rng(number).permutation(count)
        for chosen in order.reshape(-1, size):
            yield [_take(data, chosen) for data in whole]

    return {"pinned": pinned, "resident": resident}


class Step:
    """Model, optimizer and the compiled training step in this precision."""

    def __init__(self, precision: str):
        settings = Training()
        self.model = unet(precision=POLICIES[precision])
        self._optimizer = keras.optimizers.Adam(settings.learning_rate, beta_2=settings.beta_2)
        if precision == "float16":
            self._optimizer = keras.optimizers.LossScaleOptimizer(
                self._optimizer, INITIAL_SCALE, GROWTH_STEPS
            )
        self._optimizer.build(self.model.trainable_variables)
        state = self.model.trainable_variables, self._optimizer.variables
        self._state = jax.tree.map(lambda variable: variable.value, state)
        self._update = jax.jit(self._updated, donate_argnums=0)

    def warm_up(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Compile and run the step with a batch that has no valid pixel; undo what that does."""
        before = jax.tree.map(np.asarray, self._state)
        batch = self.to_device(np.zeros(shape, dtype), np.full(shape[:-1], INVALID, np.uint8))
        for _ in range(2):
            self.train(batch).block_until_ready()
        self._state = jax.tree.map(jnp.asarray, before)

    def to_device(self, patches: Any, labels: Any) -> list[jax.Array]:
        """Begin to copy a batch to the device."""
        return [_on_device(patches), _on_device(labels)]

    def train(self, batch: list[jax.Array]) -> jax.Array:
        """One update; returns the sum of losses, the correct and the valid pixels."""
        self._state, figures = self._update(self._state, *batch)
        return figures

    def _updated(self, state: tuple, patches: jax.Array, labels: jax.Array) -> tuple:
        weights, rest = state
        differentiate = jax.grad(self._loss, has_aux=True)
        gradients, figures = differentiate(weights, rest, patches, labels)
        return self._optimizer.stateless_apply(rest, gradients, weights), figures

    def _loss(self, weights: list, rest: list, patches: jax.Array, labels: jax.Array) -> tuple:
        """Mean loss of the valid pixels, scaled for float16, and the figures of `train`."""
        labels = labels[..., None]
        cloud, valid = (labels & CLOUD) > 0, labels < INVALID
        patches = patches.astype(jnp.float32)
        probability, _ = self.model.stateless_call(weights, [], patches, training=True)
        clipped = jnp.clip(probability, EPSILON, 1 - EPSILON)
        pixel = -jnp.log(jnp.where(cloud, clipped, 1 - clipped))
        loss = jnp.sum(jnp.where(valid, pixel, 0.0))
        right = ((probability > 0.5) == cloud) & valid
        count = jnp.sum(valid)
        figures = jnp.stack([loss, jnp.sum(right), count]).astype(jnp.float32)
        mean = loss / jnp.maximum(count, 1)
        with keras.StatelessScope(list(zip(self._optimizer.variables, rest, strict=True))):
            return self._optimizer.scale_loss(mean), figures


def make_step(precision: str, xla: bool, steps_per_epoch: int) -> Step:
    """The published network and its step."""
    return Step(precision)


def _on_device(array: Any) -> jax.Array:
    return jax.device_put(array, _memory("device"))


def _pinned(array: np.ndarray) -> jax.Array:
    """A copy in host memory that the device reads by itself."""
    return jax.device_put(np.ascontiguousarray(array), _memory("pinned_host"))


def _memory(kind: str) -> jax.sharding.SingleDeviceSharding:
    return jax.sharding.SingleDeviceSharding(jax.devices()[0], memory_kind=kind)


@jax.jit
def _take(data: jax.Array, rows: np.ndarray) -> jax.Array:
    return jnp.take(data, rows, axis=0, mode="clip")
